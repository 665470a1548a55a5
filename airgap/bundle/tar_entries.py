"""Tar archives, read and written as streams (POSIX ustar and pax; GNU tar, "Basic Tar Format").

The reader needs one pass and one buffer, never extracts, and accepts only content that all tar readers
interpret alike: regular files, directories and links. Content that readers interpret differently (a size in
a pax record that would fit into the header, sparse files, two names for an entry, repeated names) is refused.
"""

import io
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

from airgap.bundle import pax
from airgap.bundle.pax import OCTAL_SIZE_LIMIT, decode
from airgap.bundle.tar_header import BLOCK, Header, parse_header
from airgap.errors import FormatError
from airgap.limits import (
    MAX_PAX_BYTES,
    MAX_TAR_ENTRIES,
    MAX_TAR_FILE_BYTES,
    MAX_TAR_NAME_BYTES,
    MAX_TAR_NAMES_BYTES,
    MAX_TAR_TRAILER_BYTES,
)
from airgap.oci.digest import CHUNK, ByteStream
from airgap.values import dataclass

END_OF_ARCHIVE = bytes(2 * BLOCK)
"""The two zero blocks after the last entry."""


_ZERO_BLOCK = bytes(BLOCK)

EntryKind = Literal["file", "directory", "symlink", "hardlink"]
_KINDS: dict[bytes, EntryKind] = {
    b"0": "file", b"\0": "file", b"1": "hardlink", b"2": "symlink", b"5": "directory",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TarEntry:
    """One member of an archive."""

    name: str
    """Relative, without `.`, `..` and trailing slash."""
    size: int
    """Bytes of data; 0 except for files."""
    kind: EntryKind
    target: str
    """The target of a link as written, which is not resolved and may be anywhere; else empty."""
    offset: int
    """The offset of the data in bytes from the start of the stream."""


def read_entries(
    stream: ByteStream,
    *,
    skip: Callable[[int], object] | None = None,
    max_entries: int = MAX_TAR_ENTRIES,
    end: Callable[[bool], object] | None = None,
) -> Iterator[tuple[TarEntry, ByteStream]]:
    """Yield each entry with a stream of its data, which is valid until the next entry.

    Unread data is skipped: with `skip`, if given (it moves `stream` forward by a number of bytes and raises
    `FormatError` beyond the end), else by reading. The entry of the top directory itself (`./`) is left out.
    `end` is called with True if the archive had its end mark, and with False if not, because it was cut off
    between two entries. Raises `FormatError` for anything but a plain, complete archive; data after the end
    is refused only after the last entry was yielded.
    """
    source = _Source(stream, skip)
    names = _Names(max_entries)
    extra = _Extra()
    while (block := source.block()) is not None and block != _ZERO_BLOCK:
        names.count()
        tar_header = parse_header(block)
        if tar_header.flag in b"LKxg":
            extra.read(tar_header, source)
            continue
        entry = _entry(extra.apply(tar_header), source.position)
        extra = _Extra()
        data = _Data(source, entry)
        if entry.name:
            names.add(entry)
            yield entry, data
        data.finish()
    if extra.seen:  # also after a global header, where Python reports a damaged archive
        raise FormatError("an extension header is not followed by an entry")
    if block is not None:
        source.expect_zeros()
    if end is not None:
        end(block is not None)


def header(name: str, size: int, *, mode: int = 0o644) -> bytes:
    """Return the 512-byte header of a regular file, the same on every machine: owner 0, time 0.

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
    """Return the zeros between `size` bytes of data and the next header."""
    return bytes(-size % BLOCK)


def _split(name: bytes) -> tuple[bytes, bytes]:
    if 0 < len(name) <= 100:
        return b"", name
    for at in (i for i, byte in enumerate(name[:156]) if byte == 0x2F):
        if at > 0 and 0 < len(name) - at - 1 <= 100:
            return name[:at], name[at + 1 :]
    raise ValueError(f"name does not fit a tar header: {name!r}")


def _number(size: int) -> bytes:
    if not 0 <= size <= MAX_TAR_FILE_BYTES:
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
        count = self._stream.readinto(view) or 0
        self.position += count
        return count

    def take(self, size: int) -> bytes:
        """Return `size` bytes; fewer only at the end of the stream."""
        buffer = bytearray(size)
        view, done = memoryview(buffer), 0
        while done < size and (count := self.readinto(view[done:])):
            done += count
        return bytes(view[:done])

    def exactly(self, size: int) -> bytes:
        data = self.take(size)
        if len(data) != size:
            raise self.truncated()
        return data

    def block(self) -> bytes | None:
        """Return the next block; None at the end of the stream."""
        block = self.take(BLOCK)
        if block and len(block) != BLOCK:
            raise self.truncated()
        return block or None

    def pass_over(self, size: int) -> None:
        if self._skip is not None:
            self._skip(size)
            self.position += size
            return
        scratch = memoryview(bytearray(min(size, CHUNK)))
        while size:
            count = self.readinto(scratch[:size])
            if not count:
                raise self.truncated()
            size -= count

    def expect_zeros(self) -> None:
        """Read to the end of the stream, which tar fills with zeros. Go refuses half a block of them."""
        start, end = self.position, self.position + MAX_TAR_TRAILER_BYTES
        while zeros := self.take(CHUNK):
            if zeros.count(0) != len(zeros) or self.position > end:
                raise FormatError("there is data after the end of the archive")
        if 0 < self.position - start < BLOCK:
            raise self.truncated()

    def truncated(self) -> FormatError:
        return FormatError("truncated archive", got=f"{self.position:,} bytes")


class _Data(io.RawIOBase):
    """The data of one entry; closing it leaves the archive open."""

    def __init__(self, source: _Source, entry: TarEntry) -> None:
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
        count = self._source.readinto(view)
        if not count:
            raise self._source.truncated()
        self._left -= count
        return count

    def finish(self) -> None:
        """Skip to the next header; this stream is then at its end."""
        rest, self._left = self._left + self._padding, 0
        self._source.pass_over(rest)


class _Names:
    """The names that were read so far, within limits."""

    def __init__(self, max_entries: int) -> None:
        self._left = max_entries
        self._bytes_left = MAX_TAR_NAMES_BYTES
        self._seen: set[str] = set()
        self._others: set[str] = set()
        """Files and links. An entry below a link would be unpacked into the target of the link."""
        self._folders: set[str] = set()
        """The folders that contain entries."""

    def count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise FormatError("too many entries in the archive")

    def add(self, entry: TarEntry) -> None:
        if entry.name in self._seen:
            raise FormatError("an entry is in the archive twice", subject=repr(entry.name))
        if entry.kind != "directory" and entry.name in self._folders:
            raise _below(entry.name)
        self._keep(entry.name, self._seen)
        if entry.kind != "directory":
            self._others.add(entry.name)
        folder = posixpath.dirname(entry.name)
        while folder and folder not in self._folders:
            if folder in self._others:
                raise _below(folder)
            self._keep(folder, self._folders)
            folder = posixpath.dirname(folder)

    def _keep(self, name: str, where: set[str]) -> None:
        self._bytes_left -= len(name)
        if self._bytes_left < 0:
            raise FormatError("too many names in the archive", subject=repr(name))
        where.add(name)


class _Extra:
    """The values of extension headers for the entry that follows them."""

    def __init__(self) -> None:
        self.seen = b""
        self._names: dict[str, str] = {}
        self._size: int | None = None

    def read(self, header: Header, source: _Source) -> None:
        self._check_order(header.flag)
        self.seen += header.flag
        limit = MAX_PAX_BYTES if header.flag in b"xg" else MAX_TAR_NAME_BYTES + 1
        if header.size > limit:
            raise FormatError("tar header too large", want=f"at most {limit:,} bytes", got=f"{header.size:,}")
        raw = source.exactly(header.size)
        if any(source.exactly(len(padding(header.size)))):  # Python and GNU tar would read these bytes
            raise FormatError("there is data after the text of an extension header")
        if header.flag == b"g":
            pax.check_global(raw)
        elif header.flag == b"x":
            records = pax.parse_records(raw)
            self._names, self._size = records.names, records.size
        else:
            self._names["path" if header.flag == b"L" else "linkpath"] = decode(raw.removesuffix(b"\0"))

    def _check_order(self, flag: bytes) -> None:
        """Refuse orders that readers interpret differently: in Go, a global header resets earlier ones."""
        if flag in self.seen:
            raise FormatError("an entry has two extension headers of the same kind", got=repr(flag.decode()))
        if flag == b"g" and self.seen:
            raise FormatError("a global pax header is between an extension header and its entry")
        if (flag == b"x" and self.seen.strip(b"g")) or (flag in b"LK" and b"x" in self.seen):
            raise FormatError("an entry has a pax header beside a GNU header")

    def apply(self, header: Header) -> Header:
        """Return the header of the entry with the values of the extension headers."""
        name, target = self._names.get("path", header.name), self._names.get("linkpath", header.target)
        return replace(header, name=name, target=target, size=self._size_of(header.size))

    def _size_of(self, size: int) -> int:
        """Return the size of the entry whose header has `size`. The header may differ from the pax record
        only if it cannot hold the number: it then has 0 or the largest number that fits.
        """
        if self._size is None:
            return size
        if size not in (0, OCTAL_SIZE_LIMIT - 1, self._size):
            raise FormatError("an entry has two sizes", want=f"{self._size:,}", got=f"{size:,}")
        return self._size


def _below(name: str) -> FormatError:
    what = "an entry is below a file or link in the archive"
    return FormatError(what, subject=repr(name), want="a directory")


def _entry(header: Header, offset: int) -> TarEntry:
    kind = _KINDS.get(header.flag)
    subject = repr(header.name)
    if kind is None:
        raise FormatError(
            "unsupported kind of archive entry", subject=subject, want="files, directories, links",
            got=f"type {header.flag!r}",
        )  # fmt: skip
    if kind != "file" and header.size:
        raise FormatError("a directory or link has data", subject=subject, got=f"{header.size:,} bytes")
    linked = kind in ("symlink", "hardlink")
    if linked or header.target:  # Go also refuses an unused target
        _check_text(header.target, "link target")
    if kind == "hardlink":  # it names an entry, and GNU tar refuses other names as unsafe
        _clean(header.target, kind)
    return TarEntry(
        name=_clean(header.name, kind),
        size=header.size,
        kind=kind,
        target=header.target if linked else "",
        offset=offset,
    )


def _clean(name: str, kind: EntryKind) -> str:
    """Return `name` in its canonical form; empty for the top directory."""
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
    if not text or len(text.encode()) > MAX_TAR_NAME_BYTES or "\\" in text or not text.isprintable():
        raise FormatError(f"unsafe {what} in the archive", subject=repr(text[:100]))
