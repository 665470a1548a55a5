"""The tar reader and writer, with GNU tar and Python's tarfile as judges of each other."""

import contextlib
import io
import random
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.bundle import tar_entries
from airgap.bundle.tar_entries import END_OF_ARCHIVE, TarEntry, header, padding, read_entries
from airgap.bundle.tar_header import BLOCK
from airgap.errors import FormatError

LONG = "deep/" * 30 + "leaf"


class Trickle:
    """A stream that cannot seek and gives a few bytes at a time."""

    def __init__(self, raw: bytes, step: int = 700) -> None:
        self._inner = io.BytesIO(raw)
        self._step = step

    def readinto(self, buffer: memoryview) -> int:
        return self._inner.readinto(buffer[: self._step])

    def close(self) -> None:
        self._inner.close()


def read(raw: bytes, **options) -> list[tuple[TarEntry, bytes]]:
    """All entries with their data."""
    return [(entry, data.read()) for entry, data in read_entries(Trickle(raw), **options)]


def names(raw: bytes) -> list[str]:
    return [entry.name for entry, _ in read_entries(io.BytesIO(raw))]


def archive(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.USTAR_FORMAT, pax=None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, pax_headers=pax or {}) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", **fields) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def patched(block: bytes, at: int, value: bytes) -> bytes:
    """A header with some bytes replaced and its checksum made right again."""
    block = block[:at] + value + block[at + len(value) :]
    total = sum(block[:148]) + 8 * 32 + sum(block[156:512])
    return block[:148] + b"%06o\0 " % total + block[156:]


def raw_entry(flag: bytes, content: bytes, name: str = "x") -> bytes:
    return patched(header(name, len(content)), 156, flag) + content + padding(len(content))


def pax(*records: tuple[bytes, bytes], flag: bytes = b"x") -> bytes:
    out = b""
    for key, value in records:
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length += 1
        out += str(length).encode() + rest
    return raw_entry(flag, out)


FILE = header("a", 3) + b"abc" + padding(3)


class TestReader:
    @pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_reads_what_tarfile_writes(self, form):
        raw = archive(
            (member("dir", tarfile.DIRTYPE), b""),
            (member("dir/a"), b"x" * 1000),
            (member("dir/empty", mtime=1.5), b""),
            (member("dir/link", tarfile.SYMTYPE, "../dir/a"), b""),
            (member("dir/hard", tarfile.LNKTYPE, "dir/a"), b""),
            (member(LONG), b"deep"),
            form=form,
        )
        found = read(raw)
        assert [(e.name, e.kind, e.size, e.target) for e, _ in found] == [
            ("dir", "directory", 0, ""),
            ("dir/a", "file", 1000, ""),
            ("dir/empty", "file", 0, ""),
            ("dir/link", "symlink", 0, "../dir/a"),
            ("dir/hard", "hardlink", 0, "dir/a"),
            (LONG, "file", 4, ""),
        ]
        assert all(raw[e.offset : e.offset + e.size] == data for e, data in found)

    @pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_reads_very_long_names_and_targets(self, form):
        name, target = "n" * 300, "t" * 300
        found = read(archive((member(name, tarfile.SYMTYPE, target), b""), form=form))
        assert [(e.name, e.target) for e, _ in found] == [(name, target)]

    @pytest.mark.parametrize("form", ["ustar", "gnu", "posix", "oldgnu"])
    def test_reads_what_gnu_tar_writes(self, tmp_path: Path, form: str):
        (tmp_path / "in" / "blobs").mkdir(parents=True)
        (tmp_path / "in" / "blobs" / "one").write_bytes(b"1" * 5000)
        (tmp_path / "in" / "ümlaut").write_text("ü")
        (tmp_path / "in" / "link").symlink_to("blobs/one")
        raw = subprocess.run(
            ["tar", f"--format={form}", "--sort=name", "-C", tmp_path / "in", "-c", "."],
            check=True,
            capture_output=True,
        ).stdout
        assert [(e.name, e.kind, len(d)) for e, d in read(raw)] == [
            ("blobs", "directory", 0),
            ("blobs/one", "file", 5000),
            ("link", "symlink", 0),
            ("ümlaut", "file", 2),
        ]

    def test_passes_over_what_is_not_read(self):
        raw = b"".join(header(n, 5000) + n.encode() * 5000 + padding(5000) for n in "abc") + END_OF_ARCHIVE
        seen = []
        for entry, data in read_entries(Trickle(raw)):
            seen.append(entry.name)
            if entry.name == "b":
                data.readinto(memoryview(bytearray(10)))
        assert seen == ["a", "b", "c"]

    def test_skip_replaces_reading(self):
        raw = io.BytesIO(FILE + header("b", 5) + b"bbbbb" + padding(5) + END_OF_ARCHIVE)
        skipped = []

        def skip(size: int) -> None:
            skipped.append(size)
            raw.seek(size, io.SEEK_CUR)

        found = [(e.name, e.offset) for e, _ in read_entries(raw, skip=skip)]
        assert found == [("a", 512), ("b", 1536)]
        assert skipped == [512, 512]

    def test_a_stream_is_at_its_end_after_its_turn(self):
        entries = read_entries(io.BytesIO(FILE + header("b", 1) + b"b" + padding(1) + END_OF_ARCHIVE))
        _, first = next(entries)
        next(entries)
        assert first.readinto(memoryview(bytearray(9))) == 0

    def test_closing_an_entry_leaves_the_archive_open(self):
        stream = io.BytesIO(FILE + header("b", 1) + b"b" + padding(1) + END_OF_ARCHIVE)
        for _, data in read_entries(stream):
            data.close()
        assert not stream.closed

    @pytest.mark.parametrize("end", [b"", bytes(512), END_OF_ARCHIVE, bytes(10240), bytes(10240 + 7)])
    def test_ends(self, end):
        assert names(FILE + end) == ["a"]

    @pytest.mark.parametrize("raw", [b"", END_OF_ARCHIVE])
    def test_nothing_inside(self, raw):
        assert names(raw) == []

    def test_harmless_pax_records(self):
        extra = pax((b"mtime", b"1.5"), (b"SCHILY.xattr.user.x", b"\xff\0="), (b"path", "ä/b".encode()))
        assert names(pax((b"comment", b"hi"), flag=b"g") + extra + FILE) == ["ä/b"]

    def test_an_entry_can_be_buffered(self):
        (_, data) = next(read_entries(io.BytesIO(FILE + END_OF_ARCHIVE)))
        assert io.BufferedReader(data).read() == b"abc"


