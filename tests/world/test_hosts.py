"""Hosts as they are: users without names, file systems that lack something, terminals that cannot encode."""

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from airgap.audit.receipt import Receipt
from airgap.bundle.tar_header import BLOCK
from airgap.errors import MissingContentError
from airgap.online import own_wheel
from airgap.site import now
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from tests.e2e.airgap import Answer, Side
from tests.support.bundles import Gap, make_gap
from tests.unit.online.test_own_wheel import INFO, unpack
from tests.world.table import Kind, row

UNKNOWN = 1_000_650_000
"""A user ID as OpenShift gives them: no passwd entry has it."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    return make_gap(tmp_path_factory.mktemp("gap"), now=now())


@dataclass(frozen=True)
class Host:
    """The receiving side, in this process or as a program of its own."""

    gap: Gap
    side: Side

    def __call__(self, *words: object, code: int = 0) -> Answer:
        return self.side(*words, code=code)

    def load(self, code: int = 0) -> Answer:
        return self("load", self.gap.bundle, "--to", f"oci:{self.gap.folder / 'layout-there'}", code=code)

    def run(self, *words: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
        """As a program; what it prints is not decoded."""
        command = [sys.executable, "-m", "airgap", *map(str, words)]
        env = {**os.environ, "AIRGAP_HOME": str(self.gap.home), **environment}
        return subprocess.run(command, capture_output=True, check=False, env=env, stdin=subprocess.DEVNULL)

    def receipt(self) -> Receipt:
        [path] = (self.gap.home / "receipts").glob("*.json")
        return Receipt.parse(Envelope.parse(path.read_bytes(), STATEMENT_TYPE).payload)

    def last(self) -> dict[str, object]:
        return json.loads((self.gap.home / "ledger.jsonl").read_text().splitlines()[-1])


@pytest.fixture
def host(made: Gap, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Host:
    gap = made.copy(tmp_path / "gap")
    return Host(gap, Side(gap.home, capsys))


@row(
    Kind.HOSTS, "OpenShift, `docker run --user 12345`", "runs containers under user IDs without a passwd entry",
    "fedora-infra/koschei#282", "loads; ledger and receipt name the user `uid 12345`",
)  # fmt: skip
@row(
    Kind.HOSTS, "Python getpass.getuser", "takes LOGNAME, USER, LNAME or USERNAME for the user's name",
    "Python library reference, getpass", "the kernel's user is recorded and signed, regardless of these",
)  # fmt: skip
def test_a_user_id_without_a_name(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: UNKNOWN)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "mallory")
    host.load()
    assert (host.receipt().operator, host.receipt().claimed_operator) == (f"uid {UNKNOWN}", None)
    assert host.last()["user"] == f"uid {UNKNOWN}"


@row(
    Kind.HOSTS, "sudo", "sets SUDO_USER and SUDO_UID, which everybody can set", "sudo(8), Environment",
    "the person is recorded and signed in a field of its own, as a claim",
)  # fmt: skip
@row(
    Kind.HOSTS, "pam_loginuid", "keeps the user who logged in through su and sudo", "pam_loginuid(8)",
    "used before the environment's value; also a claim, since root can set it",
)  # fmt: skip
@pytest.mark.parametrize(("logged_in", "want"), [("4294967295", "alice"), (f"{UNKNOWN}", f"uid {UNKNOWN}")])
def test_who_became_root(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, logged_in: str, want: str
) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    (tmp_path / "loginuid").write_text(logged_in)
    monkeypatch.setattr("airgap.account.LOGIN_UID", tmp_path / "loginuid")
    host.load()
    assert host.receipt().claimed_operator == host.last()["claimed_user"] == want
    assert host.receipt().operator != want


@row(
    Kind.HOSTS, "Kubernetes, systemd units", "run programs without HOME, for users without a home folder",
    "pathlib.Path.home: Python library reference", "the error names AIRGAP_HOME",
)  # fmt: skip
def test_no_home(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: UNKNOWN)
    for name in ("HOME", "XDG_DATA_HOME", "AIRGAP_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tests.e2e.airgap.environment", lambda **_: pytest.MonkeyPatch.context())
    done = host("verify", host.gap.bundle, code=2)
    assert "no home folder: uid 1000650000, want HOME" in done.json["error"]["message"]
    assert "AIRGAP_HOME" in done.json["error"]["hint"]


def refusing(code: int, when: Callable[[int], bool] = lambda _: True) -> Callable[..., None]:
    """A system call on a descriptor that the file system refuses."""

    def refuse(fd: int, *_: object) -> None:
        if when(fd):
            raise OSError(code, os.strerror(code))

    return refuse


@row(
    Kind.HOSTS, "NFS without its lock service", "refuses locks: No locks available", "nipy/nipype#1370",
    "no work is done without a record; the hint says that AIRGAP_HOME must be on a file system with locks",
)  # fmt: skip
@row(
    Kind.HOSTS, "NFS", "refuses exclusive locks on files that are open for reading: Bad file descriptor",
    "rss2email/rss2email#58", "the same hint, wherever a lock is needed",
)  # fmt: skip
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EBADF, errno.EOPNOTSUPP])
def test_no_locks(host: Host, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(code))
    done = host.load(code=17)
    assert "does not support locks" in done.json["error"]["hint"]
    assert not (host.gap.folder / "layout-there").exists()


@row(
    Kind.HOSTS, "CIFS before Linux 4.17, vboxsf, 9p", "cannot sync folders: Invalid argument",
    "libgit2/libgit2#5356", "loads; the files themselves are synced",
)  # fmt: skip
@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_folders_that_cannot_be_synced(host: Host, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(os, "fsync", refusing(code, lambda fd: stat.S_ISDIR(os.fstat(fd).st_mode)))
    host.load()
    assert host.receipt().result == "ok"


@row(
    Kind.HOSTS, "Python 3.14", "says that a file is not there when its disk fails, or may not be looked at",
    "python/cpython#118243", "fails, as with every Python: the mark that keeps old bundles out is never ignored",
)  # fmt: skip
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
def test_a_mark_that_cannot_be_read(host: Host, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    host.load()
    mark, real = host.gap.home / "received" / "edge.json", Path.stat
    assert mark.is_file()

    def fails(path: Path, **options: bool) -> os.stat_result:
        if path == mark:
            raise OSError(code, os.strerror(code), str(path))
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", fails)
    monkeypatch.setattr(Path, "exists", lambda path: path != mark and os.access(path, os.F_OK))
    assert os.strerror(code) in host.load(code=11).json["error"]["message"]


@row(
    Kind.HOSTS, "Python 3.12 importlib.metadata", "leaves files that are missing out of a package's list of files",
    "python/importlib_metadata#437", "`airgap kit` names the missing file, and makes no kit without it",
)  # fmt: skip
def test_a_module_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, site = own_wheel.build_own_wheel(tmp_path), tmp_path / "site"
    unpack(wheel, site)
    monkeypatch.setattr(own_wheel, "distribution", lambda _: PathDistribution(site / INFO))
    monkeypatch.setattr(own_wheel.airgap, "__file__", str(site / "airgap" / "__init__.py"))
    assert own_wheel.build_own_wheel(tmp_path).read_bytes() == wheel.read_bytes()
    (site / "airgap" / "carry" / "verify.py").unlink()
    with pytest.raises(MissingContentError, match=r"missing file: .*carry/verify\.py"):
        own_wheel.build_own_wheel(tmp_path)


@row(
    Kind.HOSTS, "LANG=C, LXC consoles, latin-1 terminals", "cannot encode characters that are printed",
    "Backblaze/B2_Command_Line_Tool#914", "they are written as escapes, and the command ends normally",
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_a_terminal_that_cannot_encode(host: Host, encoding: str) -> None:
    there = host.gap.folder / "Łódź…"
    done = host.run(
        "load", host.gap.bundle, "--to", f"oci:{there}", PYTHONIOENCODING=encoding, PYTHONUTF8="1"
    )
    assert (done.returncode, (there / "index.json").is_file()) == (0, True)
    assert rb"\u0141" in done.stderr
    assert host.run("send", "--help", PYTHONIOENCODING=encoding).returncode == 0


@row(
    Kind.HOSTS, "locales that are not UTF-8 (PYTHONUTF8=0)", "make Python read file names in another encoding",
    "PEP 540", "refused before anything is begun; the hint names LC_ALL=C.UTF-8",
)  # fmt: skip
def test_a_locale_that_is_not_utf_8(host: Host) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = host.run("verify", host.gap.folder / "Łódź", **plain)
    assert (done.returncode, b"LC_ALL=C.UTF-8" in done.stderr) == (2, True)


@row(
    Kind.HOSTS, "Kubernetes pod pids limits, `ulimit -u`", "keep programs from starting threads",
    "pypa/pip#11665", "named, with the limits to look at",
)  # fmt: skip
def test_no_more_threads(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = host("verify", host.gap.bundle, code=1)
    assert done.json["error"]["message"].startswith("cannot start more threads")
    assert "ulimit -u" in done.json["error"]["hint"]


@row(
    Kind.HOSTS, "a full disk, `ulimit -f`, a broken copy", "cuts a tar between two of its entries", "measured",
    "not the whole tar: copy it again; also from standard input",
)  # fmt: skip
@row(
    Kind.HOSTS, "dd, old tar", "leaves out the two blocks of zeros that end a tar", "GNU tar manual, A Lone Zero Block",
    "taken, when all files are there",
)  # fmt: skip
def test_a_tar_that_is_cut_between_two_entries(host: Host, tmp_path: Path) -> None:
    sender = Side(host.gap.folder / "online", host.side.capture)
    (tmp_path / "edge.yaml").write_text(
        f"version: 1\nname: edge\nimages:\n  - oci: {host.gap.folder / 'layout'}\n"
    )
    (tmp_path / "pass").write_text("p")
    options = ("--to", tmp_path / "tars", "--tar", "--passphrase-file", tmp_path / "pass")
    made = Path(sender("pack", tmp_path / "edge.yaml", *options).json["bundle"])
    raw = made.read_bytes()
    ends = [at for at in range(BLOCK, len(raw), BLOCK) if raw[at + 257 : at + 262] == b"ustar"]
    for end in (ends[0], ends[1], ends[len(ends) // 2], ends[-1]):
        made.write_bytes(raw[:end])
        error = host("verify", made, code=19).json["error"]
        assert error["message"].startswith("not the whole tar of a bundle"), error
        assert error["hint"] == "copy it again"
    made.write_bytes(raw[: -2 * BLOCK])
    host("verify", made)
