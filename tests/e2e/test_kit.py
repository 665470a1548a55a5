"""airgap gets to a bare server on a stick, is installed there, and works."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.airgap import PASSPHRASE, Side, environment, manifest_of
from tests.support.by_hand import by_key, readme_block
from tests.support.images import simple_image, write_layout
from tests.support.parts import require
from tests.support.server import Server, copy_server
from tests.support.waits import GENEROUS

DEBIAN_12 = "3.11"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Server:
    return copy_server(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A sending site, and a stick with a real kit: one download for all tests."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "stick").mkdir()
    with environment(AIRGAP_HOME=str(folder / "hq"), AIRGAP_PASSPHRASE=PASSPHRASE):
        call("init", "--owner", "alice", "--site", "hq")
        words = ("kit", "--to", folder / "stick", "--platform", "linux-x86_64", "--python", DEBIAN_12)
        done = call(*words, check=False)
        require(done.returncode == 0, f"no kit, and so no test of it: {done.stderr}")
    shutil.copy(folder / "hq" / "keys" / "alice.pub", folder / "stick")
    return folder


def call(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "airgap", *map(str, words)]
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=GENEROUS)


@pytest.fixture
def stick(world: Path, tmp_path: Path) -> Path:
    """A copy, to be spoilt."""
    shutil.copytree(world / "stick", tmp_path / "stick")
    return tmp_path / "stick"


@pytest.fixture
def kit(stick: Path) -> Path:
    return stick / "airgap-kit-0.1.0"


def test_the_server_is_bare(server: Server, world: Path):
    done = server(
        "python3 --version; ! command -v pip pip3 gcc cc airgap curl; ! python3 -m pip; ! python3 -m ensurepip;"
        "! python3 -c \"import socket; socket.create_connection(('127.0.0.1', 1))\"",
        world / "stick",
    )
    assert done.returncode == 0, done
    assert done.stdout == "Python 3.11.2\n"
    assert "Network is unreachable" in done.stderr


def test_installed_and_used(server: Server, world: Path, capsys: pytest.CaptureFixture[str]):
    """VERIFY.txt's commands, the installer, then everything that a receiving and a sending side does."""
    source, stick = world / "stick" / "images", world / "stick"
    write_layout(source, {"example.test/web:1": simple_image("web")})
    (stick / "stack.yaml").write_text(manifest_of("{oci: /mnt/images, ref: example.test/web:1}"))
    kit = stick / "airgap-kit-0.1.0"
    by_hand = by_key((kit / "VERIFY.txt").read_text("ascii"), "p256")
    done = server(f"cp /mnt/alice.pub /root/; KIT=/mnt/{kit.name} KEY=/root/alice.pub\n{by_hand}", stick)
    first, *_, last = done.stdout.splitlines()
    assert (done.returncode, first) == (0, "Verified OK"), done
    assert last == "installed: airgap 0.1.0 at /usr/local/bin/airgap"
    done = server("sh /mnt/airgap-kit-0.1.0/install.sh --key /root/alice.pub", stick)
    assert done.returncode == 0, done
    assert "signature: good, by key " in done.stdout
    assert done.stdout.endswith("was installed already: airgap 0.1.0 at /usr/local/bin/airgap\n")
    done = server(
        "cp /mnt/stack.yaml /root/; cd /root; airgap --version; airgap init --owner bob --site plant-7 --json;"
        "airgap lock stack.yaml >&2; airgap pack stack.yaml --to out >&2; airgap verify out/stack-0001;"
        "airgap load out/stack-0001 --to oci:layout >&2; airgap audit verify; cat layout/index.json",
        stick,
    )
    assert done.returncode == 0, done
    assert done.stdout.startswith("airgap 0.1.0\n")
    assert "good: stack-0001, signed by bob" in done.stdout
    assert "complete: " in done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["manifests"]
    hq = Side(world / "hq", capsys)
    assert hq("kit", "verify", stick / "airgap-kit-0.1.0").json["owners"] == ["alice"]


