"""One 512-byte tar header, read strictly (POSIX ustar; GNU tar, "Basic Tar Format").

Each field is accepted only in forms that real tools write, and that GNU tar, Python's tarfile and Go's
archive/tar read alike. This includes fields that airgap ignores: if a reader cannot parse a number, it may
refuse the archive or end its list of entries. `tests/judges/archives.py` compares these three readers.
"""

import re

from airgap.bundle.pax import OCTAL_SIZE_LIMIT, decode
from airgap.errors import FormatError
from airgap.limits import MAX_TAR_FILE_BYTES, MAX_TAR_OWNER_ID, MAX_TAR_TIME_SECONDS
from airgap.values import dataclass

BLOCK = 512

_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
_OCTAL_ONLY = {"mode": slice(100, 108), "major": slice(329, 337), "minor": slice(337, 345)}
_OWNERS = {"owner": slice(108, 116), "group": slice(116, 124)}
_TIME = slice(136, 148)


@dataclass(frozen=True, slots=True)
class Header:
    """The values of a header; extension headers before it may override them."""

    name: str
    size: int
    flag: bytes
    """One byte: the kind of entry, or of extension header."""
    target: str
    """The link target; readers ignore it unless the entry is a link."""


def parse_header(block: bytes) -> Header:
    """Parse a header. Raises `FormatError`. The meaning of `flag` and the safety of names are not checked."""
    magic = block[257:265]
    if magic not in (b"ustar\x0000", b"ustar  \0"):
        raise FormatError("not a tar header")
    posix = magic == b"ustar\x0000"
    if any(block[500 if posix else 345 :]):
        raise FormatError(
            "tar header of an unknown dialect",
            want="zeros at its end" if posix else "no times, prefix or sparse map in a GNU header",
        )
    if _octal(block[148:156], "checksum") != sum(block) - sum(block[148:156]) + 8 * 0x20:
        raise FormatError("a tar header has the wrong checksum", subject=repr(block[:100].rstrip(b"\0")))
    _check_numbers(block)
    flag, name = block[156:157], _until_nul(block[:100])
    # Python reads this as a directory, even if an extension header has another name
    if flag == b"\0" and name.endswith("/"):
        raise FormatError("unsafe name in the archive", subject=repr(name), want="type 5 for a directory")
    if prefix := _until_nul(block[345:500]):
        name = f"{prefix}/{name}"
    return Header(name, _size(block[124:136]), flag, _until_nul(block[157:257]))


def _check_numbers(block: bytes) -> None:
    for what, position in _OCTAL_ONLY.items():
        _number(block[position], what, 0)
    for what, position in _OWNERS.items():
        _number(block[position], what, MAX_TAR_OWNER_ID)
    _number(block[_TIME], "time", MAX_TAR_TIME_SECONDS, signed=True)


def _number(field: bytes, what: str, limit: int, *, signed: bool = False) -> None:
    """Check a number that is not used: it may be empty, octal, or in base 256 up to `limit`."""
    if not any(field):
        return
    if limit == 0 or not (field[0] == 0x80 or (field[0] == 0xFF and signed)):
        _octal(field, what)
        return
    value = int.from_bytes(field[1:], "big", signed=field[0] == 0xFF)
    if not -limit <= value <= limit or (value < 0) != (field[0] == 0xFF):
        raise FormatError(f"bad {what} in a tar header", want=f"at most {limit:,}", got=repr(field))


def _size(field: bytes) -> int:
    if field[0] != 0x80:
        return _octal(field, "size")
    size = int.from_bytes(field[1:], "big")
    if not OCTAL_SIZE_LIMIT <= size <= MAX_TAR_FILE_BYTES:
        raise FormatError("bad size in a tar header", want=f"at most {MAX_TAR_FILE_BYTES:,}", got=f"{size:,}")
    return size


def _octal(field: bytes, what: str) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise FormatError(f"bad {what} in a tar header", want="octal digits", got=repr(field))
    return int(match[1], 8)


def _until_nul(field: bytes) -> str:
    return decode(field.partition(b"\0")[0])
