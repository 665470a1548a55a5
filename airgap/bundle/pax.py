"""Extended tar headers (POSIX.1-2001 pax), read strictly.

Only records that all tar readers understand alike are accepted. `size` is one of them only where the
header has no room for the number: GNU tar, Python's tarfile and Go's archive/tar then write 0 there.
"""

import re
from dataclasses import dataclass, field

from airgap.errors import FormatError

OCTAL_SIZE_LIMIT = 1 << 33
"""Sizes from here on do not fit the eleven octal digits of a header."""

MAX_SIZE = 1 << 40

_LENGTH = re.compile(rb"([1-9][0-9]{0,5}) ")
_SIZE = re.compile(r"[1-9][0-9]{0,19}", re.ASCII)
_NAMES = frozenset({"path", "linkpath"})
_HARMLESS = frozenset(
    {"mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment"}
    | {"LIBARCHIVE.creationtime", "SCHILY.dev", "SCHILY.ino", "SCHILY.nlink", "SCHILY.fflags"}
)
_HARMLESS_PREFIXES = ("SCHILY.xattr.", "LIBARCHIVE.xattr.", "SCHILY.acl.")


@dataclass(slots=True)
class Records:
    """What a pax header says about the entry that follows it."""

    names: dict[str, str] = field(default_factory=dict)
    """`path` and `linkpath`."""
    size: int | None = None


def parse(raw: bytes) -> Records:
    """The lines `<length> <key>=<value>`, each key at most once. Raises `FormatError`."""
    seen: set[str] = set()
    found = Records()
    at = 0
    while at < len(raw):
        match = _LENGTH.match(raw, at)
        end = at + int(match[1]) if match else 0
        record = raw[match.end() : end] if match and end <= len(raw) else b""
        field_, equals, value = record[:-1].partition(b"=")
        key = decode(field_)
        if record[-1:] != b"\n" or not equals or key in seen:
            raise FormatError("bad pax header in the archive", got=repr(raw[at : at + 100]))
        if key in _NAMES:
            found.names[key] = decode(value)
        elif key == "size":
            found.size = _parse_size(value)
        elif key not in _HARMLESS and not key.startswith(_HARMLESS_PREFIXES):
            raise FormatError("unsupported pax record in the archive", got=repr(key[:100]))
        seen.add(key)
        at = end
    return found


def check_global(raw: bytes) -> None:
    """Raise unless a global header says nothing that matters."""
    found = parse(raw)
    if found.names:
        raise FormatError("one name for all entries in a global pax header")
    if found.size is not None:
        raise FormatError("one size for all entries in a global pax header", got="size")


def decode(raw: bytes) -> str:
    """A name, which must be UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("name in the archive is not UTF-8", subject=repr(raw[:100])) from error


def _parse_size(value: bytes) -> int:
    text = decode(value)
    size = int(text) if _SIZE.fullmatch(text) else -1
    if 0 <= size < OCTAL_SIZE_LIMIT:
        raise FormatError(
            "unsupported pax record in the archive",
            want="a size only for 8 GiB and more",
            got=f"size {size:,}",
        )
    if not 0 <= size <= MAX_SIZE:
        raise FormatError("bad size in a pax header", want=f"at most {MAX_SIZE:,}", got=repr(text[:30]))
    return size
