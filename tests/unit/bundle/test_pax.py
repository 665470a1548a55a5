"""Sizes in pax records: where the header has no room, and nowhere else. GNU tar, Python and Go are the judges."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from airgap.bundle.tar_entries import END_OF_ARCHIVE, header, padding, read_entries
from airgap.bundle.tar_header import BLOCK
from airgap.errors import FormatError
from tests.unit.bundle.test_tar_entries import FILE, patched, pax, raw_entry, read

LARGE = 9 << 30
SIZE = pax((b"size", b"%d" % LARGE))
ZERO = header("large", 0)
HELD = {
    "zero": ZERO,
    "as much as it holds": patched(ZERO, 124, b"77777777777\0"),
    "base 256": header("large", LARGE),
}


class Sparse:
    """`parts`, where a number stands for so many bytes that are not looked at."""

    def __init__(self, *parts: bytes | int) -> None:
        self._parts = list(parts)

    def readinto(self, buffer: memoryview) -> int:
        while self._parts and not self._parts[0]:
            self._parts.pop(0)
        if not self._parts:
            return 0
        part = self._parts[0]
        if isinstance(part, int):
            got = min(len(buffer), part)
            self._parts[0] = part - got
            return got
        got = min(len(buffer), len(part))
        buffer[:got] = part[:got]
        self._parts[0] = part[got:]
        return got

    def close(self) -> None: ...


@pytest.mark.parametrize("block", HELD.values(), ids=HELD)
def test_a_size_that_the_header_cannot_hold(block: bytes) -> None:
    found = [
        (entry.name, entry.size)
        for entry, _ in read_entries(Sparse(SIZE + block, LARGE, FILE + END_OF_ARCHIVE))
    ]
    assert found == [("large", LARGE), ("a", 3)]


def test_the_data_is_as_long_as_that() -> None:
    (_, data) = next(read_entries(Sparse(SIZE + ZERO, LARGE, FILE + END_OF_ARCHIVE)))
    view, total = memoryview(bytearray(64 << 20)), 0
    while got := data.readinto(view):
        total += got
    assert total == LARGE


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_what_gnu_tar_writes(tmp_path: Path, form: str) -> None:
    with (tmp_path / "large").open("wb") as out:
        out.truncate(LARGE)
    argv = ["tar", f"--format={form}", "-C", tmp_path, "-cf", "-", "large"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as gnu:
        assert gnu.stdout
        head = gnu.stdout.read(4 * BLOCK)
        gnu.kill()
    start = head.rindex(b"large\0" if form == "gnu" else b"large\0\0")
    block = head[: start - start % BLOCK + BLOCK]
    assert [(e.name, e.size) for e, _ in read_entries(Sparse(block, LARGE, END_OF_ARCHIVE))] == [
        ("large", LARGE)
    ]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_writes(form: int) -> None:
    info = tarfile.TarInfo("large")
    info.size = LARGE
    found = read_entries(Sparse(info.tobuf(form), LARGE, END_OF_ARCHIVE))
    assert [(entry.name, entry.size) for entry, _ in found] == [("large", LARGE)]


@pytest.mark.parametrize("block", HELD.values(), ids=HELD)
def test_gnu_tar_and_python_read_the_same(tmp_path: Path, block: bytes) -> None:
    path = tmp_path / "x.tar"
    with path.open("wb") as out:
        out.write(SIZE + block)
        out.seek(LARGE, io.SEEK_CUR)
        out.write(FILE + END_OF_ARCHIVE)
    listed = subprocess.run(["tar", "-tvf", path], capture_output=True, check=True, text=True).stdout
    assert [line.split()[2] for line in listed.splitlines()] == [str(LARGE), "3"]
    with tarfile.open(path) as tar:
        assert [member.size for member in tar] == [LARGE, 3]


REFUSED = {
    "not needed": (pax((b"size", b"3")) + FILE, "unsupported pax record"),
    "smaller than the header": (pax((b"size", b"1")) + FILE, "unsupported pax record"),
    "one below the limit": (pax((b"size", b"%d" % ((1 << 33) - 1))) + ZERO, "unsupported pax record"),
    "another than the header": (SIZE + FILE, "an entry has two sizes"),
    "another in base 256": (SIZE + header("a", LARGE + 512), "an entry has two sizes"),
    "for all entries": (pax((b"size", b"%d" % LARGE), flag=b"g") + ZERO, "sets the size of all"),
    "small for all entries": (pax((b"size", b"0"), flag=b"g") + FILE, "bad size|unsupported"),
    "twice": (pax((b"size", b"%d" % LARGE), (b"size", b"%d" % LARGE)) + ZERO, "bad pax header"),
    "in two headers": (SIZE + SIZE + ZERO, "two extension headers of the same kind"),
    "negative": (pax((b"size", b"-9663676416")) + ZERO, "bad size"),
    "plus": (pax((b"size", b"+9663676416")) + ZERO, "bad size"),
    "leading zero": (pax((b"size", b"09663676416")) + ZERO, "bad size"),
    "space": (pax((b"size", b" 9663676416")) + ZERO, "bad size"),
    "underscore, as Python reads": (pax((b"size", b"9_663_676_416")) + ZERO, "bad size"),
    "other digits": (pax((b"size", "٩٦٦٣٦٧٦٤١٦".encode())) + ZERO, "bad size"),
    "fraction": (pax((b"size", b"9663676416.0")) + ZERO, "bad size"),
    "exponent": (pax((b"size", b"9e9")) + ZERO, "bad size"),
    "hexadecimal": (pax((b"size", b"0x240000000")) + ZERO, "bad size"),
    "NUL": (pax((b"size", b"9663676416\0")) + ZERO, "bad size"),
    "empty": (pax((b"size", b"")) + ZERO, "bad size"),
    "zero": (pax((b"size", b"0")) + ZERO, "bad size"),
    "over 64 bits": (pax((b"size", b"18446744073709551617")) + ZERO, "bad size"),
    "endless": (pax((b"size", b"9" * 4000)) + ZERO, "bad size"),
    "over 1 TiB": (pax((b"size", b"%d" % ((1 << 40) + 1))) + ZERO, "bad size"),
    "a folder": (SIZE + patched(header("a", 0), 156, b"5"), "directory or link has data"),
    "a link": (SIZE + patched(patched(header("a", 0), 156, b"2"), 157, b"b"), "directory or link has data"),
    "beside a GNU name": (SIZE + raw_entry(b"L", b"b\0") + ZERO, "beside a GNU header"),
    "behind a GNU name": (raw_entry(b"L", b"b\0") + SIZE + ZERO, "beside a GNU header"),
    "beside a GNU link": (raw_entry(b"K", b"b\0") + SIZE + ZERO, "beside a GNU header"),
    "larger than the file": (SIZE + ZERO + b"x" * 2048, "truncated"),
    "another record beside it": (
        pax((b"size", b"%d" % LARGE), (b"GNU.sparse.size", b"1")) + ZERO,
        "unsupported",
    ),
}


@pytest.mark.parametrize(("raw", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(raw: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(raw)


def test_padding_behind_it() -> None:
    size = LARGE + 1
    parts = (pax((b"size", b"%d" % size)) + ZERO, size, padding(size) + FILE + END_OF_ARCHIVE)
    assert [entry.size for entry, _ in read_entries(Sparse(*parts))] == [size, 3]