HEADER = header("a", 0)
REFUSED = {
    "no tar": (b"x" * 1024, "not a tar header"),
    "gzip": (b"\x1f\x8b" + bytes(510), "not a tar header"),
    "v7": (patched(HEADER, 257, bytes(8)), "not a tar header"),
    "star": (patched(HEADER, 508, b"tar\0"), "unknown dialect"),
    "checksum": (b"b" + HEADER[1:], "wrong checksum"),
    "checksum text": (HEADER[:148] + b"99999999" + HEADER[156:], "bad checksum"),
    "size text": (patched(HEADER, 124, b"12345678901x"), "bad size"),
    "size empty": (patched(HEADER, 124, bytes(12)), "bad size"),
    "size minus": (patched(HEADER, 124, b"-0000000001\0"), "bad size"),
    "size negative base 256": (patched(HEADER, 124, b"\xff" * 12), "bad size"),
    "size base 256 small": (patched(HEADER, 124, b"\x80" + bytes(10) + b"\1"), "bad size"),
    "size base 256 huge": (patched(HEADER, 124, b"\x80" + b"\1" * 11), "bad size"),
    "short header": (FILE + HEADER[:100], "truncated"),
    "short data": (header("a", 600) + b"x" * 100, "truncated"),
    "short padding": (header("a", 3) + b"abc", "truncated"),
    "junk after end": (FILE + END_OF_ARCHIVE + b"x", "data after the end"),
    "entry after zero block": (FILE + bytes(512) + FILE, "data after the end"),
    "absolute": (header("/a", 0), "unsafe name"),
    "parent": (header("../a", 0), "unsafe name"),
    "parent inside": (header("a/../b", 0), "unsafe name"),
    "dot inside": (header("a/./b", 0), "unsafe name"),
    "empty part": (header("a//b", 0), "unsafe name"),
    "file with slash": (header("a/", 0), "unsafe name"),
    "dot file": (header(".", 0), "unsafe name"),
    "empty name": (patched(HEADER, 0, b"\0"), "unsafe name"),
    "root directory": (patched(patched(HEADER, 156, b"5"), 0, b"/"), "unsafe name"),
    "backslash": (header("a\\b", 0), "unsafe name"),
    "control": (header("a\x1bb", 0), "unsafe name"),
    "bidi": (header("a\u202eb", 0), "unsafe name"),
    "not utf-8": (patched(HEADER, 0, b"\xff"), "not UTF-8"),
    "twice": (FILE + FILE, "twice"),
    "twice in two spellings": (FILE + header("./a", 0), "twice"),
    "file and directory": (FILE + patched(header("a/", 0), 156, b"5"), "twice"),
    "device": (raw_entry(b"3", b""), "unsupported kind"),
    "block device": (raw_entry(b"4", b""), "unsupported kind"),
    "fifo": (raw_entry(b"6", b""), "unsupported kind"),
    "contiguous": (raw_entry(b"7", b""), "unsupported kind"),
    "sparse": (raw_entry(b"S", b""), "unsupported kind"),
    "multi-volume": (raw_entry(b"M", b""), "unsupported kind"),
    "directory with data": (raw_entry(b"5", b"x"), "directory or link has data"),
    "link with data": (raw_entry(b"1", b"x"), "directory or link has data"),
    "link to nothing": (raw_entry(b"2", b""), "unsafe link target"),
    "pax size": (pax((b"size", b"3")) + FILE, "unsupported pax record"),
    "pax size global": (pax((b"size", b"3"), flag=b"g") + FILE, "unsupported pax record"),
    "pax sparse": (pax((b"GNU.sparse.major", b"1")) + FILE, "unsupported pax record"),
    "pax charset": (pax((b"hdrcharset", b"BINARY")) + FILE, "unsupported pax record"),
    "pax path global": (pax((b"path", b"b"), flag=b"g") + FILE, "sets the name of all"),
    "pax path twice": (pax((b"path", b"b"), (b"path", b"c")) + FILE, "bad pax header"),
    "pax path empty": (pax((b"path", b"")) + FILE, "unsafe name"),
    "pax path nul": (pax((b"path", b"a\0b")) + FILE, "unsafe name"),
    "pax path not utf-8": (pax((b"path", b"\xff")) + FILE, "not UTF-8"),
    "pax path long": (pax((b"path", b"p" * 5000)) + FILE, "unsafe name"),
    "pax no length": (raw_entry(b"x", b"path=b\n") + FILE, "bad pax header"),
    "pax length zero": (raw_entry(b"x", b"0 path=b\n") + FILE, "bad pax header"),
    "pax length short": (raw_entry(b"x", b"3 path=b\n") + FILE, "bad pax header"),
    "pax length long": (raw_entry(b"x", b"90 path=b\n") + FILE, "bad pax header"),
    "pax no equals": (raw_entry(b"x", b"8 pathb\n") + FILE, "bad pax header"),
    "pax large": (raw_entry(b"x", b"x" * 70_000) + FILE, "too large"),
    "pax twice": (
        pax((b"path", b"b")) + pax((b"mtime", b"1")) + FILE,
        "two extension headers of the same kind",
    ),
    "pax at end": (pax((b"path", b"b")) + END_OF_ARCHIVE, "not followed by an entry"),
    "pax at eof": (pax((b"path", b"b")), "not followed by an entry"),
    "gnu name twice": (raw_entry(b"L", b"b\0") * 2 + FILE, "two extension headers of the same kind"),
    "gnu and pax name": (raw_entry(b"L", b"b\0") + pax((b"path", b"c")) + FILE, "beside a GNU header"),
    "gnu name large": (raw_entry(b"L", b"x" * 4098) + FILE, "too large"),
    "gnu name nul": (raw_entry(b"L", b"a\0b\0") + FILE, "unsafe name"),
    "gnu name truncated": (raw_entry(b"L", b"x" * 600)[:1000], "truncated"),
}


