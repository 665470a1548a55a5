"""Changes of a tar archive: bytes, fields, whole headers, records of pax headers, and the end."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from airgap.bundle.tar_entries import END_OF_ARCHIVE, padding

_PLACES = {
    "name": (0, 100), "mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12), "mtime": (136, 12),
    "checksum": (148, 8), "flag": (156, 1), "target": (157, 100), "magic": (257, 8), "uname": (265, 32),
    "gname": (297, 32), "major": (329, 8), "minor": (337, 8), "prefix": (345, 155), "tail": (500, 12),
}  # fmt: skip
_NUMBERS = (
    b"", b"0", b" 7", b"7 ", b"644", b"0000644\0", b"  644 \0", b"\0 644", b"\x00644", b"644\0junk", b"6 4", b"-1", b"+1",
    b"0o7", b"1_0", b"8", b"99", b"\t7", b"7\n", b"\x80\0\0\0\0\0\0\1", b"\x80", b"\xff" * 12, b"\xff" * 8, b"\x81\0\0\1",
    b"\x80" + b"\x7f" * 11, b"\x80\0\0\0\0\0\0\0\0\0\0\5", b"\x80\0\0\0\0\0\0\2\0\0\0\0", b"77777777", b"777777777777",
    b"77777777777\0", b" " * 12, b"\0" * 12, b"0" * 12, b"00000000005 ", b"00000000005\0", b"000000005 \0\0", b"AAAA",
)  # fmt: skip
_TEXTS = (
    b"", b"a", b"./a", b"a/", b"./", b".", b"/", b"../a", b"a//b", b"a/./b", b"/a", b"a\0b", b"\0a", b"\xff\xfe", b"a\n", b"a\\b",
    b"blobs/one", b"./blobs/one", b"blobs", b"link/x", b"index.json", b"index.json/", "ü".encode(), b"a -> b", b"n" * 100,
    b"n" * 99 + b"/", b"d/" * 49, b"a b", b'a"b', b"././a", b"a/..", b"PaxHeaders.0/a", b"pax_global_header", b"PATH", b"a:b",
)  # fmt: skip
_FLAGS = b"0\x005712SVMDNLKxgXA34 6\xff:"
_MAGICS = (
    b"ustar\x0000", b"ustar  \0", b"ustar\0\0\0", b"ustar   ", b"ustar\x0001", bytes(8), b"ustar 00", b"USTAR\x0000",
)  # fmt: skip
_TAILS = (b"tar\0", b"\0" * 8 + b"tar\0", b"x", bytes(12))
_KEYS = (
    b"path", b"linkpath", b"size", b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname", b"comment",
    b"hdrcharset", b"GNU.sparse.map", b"GNU.sparse.major", b"GNU.sparse.name", b"GNU.sparse.realsize", b"GNU.sparse.size",
    b"GNU.sparse.numblocks", b"GNU.sparse.offset", b"SCHILY.xattr.user.a", b"SCHILY.realsize", b"SCHILY.acl.access",
    b"LIBARCHIVE.creationtime", b"LIBARCHIVE.xattr.a", b"SCHILY.dev", b"SCHILY.filetype", b"charset", b"", b"Path", b"path ",
    b"SCHILY.xattr.", b"SCHILY.xattr.a\0b", b"SCHILY.xattr.a b", b"GNU.volume.filename", b"RHT.security.selinux",
)  # fmt: skip
_VALUES = (
    *_TEXTS, *_NUMBERS, b"1.5", b"-1.5", b".5", b"1.", b"1e5", b"1.5.5", b"nan", b"inf", b"4294967295", b"4294967296",
    b"99999999999999999999", b"9223372036854775807", b"BINARY", b"ISO-IR 10646 2000 UTF-8", b"x\n15 path=evil/e\n",
    b"x\n21 hdrcharset=BINARY\n", b"0,1", b"1",
)  # fmt: skip


@dataclass(slots=True)
class _Part:
    """A header and the data behind it, padded."""

    head: bytes
    data: bytes
    repaired: bool = True


def mutants(archives: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` changed archives; the same for the same seed and archives."""
    rng = random.Random(seed)
    taken = [_parts(raw) for raw in archives]
    for _ in range(count):
        parts = [_Part(part.head, part.data) for part in rng.choice(taken)]
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            rng.choice(_CHANGES)(parts, rng)
        yield b"".join(_written(part, rng) for part in parts) + _end(rng, parts)


def _parts(raw: bytes) -> list[_Part]:
    """The parts of an archive that is right."""
    found, at = [], 0
    while any(head := raw[at : at + 512]):
        size = int(head[124:135], 8)
        end = at + 512 + size + len(padding(size))
        found.append(_Part(head, raw[at + 512 : end]))
        at = end
    return found


def _written(part: _Part, rng: random.Random) -> bytes:
    head = part.head
    if not part.repaired:
        return head + part.data
    rest = head[:148] + head[156:]
    total = sum(rest) + 8 * 32
    if rng.random() < 0.03:  # as old programs with signed characters do
        total = sum(byte - 256 if byte > 127 else byte for byte in rest) + 8 * 32
    form = rng.choice((b"%06o\0 ",) * 8 + (b"%07o\0", b"%06o \0", b"%8o", b"%6o\0 ", b"%08o"))
    return head[:148] + (form % total).ljust(8, b"\0")[:8] + head[156:] + part.data


