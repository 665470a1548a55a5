"""Which volume, or which volumes in parts, each blob of a bundle goes on; and `volume.json`, which says so
(FORMAT.md §2.5). The cut is not signed: what counts is that each whole blob has its signed digest.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from airgap.errors import FormatError, NoSpaceError
from airgap.oci.digest import Digest
from airgap.oci.strict_json import Fields, dump, parse_object

VOLUME_FILE = "volume.json"
MAX_TABLE = 16 << 20
"""Bytes; about 80,000 layers. It is parsed before anything is proved, as the envelope is."""

MAX_VOLUMES = 999
MAX_PARTS = 1000
"""Of one blob: their names end in three digits."""

LEAST_PART = 1 << 20
"""Bytes: no part is smaller, but for a blob's last one."""

_PART_NAME = re.compile(r"(blobs/(?:sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128}))\.[0-9]{3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """A blob, or a part of one, on a volume."""

    volume: int
    """From 1."""
    size: int
    """Bytes."""
    sha256: str = "0" * 64
    """In hex; zeros while it is not known."""


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """What a volume can take."""

    size: int
    """Bytes of blobs."""
    file: int | None = None
    """Bytes of the largest file; None where there is no limit that matters."""


@dataclass(frozen=True, slots=True)
class VolumeSize:
    """How large a volume, and a file on it, shall be at most, in bytes; None where the medium says it."""

    size: int | None = None
    file: int | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the blobs are that are not on every volume."""

    of: int
    """How many volumes there are."""
    parts: dict[Digest, tuple[Part, ...]] = field(hash=False)
    """In order; their sizes are the blob's in sum."""

    @property
    def is_needed(self) -> bool:
        """Whether it is any different from one folder that holds each blob in one file."""
        return self.of > 1 or any(len(parts) > 1 for parts in self.parts.values())

    def files(self, digest: Digest) -> tuple[tuple[str, Part], ...]:
        """The names of a blob's files, and where they are."""
        parts = self.parts[digest]
        if len(parts) == 1:
            return ((digest.path, parts[0]),)
        return tuple((f"{digest.path}.{number:03d}", part) for number, part in enumerate(parts))

    def same_as(self, sizes: Mapping[Digest, int]) -> bool:
        """Whether it is a cut of blobs of these sizes."""
        return {d: sum(part.size for part in parts) for d, parts in self.parts.items()} == dict(sizes)


def whole_name(name: str) -> str | None:
    """The name of the blob that a file called `name` is a part of."""
    match = _PART_NAME.fullmatch(name)
    return match[1] if match else None


@dataclass(slots=True)
class _OpenVolume:
    number: int
    space: FreeSpace
    left: int

    def takes(self, size: int) -> bool:
        return size <= self.left and (self.space.file is None or size <= self.space.file)


class _OpenVolumes:
    """The volumes while they fill up; one for each of `spaces`, and more as long as `more` allows."""

    def __init__(self, spaces: Sequence[FreeSpace], more: FreeSpace | None) -> None:
        self.volumes = [_OpenVolume(number, space, space.size) for number, space in enumerate(spaces, 1)]
        self.more = more

    def grow(self) -> bool:
        """Add a volume, if there may be more."""
        if self.more is None or len(self.volumes) >= MAX_VOLUMES:
            return False
        self.volumes.append(_OpenVolume(len(self.volumes) + 1, self.more, self.more.size))
        return True

    def whole(self, size: int) -> tuple[Part, ...]:
        """A place for a blob in one file; empty when it fits nowhere so."""
        found = next((volume for volume in self.volumes if volume.takes(size)), None)
        if (
            found is None
            and self.more
            and _OpenVolume(0, self.more, self.more.size).takes(size)
            and self.grow()
        ):
            found = self.volumes[-1]
        if found is None:
            return ()
        found.left -= size
        return (Part(found.number, size),)

    def in_parts(self, size: int) -> tuple[Part, ...]:
        """Places for a blob in as many files as it takes; empty when there is no space."""
        parts: list[Part] = []
        number = 0
        while size and (number < len(self.volumes) or self.grow()):
            size -= _fill(self.volumes[number], size, parts)
            number += 1
        return () if size or len(parts) > MAX_PARTS else tuple(parts)


def plan_cut(sizes: Mapping[Digest, int], spaces: Sequence[FreeSpace], more: FreeSpace | None = None) -> Cut:
    """Whole blobs first, the largest before the others; what fits nowhere whole is cut.

    There is one volume for each of `spaces`, and as many after them as are needed when `more` says
    what each of those can take. Raises `NoSpaceError` when it does not fit.
    """
    volumes = _OpenVolumes(spaces, more)
    places = {}
    for digest in sorted(sizes, key=lambda digest: (-sizes[digest], digest)):
        places[digest] = volumes.whole(sizes[digest])
    for digest, parts in places.items():
        places[digest] = parts or volumes.in_parts(sizes[digest])
        if not places[digest]:
            raise _too_small(sizes, spaces, more)
    used = [part.volume for parts in places.values() for part in parts]
    return Cut(max(used, default=1), {digest: places[digest] for digest in sorted(places)})


def _fill(volume: _OpenVolume, left: int, parts: list[Part]) -> int:
    """Add parts on the volume, as much of the `left` bytes of a blob as it takes; how much that is."""
    done = 0
    while done < left:
        size = min(left - done, volume.left, volume.space.file or volume.left)
        if not size or (size < left - done and size < LEAST_PART):
            break
        parts.append(Part(volume.number, size))
        volume.left -= size
        done += size
    return done


def _too_small(
    sizes: Mapping[Digest, int], spaces: Sequence[FreeSpace], more: FreeSpace | None
) -> NoSpaceError:
    space = f"{sum(space.size for space in spaces):,} bytes"
    if more is not None:
        space = f"{MAX_VOLUMES} volumes of {max(more.size, 0):,} bytes"
    return NoSpaceError(
        "the bundle does not fit",
        want=f"space for {sum(sizes.values()):,} bytes of layers",
        got=space,
        hint="another --to adds a medium, --since leaves out what the other side has; nothing was fetched",
    )


@dataclass(frozen=True, slots=True)
class VolumeTable:
    """`volume.json`: which volume of which bundle this is, and the whole cut."""

    statement_sha256: str
    volume: int
    cut: Cut

    def to_bytes(self) -> bytes:
        """The canonical bytes, one blob a line."""
        head = {
            "version": 1,
            "statement_sha256": self.statement_sha256,
            "volume": self.volume,
            "of": self.cut.of,
        }
        lines = [
            dump({"blob": str(digest), "parts": [_part_json(part) for part in parts]})
            for digest, parts in sorted(self.cut.parts.items())
        ]
        fields = b"".join(dump(key) + b":" + dump(value) + b",\n" for key, value in head.items())
        return b"{" + fields + b'"blobs":[' + b"".join((b"\n", b",\n".join(lines))) + b"\n]}\n"

    @classmethod
    def parse(cls, raw: bytes, where: str) -> Self:
        """From a medium: nothing in it is signed. Raises `FormatError`, also for other bytes than
        `to_bytes` would give.
        """
        fields = Fields(parse_object(raw, where, max_bytes=MAX_TABLE, floats=False), where)
        if (version := fields.integer("version")) != 1:
            hint = "a newer airgap may read it"
            raise FormatError("unknown version of volumes", subject=where, want=1, got=version, hint=hint)
        sha256 = Digest.parse(f"sha256:{fields.text('statement_sha256')}", where).hex
        volume, of = fields.integer("volume"), fields.integer("of")
        if not 1 <= volume <= of <= MAX_VOLUMES:
            raise FormatError("no such volume", subject=where, got=f"volume {volume} of {of}")
        parts: dict[Digest, tuple[Part, ...]] = {}
        for item in fields.children("blobs"):
            digest = Digest.parse(item.text("blob"), item.where)
            parts[digest] = tuple(_parse_part(part, of) for part in item.children("parts"))
            _check_parts(parts[digest], item.where)
            item.end()
        fields.end()
        found = cls(sha256, volume, Cut(of, parts))
        if found.to_bytes() != raw:
            raise FormatError("not in canonical form", subject=where)
        return found

    def on(self, volume: int) -> "VolumeTable":
        """The same for another volume."""
        return replace(self, volume=volume)


def _part_json(part: Part) -> dict[str, Any]:
    return {"volume": part.volume, "size": part.size, "sha256": part.sha256}


def _parse_part(fields: Fields, of: int) -> Part:
    sha256 = Digest.parse(f"sha256:{fields.text('sha256')}", fields.where).hex
    found = Part(fields.integer("volume"), fields.integer("size"), sha256)
    if not 1 <= found.volume <= of:
        raise FormatError("no such volume", subject=fields.where, want=f"1 to {of}", got=found.volume)
    fields.end()
    return found


def _check_parts(parts: Sequence[Part], where: str) -> None:
    if not 1 <= len(parts) <= MAX_PARTS:
        raise FormatError("wrong number of parts", subject=where, want=f"1 to {MAX_PARTS}", got=len(parts))
    if len(parts) > 1 and not all(part.size for part in parts):
        raise FormatError("a part of no bytes", subject=where)
