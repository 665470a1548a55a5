"""The medium that a path lies on: what it is, whether it is the one that is meant, and whether it is fit."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airgap.bundle.devices import Device, Roots, clean
from airgap.bundle.files import media_errors
from airgap.bundle.mounts import Mount, mount_of, read_mounts
from airgap.durable import exists
from airgap.errors import MediaError, NoSpaceError

SYSTEM_FOLDERS = tuple(map(Path, ("/", "/boot", "/boot/efi", "/efi", "/usr", "/var", "/home")))
"""Where the running system lies; one that is no mount point is part of another one."""
OWN_FOLDERS = tuple(
    map(
        Path,
        [
            "/bin",
            "/boot",
            "/boot/efi",
            "/dev",
            "/efi",
            "/etc",
            "/lib",
            "/lib32",
            "/lib64",
            "/proc",
            "/sbin",
            "/sys",
            "/usr",
        ],
    )
)
"""Nothing below these is for bundles. Not so /home, /opt, /root, /srv, /tmp and /var: there they are made."""
PLACES = tuple(map(Path, ("/media", "/run/media", "/mnt", "/Volumes")))
"""Where people mount what they plug in."""

MARGIN = 4 << 20
"""Bytes left free beside the content, for names, tables and clusters that are not full; and 1 % of it."""

_SHARE = 100

_MARKS = ("bundle.dsse.json", "bundle.dsse.json.part", "volume.json")
"""What tells the folder of a bundle, or of a volume."""

_KERNEL = ("devtmpfs", "proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "devpts")
"""What shows the kernel, and keeps nothing."""
_MEMORY = ("tmpfs", "ramfs", *_KERNEL)

_ROOTS = Roots()


@dataclass(frozen=True, slots=True)
class Medium:
    """A mounted file system and the disk below it. What the system does not tell is "" or 0 or False."""

    mount_point: Path
    source: str = ""
    """The device as mounted: `/dev/sdb1`; for a network file system, the server's folder."""
    file_system: str = ""
    """As mounted: `vfat`, `fuseblk`, `nfs4`."""
    format: str = ""
    """As it is on the device, where that is known: `exfat` behind `fuseblk`."""
    label: str = ""
    uuid: str = ""
    vendor: str = ""
    product: str = ""
    serial: str = ""
    size: int = 0
    """Bytes that the disk says it has; those of the file system where there is no one disk."""
    free: int = 0
    """Bytes that we may still write."""
    removable: bool = False
    read_only: bool = False
    system: bool = False
    """It holds the running system, or lies on the same disk."""
    device: Device | None = field(default=None, repr=False, compare=False)
    """The block device of the file system, to ask it more."""

    @classmethod
    def of(cls, path: Path, roots: Roots = _ROOTS) -> "Medium":
        """The medium of `path`, or of the nearest folder above it that exists.

        Raises `MediaError` when that cannot be read. Links are followed.
        """
        with media_errors("cannot read", path):
            there = _existing(path)
            space = os.statvfs(there)
        mounts = read_mounts(roots.proc)
        mount = mount_of(there, mounts)
        total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
        read_only = bool(space.f_flag & os.ST_RDONLY)
        if mount is None:
            return cls(_mount_point(there), size=total, free=free, read_only=read_only)
        device = Device.find(roots, mount.device, mount.source)
        disks = device.disks() if device else frozenset()
        disk = next(iter(disks)) if len(disks) == 1 else None
        vendor, product, serial = disk.identity if disk else ("", "", "")
        return cls(
            mount_point=mount.mount_point,
            source=clean(mount.source),
            file_system=clean(mount.file_system),
            format=device.format if device else "",
            label=device.label if device else "",
            uuid=device.uuid if device else "",
            vendor=vendor,
            product=product,
            serial=serial,
            size=(disk.size if disk else 0) or total,
            free=free,
            removable=bool(disks) and all(disk.is_removable for disk in disks),
            read_only=read_only or mount.read_only or bool(device and device.is_read_only),
            system=_is_system(mount, disks, mounts, roots),
            device=device,
        )

    @property
    def is_carried(self) -> bool:
        """Whether a person may carry it away: neither the system's own disk nor memory."""
        return not self.system and self.file_system not in _MEMORY

    @property
    def is_direct(self) -> bool:
        """Whether what the kernel reads without its cache comes from a device: not on file systems of
        programs (FUSE), networks and memory, and not on files that serve as a device.
        """
        if self.device is None or self.file_system.startswith("fuse"):
            return False
        return not any(disk.is_cached for disk in self.device.disks())

    def record(self) -> dict[str, object]:
        """What the ledger keeps; nothing that is not known."""
        fields: dict[str, object] = {
            "mount_point": clean(str(self.mount_point)),
            "source": self.source,
            "file_system": self.file_system,
            "format": self.format,
            "label": self.label,
            "uuid": self.uuid,
            "vendor": self.vendor,
            "product": self.product,
            "serial": self.serial,
            "size": self.size,
            "removable": self.removable,
        }
        return {key: value for key, value in fields.items() if value not in {"", 0} or value is False}

    def describe(self) -> str:
        """One line for people: `SanDisk Ultra (serial 4C53), vfat "STICK", 31.0 GB, 28.4 GB free at /mnt`."""
        name = " ".join(filter(None, (self.vendor, self.product)))
        serial = f"(serial {self.serial})" if self.serial else ""
        kind = self.format or self.file_system or "unknown file system"
        label = f'"{self.label}"' if self.label else ""
        parts = (
            " ".join(filter(None, (name, serial))),
            " ".join(filter(None, (kind, label))),
            _amount(self.size),
            "read-only" if self.read_only else "",
            f"{_amount(self.free)} free at {self.mount_point}",
        )
        return ", ".join(filter(None, parts)) + (" (system disk)" if self.system else "")