def _end(rng: random.Random, parts: list[_Part]) -> bytes:
    if rng.random() < 0.9:
        return END_OF_ARCHIVE
    again = b"".join(part.head + part.data for part in parts)
    return rng.choice(
        (
            b"",
            bytes(512),
            bytes(512) + again,
            END_OF_ARCHIVE + again,
            END_OF_ARCHIVE + b"x",
            bytes(9000),
            END_OF_ARCHIVE + bytes(7),
        )
    )


def _put(head: bytes, field: str, value: bytes) -> bytes:
    at, length = _PLACES[field]
    return head[:at] + value[:length].ljust(length, b"\0") + head[at + length :]


def _change_number(parts: list[_Part], rng: random.Random) -> None:
    part = rng.choice(parts)
    fields = ("mode", "uid", "gid", "size", "mtime", "major", "minor")
    value = rng.choice(_NUMBERS)
    if rng.random() < 0.3:
        value = b"%0*o" % (rng.choice((1, 7, 8, 11, 12)), rng.choice((0, 1, 5, 511, 512, 600, 2**21, 2**33)))
        value = b" " * rng.choice((0, 0, 1, 3)) + value + rng.choice((b"", b" ", b"\0", b" \0", b"\0 "))
    part.head = _put(part.head, rng.choice(fields), value)


def _change_text(parts: list[_Part], rng: random.Random) -> None:
    part = rng.choice(parts)
    part.head = _put(part.head, rng.choice(("name", "name", "target", "uname", "prefix")), rng.choice(_TEXTS))


def _change_kind(parts: list[_Part], rng: random.Random) -> None:
    part, flag = rng.choice(parts), bytes([rng.choice(_FLAGS)])
    field, value = rng.choice(
        (("flag", flag), ("flag", flag), ("magic", rng.choice(_MAGICS)), ("tail", rng.choice(_TAILS)))
    )
    part.head = _put(part.head, field, value)


def _change_byte(parts: list[_Part], rng: random.Random) -> None:
    part, at = rng.choice(parts), rng.randrange(512)
    byte = rng.choice((0, 0x20, 0x2F, 0x30, 0x37, 0x78, 0x80, 0xFF, part.head[at] ^ 1 << rng.randrange(8)))
    part.head = part.head[:at] + bytes([byte]) + part.head[at + 1 :]
    part.repaired = rng.random() < 0.8


def _change_data(parts: list[_Part], rng: random.Random) -> None:
    part = rng.choice(parts)
    if not part.data:
        return
    at = rng.randrange(min(len(part.data), 80)) if rng.random() < 0.8 else rng.randrange(len(part.data))
    byte = rng.choice((0, 0x0A, 0x20, 0x2F, 0x31, 0x3D, 0xFF, rng.randrange(256)))
    part.data = part.data[:at] + bytes([byte]) + part.data[at + 1 :]


def _change_padding(parts: list[_Part], rng: random.Random) -> None:
    """Text behind the data of a header, in the same block."""
    part = rng.choice(parts)
    plain = part.data.rstrip(b"\0")
    more = rng.choice((b"x", b"evil\0", _record(rng), b"\n" + _record(rng)))
    part.data = (plain + more).ljust(len(part.data), b"\0")[: len(part.data)]


def _insert_pax(parts: list[_Part], rng: random.Random) -> None:
    text = b"".join(_record(rng) for _ in range(rng.choice((0, 1, 1, 1, 2, 3))))
    _insert(parts, rng, rng.choice(b"xxxxg"), text)


def _insert_gnu(parts: list[_Part], rng: random.Random) -> None:
    text = rng.choice(_TEXTS) * rng.choice((1, 1, 1, 5)) + rng.choice((b"\0", b"\0", b"", b"\0\0"))
    _insert(parts, rng, rng.choice(b"LLK"), text)


def _insert(parts: list[_Part], rng: random.Random, flag: int, text: bytes) -> None:
    at = rng.randrange(len(parts) + 1)
    model = rng.choice(parts).head
    head = _put(_put(model, "flag", bytes([flag])), "size", b"%011o" % len(text))
    parts.insert(at, _Part(head, text + padding(len(text))))


def _move(parts: list[_Part], rng: random.Random) -> None:
    at, to = rng.randrange(len(parts)), rng.randrange(len(parts))
    way = rng.randrange(4)
    if way == 0:
        parts.insert(to, _Part(parts[at].head, parts[at].data))
    elif way == 1 and len(parts) > 1:
        del parts[at]
    elif way == 2:
        parts[at], parts[to] = parts[to], parts[at]
    else:
        parts[at] = _Part(parts[at].head, parts[to].data)


def _record(rng: random.Random) -> bytes:
    rest = b" " + rng.choice(_KEYS[: rng.choice((11, len(_KEYS)))]) + b"=" + rng.choice(_VALUES) + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return b"%d" % (length + rng.choice((0,) * 12 + (1, -1))) + rest


_CHANGES: tuple[Callable[[list[_Part], random.Random], None], ...] = (
    _change_number, _change_number, _change_number, _change_text, _change_text, _change_kind, _change_byte, _change_byte,
    _change_data, _change_padding, _insert_pax, _insert_pax, _insert_gnu, _move,
)  # fmt: skip
