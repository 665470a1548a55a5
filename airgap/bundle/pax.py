"""Extended tar headers (POSIX.1-2001 pax), read strictly.

Only records that all tar readers interpret equally are accepted. `size` is accepted only if the number does
not fit into the header: GNU tar, Python's tarfile and Go's archive/tar then write 0 there.
"""

import re
from dataclasses import dataclass, field

from airgap.errors import FormatError
from airgap.limits import MAX_TAR_FILE_BYTES, MAX_TAR_OWNER_ID, MAX_TAR_TIME_SECONDS

OCTAL_SIZE_LIMIT = 1 << 33
"""The smallest size that does not fit into the eleven octal digits of a header."""


_LENGTH = re.compile(rb"([1-9][0-9]{0,5}) ")
_SIZE = re.compile(r"[1-9][0-9]{0,19}", re.ASCII)
_NAMES = frozenset({"path", "linkpath"})
_TIMES = frozenset({"mtime", "atime", "ctime"})
_TIME = re.compile(rb"-?([0-9]{1,13})(\.[0-9]{1,30})?")
_OWNERS = frozenset({"uid", "gid"})
_OWNER = re.compile(rb"[0-9]{1,10}")
_HARMLESS = frozenset(
    {"uname", "gname", "comment"}
    | {"LIBARCHIVE.creationtime", "SCHILY.dev", "SCHILY.ino", "SCHILY.nlink", "SCHILY.fflags"}
)
_HARMLESS_PREFIXES = ("SCHILY.xattr.", "LIBARCHIVE.xattr.", "SCHILY.acl.")


@dataclass(slots=True)
class Records:
    """The records of a pax header, for the entry that follows it."""

    names: dict[str, str] = field(default_factory=dict)
    """`path` and `linkpath`."""
    size: int | None = None


def parse_records(raw: bytes) -> Records:
    """Parse the lines `<length> <key>=<value>`, each key at most once. Raises `FormatError`."""
    seen: set[str] = set()
    records = Records()
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
            records.names[key] = decode(value)
        elif key == "size":
            records.size = _parse_size(value)
        else:
            _check_harmless(key, value)
        seen.add(key)
        at = end
    return records


def check_global(raw: bytes) -> None:
    """Raise `FormatError` if a global header has a record that would change entries."""
    records = parse_records(raw)
    if records.names:
        raise FormatError("a global pax header sets the name of all entries")
    if records.size is not None:
        raise FormatError("a global pax header sets the size of all entries", got="size")


def decode(raw: bytes) -> str:
    """Decode a name, which must be UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("a name in the archive is not UTF-8", subject=repr(raw[:100])) from error


def _check_harmless(key: str, value: bytes) -> None:
    """Raise `FormatError` if a record changes the entry, or if some reader refuses or misreads it."""
    if key in _TIMES:
        time = _TIME.fullmatch(value)
        good = time is not None and int(time[1]) <= MAX_TAR_TIME_SECONDS
    elif key in _OWNERS:
        good = _OWNER.fullmatch(value) is not None and int(value) <= MAX_TAR_OWNER_ID
    elif key in _HARMLESS:
        good = b"\0" not in value
    elif key.startswith(_HARMLESS_PREFIXES):
        good = key.isprintable()
    else:
        raise FormatError("unsupported pax record in the archive", got=repr(key[:100]))
    if not good or b"hdrcharset=" in value:  # Python also looks for this in values
        raise FormatError("bad pax record in the archive", subject=repr(key[:100]), got=repr(value[:100]))


def _parse_size(value: bytes) -> int:
    text = decode(value)
    size = int(text) if _SIZE.fullmatch(text) else -1
    if 0 <= size < OCTAL_SIZE_LIMIT:
        raise FormatError(
            "unsupported pax record in the archive",
            want="a size only for 8 GiB and more",
            got=f"size {size:,}",
        )
    if not 0 <= size <= MAX_TAR_FILE_BYTES:
        raise FormatError(
            "bad size in a pax header", want=f"at most {MAX_TAR_FILE_BYTES:,}", got=repr(text[:30])
        )
    return size