class TestRefused:
    @pytest.mark.parametrize(("raw", "message"), REFUSED.values(), ids=REFUSED)
    def test_refused(self, raw, message):
        with pytest.raises(FormatError, match=message):
            read(raw)

    def test_too_many_entries(self):
        raw = b"".join(header(f"f{i}", 0) for i in range(4)) + END_OF_ARCHIVE
        assert len(read(raw, max_entries=4)) == 4
        with pytest.raises(FormatError, match="too many entries"):
            read(raw, max_entries=3)

    def test_global_headers_count(self):
        with pytest.raises(FormatError, match="too many entries"):
            read((pax((b"comment", b"x"), flag=b"g") + FILE) * 20, max_entries=1)

    def test_names_are_bounded_together(self, monkeypatch):
        monkeypatch.setattr(tar_entries, "MAX_TAR_NAMES_BYTES", 10)
        with pytest.raises(FormatError, match="too many names"):
            read(header("abcdef", 0) + header("ghijkl", 0))

    def test_endless_zeros(self, monkeypatch):
        monkeypatch.setattr(tar_entries, "MAX_TAR_TRAILER_BYTES", 1 << 20)
        with pytest.raises(FormatError, match="data after the end"):
            read(bytes(4 << 20))

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=2000))
    def test_bytes_that_are_not_a_tar_are_refused(self, raw):
        with pytest.raises(FormatError) if raw.strip(b"\0") else contextlib.suppress(FormatError):
            read(raw)

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 2**32), st.sampled_from(tarfile.SUPPORTED_TYPES))
    def test_a_changed_archive_is_refused_or_read_as_tarfile_reads_it(self, seed, kind):
        chance = random.Random(seed)
        raw = archive((member("n" * 120, kind, "t" * 120), b""), (member("b"), b"x" * 600), form=1 + seed % 2)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(raw) - 8000)
            value = chance.choice([0, 0x20, 0x2F, 0x30, 0x37, 0x78, 0xFF, chance.randrange(256)])
            start = at - at % BLOCK
            block = patched(raw[start : start + BLOCK], at % BLOCK, bytes([value]))
            raw = raw[:start] + block + raw[start + BLOCK :]
        try:
            ours = [(entry.name, data) for entry, data in read(raw) if entry.kind == "file"]
        except FormatError:
            return
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            assert ours == [(info.name, tar.extractfile(info).read()) for info in tar if info.isreg()]


