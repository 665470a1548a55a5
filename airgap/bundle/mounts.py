"""The mounts in /proc/self/mountinfo (proc_pid_mountinfo(5)), searched as the kernel walks a path."""

import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from airgap.limits import MAX_MOUNTINFO_BYTES, MAX_SEARCHED_MEDIA
from airgap.values import dataclass

_NTFS, _FUSE = ("ntfs", "ntfs3"), ("fuse", "fuseblk")
_MEDIA_FOLDERS = ("/media", "/run/media", "/mnt")
"""Where desktops and people mount media."""
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "autofs", "fuse.sshfs", "fuse.rclone")
"""File systems of network shares, which may not answer."""
_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of mountinfo."""

    number: int
    parent: int
    """The number of the mount that this one lies on."""
    device: str
    """`MAJOR:MINOR`; major 0 if there is no block device, and on btrfs."""
    mount_point: Path
    file_system: str
    source: str
    """What was mounted, as the mount command named it: a device, a server, or any text."""
    read_only: bool


def read_mounts(proc: Path = Path("/proc")) -> list[Mount]:
    """Return all mounts that this process sees, in the kernel's order; none without mountinfo."""
    try:
        with (proc / "self/mountinfo").open("rb") as file:
            raw = file.read(MAX_MOUNTINFO_BYTES)
    except OSError:
        return []
    return list(_parse_all(raw))


def media_folders(proc: Path = Path("/proc")) -> list[Path]:
    """Return where media are mounted: the mount points below the usual folders, without network shares."""
    points = (mount.mount_point for mount in read_mounts(proc) if mount.file_system.lower() not in _NETWORK)
    below = (point for point in points if str(point).startswith(tuple(f"{f}/" for f in _MEDIA_FOLDERS)))
    return sorted(dict.fromkeys(below))[:MAX_SEARCHED_MEDIA]


def has_one_name(status: os.stat_result, proc: Path = Path("/proc")) -> bool:
    """Return whether a file has only one name. Through a second one (a hard link), it could be changed after
    it was checked.

    NTFS and FUSE count differently: ntfs-3g also counts the short name of every long name. Their link count
    is ignored; that of all other file systems, including unknown ones, is used.
    """
    if status.st_nlink == 1:
        return True
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    kinds = {mount.file_system for mount in read_mounts(proc) if mount.device == device}
    return bool(kinds) and all(kind in _NTFS or kind.partition(".")[0] in _FUSE for kind in kinds)


def mount_of(path: Path, mounts: Sequence[Mount]) -> Mount | None:
    """Return the mount of the absolute `path` (without links); None if no mount above it is known.

    The walk starts at the root, and changes from a mount to the first one on it along the path. A mount that
    is hidden by another one is therefore not chosen, even if its name matches.
    """
    folders = {path, *path.parents}
    on_path = [mount for mount in mounts if mount.mount_point in folders]
    known = {mount.number for mount in mounts}
    reached = _first(mount for mount in on_path if mount.parent not in known or mount.parent == mount.number)
    for _ in on_path:
        current = reached
        above = _first(
            mount for mount in on_path if current and mount.parent == current.number and mount != current
        )
        if above is None:
            break
        reached = above
    return reached


def _first(mounts: Iterable[Mount]) -> Mount | None:
    """Return the mount nearest to the root; of several at one path the last, which hides the others."""
    nearest: Mount | None = None
    for mount in mounts:
        if nearest is None or len(mount.mount_point.parts) <= len(nearest.mount_point.parts):
            nearest = mount
    return nearest


@lru_cache(maxsize=1)  # a command asks about many folders, and mounts rarely change
def _parse_all(mountinfo: bytes) -> tuple[Mount, ...]:
    return tuple(mount for line in mountinfo.split(b"\n") if (mount := _parse(line)))


def _parse(line: bytes) -> Mount | None:
    """Parse `36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw`; None for anything else."""
    fields, separator, tail = line.partition(b" - ")
    first, last = fields.split(b" "), tail.split(b" ")
    if not separator or len(first) < 6 or len(last) < 3 or not (first[0] + first[1]).isdigit():
        return None
    return Mount(
        number=int(first[0]),
        parent=int(first[1]),
        device=first[2].decode("ascii", "replace"),
        mount_point=Path(_text(first[4])),
        file_system=_text(last[0]),
        source=_text(last[1]),
        read_only=b"ro" in first[5].split(b",") or b"ro" in last[2].split(b","),
    )


def _text(field: bytes) -> str:
    """Decode a field: the kernel writes space, tab, newline and backslash as three octal digits."""
    return os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field))
