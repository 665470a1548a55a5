"""The tar behind `archive:FILE`, plain or compressed: listed in one pass, then read by name.

A plain tar is read in place. A compressed one (gzip, zstd) has no offsets: the requested files are read while
it is decompressed again from its beginning, in memory, and never to a disk.
"""

import io
import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from airgap.bundle.compression import Unpacked
from airgap.bundle.files import FileSlice
from airgap.bundle.tar_entries import read_entries
from airgap.bundle.tar_header import BLOCK
from airgap.endpoints.save_format import INDEX, MANIFEST, MARKER, Listing
from airgap.endpoints.save_stream import ContentKind, classify
from airgap.errors import FormatError
from airgap.limits import (
    FREE_UNPACKED_BYTES,
    MAX_ARCHIVE_PASSES,
    MAX_IMAGE_ARCHIVE_FILES,
    MAX_JSON_BYTES,
    MAX_KEPT_DOCUMENT_BYTES,
    MAX_KEPT_DOCUMENTS_BYTES,
    MAX_UNPACKED_RATIO,
)
from airgap.oci.digest import CHUNK, Advance, ByteStream, read_up_to

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
"""Bytes 2 to 4 of a frame without content, with which pzstd begins."""
_UTF16 = b"\xff\xfe"
_OTHERS = {b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x04\x22\x4d\x18": "unlz4"}

EMPTY_HINT = "the command that wrote it failed: write it again, or copy or download it again"

_PEEK = 512


@dataclass(slots=True)
class TarIndex(Listing):
    """The offset of each file in a tar."""

    form: str = ""
    """`gzip`, `zstd`, or empty for a plain tar."""
    offsets: dict[str, int] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    """Documents of a compressed tar, up to a limit of memory."""
    top: str = ""
    """The folder in the tar, with its slash, that contains all files; names here are without it."""
    ended: bool = False
    """True if the tar has its end mark."""

    def enter(self, top: str) -> None:
        """Make names relative to the folder `top`, and drop files outside it."""

        def inner(names: Iterable[str]) -> Iterator[tuple[str, str]]:
            return ((name, name.removeprefix(top)) for name in names if name.startswith(top))

        self.top = top
        self.sizes = {new: self.sizes[old] for old, new in inner(self.sizes)}
        self.offsets = {new: self.offsets[old] for old, new in inner(self.offsets)}
        self.documents = {new: self.documents[old] for old, new in inner(self.documents)}
        self.links = {new: self.links[old].removeprefix(top) for old, new in inner(self.links)}


class TarFile(Listing):
    """The files of a tar that is open as `fd`."""

    def __init__(self, fd: int, path: Path, index: TarIndex | None = None) -> None:
        self._fd = fd
        self._path = path
        self._size = os.fstat(fd).st_size
        self._passes = 0
        self.index = self._scan() if index is None else index
        super().__init__(self.index.sizes, self.index.links)

    def read(self, name: str) -> bytes:
        """Read a document of at most 4 MiB."""
        name = self.resolve(name)
        size = self.sizes[name]
        if size > MAX_JSON_BYTES:
            raise FormatError(
                "too large", subject=name, want=f"at most {MAX_JSON_BYTES:,} bytes", got=f"{size:,}"
            )
        if name not in self.index.documents:
            self._count_pass()
            for _, data in self.iter_files({name}, lambda _: None):
                raw = read_up_to(data, size)
            if not self.index.form:
                return raw
            self.index.documents[name] = raw
        return self.index.documents[name]

    def iter_files(self, names: Iterable[str], advance: Advance) -> Iterator[tuple[str, ByteStream]]:
        """Yield the files of `names` in the order of the tar; each stream is valid until the next one."""
        wanted = {self.resolve(name) for name in names}
        if not self.index.form:
            for name in sorted(wanted, key=self.index.offsets.__getitem__):
                offset = self.index.offsets[name]
                yield name, FileSlice(self._fd, self._path, offset, self.sizes[name], advance)
            return
        for entry, data in read_entries(
            self._unpacked(self.index.form, advance), max_entries=MAX_IMAGE_ARCHIVE_FILES
        ):
            name = entry.name.removeprefix(self.index.top)
            if entry.kind == "file" and name in wanted:
                wanted.remove(name)
                yield name, data
            if not wanted:
                return
        raise FormatError("the archive changed while it was read", subject=self._path)

    def _scan(self) -> TarIndex:
        index = TarIndex(form=self._form())
        memory_left = MAX_KEPT_DOCUMENTS_BYTES
        source = FileSlice(self._fd, self._path, 0, self._size)
        plain = not index.form
        entries = read_entries(
            source if plain else self._unpacked(index.form, lambda _: None),
            skip=source.skip if plain else None,
            max_entries=MAX_IMAGE_ARCHIVE_FILES,
            end=lambda ended: setattr(index, "ended", ended),
        )
        for entry, data in entries:
            index.add(entry)
            index.offsets[entry.name] = entry.offset
            if (
                index.form
                and entry.kind == "file"
                and entry.size <= min(MAX_KEPT_DOCUMENT_BYTES, memory_left)
            ):
                head = read_up_to(data, _PEEK)
                if classify(head) is ContentKind.DOCUMENT:
                    index.documents[entry.name] = head + read_up_to(data, entry.size - len(head))
                    memory_left -= entry.size
        if top := _top(index):
            index.enter(top)
        return index

    def _form(self) -> str:
        head = read_up_to(FileSlice(self._fd, self._path, 0, 8), 8)
        if not head:
            raise FormatError("empty file", subject=self._path, want="an image archive", hint=EMPTY_HINT)
        if head.startswith(_UTF16):
            raise FormatError(
                "a text file, not an archive", subject=self._path, want="a tar",
                hint="a redirect (`>`) in Windows PowerShell causes this: use `docker save -o FILE`",
            )  # fmt: skip
        for magic, tool in _OTHERS.items():
            if head.startswith(magic):
                raise FormatError(
                    "compressed archive", subject=self._path,
                    want="a tar, plain or compressed with gzip or zstd",
                    hint=f"unpack it first: {tool} {self._path}",
                )  # fmt: skip
        if head.startswith(_ZSTD) or (head[1:4] == _ZSTD_SKIPPABLE and head[0] & 0xF0 == 0x50):
            return "zstd"
        if head.startswith(_GZIP):
            return "gzip"
        if self._size < BLOCK:
            raise FormatError(
                "not an image archive", subject=self._path,
                want="a tar, plain or compressed with gzip or zstd", got=f"{self._size:,} bytes",
            )  # fmt: skip
        return ""

    def _unpacked(self, form: str, advance: Advance) -> ByteStream:
        return io.BufferedReader(_Unpacking(self._fd, self._path, self._size, form, advance), CHUNK)

    def _count_pass(self) -> None:
        """Count and limit passes: a compressed archive is read from its beginning for each large document."""
        self._passes += bool(self.index.form)
        if self._passes > MAX_ARCHIVE_PASSES:
            raise FormatError(
                "too many large documents in a compressed archive", subject=self._path,
                hint=f"unpack it first: {_tool(self.index.form)} {self._path}",
            )  # fmt: skip


class _Unpacking(io.RawIOBase):
    """The content of a compressed file, within limits."""

    def __init__(self, fd: int, path: Path, size: int, form: str, advance: Advance) -> None:
        super().__init__()
        self._path = path
        self._form = form
        self._advance = advance
        self._taken = 0
        self._given = 0
        self._inner = Unpacked(FileSlice(fd, path, 0, size, self._take), form, path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        try:
            got = self._inner.readinto(buffer)
        except FormatError as error:
            raise FormatError(
                f"damaged or truncated {self._form} file", subject=self._path, got=error.got or error.what,
                hint="copy or download it again",
            ) from error  # fmt: skip
        self._given += got
        if self._given > max(FREE_UNPACKED_BYTES, self._taken * MAX_UNPACKED_RATIO):
            raise FormatError(
                "the archive is too large when unpacked", subject=self._path,
                want=f"at most {MAX_UNPACKED_RATIO:,} times its size",
                got=f"{self._given:,} bytes from {self._taken:,}",
                hint=f"if the archive is genuine, unpack it first: {_tool(self._form)} {self._path}",
            )  # fmt: skip
        return got

    def _take(self, count: int) -> None:
        self._taken += count
        self._advance(count)


def _top(index: TarIndex) -> str:
    """Return the one folder of the tar that contains an image archive, if the top itself does not."""
    if any(index.size(name) is not None for name in (INDEX, MANIFEST)):
        return ""
    layouts = _folders(index, INDEX) & _folders(index, MARKER)
    if len(layouts) > 1:
        raise FormatError(
            "several OCI layouts in one tar",
            want="one", got=", ".join(sorted(layouts)[:10]),
            hint="unpack it, and name each folder with `oci:`",
        )  # fmt: skip
    tops = layouts | _folders(index, MANIFEST)
    return f"{tops.pop()}/" if len(tops) == 1 else ""


def _folders(index: TarIndex, leaf: str) -> set[str]:
    """Return the folders with a file of this name."""
    return {posixpath.dirname(name) for name in index.sizes if posixpath.basename(name) == leaf}


def _tool(form: str) -> str:
    return "gunzip" if form == "gzip" else "unzstd"
