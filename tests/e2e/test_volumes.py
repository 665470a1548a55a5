"""A bundle over three real sticks, with a layer that is larger than any of them; judged by stock tools."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from airgap.bundle.medium import Medium
from tests.e2e.airgap import PASSPHRASE, Gap, Side, make_gap
from tests.support.damage import flip
from tests.support.engines import Engine
from tests.support.images import Layer, make_image, noise, write_layout
from tests.support.media import MIB, Disk, exfat_stick, fat_stick, require_media
from tests.support.parts import require_tool, run
from tests.support.registries import RealRegistry

SIZE = 16 * MIB
"""Of each stick; about 10 MiB of it can be used."""

_BASE = Layer.of({"base.bin": noise(200_000, 1)})
_BIG = Layer.of({"big.bin": noise(23 * MIB, 2)}, "zstd")  # which an old engine gets unpacked in flight
SMALL = make_image([_BASE], label="small")
LARGE = make_image([_BASE, _BIG], label="large")
BIG = LARGE.layers[1]
IMAGES = {"example.com/small:1": SMALL, "example.com/large:1": LARGE}
TITLE = "stack-0001"
OLD = 1_700_000_000

Tool = Callable[..., subprocess.CompletedProcess[bytes]]


class World:
    """Both sites, three sticks, and the bundle that was packed directly onto them."""

    def __init__(self, gap: Gap, sticks: list[Disk]) -> None:
        self.gap = gap
        self.sticks = sticks
        write_layout(gap.folder / "source", IMAGES)
        entries = "".join(f"  - {{oci: source, ref: {name}}}\n" for name in IMAGES)
        (gap.folder / "stack.yaml").write_text(f"version: 1\nname: stack\nimages:\n{entries}")
        self.packed = self.pack().json

    def pack(self):
        media = [word for stick in self.sticks for word in ("--to", stick.mount_point)]
        return self.gap.online("pack", self.gap.folder / "stack.yaml", *media)

    @property
    def volumes(self) -> list[Path]:
        return [stick.mount_point / f"{TITLE}.v{number}" for number, stick in enumerate(self.sticks, 1)]

    def part(self, number: int) -> Path:
        return self.volumes[number - 1] / f"{BIG.path}.{number - 1:03d}"


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    require_media()
    gap = make_gap(tmp_path, capsys)
    with ExitStack() as stack:
        makers = (fat_stick, exfat_stick, fat_stick)
        sticks = [stack.enter_context(make(tmp_path / f"stick{n}", SIZE)) for n, make in enumerate(makers, 1)]
        yield World(gap, sticks)


def airgap(*words: object) -> list[str]:
    return [sys.executable, "-B", "-m", "airgap", *map(str, words)]


def settings(side: Side) -> dict[str, str]:
    return {**os.environ, "AIRGAP_HOME": str(side.home), "AIRGAP_PASSPHRASE": PASSPHRASE}


def opened_for_writing(side: Side, log: Path, *words: object) -> set[Path]:
    """Every file that the command made or opened for writing, on any disk, as the kernel saw it."""
    calls = "openat,open,creat,openat2,mknod,mknodat,memfd_create"
    strace = [
        require_tool("strace"),
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-y",
        "-o",
        str(log),
        "-e",
        f"trace={calls}",
    ]
    command = [*strace, "-e", "status=successful", *airgap(*words, "--quiet")]
    done = subprocess.run(command, env=settings(side), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [
        line
        for line in log.read_text().splitlines()
        if re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE|memfd|creat\(|mknod", line)
    ]
    assert lines
    return {Path(line.rpartition("<")[2].partition(">")[0]) for line in lines}


def test_three_sticks(world: World, skopeo: Tool, openssl: Tool) -> None:
    gap, volumes = world.gap, world.volumes
    assert world.packed["volumes"] == list(map(str, volumes))
    assert [m["mount_point"] for m in world.packed["media"]] == [str(s.mount_point) for s in world.sticks]
    assert world.packed["read_back"] == "cached"  # fusefat's files come out of this machine's memory
    assert all(world.part(n).stat().st_size < 12 * MIB for n in (1, 2, 3))

    # stock tools, without ours: the layer, the small files, and the signature on each stick alone
    joined = b"".join(world.part(number).read_bytes() for number in (1, 2, 3))
    assert run("sha256sum", input=joined).stdout.split()[0].decode() == BIG.hex
    key = gap.folder / "alice.pub"
    key.write_text(gap.online("key", "show", "alice").json["pem"])
    keyid = run("sh", "-c", f"openssl pkey -pubin -in {key} -outform DER | sha256sum").stdout[:16].decode()
    for volume in volumes:
        check = "sha256sum --check --strict --quiet --ignore-missing SHA256SUMS && echo complete"
        assert run("sh", "-c", f"cd {volume} && {check}").stdout == b"complete\n"
        statement = (volume / "statement.json").read_bytes()
        pae = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(statement), statement)
        words = ("dgst", "-sha256", "-verify", key, "-signature", volume / "sig" / f"{keyid}.sig")
        assert openssl(*words, input=pae).stdout == b"Verified OK\n"

    gap.offline("verify", volumes[2], volumes[0], volumes[1])
    out = gap.folder / "out"
    gap.offline("load", volumes[1], volumes[2], volumes[0], "--to", f"oci:{out}")
    for name, image in IMAGES.items():
        assert skopeo("inspect", "--raw", f"oci:{out}:{name}").stdout == image.raw
        told = json.loads(skopeo("inspect", f"oci:{out}:{name}").stdout)
        assert (told["Digest"], told["Layers"]) == (
            str(image.descriptor.digest),
            list(map(str, image.layers)),
        )
    assert run("sha256sum", out / BIG.path).stdout.split()[0].decode() == BIG.hex
    gap.offline("audit", "verify")
    gap.online("audit", "verify")


@pytest.mark.usefixtures("unmeasured")
def test_nothing_is_kept_between_sticks_and_registry(
    world: World, registry: RealRegistry, skopeo: Tool
) -> None:
    """Peak extra disk 0: the only files that are written are records of some kilobytes, and none on a stick."""
    side = world.gap.offline
    used = [os.statvfs(stick.mount_point).f_bfree for stick in world.sticks]
    for words in (("verify",), ("load", "--to", f"registry:{registry.host}", "--no-receipt-copy")):
        written = opened_for_writing(side, world.gap.folder / "strace", words[0], *world.volumes, *words[1:])
        records = {"ledger.jsonl", "receipts", "received", "holdings"}
        assert written
        assert {path.relative_to(side.home).parts[0] for path in written} <= records
    assert sum(path.stat().st_size for path in side.home.rglob("*") if path.is_file()) < 100_000
    assert [os.statvfs(stick.mount_point).f_bfree for stick in world.sticks] == used
    for name, image in IMAGES.items():
        url = f"docker://{registry.host}/{name.partition('/')[2]}"
        assert skopeo("inspect", "--tls-verify=false", "--raw", url).stdout == image.raw


def test_sticks_into_an_engine(world: World, docker20: Engine) -> None:
    loaded = world.gap.offline("load", *world.volumes, "--to", f"docker:{docker20.host}").json
    assert [image["verdict"] for image in loaded["images"]] == ["loaded", "loaded"]
    for name, image in IMAGES.items():
        assert docker20.inspect(name)["Id"] == str(image.config)


def test_a_stick_that_is_not_there(world: World) -> None:
    """Not plugged in; and pulled out, so that its mount point answers nothing."""
    gap, volumes = world.gap, world.volumes
    with ExitStack() as stack:
        run("mount", "--bind", gap.folder / "source", world.sticks[1].mount_point)
        stack.callback(run, "umount", world.sticks[1].mount_point)
        for words in (("verify",), ("load", "--to", f"oci:{gap.folder}/out")):
            err = gap.offline(words[0], *volumes, *words[1:], code=19).err
            assert f"a volume is missing: {volumes[0]}, want volume 2 of 3, got volume 1, 3" in err
            assert f"hint: not a volume: {volumes[1]}" in err
    [pid] = run("pgrep", "-f", f"^fusefat .*{world.sticks[0].mount_point}").stdout.split()
    os.kill(int(pid), signal.SIGKILL)
    err = gap.offline("verify", *volumes, code=11).err
    assert f"{volumes[0]}, got Transport endpoint is not connected" in err
    assert not (gap.folder / "out").exists()
    gap.offline("audit", "verify")


class Port:
    """One mount point, at which one stick at a time is seen. Changing fails while a file is open there."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder = folder
        self._world = world
        folder.mkdir()

    def volume(self, number: int) -> Path:
        return self.folder / f"{TITLE}.v{number}"

    def put_in(self, number: int) -> Path:
        self.pull_out()
        run("mount", "--bind", self._world.sticks[number - 1].mount_point, self.folder)
        return self.volume(number)

    def pull_out(self) -> None:
        if self.folder.is_mount():
            run("umount", self.folder)