NAMES = [
    "a",
    "blobs/sha256/" + "f" * 64,
    "n" * 100,
    "p" * 155 + "/" + "n" * 100,
    LONG,
    "ü" * 50,
    "x/" + "y" * 99,
]


class TestWriter:
    def test_is_deterministic_and_plain(self):
        block = header("manifest.json", 7)
        assert len(block) == BLOCK
        assert block == header("manifest.json", 7)
        assert block[257:265] == b"ustar\x0000"
        assert tarfile.TarInfo.frombuf(block, "utf-8", "strict").get_info() == {
            "name": "manifest.json", "mode": 0o644, "uid": 0, "gid": 0, "size": 7, "mtime": 0,
            "chksum": tarfile.TarInfo.frombuf(block, "utf-8", "strict").chksum, "type": b"0", "linkname": "",
            "uname": "", "gname": "", "devmajor": 0, "devminor": 0,
        }  # fmt: skip

    @pytest.mark.parametrize("name", NAMES)
    def test_equals_tarfiles_ustar(self, name):
        info = member(name, uname="", gname="")
        info.size = 12345
        theirs = tarfile.TarInfo.frombuf(info.tobuf(tarfile.USTAR_FORMAT), "utf-8", "strict")
        ours = tarfile.TarInfo.frombuf(header(name, 12345), "utf-8", "strict")
        assert (ours.name, ours.size, ours.mode) == (theirs.name, theirs.size, theirs.mode)

    def test_gnu_tar_and_tarfile_read_it(self):
        contents = {name: bytes([i]) * (300 * i) for i, name in enumerate(NAMES)}
        raw = b"".join(header(n, len(c)) + c + padding(len(c)) for n, c in contents.items()) + END_OF_ARCHIVE
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            assert {m.name: tar.extractfile(m).read() for m in tar} == contents
        listed = subprocess.run(
            ["tar", "--quoting-style=literal", "-tf", "-"], input=raw, capture_output=True, check=True
        )
        assert listed.stdout.decode().splitlines() == NAMES
        assert listed.stderr == b""
        assert [(e.name, d) for e, d in read(raw)] == list(contents.items())

    @pytest.mark.parametrize("size", [(1 << 33) - 1, 1 << 33, (1 << 33) + 5])
    def test_sizes_round_8_gib(self, tmp_path: Path, size: int):
        path = tmp_path / "sparse.tar"
        with path.open("wb") as out:
            out.write(header("big", size))
            out.truncate(BLOCK + size + len(padding(size)) + len(END_OF_ARCHIVE))
        listed = subprocess.run(["tar", "-tvf", path], capture_output=True, check=True, text=True).stdout
        assert str(size) in listed.split()
        with tarfile.open(path) as tar:
            assert [m.size for m in tar] == [size]
        with path.open("rb", buffering=0) as stream:
            found = read_entries(stream, skip=lambda n: stream.seek(n, io.SEEK_CUR))
            assert [entry.size for entry, _ in found] == [size]

    @pytest.mark.parametrize(
        "name", ["", "n" * 101, "p" * 156 + "/" + "n" * 99, "/" + "n" * 100, "n" * 101 + "/"]
    )
    def test_names_that_do_not_fit(self, name):
        with pytest.raises(ValueError, match="does not fit"):
            header(name, 0)

    @pytest.mark.parametrize("size", [-1, (1 << 40) + 1])
    def test_sizes_that_do_not_fit(self, size):
        with pytest.raises(ValueError, match="does not fit"):
            header("a", size)

    @given(st.integers(0, 10**6))
    def test_padding_fills_the_block(self, size):
        assert (size + len(padding(size))) % BLOCK == 0
        assert len(padding(size)) < BLOCK
