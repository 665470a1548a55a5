"""The cut of a bundle, which says which volume each blob or part of a blob is on, and its file `volume.json`
(FORMAT.md §2.5). The cut is not signed: each whole blob must have its signed digest anyway.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, replace
from typing import Self

from airgap.errors import FormatError, NoSpaceError
from airgap.limits import MAX_PARTS, MAX_VOLUME_TABLE_BYTES, MAX_VOLUMES
from airgap.oci.digest import Digest
from airgap.oci.strict_json import Fields, dump, parse_object
from airgap.values import dataclass

VOLUME_FILE = "volume.json"


LEAST_PART = 1 << 20
"""The smallest size of a part in bytes, except for the last part of a blob."""

_PART_NAME = re.compile(r"(blobs/(?:sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128}))\.[0-9]{3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """A blob, or a part of one, on a volume."""

    volume: int
    """The number of the volume, from 1."""
    size: int
    """The size in bytes."""
    sha256: str = "0" * 64
    """The SHA-256 in hex; zeros until it is known."""


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """The space on a volume."""

    size: int
    """The number of bytes of blobs that fit on it."""
    file: int | None = None
    """The largest file in bytes; None if there is no relevant limit."""


@dataclass(frozen=True, slots=True)
class VolumeSize:
    """The limits in bytes of a volume, and of a file on it; None if the medium decides."""

    size: int | None = None
    file: int | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The locations of the blobs that are not on every volume."""

    of: int
    """The number of volumes."""
    parts: dict[Digest, tuple[Part, ...]] = field(hash=False)
    """The parts in order; the sum of their sizes is the size of the blob."""

    @property
    def is_needed(self) -> bool:
        """Whether the bundle has several volumes or a blob in parts."""
        return self.of > 1 or any(len(parts) > 1 for parts in self.parts.values())

    def files(self, digest: Digest) -> tuple[tuple[str, Part], ...]:
        """Return the names of a blob's files, with their parts."""
        parts = self.parts[digest]
        if len(parts) == 1:
            return ((digest.path, parts[0]),)
        return tuple((f"{digest.path}.{number:03d}", part) for number, part in enumerate(parts))

    def same_as(self, sizes: Mapping[Digest, int]) -> bool:
        """Return whether this is a cut of blobs with these sizes."""
        return {d: sum(part.size for part in parts) for d, parts in self.parts.items()} == dict(sizes)


def whole_name(name: str) -> str | None:
    """Return the name of the blob of which the file `name` is a part; None if it is not a part."""
    match = _PART_NAME.fullmatch(name)
    return match[1] if match else None


@dataclass(slots=True)
class _OpenVolume:
    number: int
    space: FreeSpace
    left: int

    def can_hold(self, size: int) -> bool:
        return size <= self.left and (self.space.file is None or size <= self.space.file)


class _OpenVolumes:
    """The volumes while blobs are placed: one for each of `spaces`, and further ones of the size `more`."""

    def __init__(self, spaces: Sequence[FreeSpace], more: FreeSpace | None) -> None:
        self.volumes = [_OpenVolume(number, space, space.size) for number, space in enumerate(spaces, 1)]
        self.more = more

    def grow(self) -> bool:
        """Add a volume, if a further one is allowed."""
        if self.more is None or len(self.volumes) >= MAX_VOLUMES:
            return False
        self.volumes.append(_OpenVolume(len(self.volumes) + 1, self.more, self.more.size))
        return True

    def whole(self, size: int) -> tuple[Part, ...]:
        """Place a blob in one file; return an empty tuple if no volume can hold it."""
        fitting = next((volume for volume in self.volumes if volume.can_hold(size)), None)
        if (
            fitting is None
            and self.more
            and _OpenVolume(0, self.more, self.more.size).can_hold(size)
            and self.grow()
        ):
            fitting = self.volumes[-1]
        if fitting is None:
            return ()
        fitting.left -= size
        return (Part(fitting.number, size),)

    def in_parts(self, size: int) -> tuple[Part, ...]:
        """Place a blob in as many files as needed; return an empty tuple if there is not enough space."""
        parts: list[Part] = []
        number = 0
        while size and (number < len(self.volumes) or self.grow()):
            size -= _fill(self.volumes[number], size, parts)
            number += 1
        return () if size or len(parts) > MAX_PARTS else tuple(parts)


def plan_cut(sizes: Mapping[Digest, int], spaces: Sequence[FreeSpace], more: FreeSpace | None = None) -> Cut:
    """Plan the cut: place whole blobs first, beginning with the largest; then cut those that no volume can
    hold.

    There is one volume for each of `spaces`, followed by as many as needed with the space `more`, if it is
    given. Raises `NoSpaceError` if the blobs do not fit.
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
    """Put as many of the `left` bytes of a blob on the volume as it can hold; return their number."""
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
        hint="add a medium with another --to, or use --since for a smaller bundle; nothing was fetched",
    )


@dataclass(frozen=True, slots=True)
class VolumeTable:
    """`volume.json`: the bundle, the number of this volume, and the whole cut."""

    statement_sha256: str
    volume: int
    cut: Cut

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, with one blob on each line."""
        head = {
            "version": 1,
            "statement_sha256": self.statement_sha256,
            "volume": self.volume,
            "of": self.cut.of,
        }
        lines = [
            dump({"blob": str(digest), "parts": [asdict(part) for part in parts]})
            for digest, parts in sorted(self.cut.parts.items())
        ]
        fields = b"".join(dump(key) + b":" + dump(value) + b",\n" for key, value in head.items())
        return b"{" + fields + b'"blobs":[' + b"".join((b"\n", b",\n".join(lines))) + b"\n]}\n"

    @classmethod
    def parse(cls, raw: bytes, where: str) -> Self:
        """Read bytes from a medium, which are not signed. Raises `FormatError` for any bytes that `to_bytes`
        would not write.
        """
        fields = Fields(parse_object(raw, where, max_bytes=MAX_VOLUME_TABLE_BYTES, floats=False), where)
        if (version := fields.integer("version")) != 1:
            hint = "a newer airgap may read it"
            raise FormatError(
                "unknown version of the volume table", subject=where, want=1, got=version, hint=hint
            )
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
        table = cls(sha256, volume, Cut(of, parts))
        if table.to_bytes() != raw:
            raise FormatError("not in canonical form", subject=where)
        return table

    def on(self, volume: int) -> "VolumeTable":
        """Return the table for another volume."""
        return replace(self, volume=volume)


def _parse_part(fields: Fields, of: int) -> Part:
    sha256 = Digest.parse(f"sha256:{fields.text('sha256')}", fields.where).hex
    part = Part(fields.integer("volume"), fields.integer("size"), sha256)
    if not 1 <= part.volume <= of:
        raise FormatError("no such volume", subject=fields.where, want=f"1 to {of}", got=part.volume)
    fields.end()
    return part


def _check_parts(parts: Sequence[Part], where: str) -> None:
    if not 1 <= len(parts) <= MAX_PARTS:
        raise FormatError("wrong number of parts", subject=where, want=f"1 to {MAX_PARTS}", got=len(parts))
    if len(parts) > 1 and not all(part.size for part in parts):
        raise FormatError("empty part", subject=where)