def _change(kit: Path) -> None:
    path = next(kit.glob("wheels/cryptography-*"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


SPOILT = {
    "a wheel changed": (_change, "wrong digest: /mnt/airgap-kit-0.1.0/wheels/cryptography-"),
    "a wheel missing": (lambda kit: next(kit.glob("wheels/rich-*")).unlink(), "missing file: "),
    "a wheel too many": (lambda kit: (kit / "wheels" / "evil-1-py3-none-any.whl").touch(), "does not list: "),
    "for another Python": (
        lambda kit: [
            path.rename(path.with_name("linux-x86_64-py3.99.txt")) for path in kit.glob("requirements/*")
        ],
        "no Python here that this kit is for: want 3.99, got 3.11",
    ),
    "the key is another's": (
        lambda kit: (kit.parent / "alice.pub").write_bytes((kit.parent / "other.pub").read_bytes()),
        "not signed by this key",
    ),
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILT)
def test_refused(server: Server, world: Path, kit: Path, spoil: str):
    """The exit code is 1, it says why, and there is nothing new at the prefix."""
    harm, words = SPOILT[spoil]
    shutil.copy(world / "hq" / "site.pub", kit.parent / "other.pub")
    harm(kit)
    done = server("sh /mnt/airgap-kit-0.1.0/install.sh --prefix /opt/new --key /mnt/alice.pub", kit.parent)
    assert (done.returncode, words in done.stderr) == (1, True), done
    assert not (server.root / "opt" / "new" / "bin").exists()


def test_the_way_of_the_readme(server: Server, world: Path):
    """The sum off paper, then the files, then the installer, all out of a copy."""
    done = server(by_readme(world), world / "stick")
    assert done.returncode == 0, done
    last = done.stdout.splitlines()[-1]
    assert last.endswith("installed: airgap 0.1.0 at /usr/local/bin/airgap") or "already" in last, done


@pytest.mark.parametrize("name", ["install.sh", "install.py", "SHA256SUMS", "statement.json"])
def test_the_way_of_the_readme_stops_at_what_was_changed(server: Server, world: Path, kit: Path, name: str):
    """Whoever writes to the stick can change all of it; not the sum on paper. Nothing of it runs."""
    (kit / name).write_bytes((kit / name).read_bytes() + b"\n")
    done = server(by_readme(world), kit.parent)
    said = done.stdout.removeprefix(f"{name}: FAILED\n")
    assert (done.returncode, said) == (1, ""), done


def made_sum(world: Path) -> str:
    """What `airgap kit` told of the statement, as the ledger has it."""
    ends = map(json.loads, (world / "hq" / "ledger.jsonl").read_bytes().splitlines())
    return next(end["statement_sha256"] for end in ends if end["event"] == "kit" and end["phase"] == "end")


def by_readme(world: Path) -> str:
    """The commands of README."""
    return f"KIT=/mnt/airgap-kit-0.1.0 SUM={made_sum(world)}\n{readme_block('KIT')}"


AILING = {
    "a Python in parts": (
        "mount --bind /bin/false /usr/lib/python3.11/shutil.py; {install} --prefix /opt/new",
        "lacks some of its standard library: want ctypes, fcntl, json, shutil, ssl, venv, zlib",
    ),
    "no Python": (
        "mount --bind /bin/false /usr/bin/python3.11; {install} --prefix /opt/new",
        "no Python here that this kit is for: want 3.11, got none",
    ),
    "a prefix that cannot be written": (
        "mkdir -p /opt/ro; mount -t tmpfs -o ro none /opt/ro; {install} --prefix /opt/ro/x",
        "hint: be root, or choose another folder with --prefix; nothing was installed",
    ),
    "not root": (
        "setpriv --reuid 4242 --clear-groups {install} --prefix /opt/new",
        "hint: be root, or choose another folder with --prefix; nothing was installed",
    ),
    "no room for the copies": (
        "mkdir -p /opt/s; mount -t tmpfs -o size=10m none /opt/s; {install} --prefix /opt/s/x",
        "hint: free some space at the prefix, or choose another folder with --prefix; nothing was installed",
    ),
    "no room for what is installed": (
        "mkdir -p /opt/s; mount -t tmpfs -o size=60m none /opt/s; {install} --prefix /opt/s/x",
        "No space left on device",
    ),
}  # fmt: skip


@pytest.mark.parametrize("ailment", AILING)
def test_an_ailing_machine_is_told_what_it_lacks(server: Server, world: Path, ailment: str):
    script, words = AILING[ailment]
    done = server(script.format(install="sh /mnt/airgap-kit-0.1.0/install.sh"), world / "stick")
    assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (1, True, False), done
    assert not (server.root / "opt" / "new" / "bin").exists()


def test_killed_half_way_and_run_again(server: Server, world: Path):
    script = """
    sh /mnt/airgap-kit-0.1.0/install.sh --prefix /opt/half & pid=$!
    until ls -d /opt/half/lib/airgap/0.1.0-*; do sleep 0.1; done >/dev/null 2>&1
    kill -9 $pid; wait $pid || true
    test ! -e /opt/half/bin/airgap
    sh /mnt/airgap-kit-0.1.0/install.sh --prefix /opt/half >/dev/null
    /opt/half/bin/airgap --version; ls -A /opt/half/lib/airgap | wc -l
    """
    done = server(script, world / "stick")
    assert (done.returncode, done.stdout.splitlines()[-2:]) == (0, ["airgap 0.1.0", "2"]), done


RESUMMED = """
rm -rf /root/kit; cp -r /mnt/airgap-kit-0.1.0 /root/kit; cd /root/kit
cut -c67- SHA256SUMS | xargs sha256sum > new; mv new SHA256SUMS
"""
"""What somebody does who changes files and knows of SHA256SUMS."""


def test_changed_with_its_sums_a_key_tells(server: Server, kit: Path):
    _change(kit)
    done = server(RESUMMED + "sh install.sh --prefix /opt/new --key /mnt/alice.pub", kit.parent)
    assert (done.returncode, "not the list that was signed" in done.stderr) == (1, True), done


def test_a_wheel_that_is_not_what_pip_expects(server: Server, kit: Path):
    """Sums made anew, no key given: pip's own hashes still refuse it, and nothing is left of the attempt."""
    _change(kit)
    done = server(
        RESUMMED + "sh install.sh --prefix /opt/new || { ls -A /opt/new/lib/airgap; exit 7; }", kit.parent
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (7, ".lock"), done
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
