import errno
import os
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.bundle.blob_files import Joined, Output, Segment, Sums, create, size_of, usable_bytes
from airgap.bundle.write_turns import WriteTurns
from airgap.errors import EndpointError, MediaError, NoSpaceError, SizeMismatchError, UnlistedContentError
from airgap.oci.digest import Digest
from tests.support.streams import BrokenStream, Bytes

RAW = b"0123456789"


def segments(folder, *sizes):
    return tuple(Segment(folder / f"v{i}" / f"blob.{i:03d}", size) for i, size in enumerate(sizes))


def put(path, raw):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def failing(number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


class TestSums:
    @pytest.mark.parametrize("step", [1, 3, 4, 10])
    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    def test_of_the_whole_and_of_each_part(self, tmp_path, algorithm, step):
        parts = segments(tmp_path, 4, 5, 1)
        sums = Sums(Digest.of(RAW, algorithm), parts)
        for at in range(0, 10, step):
            sums.update(memoryview(RAW)[at : at + step])
        assert sums.sha256 == sha256(RAW).hexdigest()
        want = [sha256(piece).hexdigest() for piece in (b"0123", b"45678", b"9")]
        assert [sums.parts[part.path] for part in parts] == want

    def test_a_blob_in_one_file_has_no_parts(self, tmp_path):
        sums = Sums(Digest.of(RAW, "sha512"), segments(tmp_path, 10))
        sums.update(memoryview(RAW))
        assert (sums.parts, sums.sha256) == ({}, sha256(RAW).hexdigest())

    def test_a_part_that_is_not_whole_has_no_sum(self, tmp_path):
        parts = segments(tmp_path, 4, 6)
        sums = Sums(Digest.of(RAW), parts)
        sums.update(memoryview(RAW)[:9])
        assert list(sums.parts) == [parts[0].path]

    def test_what_comes_behind_the_last_part_is_in_none(self, tmp_path):
        parts = segments(tmp_path, 4, 6)
        sums = Sums(Digest.of(RAW), parts)
        sums.update(memoryview(RAW + b"more"))
        assert sums.parts[parts[1].path] == sha256(RAW[4:]).hexdigest()


def all_of(stream, size=4):
    out = bytearray()
    buffer = memoryview(bytearray(size))
    while got := stream.readinto(buffer):
        out += buffer[:got]
    return bytes(out)


class TestJoined:
    @pytest.mark.parametrize("pieces", [[], [b""], [b"abc"], [b"abc", b"", b"defgh", b""]])
    def test_one_after_the_other(self, pieces):
        opened = [Bytes(piece, 2) for piece in pieces]
        stream = Joined([partial(lambda each: each, each) for each in opened])
        assert all_of(stream) == b"".join(pieces)
        assert all(each.closed for each in opened)

    def test_opened_only_when_its_turn_comes(self):
        asked = []

        def opens(name):
            asked.append(name)
            return Bytes(name)

        stream = Joined([partial(opens, b"ab"), partial(opens, b"cd")])
        assert asked == []
        stream.readinto(memoryview(bytearray(2)))
        assert asked == [b"ab"]
        stream.close()
        stream.close()

    def test_an_error_on_the_way_is_passed_on(self):
        broken = BrokenStream(b"ab", EndpointError("gone"))
        stream = Joined([lambda: broken])
        with pytest.raises(EndpointError, match="gone"):
            all_of(stream)
        stream.close()
        assert broken.closed


class TestOutput:
    @pytest.mark.parametrize("step", [1, 3, 4, 5, 10])
    def test_fills_one_file_after_the_other(self, tmp_path, step):
        parts = segments(tmp_path, 4, 5, 1)
        output = Output(parts, 0, WriteTurns())
        for at in range(0, 10, step):
            output.write(memoryview(RAW)[at : at + step])
        output.sync()
        output.close()
        output.close()
        assert [part.part.read_bytes() for part in parts] == [b"0123", b"45678", b"9"]
        assert not any(part.path.exists() for part in parts)

    @pytest.mark.parametrize("keep", range(1, 10))
    def test_reads_what_is_kept_and_writes_on(self, tmp_path, keep):
        parts = segments(tmp_path, 4, 5, 1)
        left = keep
        for part, raw in zip(parts, (b"0123", b"45678", b"9"), strict=True):
            if left:
                put(part.part, raw[:left])
            left -= min(left, len(raw))
        output = Output(parts, keep, WriteTurns())
        kept = bytearray()
        buffer = memoryview(bytearray(3))
        while len(kept) < keep:
            got = output.read(buffer[: keep - len(kept)])
            kept += buffer[:got]
        assert kept == RAW[:keep]
        output.write(memoryview(RAW)[keep:])
        output.close()
        assert [part.part.read_bytes() for part in parts] == [b"0123", b"45678", b"9"]

    def test_a_file_that_is_named_already_is_read_and_left(self, tmp_path):
        parts = segments(tmp_path, 4, 6)
        put(parts[0].path, b"0123")
        before = parts[0].path.stat()
        output = Output(parts, 4, WriteTurns())
        buffer = memoryview(bytearray(9))
        assert output.read(buffer) == 4
        output.write(memoryview(RAW)[4:])
        output.close()
        after = parts[0].path.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert not parts[0].part.exists()
        assert parts[1].part.read_bytes() == b"456789"

    def test_what_is_not_kept_is_cut_off(self, tmp_path):
        parts = segments(tmp_path, 4, 6)
        for part in parts:
            put(part.part, b"left from before")
        output = Output(parts, 0, WriteTurns())
        output.write(memoryview(RAW))
        output.close()
        assert [part.part.read_bytes() for part in parts] == [b"0123", b"456789"]

    def test_more_than_there_is_room_for_goes_to_the_last(self, tmp_path):
        """The reader before it has counted: too much is refused there, and not lost here."""
        parts = segments(tmp_path, 4, 6)
        output = Output(parts, 0, WriteTurns())
        output.write(memoryview(RAW + b"more"))
        output.close()
        assert parts[1].part.read_bytes() == b"456789more"

    def test_a_file_that_shrank_meanwhile(self, tmp_path):
        parts = segments(tmp_path, 4, 6)
        put(parts[0].part, b"0123")
        output = Output(parts, 4, WriteTurns())
        os.truncate(parts[0].part, 0)
        with pytest.raises(SizeMismatchError, match=r"the file shrank: .*blob\.000\.part"):
            output.read(memoryview(bytearray(4)))
        output.close()

    @pytest.mark.parametrize(
        ("call", "number", "error"),
        [
            ("write", errno.ENOSPC, NoSpaceError),
            ("write", errno.EIO, MediaError),
            ("fsync", errno.EIO, MediaError),
            ("open", errno.EROFS, MediaError),
        ],
    )
    def test_media_that_fail(self, tmp_path, monkeypatch, call, number, error):
        parts = segments(tmp_path, 4, 6)
        monkeypatch.setattr(os, call, failing(number))
        with pytest.raises(error, match=r"cannot write: .*blob\.000"):
            Output(parts, 0, WriteTurns()).write(memoryview(RAW))

    def test_a_medium_that_cannot_be_read(self, tmp_path, monkeypatch):
        parts = segments(tmp_path, 4)
        put(parts[0].part, b"0123")
        output = Output(parts, 4, WriteTurns())
        monkeypatch.setattr(os, "readv", failing(errno.EIO))
        with pytest.raises(MediaError, match=r"cannot read: .*blob\.000\.part"):
            output.read(memoryview(bytearray(4)))
        output.close()


class TestUsable:
    """Sizes 4, 5 and 1. `.` is a file of its own name, `p` one that is being written; a number is its size."""

    @pytest.mark.parametrize(
        ("there", "want"),
        [
            ("", 0),
            ("p0:0", 0),
            ("p0:3", 3),
            ("p0:4", 4),
            ("p0:5", 0),
            ("p0:4 p1:2", 6),
            ("p0:3 p1:5", 3),
            ("p0:4 p1:5 p2:1", 10),
            ("p0:4 p1:5 p2:2", 9),
            (".0:4 p1:2", 6),
            (".0:3 p1:2", 0),
            (".0:4 .1:5", 9),
            (".0:4 .1:6 p2:1", 4),
            ("p1:5", 0),
            # the last one's name says that all were there, and were wrong together
            (".0:4 .1:5 .2:1", 9),
            (".2:1", 0),
            # what is being written comes before what has its name
            (".0:4 p0:2", 2),
        ],
    )
    def test_what_counts(self, tmp_path, there, want):
        parts = segments(tmp_path, 4, 5, 1)
        for word in there.split():
            place, size = word.split(":")
            part = parts[int(place[1])]
            put(part.part if place[0] == "p" else part.path, bytes(int(size)))
        assert usable_bytes(parts) == want

    def test_one_file_that_has_its_name_counts_for_nothing(self, tmp_path):
        parts = segments(tmp_path, 4)
        put(parts[0].path, b"0123")
        assert usable_bytes(parts) == 0

    @pytest.mark.parametrize(
        "make",
        [lambda p: p.mkdir(), os.mkfifo, lambda p: p.symlink_to("/etc/passwd"), lambda p: p.symlink_to("x")],
    )
    def test_what_is_no_file_does_not_count(self, tmp_path, make):
        parts = segments(tmp_path, 4, 5)
        parts[0].part.parent.mkdir()
        make(parts[0].part)
        make(parts[0].path)
        assert usable_bytes(parts) == 0


class TestSizeOf:
    def test_files_only(self, tmp_path):
        put(tmp_path / "file", b"abc")
        (tmp_path / "link").symlink_to("file")
        os.mkfifo(tmp_path / "pipe")
        found = {name: size_of(tmp_path / name) for name in ("file", "link", "pipe", "none", ".")}
        assert found == {"file": 3, "link": None, "pipe": None, "none": None, ".": None}

    def test_what_cannot_be_asked(self, tmp_path):
        put(tmp_path / "file", b"abc")
        with pytest.raises(MediaError, match="cannot read"):
            size_of(tmp_path / "file" / "below")


class TestCreate:
    @pytest.mark.parametrize(("keep", "left"), [(0, b""), (1, b"abc"), (3, b"abc")])
    def test_all_or_nothing_of_what_is_there(self, tmp_path, keep, left):
        part = tmp_path / "new" / "x.part"
        put(part, b"abc")
        os.close(create(part, keep))
        assert part.read_bytes() == left

    def test_a_link_is_not_followed(self, tmp_path):
        put(tmp_path / "other", b"abc")
        (tmp_path / "x.part").symlink_to("other")
        with pytest.raises(MediaError, match="cannot write"):
            create(tmp_path / "x.part", 3)
        os.close(create(tmp_path / "x.part", 0))
        assert not (tmp_path / "x.part").is_symlink()
        assert (tmp_path / "other").read_bytes() == b"abc"

    @pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.link(path.parent / "other", path)])
    def test_a_pipe_or_another_name_of_a_file_is_not_filled(self, tmp_path, make):
        put(tmp_path / "other", b"abc")
        make(tmp_path / "x.part")
        before = open_files()
        with pytest.raises(UnlistedContentError, match=r"not a regular file with one link: .*x\.part"):
            create(tmp_path / "x.part", 3)
        assert open_files() == before
        os.close(create(tmp_path / "x.part", 0))
        assert (tmp_path / "x.part").stat().st_size == 0
        assert (tmp_path / "other").read_bytes() == b"abc"


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    steps=st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
def test_sums_are_those_of_the_files(tmp_path_factory, sizes, steps):
    """What `Output` writes and what `Sums` says of it are the same, in whatever pieces it comes."""
    parts = segments(tmp_path_factory.mktemp("blob"), *sizes)
    raw = os.urandom(sum(sizes))
    sums, output = Sums(Digest.of(raw), parts), Output(parts, 0, WriteTurns())
    at = 0
    while at < len(raw):
        for step in steps:
            piece = memoryview(raw)[at : at + step]
            sums.update(piece)
            output.write(piece)
            at += len(piece)
    output.close()
    assert b"".join(part.part.read_bytes() for part in parts) == raw
    if len(parts) > 1:
        written = {part.path: sha256(part.part.read_bytes()).hexdigest() for part in parts}
        assert sums.parts == written
