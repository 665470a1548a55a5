"""`airgap send` to real OpenSSH servers on loopback: broken lines, wrong keys, full disks, many hosts."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airgap.bundle.files import Folder
from airgap.carry.verify import check
from airgap.endpoints.ssh import Address, Ssh, SshOptions
from airgap.errors import TransportError
from airgap.site import now
from tests.e2e.airgap import Answer, Side
from tests.support.bundles import Gap, make_gap
from tests.support.images import Layer, make_image, noise
from tests.support.line import Cut, Line
from tests.support.parts import require_root, require_tool, run
from tests.support.sshd import Sshd, free_port, make_key
from tests.support.waits import GENEROUS, wait_until

pytestmark = pytest.mark.e2e

MIB = 1 << 20
SIZES = (5, 4, 3)
"""MiB of the layers: together 12 MiB."""
FAR = "airgap-bundles/edge-0001"
ENVELOPE = "bundle.dsse.json"


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    layers = [Layer.of({"noise": noise(size * MIB - 2048, size)}, "none") for size in SIZES]
    images = {"registry.test/large:1": make_image(layers)}
    return make_gap(tmp_path_factory.mktemp("sealed"), images=images, now=now())


@dataclass(frozen=True)
class World:
    """A sending site with a bundle and a key, and the servers that a test starts."""

    folder: Path
    gap: Gap
    side: Side
    key: Path
    known: Path
    stack: ExitStack

    def sshd(self, name: str = "far", *lines: str, folder: Path | None = None, **options: Any) -> Sshd:
        """A server that is known."""
        server = self.stack.enter_context(Sshd(folder or self.folder / name, self.key, lines, **options))
        with self.known.open("a") as file:
            file.write(server.known_line)
        return server

    def send(self, *words: object, code: int = 0) -> Answer:
        options = ("--identity", self.key, "--known-hosts", self.known, "--ssh-config", "/dev/null")
        return self.side("send", self.gap.bundle, *words, *options, code=code)

    def line_to(self, server: Sshd, *cuts: Cut) -> Line:
        line = self.stack.enter_context(Line(f"127.0.0.1:{server.port}", *cuts))
        port = line.host.rpartition(":")[2]
        with self.known.open("a") as file:
            file.write(server.known_line.replace(f":{server.port} ", f":{port} "))
        return line

    def arrived(self, server: Sshd, folder: str = FAR) -> bool:
        """Whether exactly the bundle is there, byte for byte."""
        return files_of(server.home / folder) == files_of(self.gap.bundle)

    def ended(self) -> list[dict[str, Any]]:
        """The end records of all sendings."""
        lines = [json.loads(line) for line in (self.side.home / "ledger.jsonl").read_text().splitlines()]
        return [line for line in lines if line["event"] == "send" and line["phase"] == "end"]


@pytest.fixture
def world(sealed: Gap, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    require_root()
    tmp_path.chmod(0o755)
    shutil.copytree(sealed.folder / "online", tmp_path / "online")
    (tmp_path / "known_hosts").touch()
    key = make_key(tmp_path / "id")
    with ExitStack() as stack:
        yield World(tmp_path, sealed, Side(tmp_path / "online", capsys), key, tmp_path / "known_hosts", stack)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def total(gap: Gap) -> int:
    return sum(map(len, files_of(gap.bundle).values()))


def host(answer: Answer) -> dict[str, Any]:
    [found] = answer.json["hosts"]
    return found


# -- one host


def test_sends_what_is_lacking_and_then_nothing(world: World) -> None:
    far = world.sshd()
    first = host(world.send(far.address))
    assert (first["state"], first["bytes_sent"], first["proved_by"]) == ("sent", total(world.gap), "openssl")
    assert world.arrived(far)
    assert first["folder"] == str(far.home / FAR)
    second = host(world.send(far.address))
    assert (second["state"], second["bytes_sent"]) == ("already there", 0)
    assert second["files_there"] == first["files_sent"] == len(files_of(world.gap.bundle))
    assert [(end["result"], end["target"], end["sent_bytes"]) for end in _with_begin(world)] == [
        ("ok", far.address, total(world.gap)),
        ("ok", far.address, 0),
    ]
    with Folder(far.home / FAR) as folder:
        check(folder, world.gap.receiver())


def _with_begin(world: World) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (world.side.home / "ledger.jsonl").read_text().splitlines()]
    by_seq = {line["seq"]: line for line in lines}
    return [by_seq[end["begin"]] | end for end in world.ended()]


def test_a_tar_is_sent_as_its_files(world: World) -> None:
    far = world.sshd()
    tar = world.folder / "bundle.tar"
    names = [ENVELOPE, "statement.json"]
    rest = sorted(name for name in files_of(world.gap.bundle) if name not in names)
    run("tar", "--format=ustar", "-C", world.gap.bundle, "-cf", tar, *names, *rest)
    options = ("--identity", world.key, "--known-hosts", world.known, "--ssh-config", "/dev/null")
    world.side("send", tar, far.address, "--to", "elsewhere/deep", *options)
    assert world.arrived(far, "elsewhere/deep/edge-0001")


@pytest.mark.parametrize("at", range(1, 13))
def test_cut_at_each_mib_and_gone_on(world: World, at: int) -> None:
    far = world.sshd()
    line = world.line_to(far, Cut(b"SSH-", up=at * MIB))
    address = f"root@{line.host}"
    broken = world.send(address, "--reconnect", 0, code=20)
    assert "run the same command again to resume" in broken.err
    assert not (far.home / FAR / ENVELOPE).exists()
    again = host(world.send(address))
    assert world.arrived(far)
    # What was on its way inside the server when the line broke may be lost: its window is 2 MiB.
    assert again["bytes_sent"] <= total(world.gap) - max(0, at - 3) * MIB
    assert [end["result"] for end in world.ended()] == ["failed", "ok"]


def test_cut_thrice_in_one_run(world: World) -> None:
    far = world.sshd()
    line = world.line_to(far, *[Cut(b"SSH-", up=4 * MIB)] * 3)
    answer = world.send(f"root@{line.host}")
    assert answer.err.count("connecting again in") == 3
    assert world.arrived(far)
    # What was on its way when a line broke was sent again, and no more: the server's window is 2 MiB.
    assert host(answer)["bytes_sent"] <= total(world.gap) + 3 * 3 * MIB
    assert [end["result"] for end in world.ended()] == ["ok"]


def test_a_part_that_began_wrong_is_sent_whole(world: World) -> None:
    far = world.sshd()
    world.send(far.address)
    largest = max((far.home / FAR / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    raw = largest.read_bytes()
    largest.unlink()
    largest.with_name(largest.name + ".part").write_bytes(b"?" + raw[1 : 2 * MIB])
    (far.home / FAR / ENVELOPE).unlink()
    found = host(world.send(far.address))
    assert world.arrived(far)
    assert found["bytes_sent"] == len(raw) - 2 * MIB + len(raw) + (world.gap.bundle / ENVELOPE).stat().st_size


def test_wrong_content_of_the_right_size_is_sent_again(world: World) -> None:
    far = world.sshd()
    world.send(far.address)
    blob = max((far.home / FAR / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    raw = bytearray(blob.read_bytes())
    raw[-1] ^= 1
    blob.write_bytes(raw)
    (far.home / FAR / (ENVELOPE + ".part")).write_bytes(b"left behind")
    found = host(world.send(far.address))
    assert found["files_sent"] == 2, "the blob, and the envelope, which went away before"
    assert world.arrived(far)


def test_what_is_wrong_here_is_not_sent(world: World, tmp_path: Path) -> None:
    far = world.sshd()
    gap = world.gap.copy(tmp_path / "spoilt")
    largest = max((gap.bundle / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    gap.flip(largest.relative_to(gap.bundle).as_posix())
    options = ("--identity", world.key, "--known-hosts", world.known, "--ssh-config", "/dev/null")
    answer = world.side("send", gap.bundle, far.address, *options, code=12)
    assert f"wrong digest: {largest}" in answer.err
    assert not (far.home / FAR / ENVELOPE).exists()
    assert largest.name not in files_of(far.home / FAR / "blobs" / "sha256")
    assert [end["result"] for end in world.ended()] == ["refused"]


def test_another_bundle_of_that_name(world: World) -> None:
    far = world.sshd()
    world.send(far.address)
    for name in ("statement.json", ENVELOPE):
        (far.home / FAR / name).write_bytes(b"{}")
    before = files_of(far.home / FAR)
    answer = world.send(far.address, code=20)
    assert f"the host has another bundle with this name: {far.address}: {far.home / FAR}" in answer.err
    assert files_of(far.home / FAR) == before


@pytest.mark.parametrize(
    ("spoil", "want"),
    [
        (lambda folder: (folder / "notes.txt").write_text("x"), "not a file of this bundle"),
        (lambda folder: (folder / "index.json").symlink_to("/etc/passwd"), "not a regular file"),
        (lambda folder: (folder / "index.json.part").symlink_to("/etc/passwd"), "not a regular file"),
        (lambda folder: (folder / "index.json").mkdir(), "not a regular file"),
        (lambda folder: (folder / "blobs").symlink_to("/tmp"), "not a folder"),
        (lambda folder: (folder / "blobs").write_text("x"), "not a folder"),
        (lambda folder: os.mkfifo(folder / "sig"), "not a folder"),
    ],
    ids=["foreign", "link", "link-part", "folder", "linked-folder", "file-for-folder", "fifo"],
)
def test_something_in_the_way(world: World, spoil: Callable[[Path], object], want: str) -> None:
    far = world.sshd()
    folder = far.home / FAR
    folder.mkdir(parents=True)
    spoil(folder)
    answer = world.send(far.address, code=20)
    assert "the remote folder holds something else" in answer.err
    assert f"got {want}" in answer.err
    assert not (folder / ENVELOPE).exists()
    assert not Path("/tmp/sha256").exists(), "no link was followed"


def test_the_folder_itself_is_a_link(world: World) -> None:
    far = world.sshd()
    (far.home / "airgap-bundles").mkdir()
    (far.home / "other").mkdir()
    (far.home / FAR).symlink_to(far.home / "other")
    assert "got not a folder" in world.send(far.address, code=20).err
    assert list((far.home / "other").iterdir()) == []


# -- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    require_root()
    folder = tmp_path / "disk"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder)
    yield folder
    run("umount", folder)


def test_too_little_space_is_seen_before(world: World, small_disk: Path) -> None:
    far = world.sshd()
    answer = world.send(far.address, "--to", str(small_disk), code=20)
    assert re.search(r"the remote disk is full: .*, want [\d,]+ bytes free, got [\d,]+", answer.err)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
    run("mount", "-o", "remount,size=40m", small_disk)
    assert host(world.send(far.address, "--to", str(small_disk)))["state"] == "sent"


def test_a_disk_that_fills_up_while_it_is_written(world: World, small_disk: Path) -> None:
    far = world.sshd()
    options = SshOptions(Path("/dev/null"), world.known, (world.key,))
    connected = Ssh(options).open(Address.parse(far.address))
    with closing(connected), pytest.raises(TransportError) as caught:
        connected.write(f"{small_disk}/x", io.BytesIO(bytes(12 * MIB)), 0, lambda _: None)
    assert str(caught.value) == f"the remote disk is full: {far.address}: {small_disk}/x, got 0 bytes free"
    assert caught.value.hint.startswith("free some space there, then run the same command again")


def test_a_disk_that_others_fill(world: World, small_disk: Path) -> None:
    far = world.sshd()
    run("mount", "-o", "remount,size=20m", small_disk)
    line = world.line_to(far, Cut(b"SSH-", up=MIB))
    world.send(f"root@{line.host}", "--to", str(small_disk), "--reconnect", 0, code=20)
    (small_disk / "other").write_bytes(bytes(17 * MIB))
    assert "the remote disk is full" in world.send(far.address, "--to", str(small_disk), code=20).err
    (small_disk / "other").unlink()
    world.send(far.address, "--to", str(small_disk))
    assert files_of(small_disk / "edge-0001") == files_of(world.gap.bundle)


def test_read_only(world: World, small_disk: Path) -> None:
    far = world.sshd()
    (small_disk / "edge-0001").mkdir()
    run("mount", "-o", "remount,ro", small_disk)
    answer = world.send(far.address, "--to", str(small_disk), code=20)
    assert "got a read-only file system\n" in answer.err


# -- host keys


def test_unknown_host_key(world: World, tmp_path: Path) -> None:
    far = world.sshd()
    world.known.write_text("")
    answer = world.send(far.address, code=20)
    printed = run(require_tool("ssh-keygen"), "-lf", far.key.with_suffix(".pub")).stdout.decode().split()[1]
    assert f"unknown host key: [127.0.0.1]:{far.port}, got ssh-ed25519 {printed}" in answer.err
    command = re.search(r"if it is the same: `(.*) >> (.*)`", answer.err)
    scanned = run(*command[1].split()).stdout  # as the hint says
    Path(command[2]).write_bytes(scanned)
    assert host(world.send(far.address))["state"] == "sent"
    assert world.ended()[0]["exit_code"] == 20


def test_changed_host_key(world: World) -> None:
    far = world.sshd()
    other = make_key(world.folder / "other_host_key")
    world.known.write_text(
        far.known_line.replace(
            far.key.with_suffix(".pub").read_text().split()[1],
            other.with_suffix(".pub").read_text().split()[1],
        )
    )
    answer = world.send(far.address, code=20)
    assert f"changed host key: [127.0.0.1]:{far.port}, want ssh-ed25519 SHA256:" in answer.err
    command = re.search(r"remove the old one with `(.*)` and add", answer.err)[1]
    run(*command.replace("'", "").split())
    assert "unknown host key" in world.send(far.address, code=20).err


def test_an_alias_and_the_command_that_stores_its_key(world: World) -> None:
    far = world.sshd()
    world.known.write_text("")
    config = world.folder / "config"
    config.write_text(
        f"Host far\n HostName 127.0.0.1\n Port {far.port}\n User root\n HostKeyAlias Seven\n"
        f" UserKnownHostsFile {world.known}\n IdentityFile {world.key}\n"
    )
    answer = world.side("send", world.gap.bundle, "far", "--ssh-config", config, code=20)
    assert "unknown host key: seven, got" in answer.err
    run("sh", "-c", re.search(r"if it is the same: `(.*)`", answer.err)[1])
    assert world.known.read_text().startswith("seven ssh-ed25519 ")
    assert host(world.side("send", world.gap.bundle, "far", "--ssh-config", config))["state"] == "sent"


def test_settings_cannot_weaken_it(world: World) -> None:
    far = world.sshd()
    config = world.folder / "config"
    config.write_text(
        f"Host far\n HostName 127.0.0.1\n Port {far.port}\n User root\n StrictHostKeyChecking no\n"
        f" UserKnownHostsFile /dev/null\n IdentityFile {world.key}\n"
    )
    answer = world.side("send", world.gap.bundle, "far", "--ssh-config", config, code=20)
    assert "unknown host key" in answer.err
    config.write_text(config.read_text().replace("/dev/null", str(world.known)))
    assert host(world.side("send", world.gap.bundle, "far", "--ssh-config", config))["state"] == "sent"


def test_a_known_key_of_another_kind_is_asked_for(world: World) -> None:
    """The server would rather show its Ed25519 key; known is only its ECDSA key."""
    ecdsa = make_key(world.folder / "ecdsa", "ecdsa")
    far = world.sshd("far", f"HostKey {ecdsa}")
    kind, blob, *_ = ecdsa.with_suffix(".pub").read_text().split()
    world.known.write_text(f"[127.0.0.1]:{far.port} {kind} {blob}\n")
    assert host(world.send(far.address))["state"] == "sent"


# -- logins


def test_a_key_that_the_host_does_not_take(world: World) -> None:
    far = world.sshd()
    stranger = make_key(world.folder / "stranger")
    options = ("--identity", stranger, "--known-hosts", world.known, "--ssh-config", "/dev/null")
    answer = world.side("send", world.gap.bundle, far.address, *options, code=20)
    assert (
        f"login failed: {far.address}, want a key that the server accepts, got refused: {stranger}"
        in answer.err
    )


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_an_encrypted_key_file(world: World, kind: str) -> None:
    key = make_key(world.folder / "locked", kind, passphrase="open sesame")
    far = world.stack.enter_context(Sshd(world.folder / "far", key))
    world.known.write_text(far.known_line)
    (world.folder / "phrase").write_text("open sesame\n")
    options = ("--known-hosts", world.known, "--ssh-config", "/dev/null", "--identity", key)
    sent = world.side(
        "send", world.gap.bundle, far.address, *options, "--passphrase-file", world.folder / "phrase"
    )
    assert host(sent)["state"] == "sent"
    (world.folder / "phrase").write_text("wrong\n")
    answer = world.side(
        "send", world.gap.bundle, far.address, *options, "--passphrase-file", world.folder / "phrase", code=13
    )
    assert f"the SSH key cannot be opened: {key}" in answer.err


@pytest.fixture
def agent(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """An empty ssh-agent; its process."""
    started = run(require_tool("ssh-agent"), "-s", "-a", world.folder / "agent").stdout.decode()
    pid = int(re.search(r"SSH_AGENT_PID=(\d+)", started)[1])
    monkeypatch.setenv("SSH_AUTH_SOCK", str(world.folder / "agent"))
    monkeypatch.delenv("DISPLAY", raising=False)
    yield pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


@pytest.mark.usefixtures("agent")
def test_the_agent(world: World) -> None:
    far = world.sshd()
    run(require_tool("ssh-add"), "-q", world.key)
    world.key.unlink()  # only the agent has it now
    options = ("--known-hosts", world.known, "--ssh-config", "/dev/null")
    assert host(world.side("send", world.gap.bundle, far.address, *options))["state"] == "sent"
    public = world.key.with_suffix(".pub")
    for named in (world.key, public):  # the public half, which is still there, says which
        again = world.side("send", world.gap.bundle, far.address, *options, "--identity", named)
        assert host(again)["state"] == "already there"


@pytest.mark.usefixtures("agent")
def test_an_agent_with_too_many_keys(world: World) -> None:
    far = world.sshd("far", "MaxAuthTries 3")
    strangers = [make_key(world.folder / f"stranger{i}") for i in range(4)]
    run(require_tool("ssh-add"), "-q", *strangers, world.key)
    options = ("--known-hosts", world.known, "--ssh-config", "/dev/null")
    answer = world.side("send", world.gap.bundle, far.address, *options, code=20)
    assert "got the server closed the connection after 3 keys: Too many authentication failures" in answer.err
    assert "with --identity FILE: it is offered first" in answer.err
    named = world.side("send", world.gap.bundle, far.address, *options, "--identity", world.key)
    assert host(named)["state"] == "sent"


@pytest.mark.usefixtures("agent")
def test_a_key_that_the_agent_does_not_sign_with(world: World) -> None:
    """Nobody is there to confirm the use of the first; the server goes on with the second."""
    far = world.sshd()
    with world.key.with_suffix(".pub").open("a") as file:
        locked = make_key(world.folder / "locked")
        file.write(locked.with_suffix(".pub").read_text())
    run(require_tool("ssh-add"), "-q", "-c", locked)
    options = ("--known-hosts", world.known, "--ssh-config", "/dev/null")
    answer = world.side("send", world.gap.bundle, far.address, *options, code=20)
    assert f"not signed by the ssh-agent: {locked} (agent): key cannot be used for signing" in answer.err
    run(require_tool("ssh-add"), "-q", world.key)
    assert host(world.side("send", world.gap.bundle, far.address, *options))["state"] == "sent"


def test_an_agent_that_does_not_answer(world: World, agent: int) -> None:
    far = world.sshd()
    run(require_tool("ssh-add"), "-q", world.key)
    os.kill(agent, signal.SIGKILL)
    options = ("--known-hosts", world.known, "--ssh-config", "/dev/null")
    answer = world.side("send", world.gap.bundle, far.address, *options, code=20)
    assert f"got the ssh-agent: cannot be reached at {world.folder}/agent: Connection refused" in answer.err
    assert host(world.send(far.address))["state"] == "sent"


def test_proxy_jump(world: World) -> None:
    outer, inner, far = world.sshd("outer"), world.sshd("inner"), world.sshd("far")
    config = world.folder / "config"
    config.write_text(
        f"Host *\n IdentityFile {world.key}\n UserKnownHostsFile {world.known}\n User root\n"
        f"Host outer\n HostName 127.0.0.1\n Port {outer.port}\n"
        f"Host inner\n HostName 127.0.0.1\n Port {inner.port}\n ProxyJump outer\n"
        f"Host far\n HostName 127.0.0.1\n Port {far.port}\n ProxyJump inner\n"
    )
    assert host(world.side("send", world.gap.bundle, "far", "--ssh-config", config))["state"] == "sent"
    assert world.arrived(far)
    for server in (outer, inner):
        assert "Accepted publickey" in server.log()
        assert not (server.home / FAR).exists()
    known = world.known.read_text()
    world.known.write_text(known.replace(inner.known_line, ""))
    answer = world.side("send", world.gap.bundle, "far", "--ssh-config", config, code=20)
    assert f"unknown host key: [127.0.0.1]:{inner.port}" in answer.err
    command = f"`ssh -J root@127.0.0.1:{outer.port} -o UserKnownHostsFile={world.known} "
    assert command in answer.err


# -- hosts of other kinds


def test_a_host_with_sftp_only(world: World) -> None:
    far = world.sshd()
    only = world.sshd("only", f"ForceCommand internal-sftp -d {world.folder}/only/home")
    found = host(world.send(only.address))
    assert (found["state"], found["proved_by"]) == ("sent", "reading back")
    assert world.arrived(only)
    assert host(world.send(only.address))["state"] == "already there"
    largest = max((only.home / FAR / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    raw = largest.read_bytes()
    largest.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert host(world.send(only.address))["files_sent"] == 2
    assert world.arrived(only)
    assert "airgap is not installed on the host" in world.send(far.address, "--load", "oci:/x", code=20).err


def test_a_server_with_few_sessions(world: World) -> None:
    """Files take one session; commands have another one at a time, or none."""
    two = world.sshd("two", "MaxSessions 2")
    found = host(world.send(two.address))
    assert (found["proved_by"], world.arrived(two)) == ("openssl", True)
    one = world.sshd("one", "MaxSessions 1")
    found = host(world.send(one.address))
    assert (found["proved_by"], world.arrived(one)) == ("reading back", True)


@pytest.mark.parametrize(
    ("tool", "proved"),
    [
        ("exit 1", "sha256sum"),
        ("exit 127", "sha256sum"),
        ("cat /dev/zero | head -c 1000", "sha256sum"),
        ('for x; do echo "junk"; done', "sha256sum"),
    ],
)
def test_programs_there_that_are_not_what_they_are_called(world: World, tool: str, proved: str) -> None:
    far = world.sshd()
    _program(far, "openssl", tool)
    assert host(world.send(far.address))["proved_by"] == proved
    assert world.arrived(far)
    _program(far, "sha256sum", tool)
    again = host(world.send(far.address))
    assert (again["state"], again["proved_by"]) == ("already there", "reading back")


def test_a_program_that_writes_without_end(world: World) -> None:
    far = world.sshd()
    _program(far, "openssl", "exec yes")
    assert "the answer is too long" in world.send(far.address, code=20).err


def _program(server: Sshd, name: str, script: str) -> None:
    path = server.bin / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_hostile_names_reach_no_shell(world: World) -> None:
    far = world.sshd()
    folder = "a b'c\"d;touch HACKED;$(touch HACKED)`touch HACKED`&|*"
    found = host(world.send(far.address, "--to", folder))
    assert found["proved_by"] == "openssl"
    assert world.arrived(far, f"{folder}/edge-0001")
    assert list(far.folder.rglob("HACKED")) == []
    assert not Path("/root/HACKED").exists()


# -- many hosts


def test_twenty_hosts_one_of_which_fails(world: World) -> None:
    shared = make_key(world.folder / "shared_host_key")
    servers = [world.sshd(f"far{i}", host_key=shared) for i in range(19)]
    inventory = world.folder / "hosts.yaml"
    dead = f"root@127.0.0.1:{free_port()}"
    lines = "".join(f"  - {server.address}\n" for server in servers[1:])
    inventory.write_text(f"version: 1\nto: kept/here\nhosts:\n  - {dead}\n{lines}")
    answer = world.send(servers[0].address, "--inventory", inventory, "--to", "kept/here", code=3)
    states = {found["host"]: found["state"] for found in answer.json["hosts"]}
    assert len(states) == 20
    assert states.pop(dead) == "failed"
    assert set(states.values()) == {"sent"}
    assert all(world.arrived(server, "kept/here/edge-0001") for server in servers)
    assert f"failed: {dead}: cannot connect" in answer.err
    assert "error: some hosts failed, got 1 of 20" in answer.err
    assert list(answer.json["error"]["failures"]) == [dead]
    results = [(end["target"], end["result"]) for end in _with_begin(world)]
    assert len(results) == 20
    assert (dead, "failed") in results


def test_all_fail_with_one_code(world: World) -> None:
    first, second = world.sshd("a"), world.sshd("b")
    world.known.write_text("")
    answer = world.send(first.address, second.address, code=20)
    assert answer.json["error"]["kind"] == "TransportError"


def test_ctrl_c_is_recorded(world: World) -> None:
    far = world.sshd()
    _program(far, "openssl", "touch $HOME/hashing; exec sleep 3000")
    command = [
        "-m", "airgap", "send", world.gap.bundle, far.address, "--identity", world.key,
        "--known-hosts", world.known, "--ssh-config", "/dev/null",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        env={**os.environ, "AIRGAP_HOME": str(world.side.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_until((far.home / "hashing").exists, "openssl to start on the other host")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=GENEROUS)
    assert process.returncode == 130, err
    assert b"interrupted" in err
    [end] = world.ended()
    assert (end["result"], end["exit_code"]) == ("aborted", 130)
    assert not (far.home / FAR / ENVELOPE).exists()


def test_several_volumes_are_sent_as_one_bundle(world: World, tmp_path: Path) -> None:
    far = world.sshd()
    volumes = [tmp_path / f"volume{number}" for number in (1, 2)]
    sizes = [word for volume in volumes for word in ("--to", volume)]
    world.side("repack", world.gap.bundle, *sizes, "--volume-size", "8MiB")
    parts = sorted(path for volume in volumes for path in volume.iterdir())
    options = ("--identity", world.key, "--known-hosts", world.known, "--ssh-config", "/dev/null")
    further = [word for part in parts[1:] for word in ("--volume", part)]
    assert "volume" in world.side("send", parts[0], far.address, *options, code=19).err
    world.side("send", parts[0], far.address, *further, *options)
    assert world.arrived(far)
