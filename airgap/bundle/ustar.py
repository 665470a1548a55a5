"""Tar archives, read and written as streams (POSIX ustar and pax; GNU tar, "Basic Tar Format").

The reader takes one pass, keeps one buffer, extracts nothing, and accepts only what all tar readers
understand alike: regular files, directories and links. What readers are known to see differently
(a size in a pax record that the header could hold too, sparse files, two names for one entry, a name
twice) is refused.
"""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from airgap.bundle import pax
from airgap.bundle.pax import MAX_SIZE, OCTAL_SIZE_LIMIT, decode
from airgap.errors import FormatError
from airgap.oci.digest import CHUNK, ByteStream

BLOCK = 512
END = bytes(2 * BLOCK)
"""The two zero blocks after the last entry."""

MAX_ENTRIES = 1_000_000
MAX_NAME = 4096
"""Bytes of one name or link target."""

_MAX_PAX = 64 << 10
_MAX_NAMES_TOTAL = 64 << 20
_MAX_TRAILER = 16 << 20
_ZERO_BLOCK = bytes(BLOCK)
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")

Kind = Literal["file", "directory", "symlink", "hardlink"]
_KINDS: dict[bytes, Kind] = {
    b"0": "file", b"\0": "file", b"1": "hardlink", b"2": "symlink", b"5": "directory",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of an archive."""

    name: str
    """Relative, without `.`, `..` and trailing slash."""
    size: int
    """Bytes of data; 0 for everything but a file."""
    kind: Kind
    target: str
    """Where a link points, as written: it is not resolved and may lead anywhere; else empty."""
    offset: int
    """Where the data begins, in bytes from the start of the stream."""


def read_entries(
    stream: ByteStream,
    *,
    skip: Callable[[int], object] | None = None,
    max_entries: int = MAX_ENTRIES,
    end: Callable[[bool], object] | None = None,
) -> Iterator[tuple[Entry, ByteStream]]:
    """Each entry with a stream of its data, which is good until the next entry is asked for.

    Data that was not read is passed over: with `skip`, where given (it moves `stream` on by so many
    bytes and raises `FormatError` beyond the end), else by reading. The entry of the top directory
    itself (`./`) is left out. `end` is told whether the archive had its end mark, which an archive that was
    cut off between two entries lacks. Raises `FormatError` for everything that is not a plain, whole archive;
    the check for anything but zeros behind the end comes after the last entry.
    """
    source = _Source(stream, skip)
    names = _Names(max_entries)
    extra = _Extra()
    while (block := source.block()) is not None and block != _ZERO_BLOCK:
        names.count()
        size, flag = _check_header(block)
        if flag in b"LKxg":
            extra.read(flag, size, source)
            continue
        name, target = extra.apply(block)
        size = extra.size_of(size)
        extra = _Extra()
        entry = _entry(name, target, size, flag, source.position)
        data = _Data(source, entry)
        if entry.name:
            names.add(entry.name)
            yield entry, data
        data.finish()
    if extra.seen:
        raise FormatError("a tar header announces an entry that does not come")
    if block is not None:
        source.expect_zeros()
    if end is not None:
        end(block is not None)


def header(name: str, size: int, *, mode: int = 0o644) -> bytes:
    """The 512-byte header of a regular file, the same on every machine: owner 0, time 0.

    A size of 8 GiB and more is written in base 256, as GNU and Go tar do. Raises `ValueError` for a
    name that does not fit the format (100 bytes, or up to 255 with a slash at the right place).
    """
    prefix, base = _split(name.encode("utf-8"))
    fields = [
        base.ljust(100, b"\0"),
        b"%07o\0%07o\0%07o\0" % (mode, 0, 0),
        _number(size),
        b"%011o\0" % 0,
        b" " * 8,
        b"0".ljust(101, b"\0"),
        b"ustar\x0000".ljust(72, b"\0"),
        b"%07o\0%07o\0" % (0, 0),
        prefix.ljust(167, b"\0"),
    ]
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size: int) -> bytes:
    """The zeros between `size` bytes of data and the next header."""
    return bytes(-size % BLOCK)


def _split(name: bytes) -> tuple[bytes, bytes]:
    if 0 < len(name) <= 100:
        return b"", name
    for at in (i for i, byte in enumerate(name[:156]) if byte == 0x2F):
        if at > 0 and 0 < len(name) - at - 1 <= 100:
            return name[:at], name[at + 1 :]
    raise ValueError(f"name does not fit a tar header: {name!r}")


def _number(size: int) -> bytes:
    if not 0 <= size <= MAX_SIZE:
        raise ValueError(f"size does not fit a tar header: {size}")
    if size < OCTAL_SIZE_LIMIT:
        return b"%011o\0" % size
    return b"\x80" + size.to_bytes(11, "big")


class _Source:
    """The stream with its position."""

    def __init__(self, stream: ByteStream, skip: Callable[[int], object] | None) -> None:
        self._stream = stream
        self._skip = skip
        self.position = 0

    def readinto(self, view: memoryview) -> int:
        got = self._stream.readinto(view) or 0
        self.position += got
        return got

    def take(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the stream."""
        buffer = bytearray(size)
        view, done = memoryview(buffer), 0
        while done < size and (got := self.readinto(view[done:])):
            done += got
        return bytes(view[:done])

    def exactly(self, size: int) -> bytes:
        found = self.take(size)
        if len(found) != size:
            raise self.truncated()
        return found

    def block(self) -> bytes | None:
        """The next block, or None at the end of the stream."""
        found = self.take(BLOCK)
        if found and len(found) != BLOCK:
            raise self.truncated()
        return found or None

    def pass_over(self, size: int) -> None:
        if self._skip is not None:
            self._skip(size)
            self.position += size
            return
        scratch = memoryview(bytearray(min(size, CHUNK)))
        while size:
            got = self.readinto(scratch[:size])
            if not got:
                raise self.truncated()
            size -= got

    def expect_zeros(self) -> None:
        """Read to the end of the stream, which tar fills with zeros."""
        end = self.position + _MAX_TRAILER
        while found := self.take(CHUNK):
            if found.count(0) != len(found) or self.position > end:
                raise FormatError("something follows the end of the archive")

    def truncated(self) -> FormatError:
        return FormatError("truncated archive", got=f"{self.position:,} bytes")


class _Data(io.RawIOBase):
    """The data of one entry; closing it leaves the archive open."""

    def __init__(self, source: _Source, entry: Entry) -> None:
        super().__init__()
        self._source = source
        self._left = entry.size
        self._padding = len(padding(entry.size))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")[: self._left]
        if not view:
            return 0
        got = self._source.readinto(view)
        if not got:
            raise self._source.truncated()
        self._left -= got
        return got

    def finish(self) -> None:
        """Go to the next header; the stream is at its end from here on."""
        rest, self._left = self._left + self._padding, 0
        self._source.pass_over(rest)


class _Names:
    """What was there already, within bounds."""

    def __init__(self, max_entries: int) -> None:
        self._left = max_entries
        self._bytes_left = _MAX_NAMES_TOTAL
        self._seen: set[str] = set()

    def count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise FormatError("too many entries in the archive")

    def add(self, name: str) -> None:
        self._bytes_left -= len(name)
        if name in self._seen or self._bytes_left < 0:
            what = "entry twice in the archive" if name in self._seen else "too many names in the archive"
            raise FormatError(what, subject=repr(name))
        self._seen.add(name)


class _Extra:
    """What extension headers say about the entry that follows them."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._names: dict[str, str] = {}
        self._size: int | None = None

    def read(self, flag: bytes, size: int, source: _Source) -> None:
        if flag in self.seen:
            raise FormatError("two tar headers of one kind for one entry", got=repr(flag.decode()))
        limit = _MAX_PAX if flag in b"xg" else MAX_NAME + 1
        if size > limit:
            raise FormatError("tar header too large", want=f"at most {limit:,} bytes", got=f"{size:,}")
        raw = source.exactly(size)
        source.pass_over(len(padding(size)))
        if flag == b"g":
            pax.check_global(raw)
            return
        self.seen.add(flag)
        if flag == b"x":
            found = pax.parse(raw)
        else:
            found = pax.Records({"path" if flag == b"L" else "linkpath": _gnu_name(raw)})
        self._size = found.size if flag == b"x" else self._size
        if self._size is not None and self.seen & {b"L", b"K"}:  # GNU's headers have a size of their own
            raise FormatError("a pax size beside a GNU header for one entry")
        for key, value in found.names.items():
            if key in self._names:
                raise FormatError("two names for one entry", got=repr(value))
            self._names[key] = value

    def apply(self, block: bytes) -> tuple[str, str]:
        """Name and link target of the entry whose header is `block`."""
        name = _until_nul(block[:100])
        if block[257:265] == b"ustar\x0000" and (prefix := _until_nul(block[345:500])):
            name = f"{prefix}/{name}"
        target = _until_nul(block[157:257])
        return self._names.get("path", name), self._names.get("linkpath", target)

    def size_of(self, size: int) -> int:
        """The size of the entry whose header says `size`. Only where the header could not hold the
        number may there be another one: 0, or as much as it holds.
        """
        if self._size is None:
            return size
        if size not in (0, OCTAL_SIZE_LIMIT - 1, self._size):
            raise FormatError("two sizes for one entry", want=f"{self._size:,}", got=f"{size:,}")
        return self._size


def _check_header(block: bytes) -> tuple[int, bytes]:
    """Size and type flag, once the block is known to be a tar header."""
    posix, gnu = block[257:265] == b"ustar\x0000", block[257:265] == b"ustar  \0"
    if not (posix or gnu):
        raise FormatError("not a tar header")
    if posix and block[500:] != bytes(12):
        raise FormatError("tar header of an unknown dialect")
    if _octal(block[148:156], "checksum") != sum(block) - sum(block[148:156]) + 8 * 0x20:
        raise FormatError("wrong checksum of a tar header", subject=repr(block[:100].rstrip(b"\0")))
    return _size(block[124:136]), block[156:157]


def _size(field: bytes) -> int:
    if field[0] != 0x80:
        return _octal(field, "size")
    size = int.from_bytes(field[1:], "big")
    if not OCTAL_SIZE_LIMIT <= size <= MAX_SIZE:
        raise FormatError("bad size in a tar header", want=f"at most {MAX_SIZE:,}", got=f"{size:,}")
    return size


def _octal(field: bytes, what: str) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise FormatError(f"bad {what} in a tar header", want="octal digits", got=repr(field))
    return int(match[1], 8)


def _entry(name: str, target: str, size: int, flag: bytes, offset: int) -> Entry:
    kind = _KINDS.get(flag)
    subject = repr(name)
    if kind is None:
        raise FormatError(
            "unsupported kind of archive entry", subject=subject, want="files, directories, links",
            got=f"type {flag!r}",
        )  # fmt: skip
    if kind != "file" and size:
        raise FormatError("data behind a directory or link", subject=subject, got=f"{size:,} bytes")
    linked = kind in ("symlink", "hardlink")
    if linked:
        _check_text(target, "link target")
    return Entry(_clean(name, kind), size, kind, target if linked else "", offset)


def _clean(name: str, kind: Kind) -> str:
    """`name` in its only form; empty for the top directory."""
    _check_text(name, "name")
    plain = name.removeprefix("./")
    if kind == "directory":
        plain = plain.removesuffix("/")
        if plain in ("", ".") and name != "/":
            return ""
    if any(part in ("", ".", "..") for part in plain.split("/")):
        raise FormatError("unsafe name in the archive", subject=repr(name), want="a plain relative path")
    return plain


def _check_text(text: str, what: str) -> None:
    if not text or len(text.encode()) > MAX_NAME or "\\" in text or not text.isprintable():
        raise FormatError(f"unsafe {what} in the archive", subject=repr(text[:100]))


def _until_nul(field: bytes) -> str:
    return decode(field.partition(b"\0")[0])


def _gnu_name(raw: bytes) -> str:
    return decode(raw.removesuffix(b"\0"))
