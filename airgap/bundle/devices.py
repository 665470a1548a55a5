"""Block devices as Linux describes them in /sys/dev/block, /run/udev/data and /dev/disk.

Any of these may be missing: values are then unknown, but no call fails. Names and serials come from the
device itself, so they are shortened and cleaned before they are shown.
"""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from airgap.limits import MAX_DEVICE_DEPTH, MAX_DEVICE_FILE_BYTES, MAX_DEVICE_TEXT_CHARACTERS
from airgap.values import dataclass

_SECTOR = 512
_NUMBER = re.compile(r"[0-9]+:[0-9]+", re.ASCII)
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")

_MEANINGLESS = re.compile(r"ATA|0x[0-9a-f]{4}|\(null\)")
"""Vendor names that come from the kernel, not from the device."""


def clean(text: str) -> str:
    """Clean text from a device for people: printable characters, single spaces, limited length."""
    text = text.encode("utf-8", "replace").decode()
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text[:MAX_DEVICE_TEXT_CHARACTERS].rstrip()


@dataclass(frozen=True, slots=True)
class SystemFolders:
    """The folders in which the system describes its devices; tests have their own."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    run: Path = Path("/run")
    dev: Path = Path("/dev")


@dataclass(frozen=True, slots=True)
class Device:
    """A block device: its folder in /sys and its number, `MAJOR:MINOR`."""

    roots: SystemFolders
    number: str
    folder: Path

    @classmethod
    def find(cls, roots: SystemFolders, number: str, source: str = "") -> "Device | None":
        """Find a device by number, or by its name `/dev/…` if there is no such number (btrfs)."""
        if not _exists(roots, number) and source.startswith("/dev/"):
            name = (roots.dev / source.removeprefix("/dev/")).resolve().name
            number = _read(roots.sys / "class/block" / name / "dev")
        if not _exists(roots, number):
            return None
        return cls(roots, number, (roots.sys / "dev/block" / number).resolve())

    @property
    def name(self) -> str:
        """The name in /dev: `sdb1`."""
        return self.folder.name

    @property
    def size(self) -> int:
        """The size in bytes; 0 if unknown."""
        return _integer(self.folder / "size") * _SECTOR

    @property
    def bytes_read(self) -> int | None:
        """The number of bytes read from the device since the system started; None if they are not counted."""
        # stat: reads completed, reads merged, sectors read, … (Documentation/block/stat.rst)
        counts = _read(self.folder / "stat").split()
        return int(counts[2]) * _SECTOR if len(counts) > 2 and counts[2].isdigit() else None

    def disks(self, depth: int = MAX_DEVICE_DEPTH) -> frozenset["Device"]:
        """Return the whole disks that the device is on, through partitions, device mapper and RAID."""
        if (self.folder / "partition").exists():
            disk = Device.find(self.roots, _read(self.folder.parent / "dev"))
            return disk.disks(depth - 1) if disk and depth else frozenset()
        disks_below: frozenset[Device] = frozenset()
        for slave in _listed(self.folder / "slaves"):
            below = Device.find(self.roots, _read(slave / "dev"))
            if below and depth:
                disks_below |= below.disks(depth - 1)
        return disks_below or frozenset({self})

    @property
    def is_removable(self) -> bool:
        """Return whether the disk is removable: by its medium, by USB, or as an SD card."""
        return (
            _read(self.folder / "removable") == "1"
            or self._usb() is not None
            or _read(self.folder / "device/type") == "SD"
        )

    @property
    def is_read_only(self) -> bool:
        """Return whether the device is read-only, independent of mounts."""
        return _read(self.folder / "ro") == "1"

    @property
    def is_cached(self) -> bool:
        """Return whether reads may be answered from memory: a loop device, or memory itself."""
        if self.name.startswith("loop"):
            return _read(self.folder / "loop/dio") != "1"
        return self.name.startswith(("ram", "zram"))

    @property
    def identity(self) -> tuple[str, str, str]:
        """Vendor, product and serial of a disk, each "" if unknown."""
        udev, device = self.properties, self.folder / "device"
        usb = self._usb() or Path("/nonexistent")
        return (
            _known(_decoded(udev, "ID_VENDOR"), _read(device / "vendor"), _read(usb / "manufacturer")),
            _known(
                _decoded(udev, "ID_MODEL"),
                _read(device / "model"),
                _read(device / "name"),
                _read(usb / "product"),
            ),
            _known(
                udev.get("ID_SERIAL_SHORT", ""),
                _read(usb / "serial"),
                _read(device / "serial"),
                _read(self.folder / "serial"),
            ),
        )

    @property
    def label(self) -> str:
        """The label of the file system on it."""
        return _known(_decoded(self.properties, "ID_FS_LABEL"), self._named_by("label"))

    @property
    def uuid(self) -> str:
        """The UUID of the file system on it."""
        return _known(_decoded(self.properties, "ID_FS_UUID"), self._named_by("uuid"))

    @property
    def format(self) -> str:
        """The file system on the device, even if it is mounted with FUSE: `exfat`."""
        return clean(self.properties.get("ID_FS_TYPE", ""))

    @property
    def properties(self) -> Mapping[str, str]:
        """The properties of the device in udev."""
        text = _read(self.roots.run / "udev/data" / f"b{self.number}")
        pairs = (line[2:].partition("=") for line in text.split("\n") if line.startswith("E:"))
        return {key: value for key, _, value in pairs}

    def _usb(self) -> Path | None:
        """Return the folder of the USB device that contains this one; None if there is none."""
        for folder in self.folder.parents:
            if (folder / "idVendor").exists():
                return folder
        return None

    def _named_by(self, kind: str) -> str:
        """Return the name of the link to the device in /dev/disk/by-label or /dev/disk/by-uuid."""
        for link in _listed(self.roots.dev / "disk" / f"by-{kind}"):
            with contextlib.suppress(OSError):
                if link.is_symlink() and link.readlink().name == self.name:
                    return _unescape(link.name)
        return ""


def _exists(roots: SystemFolders, number: str) -> bool:
    return bool(_NUMBER.fullmatch(number)) and (roots.sys / "dev/block" / number).exists()


def _read(path: Path) -> str:
    """Read a small file, stripped; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_DEVICE_FILE_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _integer(path: Path) -> int:
    text = _read(path)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _known(*texts: str) -> str:
    """Return the first text that says something about the device."""
    return next((text for text in map(clean, texts) if text and not _MEANINGLESS.fullmatch(text)), "")


def _decoded(udev: Mapping[str, str], key: str) -> str:
    """Return a property as the device spells it, if udev has that, else in udev's spelling."""
    return _unescape(udev[f"{key}_ENC"]) if f"{key}_ENC" in udev else udev.get(key, "")


def _unescape(text: str) -> str:
    raw = text.encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), raw).decode("utf-8", "replace")
