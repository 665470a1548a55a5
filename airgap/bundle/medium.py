"""The medium that a path is on: its description, and the checks that it is suitable and the intended one."""

import os
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

from airgap.bundle.devices import Device, SystemFolders, clean
from airgap.bundle.files import media_errors
from airgap.bundle.mounts import Mount, mount_of, read_mounts
from airgap.durable import exists
from airgap.errors import MediaError, NoSpaceError
from airgap.values import dataclass

SYSTEM_FOLDERS = tuple(map(Path, ("/", "/boot", "/boot/efi", "/efi", "/usr", "/var", "/home")))
"""The folders of the running system. One that is not a mount point belongs to the medium of another one."""
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
"""No bundle is written below these. Bundles may be in /home, /opt, /root, /srv, /tmp and /var."""
PLACES = tuple(map(Path, ("/media", "/run/media", "/mnt", "/Volumes")))
"""Where people mount removable media."""

MARGIN = 4 << 20
"""Bytes kept free for names, tables and partly used clusters, in addition to 1 % of the content."""

_SHARE = 100

_MARKS = ("bundle.dsse.json", "bundle.dsse.json.part", "volume.json")
"""Files that mark the folder of a bundle or of a volume."""

_KERNEL = ("devtmpfs", "proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "devpts")
"""File systems of the kernel, which store no files."""
_MEMORY = ("tmpfs", "ramfs", *_KERNEL)

_ROOTS = SystemFolders()


@dataclass(frozen=True, slots=True)
class Medium:
    """A mounted file system and the disk below it. Unknown values are "", 0 or False."""

    mount_point: Path
    source: str = ""
    """The device as mounted: `/dev/sdb1`; for a network file system, the server's folder."""
    file_system: str = ""
    """The type as mounted: `vfat`, `fuseblk`, `nfs4`."""
    format: str = ""
    """The format on the device, if known: `exfat` behind `fuseblk`."""
    label: str = ""
    uuid: str = ""
    vendor: str = ""
    product: str = ""
    serial: str = ""
    size: int = 0
    """The size in bytes that the disk reports; that of the file system if there is not exactly one disk."""
    free: int = 0
    """The bytes that this user can still write."""
    removable: bool = False
    read_only: bool = False
    system: bool = False
    """It holds the running system, or is on the same disk."""
    device: Device | None = field(default=None, repr=False, compare=False)
    """The block device of the file system."""

    @classmethod
    def of(cls, path: Path, roots: SystemFolders = _ROOTS) -> "Medium":
        """Return the medium of `path`, or of the nearest existing folder above it.

        Raises `MediaError` if that cannot be read. Links are followed.
        """
        with media_errors("cannot read", path):
            folder = _existing(path)
            space = os.statvfs(folder)
        mounts = read_mounts(roots.proc)
        mount = mount_of(folder, mounts)
        total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
        read_only = bool(space.f_flag & os.ST_RDONLY)
        if mount is None:
            return cls(_mount_point(folder), size=total, free=free, read_only=read_only)
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
        """Return whether the medium can be carried away: it is neither the system's own disk nor memory."""
        return not self.system and self.file_system not in _MEMORY

    @property
    def is_direct(self) -> bool:
        """Return whether the kernel's uncached reads come from a device. They do not on FUSE, network and
        memory file systems, nor on files that are used as a device.
        """
        if self.device is None or self.file_system.startswith("fuse"):
            return False
        return not any(disk.is_cached for disk in self.device.disks())

    def record(self) -> dict[str, object]:
        """Return the values for the ledger, without unknown ones."""
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
        """Describe it for people: `SanDisk Ultra (serial 4C53), vfat "STICK", 31.0 GB, 1 GB free at /mnt`."""
        name = " ".join(filter(None, (self.vendor, self.product)))
        serial = f"(serial {self.serial})" if self.serial else ""
        kind = self.format or self.file_system or "unknown file system"
        label = f'"{self.label}"' if self.label else ""
        parts = (
            " ".join(filter(None, (name, serial))),
            " ".join(filter(None, (kind, label))),
            format_size(self.size),
            "read-only" if self.read_only else "",
            f"{format_size(self.free)} free at {self.mount_point}",
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
    """Check, before the first byte, that `need` bytes of `what` can be written below `path` on `medium`; None
    if the size is not known yet.

    Raises `MediaError` for a medium that cannot be written or stores no files, for the folder of another
    bundle, and, unless `allow_system`, for a mount folder without a medium and for the system's own folders.
    Raises `NoSpaceError` for a medium that is too small. Other folders on the system's disk are accepted, for
    bundles that travel over a network.
    """
    _refuse_nested(path)
    if medium.file_system in _KERNEL:
        raise MediaError(
            "files cannot be stored there",
            subject=path,
            got=f"{medium.file_system} at {medium.mount_point}",
            hint="mount the medium, and name the folder where it is mounted; nothing was written",
        )
    if medium.read_only:
        raise MediaError(
            "the medium is read-only",
            subject=medium.describe(),
            hint="use its write-protect switch, or mount it again with write access; nothing was written",
        )
    if not allow_system:
        _refuse_system(medium, path, places)
    if not need:
        # Existing content is only checked, and a wrong part is removed before the right one is written.
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
    """Return how many bytes of content `refuse_unfit` accepts if `free` bytes are free."""
    return max(free - MARGIN, 0) * _SHARE // (_SHARE + 1)


def _refuse_nested(path: Path) -> None:
    """Refuse the folder of a bundle: readers refuse additional files, so a bundle inside would damage it."""
    if any(os.path.lexists(path / name) for name in _MARKS):
        raise MediaError(
            "this folder is itself a bundle",
            subject=path,
            hint=f"name the folder above it, {_without_links(path).parent}; nothing was written",
        )


def _refuse_system(medium: Medium, path: Path, places: Sequence[Path]) -> None:
    target = _without_links(path)
    for media_folder in places:
        top = _without_links(media_folder)
        if target.is_relative_to(top) and not medium.mount_point.is_relative_to(top):
            raise MediaError(
                "no medium is mounted there",
                subject=path,
                want=f"a medium at or below {media_folder}",
                got=f"a folder on {medium.mount_point}",
                hint="mount the medium first, or use --allow-system-disk to write there anyway",
            )
    # A file system mounted further down belongs to the person who mounted it: /dev/shm, /usr/local.
    own = any(target.is_relative_to(top) and top.is_relative_to(medium.mount_point) for top in OWN_FOLDERS)
    if own or target in SYSTEM_FOLDERS:
        raise MediaError(
            "this folder belongs to the system",
            subject=path,
            hint="name a folder of your own, such as one below /home or /srv, or on a medium; "
            "use --allow-system-disk to write there anyway",
        )


def _existing(path: Path) -> Path:
    """Return the nearest existing folder, without links."""
    path = _without_links(path)
    return next(folder for folder in (path, *path.parents) if exists(folder))


def _without_links(path: Path) -> Path:
    """Do the same as `Path.resolve`, which raises `RuntimeError` for circular links."""
    return Path(os.path.realpath(path))


def _mount_point(path: Path) -> Path:
    """Return the mount point without mountinfo: the folder on another device than its parent."""
    return next(folder for folder in (path, *path.parents) if os.path.ismount(folder))


def _is_system(mount: Mount, disks: frozenset[Device], mounts: Sequence[Mount], roots: SystemFolders) -> bool:
    for folder in SYSTEM_FOLDERS:
        system = mount_of(folder, mounts)
        if system is None:
            continue
        if system == mount or system.device == mount.device:
            return True
        if not disks:
            continue  # a share or memory, which no disk of the system is below
        device = Device.find(roots, system.device, system.source)
        if device and device.disks() & disks:
            return True
    return False


def format_size(size: int) -> str:
    """Format bytes in powers of 1000, as disk makers do."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.1f} {unit}" if unit != "bytes" else f"{size} bytes"
        amount /= 1000
    return f"{amount:.1f} TB"
