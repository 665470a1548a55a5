"""Files of a bundle on their way to a real OpenSSH server: broken lines, spoilt parts, full disks."""

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.carry.verify import check
from airgap.endpoints.ssh import Address, Ssh, SshOptions
from airgap.errors import TransportError
from tests.e2e.send.world import ENVELOPE, FAR, MIB, World, files_of, host, put_program, total, with_begin
from tests.support.line import Cut
from tests.support.parts import run
from tests.support.waits import GENEROUS, wait_until


def test_what_is_lacking_is_sent_and_then_nothing(world: World) -> None:
    far = world.sshd()
    first = host(world.send(far.address))
    assert (first["state"], first["bytes_sent"], first["proved_by"]) == ("sent", total(world.gap), "openssl")
    assert world.arrived(far)
    assert first["folder"] == str(far.home / FAR)
    second = host(world.send(far.address))
    assert (second["state"], second["bytes_sent"]) == ("already there", 0)
    assert second["files_there"] == first["files_sent"] == len(files_of(world.gap.bundle))
    assert [(end["result"], end["target"], end["sent_bytes"]) for end in with_begin(world)] == [
        ("ok", far.address, total(world.gap)),
        ("ok", far.address, 0),
    ]
    with Folder(far.home / FAR) as folder:
        check(folder, world.gap.receiver())


def test_a_tar_is_sent_as_its_files(world: World) -> None:
    far = world.sshd()
    tar = world.folder / "bundle.tar"
    names = [ENVELOPE, "statement.json"]
    rest = sorted(name for name in files_of(world.gap.bundle) if name not in names)
    run("tar", "--format=ustar", "-C", world.gap.bundle, "-cf", tar, *names, *rest)
    world.side("send", tar, far.address, "--to", "elsewhere/deep", *world.options)
    assert world.arrived(far, "elsewhere/deep/edge-0001")


@pytest.mark.parametrize("at", range(1, 13))
def test_a_line_cut_at_any_mib_is_resumed_by_the_next_run(world: World, at: int) -> None:
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


def test_a_line_cut_three_times_is_resumed_within_one_run(world: World) -> None:
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
    answer = world.side("send", gap.bundle, far.address, *world.options, code=12)
    assert f"wrong digest: {largest}" in answer.err
    assert not (far.home / FAR / ENVELOPE).exists()
    assert largest.name not in files_of(far.home / FAR / "blobs" / "sha256")
    assert [end["result"] for end in world.ended()] == ["refused"]


def test_another_bundle_of_that_name_is_left_unchanged(world: World) -> None:
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
def test_something_in_the_way_is_refused(world: World, spoil: Callable[[Path], object], want: str) -> None:
    far = world.sshd()
    folder = far.home / FAR
    folder.mkdir(parents=True)
    spoil(folder)
    answer = world.send(far.address, code=20)
    assert "the remote folder holds something else" in answer.err
    assert f"got {want}" in answer.err
    assert not (folder / ENVELOPE).exists()
    assert not Path("/tmp/sha256").exists(), "no link was followed"


def test_a_folder_that_is_a_link_is_refused(world: World) -> None:
    far = world.sshd()
    (far.home / "airgap-bundles").mkdir()
    (far.home / "other").mkdir()
    (far.home / FAR).symlink_to(far.home / "other")
    assert "got not a folder" in world.send(far.address, code=20).err
    assert list((far.home / "other").iterdir()) == []


# -- disks


def test_too_little_space_is_seen_before(world: World, small_disk: Path) -> None:
    far = world.sshd()
    answer = world.send(far.address, "--to", str(small_disk), code=20)
    assert re.search(r"the remote disk is full: .*, want [\d,]+ bytes free, got [\d,]+", answer.err)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
    run("mount", "-o", "remount,size=40m", small_disk)
    assert host(world.send(far.address, "--to", str(small_disk)))["state"] == "sent"


def test_a_disk_that_fills_up_while_it_is_written_is_reported(world: World, small_disk: Path) -> None:
    far = world.sshd()
    options = SshOptions(Path("/dev/null"), world.known, (world.key,))
    connected = Ssh(options).open(Address.parse(far.address))
    with closing(connected), pytest.raises(TransportError) as caught:
        connected.write(f"{small_disk}/x", io.BytesIO(bytes(12 * MIB)), 0, lambda _: None)
    assert str(caught.value) == f"the remote disk is full: {far.address}: {small_disk}/x, got 0 bytes free"
    assert caught.value.hint.startswith("free some space there, then run the same command again")


def test_sending_resumes_when_others_free_the_disk(world: World, small_disk: Path) -> None:
    far = world.sshd()
    run("mount", "-o", "remount,size=20m", small_disk)
    line = world.line_to(far, Cut(b"SSH-", up=MIB))
    world.send(f"root@{line.host}", "--to", str(small_disk), "--reconnect", 0, code=20)
    (small_disk / "other").write_bytes(bytes(17 * MIB))
    assert "the remote disk is full" in world.send(far.address, "--to", str(small_disk), code=20).err
    (small_disk / "other").unlink()
    world.send(far.address, "--to", str(small_disk))
    assert files_of(small_disk / "edge-0001") == files_of(world.gap.bundle)


def test_a_read_only_disk_is_reported(world: World, small_disk: Path) -> None:
    far = world.sshd()
    (small_disk / "edge-0001").mkdir()
    run("mount", "-o", "remount,ro", small_disk)
    answer = world.send(far.address, "--to", str(small_disk), code=20)
    assert "got a read-only file system\n" in answer.err


def test_ctrl_c_is_recorded(world: World) -> None:
    far = world.sshd()
    put_program(far, "openssl", "touch $HOME/hashing; exec sleep 3000")
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
    further = [word for part in parts[1:] for word in ("--volume", part)]
    assert "volume" in world.side("send", parts[0], far.address, *world.options, code=19).err
    world.side("send", parts[0], far.address, *further, *world.options)
    assert world.arrived(far)
