"""Headers that GNU tar, Python's tarfile and Go's archive/tar read differently, and what real tools write."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from airgap.bundle import tar_entries
from airgap.bundle.tar_entries import END_OF_ARCHIVE, header, padding
from airgap.bundle.tar_header import parse_header
from airgap.errors import FormatError
from tests.unit.bundle.test_tar_entries import FILE, names, patched, pax, raw_entry, read

HEADER = header("a", 0)
GNU = patched(HEADER, 257, b"ustar  \0")
FOLDER = patched(header("d", 0), 156, b"5")
LINK = patched(patched(header("link", 0), 156, b"2"), 157, b"a")
HARD = patched(header("hard", 0), 156, b"1")
GLOBAL = pax((b"comment", b"x"), flag=b"g")
BASE_256_OWNER = b"\x80" + (3_000_000_000).to_bytes(7, "big")
BASE_256_TIME = (-5).to_bytes(12, "big", signed=True)


def followed(raw: bytes, more: bytes) -> bytes:
    """An extension header with `more` in the padding behind its own text."""
    return raw.rstrip(b"\0") + more + bytes(-len(raw.rstrip(b"\0") + more) % 512)


def signed(block: bytes) -> bytes:
    """`block` with the checksum of old programs, whose characters have signs; the three readers take it."""
    total = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 8 * 32
    return block[:148] + b"%06o\0 " % total + block[156:]


NUMBERS = {
    f"{what} {value!r}": (patched(HEADER, at, value.ljust(size, b"\0")), f"bad {what} in a tar header")
    for what, at, size in (
        ("mode", 100, 8),
        ("owner", 108, 8),
        ("group", 116, 8),
        ("time", 136, 12),
        ("major", 329, 8),
        ("minor", 337, 8),
    )
    for value in (
        b"8",
        b"x",
        b"-1",
        b"+1",
        b"0o7",
        b"1_0",
        b"6 4",
        b"\t7",
        b"\0007",
        b"7\0x",
        b"        ",
        b"\x81\1",
    )
}

REFUSED = NUMBERS | {
    "prefix in a GNU header, a name to Python": (patched(GNU, 345, b"evil"), "unknown dialect"),
    "times in a GNU header, a prefix to Python": (patched(GNU, 345, b"00000000001\0" * 2), "unknown dialect"),
    "sparse map in a GNU header": (patched(GNU, 386, b"00000000001\0"), "unknown dialect"),
    "more of a sparse map": (patched(GNU, 482, b"\1"), "unknown dialect"),
    "real size in a GNU header": (patched(GNU, 483, b"00000000009\0"), "unknown dialect"),
    "end of a GNU header": (patched(GNU, 511, b"x"), "unknown dialect"),
    "prefix in a GNU long name": (patched(raw_entry(b"L", b"b\0")[:512], 257, b"ustar  \0" + bytes(80) + b"x"), "dialect"),
    "version without digits": (patched(HEADER, 263, b"\0\0"), "not a tar header"),
    "mode in base 256": (patched(HEADER, 100, b"\x80" + bytes(6) + b"\1"), "bad mode"),
    "owner over 32 bits": (patched(HEADER, 108, b"\x80\0\0\1" + bytes(4)), "bad owner"),
    "negative owner": (patched(HEADER, 108, b"\xff" * 8), "bad owner"),
    "time over 64 bits": (patched(HEADER, 136, b"\x80" + b"\x7f" * 11), "bad time"),
    "negative time out of bounds": (patched(HEADER, 136, b"\xff\x80" + bytes(10)), "bad time"),
    "positive number with the sign of a negative": (patched(HEADER, 136, b"\xff" + bytes(11)), "bad time"),
    "old directory by its slash, a file by its long name": (
        raw_entry(b"L", b"b\0") + patched(patched(HEADER, 156, b"\0"), 0, b"a/"),
        "unsafe name",
    ),
    "signed checksum": (signed(patched(HEADER, 265, b"\xff")), "wrong checksum"),
    "records behind a pax header": (
        followed(pax((b"comment", b"x")), b"15 path=evil/e\n") + FILE,
        "data after the text of an extension header",
    ),
    "text behind a GNU name": (followed(raw_entry(b"L", b"bb"), b"evil\0") + FILE, "data after the text of an extension header"),
    "text behind a global header": (followed(GLOBAL, b"x") + FILE, "data after the text of an extension header"),
    "global header behind a name": (raw_entry(b"L", b"b\0") + GLOBAL + FILE, "global pax header is between"),
    "global header behind a pax header": (pax((b"path", b"b")) + GLOBAL + FILE, "global pax header is between"),
    "half of the second zero block": (FILE + bytes(512 + 7), "truncated"),
    "two global headers": (GLOBAL * 2 + FILE, "two extension headers of the same kind"),
    "global header at the end": (FILE + GLOBAL + END_OF_ARCHIVE, "not followed by an entry"),
    "pax link beside a GNU name": (raw_entry(b"L", b"b\0") + pax((b"linkpath", b"c")) + LINK, "beside a GNU header"),
    "GNU link beside a pax name": (pax((b"path", b"b")) + raw_entry(b"K", b"c\0") + LINK, "beside a GNU header"),
    "pax time that Go refuses": (pax((b"mtime", b"nan")) + FILE, "bad pax record"),
    "pax time without digits": (pax((b"atime", b".5")) + FILE, "bad pax record"),
    "pax time with an exponent": (pax((b"ctime", b"1e5")) + FILE, "bad pax record"),
    "pax time over 64 bits": (pax((b"mtime", b"9" * 13)) + FILE, "bad pax record"),
    "pax owner that GNU tar refuses": (pax((b"uid", b"4294967296")) + FILE, "bad pax record"),
    "pax group with a sign": (pax((b"gid", b"-1")) + FILE, "bad pax record"),
    "pax owner for all": (pax((b"uid", b"x"), flag=b"g") + FILE, "bad pax record"),
    "NUL in a pax owner": (pax((b"uname", b"a\0b")) + FILE, "bad pax record"),
    "NUL in a pax key": (pax((b"SCHILY.xattr.a\0b", b"c")) + FILE, "bad pax record"),
    "NUL in a pax link of a file": (pax((b"linkpath", b"a\0b")) + FILE, "unsafe link target"),
    "charset in a value, found by Python": (
        pax((b"comment", b"x\n22 hdrcharset=BINARY\n")) + FILE,
        "bad pax record",
    ),
    "hard link out of the archive": (patched(HARD, 157, b"../a"), "unsafe name"),
    "hard link to an absolute name": (patched(HARD, 157, b"/a"), "unsafe name"),
    "file below a link": (LINK + header("link/x", 0), "below a file or link"),
    "file deep below a link": (LINK + header("link/x/y/z", 0), "below a file or link"),
    "link in the place of a folder": (header("link/x", 0) + LINK, "below a file or link"),
    "file below a file": (HEADER + header("a/x", 0), "below a file or link"),
    "folder below a file": (HEADER + patched(header("a/d", 0), 156, b"5"), "below a file or link"),
    "file below a hard link": (patched(HARD, 157, b"a") + header("hard/x", 0), "below a file or link"),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(raw: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(raw)


TAKEN = {
    "GNU header": (GNU, ["a"]),
    "GNU header with a name before": (raw_entry(b"L", b"b\0") + GNU, ["b"]),
    "GNU name without NUL": (raw_entry(b"L", b"b" * 512) + GNU, ["b" * 512]),
    "GNU name and link": (raw_entry(b"K", b"c\0") + raw_entry(b"L", b"b\0") + LINK, ["b"]),
    "slash at the end of a name cut to 100": (
        raw_entry(b"L", b"n" * 99 + b"/b\0") + patched(GNU, 0, b"n" * 99 + b"/"),
        ["n" * 99 + "/b"],
    ),
    "owner in base 256": (patched(HEADER, 108, BASE_256_OWNER), ["a"]),
    "time before 1970": (patched(HEADER, 136, BASE_256_TIME), ["a"]),
    "empty numbers": (patched(patched(HEADER, 329, bytes(16)), 100, bytes(24)), ["a"]),
    "numbers after blanks": (patched(HEADER, 100, b"   644 \0     0 \0"), ["a"]),
    "pax times and owners": (
        pax((b"mtime", b"-1.25"), (b"atime", b"1700000000.123456789"), (b"uid", b"3000000000")) + FILE,
        ["a"],
    ),
    "NUL in an attribute": (pax((b"SCHILY.xattr.security.capability", b"\1\0\0\2")) + FILE, ["a"]),
    "global header before a name": (GLOBAL + raw_entry(b"L", b"b\0") + FILE, ["b"]),
    "global header before each": (GLOBAL + FILE + GLOBAL + header("b", 0), ["a", "b"]),
    "folder before and after what is in it": (
        FOLDER + header("d/x", 0) + header("e/x", 0) + patched(header("e", 0), 156, b"5"),
        ["d", "d/x", "e/x", "e"],
    ),
    "hard link to a file": (FILE + patched(HARD, 157, b"./a"), ["a", "hard"]),
    "names that begin alike": (LINK + header("link2/x", 0) + header("lin", 0), ["link", "link2/x", "lin"]),
}


@pytest.mark.parametrize(("raw", "found"), TAKEN.values(), ids=TAKEN)
def test_taken_as_python_takes_it(raw: bytes, found: list[str]) -> None:
    assert names(raw + END_OF_ARCHIVE) == found
    with tarfile.open(fileobj=io.BytesIO(raw + END_OF_ARCHIVE), mode="r:") as archive:
        assert [member.name for member in archive] == found


def test_folders_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deep name costs its folders as well: of 4,096 bytes, 2,047 folders with 2 KiB each on average."""
    monkeypatch.setattr(tar_entries, "MAX_TAR_NAMES_BYTES", 1 << 20)
    with pytest.raises(FormatError, match="too many names"):
        read(pax((b"path", b"a/" * 2047 + b"b")) + FILE)


def test_skopeo_and_docker_read_another_name() -> None:
    """The attack: Go reads `manifest.json`, Python `evil/manifest.json`."""
    block = patched(patched(header("manifest.json", 2), 257, b"ustar  \0"), 345, b"evil")
    raw = block + b"[]" + padding(2) + END_OF_ARCHIVE
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
        assert archive.getnames() == ["evil/manifest.json"]
    listed = subprocess.run(["tar", "-tf", "-"], input=raw, capture_output=True, check=True)
    assert listed.stdout == b"manifest.json\n"
    with pytest.raises(FormatError, match="GNU header"):
        read(raw)


def test_what_gnu_tar_writes_incrementally_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"a")
    argv = [
        "tar",
        "--format=gnu",
        f"--listed-incremental={tmp_path / 'state'}",
        "-C",
        str(tmp_path / "in"),
        "-c",
        "a",
    ]
    raw = subprocess.run(argv, capture_output=True, check=True).stdout
    with pytest.raises(FormatError, match="unknown dialect"):
        parse_header(raw[:512])