@pytest.fixture
def port(world: World) -> Iterator[Port]:
    port = Port(world.gap.folder / "port", world)
    yield port
    port.pull_out()


QUESTION = re.compile(
    rb"insert volume (\d+) of 3 of stack-0001, then press Enter \(\S+\),\r\nor type the path of its folder: "
)


def at_a_terminal(side: Side, answer: Callable[[int], str], *words: object) -> str:
    """Run a command at a terminal of its own; what it showed. `answer` hears which volume is wanted."""
    ours, theirs = pty.openpty()
    ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen(airgap(*words), env=settings(side), start_new_session=True, **ends) as process:
        os.close(theirs)
        shown, asked = b"", 0
        with contextlib.suppress(OSError):  # when the other end is closed
            while data := os.read(ours, 4096):
                shown += data
                questions = QUESTION.findall(shown)
                if len(questions) > asked:
                    asked = len(questions)
                    os.write(ours, f"{answer(int(questions[-1]))}\n".encode())
        os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode()


@pytest.mark.usefixtures("unmeasured")
def test_one_port(world: World, port: Port) -> None:
    """The sticks are changed at one mount point while the command waits."""
    gap = world.gap
    asked: list[int] = []

    def change(number: int) -> str:
        asked.append(number)
        port.put_in(number)
        return ""  # Enter alone: where the last one was

    shown = at_a_terminal(gap.offline, change, "verify", port.put_in(3))
    assert asked == [1, 2, 3]  # the layer's first part is on the first
    assert f"good: {TITLE}, signed by alice" in shown
    into = gap.folder / "x"
    for number, code in ((1, 19), (2, 19), (3, 0)):
        volume = port.put_in(number)
        answer = gap.offline("receive", volume, "--into", into, code=code)
        if code:
            assert (
                f"want volume {', '.join(map(str, range(number + 1, 4)))} of 3, got volume {number}"
                in answer.err
            )
    gap.offline("verify", into / TITLE)
    shutil.rmtree(into)
    asked.clear()
    at_a_terminal(gap.offline, change, "receive", port.put_in(1), "--into", into)
    assert asked == [2, 3]
    assert run("sha256sum", into / TITLE / BIG.path).stdout.split()[0].decode() == BIG.hex
    assert (
        run("sh", "-c", f"cd {into / TITLE} && sha256sum --check --strict --quiet SHA256SUMS").stdout == b""
    )


def test_full_sticks_are_mended(world: World) -> None:
    """The damaged part is larger than what is free beside it."""
    gap, volumes = world.gap, world.volumes
    for number in (1, 2, 3):
        os.utime(world.part(number), (OLD, OLD))  # FAT keeps times to two seconds
    free = Medium.of(volumes[1]).free
    assert free < world.part(2).stat().st_size
    flip(world.part(2), 7 * MIB)
    assert f"wrong digest: {world.part(2)}, want " in gap.offline("verify", *volumes, code=12).err
    assert world.pack().json["fresh"] is True
    gap.offline("verify", *volumes)
    assert [world.part(number).stat().st_mtime == OLD for number in (1, 2, 3)] == [True, False, True]

    gap.offline("repack", *volumes, "--to", gap.folder / "copy")
    flip(world.part(2), 5 * MIB)
    found = gap.offline("repair", *volumes, "--from", gap.folder / "copy" / TITLE).json
    assert found["blobs_written"] == 1
    gap.offline("verify", *volumes)
