"""Hosts as they are, with the real parts: users, file systems, TLS clients and OpenSSH logins."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from airgap.audit.receipt import Receipt
from airgap.site import now
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from tests.support.authorities import AKI, CA, SAN, SIGNS, SKI, Shape, issue
from tests.support.bundles import Gap, make_gap
from tests.support.kits import make_small_kit
from tests.support.media import ntfs_stick, shorten_names, tmpfs
from tests.support.parts import SYSTEM_PATH, require_root, require_tool
from tests.support.registry import FakeRegistry
from tests.support.sid import Sid, sid_root
from tests.support.sshd import Sshd, make_key
from tests.unit.endpoints.registry_support import client, filled, named
from tests.world.table import Kind, Row, replays, row

pytestmark = pytest.mark.e2e

UNKNOWN = 65_432
"""A user ID without a passwd entry."""


@dataclass(frozen=True)
class Host:
    """A machine with a bundle, a site that trusts its maker, and the maker's own."""

    gap: Gap

    def run(
        self, *words: object, before: tuple[str, ...] = (), home: str = "offline", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """A command, run by the words `before` it; nothing of this process's environment is there."""
        command = [*before, sys.executable, "-m", "airgap", *map(str, words)]
        env = {"PATH": SYSTEM_PATH, "AIRGAP_HOME": str(self.gap.folder / home), **environment}
        return subprocess.run(
            command, capture_output=True, check=False, env=env, stdin=subprocess.DEVNULL, text=True,
            timeout=300,
        )  # fmt: skip

    def load(self, *before: str, **environment: str) -> subprocess.CompletedProcess[str]:
        target = f"oci:{self.gap.folder / 'there' / 'layout'}"
        return self.run("load", self.gap.bundle, "--to", target, before=before, **environment)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    return make_gap(tmp_path_factory.mktemp("gap"), now=now())


@pytest.fixture
def host(made: Gap, tmp_path: Path) -> Host:
    require_root()
    gap = made.copy(tmp_path / "gap")
    (gap.folder / "there").mkdir()
    return Host(gap)


@row(
    Kind.HOSTS, "Kubernetes securityContext.runAsUser", "runs programs under a user ID without a name, and without HOME",
    "packit/packit#431", "loads, with a receipt by `uid 65432`",
)  # fmt: skip
def test_a_real_user_id_without_a_name(host: Host) -> None:
    for path in (host.gap.folder, *host.gap.folder.rglob("*")):
        os.chown(path, UNKNOWN, 0)
    reads_all = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")  # also root's temporary folders
    user = ("setpriv", f"--reuid={UNKNOWN}", "--regid=0", "--clear-groups", *reads_all)
    done = host.load(*user, LOGNAME="mallory")
    assert (done.returncode, "receipt: " in done.stdout) == (0, True), done.stderr
    [path] = (host.gap.home / "receipts").glob("*.json")
    found = Receipt.parse(Envelope.parse(path.read_bytes(), STATEMENT_TYPE).payload)
    assert found.operator == f"uid {UNKNOWN}"


@row(
    Kind.HOSTS, "chroots, minimal containers", "have no /proc, or no /sys", "systemd-nspawn(1), chroot(1)",
    "loads; what the system does not tell of a medium is left out",
)  # fmt: skip
@pytest.mark.parametrize("folder", ["/proc", "/sys"])
def test_without_proc_or_sys(host: Host, folder: str) -> None:
    script = 'umount --lazy --recursive "$0" && exec "$@"'
    done = host.load("unshare", "--mount", "sh", "-c", script, folder)
    assert (done.returncode, "receipt: " in done.stdout) == (0, True), done.stderr


@row(
    Kind.HOSTS, "ntfs-3g", "counts the short name that Windows gives to each long one as a second link",
    "shundhammer/qdirstat#88", "a regular file is a regular file: verified and loaded",
)  # fmt: skip
def test_a_bundle_on_ntfs(host: Host, tmp_path: Path) -> None:
    with ntfs_stick(tmp_path / "media") as stick:
        there = stick.mount_point / host.gap.bundle.name
        shutil.copytree(host.gap.bundle, there)
        shorten_names(there)
        assert (there / "statement.json").stat().st_nlink == 2
        done = host.run("load", there, "--to", f"oci:{host.gap.folder / 'there' / 'layout'}")
    assert done.returncode == 0, done.stderr


@row(
    Kind.HOSTS, "hardened servers", "mount file systems noexec: failed to map segment from shared object",
    "pydantic/pydantic-core#1461", "the kit's installer says so before it installs anything",
)  # fmt: skip
@row(
    Kind.HOSTS, "hardened servers", "have a folder for temporary files that cannot be used", "mtuqorg/mtuq#253",
    "the kit's installer needs none: it works below the prefix",
)  # fmt: skip
def test_where_a_kit_cannot_run(tmp_path: Path) -> None:
    make_small_kit(tmp_path / "made")
    [kit] = (tmp_path / "made" / "stick").iterdir()

    def install(prefix: Path) -> subprocess.CompletedProcess[str]:
        env = {"PATH": SYSTEM_PATH, "TMPDIR": "/nonexistent", "PYTHON": sys.executable}
        words = ["sh", str(kit / "install.sh"), "--prefix", str(prefix)]
        return subprocess.run(words, capture_output=True, check=False, env=env, text=True)

    with tmpfs(tmp_path / "media", options="noexec") as disk:
        refused = install(disk.mount_point / "opt")
        assert not (disk.mount_point / "opt" / "bin").exists()
    assert (refused.returncode, "programs cannot run from a noexec mount" in refused.stderr) == (1, True)
    assert "choose another folder with --prefix" in refused.stderr
    done = install(tmp_path / "opt")
    assert (done.returncode, (tmp_path / "opt" / "bin" / "airgap").exists()) == (0, True), done.stderr


SHAPES = {
    "RFC 5280": (Shape((CA, SIGNS, SKI)), True),
    "no key identifiers": (Shape((CA, SIGNS), (SAN,)), True),
    "no keyUsage": (Shape((CA, SKI), (SAN, AKI)), True),
    "version 1": (Shape(None, (SAN,)), True),
    "an intermediate anchor": (Shape((CA, SKI), intermediate=(CA, SKI, AKI)), True),
    "a common name only": (Shape((CA, SIGNS, SKI), (AKI,), name="localhost"), False),
    "expired": (Shape((CA, SIGNS, SKI), days=-1), False),
}


@row(
    Kind.HOSTS, "crane (Go crypto/x509)", "takes and refuses private CAs by other rules than Python's defaults", "measured",
    "takes and refuses the same ones",
)  # fmt: skip
@pytest.mark.parametrize("shape", list(SHAPES))
def test_private_cas_as_go_takes_them(shape: str, tmp_path: Path) -> None:
    crane = Sid(sid_root())
    made, want = SHAPES[shape]
    issued = issue(tmp_path, made)
    with filled(FakeRegistry(tls=issued.pair)) as fake:
        fake.host = fake.host.replace("127.0.0.1", "localhost")
        trusted = {"SSL_CERT_FILE": str(issued.trusted), "SSL_CERT_DIR": "/nonexistent", "HOME": "/root"}

        def takes(ask: object) -> bool:
            try:
                ask()  # type: ignore[operator]
            except Exception:  # noqa: BLE001 - a refusal, whoever's
                return False
            return True

        by_go = takes(lambda: crane("crane", "digest", str(named(fake)), env=trusted))
        by_us = takes(lambda: client(fake, ca_file=issued.trusted, retries=0).resolve(named(fake)))
    assert (by_go, by_us) == (want, want)


# -- OpenSSH


@dataclass(frozen=True)
class Login:
    """How a login is set up there, and what is said of it."""

    lines: tuple[str, ...] = ()
    start_up: str = ""
    """The shell's start-up file."""
    sftp: str | None = None
    message: str = ""
    hint: str = ""


_SERVER = "/usr/lib/openssh/sftp-server"


def _login(does: str, reported: str, login: Login) -> tuple[Row, Login]:
    answer = "named, with the remedy" if login.message else "the bundle is sent"
    return Row(Kind.HOSTS, "OpenSSH", does, reported, answer), login


LOGINS = {
    "prints": _login(
        "runs start-up files that print before SFTP begins", "SSH FAQ, SFTP corruption (snailbook.com)",
        Login((), "echo Welcome to plant A", _SERVER, "got 'Welcome to plant A'", "on terminals only"),
    ),
    "prints, with internal-sftp": _login(
        "runs no shell for internal-sftp, whatever start-up files print", "sshd_config(5), Subsystem",
        Login((), "echo Welcome to plant A"),
    ),
    "no sftp": _login(
        "has no subsystem for SFTP", "trailofbits/algo#236",
        Login(sftp="", message="the server does not offer SFTP", hint="Subsystem sftp internal-sftp"),
    ),
    "sftp is missing": _login(
        "names a program for SFTP that is not there", "mscdex/ssh2#115",
        Login(sftp="/nonexistent/sftp-server", message="ended before SFTP started", hint="may be missing"),
    ),
    "a forced command": _login(
        "forces a command upon the login", "sshd_config(5), ForceCommand",
        Login(("ForceCommand echo backups only",), message="got 'backups only'", hint="ForceCommand"),
    ),
    "a forced command that fails": _login(
        "forces a command that refuses SFTP, as rrsync does", "rrsync(1)",
        Login(("ForceCommand /bin/false",), message="ended before SFTP started", hint="log in with ssh"),
    ),
    "no sessions": _login(
        "allows no sessions", "sshd_config(5), MaxSessions",
        Login(("MaxSessions 0",), message="the server refuses to open a session", hint="MaxSessions"),
    ),
    "one session": _login(
        "allows one session at a time", "sshd_config(5), MaxSessions", Login(("MaxSessions 1",)),
    ),
    "a banner": _login(
        "shows a banner before the login", "sshd_config(5), Banner", Login(("Banner /etc/services",)),
    ),
    "SFTP only": _login(
        "allows nothing but SFTP", "mscdex/ssh2#195", Login(("ForceCommand internal-sftp",)),
    ),
}  # fmt: skip


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@replays(LOGINS)
def test_logins(case: Login, host: Host, tmp_path: Path, stack: ExitStack) -> None:
    require_tool("sshd")
    tmp_path.chmod(0o755)
    key = make_key(tmp_path / "id")
    folder = tmp_path / "far"
    (folder / "home").mkdir(parents=True)
    (folder / "home" / ".bashrc").write_text(f"{case.start_up}\n")
    far = stack.enter_context(Sshd(folder, key, case.lines, sftp=case.sftp))
    (tmp_path / "known").write_text(far.known_line)
    done = host.run(
        "send", host.gap.bundle, far.address, "--to", folder / "home" / "bundles", "--identity", key,
        "--known-hosts", tmp_path / "known", "--ssh-config", "/dev/null", home="online",
    )  # fmt: skip
    assert case.message in done.stderr, done.stderr
    assert case.hint in done.stderr
    assert done.returncode == (20 if case.message else 0), done.stderr
    sent = (folder / "home" / "bundles" / host.gap.bundle.name / "bundle.dsse.json").is_file()
    assert sent is not bool(case.message)