def refuse_unfit(
    medium: Medium,
    path: Path,
    need: int | None,
    *,
    allow_system: bool = False,
    places: Sequence[Path] = PLACES,
    what: str = "the bundle",
) -> None:
    """Refuse, before the first byte, to write `need` bytes of `what` below `path`, which lies on `medium`;
    None where that is not known yet.

    Raises `MediaError` for a medium that cannot be written or keeps nothing, for the folder of another
    bundle, and, unless `allow_system`, where nothing is mounted and for the system's own folders;
    `NoSpaceError` for one that is too small. A folder elsewhere on the system's disk is fine: that is where
    bundles for a network are made.
    """
    _refuse_nested(path)
    if medium.file_system in _KERNEL:
        raise MediaError(
            "nothing is kept there",
            subject=path,
            got=f"{medium.file_system} at {medium.mount_point}",
            hint="mount the medium, and name the folder where it is mounted; nothing was written",
        )
    if medium.read_only:
        raise MediaError(
            "the medium is read-only",
            subject=medium.describe(),
            hint="flip its switch, or mount it again with write access; nothing was written",
        )
    if not allow_system:
        _refuse_system(medium, path, places)
    if not need:
        # What is there already is only checked, and a part that is wrong gives its room to the right one.
        return
    want = need + need // _SHARE + MARGIN
    if want > medium.free:
        raise NoSpaceError(
            f"{what} does not fit",
            subject=path,
            want=f"{want:,} bytes free",
            got=f"{medium.free:,}",
            hint="free some space or choose another medium with --to; nothing was written",
        )


def room_for(free: int) -> int:
    """How many bytes of content `refuse_unfit` lets go where so many are free."""
    return max(free - MARGIN, 0) * _SHARE // (_SHARE + 1)


def _refuse_nested(path: Path) -> None:
    """Readers refuse a file too many: a bundle in another one's folder would spoil that one."""
    if any(os.path.lexists(path / name) for name in _MARKS):
        raise MediaError(
            "this folder is a bundle itself",
            subject=path,
            hint=f"name the folder above it, {_without_links(path).parent}; nothing was written",
        )


def _refuse_system(medium: Medium, path: Path, places: Sequence[Path]) -> None:
    target = _without_links(path)
    for place in places:
        top = _without_links(place)
        if target.is_relative_to(top) and not medium.mount_point.is_relative_to(top):
            raise MediaError(
                "nothing is mounted there",
                subject=path,
                want=f"a medium at or below {place}",
                got=f"a folder on {medium.mount_point}",
                hint="mount it first; --allow-system-disk writes there all the same",
            )
    # What somebody has mounted deeper in is theirs: /dev/shm, /usr/local.
    own = any(target.is_relative_to(top) and top.is_relative_to(medium.mount_point) for top in OWN_FOLDERS)
    if own or target in SYSTEM_FOLDERS:
        raise MediaError(
            "this folder is the system's own",
            subject=path,
            hint="name a folder of your own, such as one below /home or /srv, or where a medium is mounted; "
            "--allow-system-disk writes there all the same",
        )


def _existing(path: Path) -> Path:
    """The nearest folder that exists, without links."""
    path = _without_links(path)
    return next(folder for folder in (path, *path.parents) if exists(folder))


def _without_links(path: Path) -> Path:
    """As `Path.resolve`, which raises `RuntimeError` for links in a circle."""
    return Path(os.path.realpath(path))


def _mount_point(path: Path) -> Path:
    """Where there is no mountinfo, the folder that differs from the one above it by its device."""
    return next(folder for folder in (path, *path.parents) if os.path.ismount(folder))


def _is_system(mount: Mount, disks: frozenset[Device], mounts: Sequence[Mount], roots: Roots) -> bool:
    for folder in SYSTEM_FOLDERS:
        system = mount_of(folder, mounts)
        if system is None:
            continue
        if system == mount or system.device == mount.device:
            return True
        device = Device.find(roots, system.device, system.source)
        if device and device.disks() & disks:
            return True
    return False


def _amount(size: int) -> str:
    """Bytes as the makers of disks count them."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.1f} {unit}" if unit != "bytes" else f"{size} bytes"
        amount /= 1000
    return f"{amount:.1f} TB"
