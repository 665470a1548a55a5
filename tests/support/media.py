"""Real media, made of files: a FAT and an exFAT stick, an ext4 disk, and memory; all unmounted in the end.

    with exfat_stick(tmp_path / "media", 64 << 20) as stick:
        stick.mount_point / "bundle"

They need root and what tests/install.sh installs. Ask for them with `require_media()` first.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.parts import CommandFailedError, require, require_root, require_tool, run

MIB = 1 << 20


@dataclass(frozen=True)
class Disk:
    """A mounted medium; its bytes are those of the file `image`, and `device` is its loop device, if any."""

    mount_point: Path
    image: Path | None = None
    device: str = ""

    def harm(self, data: bytes, at: int = 0) -> None:
        """Turn over all bits of a byte of the medium, below the file system: that at `at` of the file
        whose content is `data`, or a part of it that is there only once and in one piece.
        """
        assert self.image is not None
        offset = self.image.read_bytes().index(data) + at
        with self.image.open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 0xFF]))


def require_media() -> None:
    """Skips, or with CI=true fails, where media cannot be made."""
    require_root()
    require(Path("/dev/fuse").exists(), "no /dev/fuse")
    require(Path("/dev/loop-control").exists(), "no loop devices")
    for tool in ("fusefat", "mount.exfat-fuse", "mkfs.vfat", "mkfs.exfat", "mkfs.ext4", "losetup"):
        require_tool(tool)


@contextmanager
def fat_stick(folder: Path, size: int = 64 * MIB) -> Iterator[Disk]:
    """FAT, presented by fusefat out of a file: no block device is behind it."""
    image = _image(folder, size)
    run("mkfs.vfat", "-n", "STICK", image)
    with _mounted(folder, "fusefat", image, _mount_point(folder), "-o", "rw+") as mount_point:
        yield Disk(mount_point, image)


@contextmanager
def exfat_stick(folder: Path, size: int = 64 * MIB, *, direct: bool = True) -> Iterator[Disk]:
    """exFAT, presented by exfat-fuse out of a loop device."""
    image = _image(folder, size)
    with (
        _formatted(image, direct, "mkfs.exfat", "-L", "STICK") as device,
        _mounted(folder, "mount.exfat-fuse", device, _mount_point(folder)) as mount_point,
    ):
        yield Disk(mount_point, image, device)


@contextmanager
def ntfs_stick(folder: Path, size: int = 64 * MIB) -> Iterator[Disk]:
    """NTFS, presented by ntfs-3g out of a file."""
    require_root()
    require(Path("/dev/fuse").exists(), "no /dev/fuse")
    mkntfs, ntfs = require_tool("mkntfs"), require_tool("ntfs-3g")
    image = _image(folder, size)
    run(mkntfs, "--force", "--quick", "--quiet", image)
    with _mounted(folder, ntfs, image, _mount_point(folder)) as mount_point:
        yield Disk(mount_point, image)


def shorten_names(folder: Path) -> None:
    """Give each file on an NTFS stick a short name beside the long one, as Windows does."""
    for number, path in enumerate(sorted(each for each in folder.rglob("*") if each.is_file())):
        os.setxattr(path, "system.ntfs_dos_name", f"F{number:05}~1".encode())


@contextmanager
def ext4_disk(folder: Path, size: int = 64 * MIB, *, direct: bool = True) -> Iterator[Disk]:
    """ext4, by the kernel, on a loop device."""
    image = _image(folder, size)
    with (
        _formatted(image, direct, "mkfs.ext4", "-q", "-L", "DISK") as device,
        _mounted(folder, "mount", "-t", "ext4", device, _mount_point(folder)) as mount_point,
    ):
        yield Disk(mount_point, image, device)


@contextmanager
def tmpfs(folder: Path, size: int = 64 * MIB, options: str = "rw") -> Iterator[Disk]:
    """Memory as a file system."""
    where = _mount_point(folder)
    with _mounted(
        folder, "mount", "-t", "tmpfs", "-o", f"size={size},{options}", "tmpfs", where
    ) as mount_point:
        yield Disk(mount_point)


@contextmanager
def loop_device(image: Path, *, direct: bool = True) -> Iterator[str]:
    """A file as a block device; `direct`: the kernel reads and writes the file past the cache."""
    words = ("losetup", "--find", "--show", f"--direct-io={'on' if direct else 'off'}", image)
    for attempt in range(5):  # another process may take the free one first
        try:
            device = run(*words).stdout.decode().strip()
            break
        except CommandFailedError:
            if attempt == 4:
                raise
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


def _image(folder: Path, size: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / "medium.img"
    with image.open("wb") as file:
        file.truncate(size)
    return image


def _mount_point(folder: Path) -> Path:
    mount_point = folder / "mounted"
    mount_point.mkdir(parents=True, exist_ok=True)
    return mount_point


@contextmanager
def _formatted(image: Path, direct: bool, *command: str) -> Iterator[str]:
    """A file system is made on the device and not in the image, where the device may not see it at once."""
    with loop_device(image, direct=direct) as device:
        run(*command, device)
        yield device


@contextmanager
def _mounted(folder: Path, *command: str | Path) -> Iterator[Path]:
    run(*command)
    mount_point = folder / "mounted"
    assert mount_point.is_mount()
    try:
        yield mount_point
    finally:
        if subprocess.run(["umount", mount_point], capture_output=True, check=False).returncode:
            run("umount", "--lazy", mount_point)
