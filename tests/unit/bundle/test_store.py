import errno
import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airgap.bundle.blob_files import Segment
from airgap.bundle.store import BlobStore
from airgap.errors import (
    DigestMismatchError,
    EndpointError,
    MediaError,
    MissingContentError,
    NoSpaceError,
    SizeMismatchError,
    UnavailableError,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from tests.support.streams import BrokenStream, Bytes

RAW = b"0123456789" * 1000
SHA256, SHA512 = Digest.of(RAW), Digest.of(RAW, "sha512")
ALGORITHMS = pytest.mark.parametrize("digest", [SHA256, SHA512], ids=["sha256", "sha512"])


def blob(digest: Digest = SHA256, size: int = len(RAW)) -> Descriptor:
    return Descriptor("x", digest, size)


class Source:
    """Opens `RAW`, or something else, and counts from where."""

    def __init__(self, raw: bytes = RAW, *, seeks: bool = True) -> None:
        self.raw, self.seeks = raw, seeks
        self.offsets: list[int] = []

    def __call__(self, offset: int) -> Bytes:
        self.offsets.append(offset)
        if offset and not self.seeks:
            raise EndpointError("cannot seek")
        return Bytes(self.raw[offset:], 999)


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "bundle")


def put(store: BlobStore, digest: Digest, raw: bytes, suffix: str = "") -> Path:
    path = store.path(digest).with_name(digest.hex + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


class TestCheck:
    @ALGORITHMS
    def test_right(self, store, digest):
        put(store, digest, RAW)
        seen = []
        assert store.check(digest, len(RAW), seen.append)
        assert sum(seen) == len(RAW)
        assert store.sums[digest] == (SHA256.hex, len(RAW))
        store.path(digest).unlink()
        assert store.check(digest, len(RAW)), "read once is read"

    @pytest.mark.parametrize("raw", [b"", RAW[:-1], RAW + b"x", RAW[:-1] + b"x"])
    def test_wrong(self, store, raw):
        put(store, SHA256, raw)
        assert not store.check(SHA256, len(RAW))
        assert store.sums == {}

    def test_absent(self, store):
        assert not store.check(SHA256, len(RAW))

    def test_a_pipe_is_not_waited_for(self, store):
        path = put(store, SHA256, b"")
        path.unlink()
        os.mkfifo(path)
        assert not store.check(SHA256, len(RAW))

    def test_a_link_is_not_followed(self, store, tmp_path):
        (tmp_path / "other").write_bytes(RAW)
        path = put(store, SHA256, b"")
        path.unlink()
        path.symlink_to(tmp_path / "other")
        with pytest.raises(MediaError, match="cannot read"):
            store.check(SHA256, len(RAW))

    def test_a_file_for_the_folder(self, store):
        store.folder.mkdir()
        (store.folder / "blobs").write_bytes(b"")
        for act in (lambda: store.check(SHA256, 3), lambda: store.fetch(blob(), Source())):
            with pytest.raises(MediaError, match="cannot read"):
                act()


class TestFetch:
    @ALGORITHMS
    def test_all_of_it(self, store, digest):
        seen, source = [], Source()
        store.fetch(blob(digest), source, advance=seen.append)
        assert store.path(digest).read_bytes() == RAW
        assert (sum(seen), source.offsets, store.written) == (len(RAW), [0], 1)
        assert store.sums == {digest: (SHA256.hex, len(RAW))}
        store.fetch(blob(digest), source)
        assert source.offsets == [0]

    def test_an_empty_blob(self, store):
        digest = Digest.of(b"")
        store.fetch(blob(digest, 0), Source(b""))
        assert store.path(digest).read_bytes() == b""

    @ALGORITHMS
    @pytest.mark.parametrize("done", [1, 5000, len(RAW) - 1, len(RAW)])
    def test_goes_on_where_it_stopped(self, store, digest, done):
        put(store, digest, RAW[:done], ".part")
        seen, source = [], Source()
        store.fetch(blob(digest), source, advance=seen.append)
        assert source.offsets == ([done] if done < len(RAW) else [])
        assert store.path(digest).read_bytes() == RAW
        assert store.sums[digest] == (SHA256.hex, len(RAW))
        assert sum(seen) == len(RAW)

    @pytest.mark.parametrize("left", [b"x", b"x" * len(RAW), RAW + b"x"])
    def test_starts_anew_when_what_was_left_is_wrong(self, store, left):
        put(store, SHA256, left, ".part")
        source = Source()
        store.fetch(blob(), source)
        assert source.offsets[-1] == 0
        assert store.path(SHA256).read_bytes() == RAW

    def test_starts_anew_when_the_source_cannot_go_on(self, store):
        put(store, SHA256, RAW[:10], ".part")
        source = Source(seeks=False)
        store.fetch(blob(), source)
        assert source.offsets == [10, 0]

    def test_keeps_what_it_has_when_the_source_is_away(self, store):
        part = put(store, SHA256, RAW[:10], ".part")

        def away(_: int) -> Bytes:
            raise UnavailableError("away")

        with pytest.raises(UnavailableError):
            store.fetch(blob(), away)
        assert part.read_bytes() == RAW[:10]

    def test_a_break_leaves_what_came(self, store):
        part = store.path(SHA256).with_name(f"{SHA256.hex}.part")
        with pytest.raises(UnavailableError):
            store.fetch(blob(), lambda _: BrokenStream(RAW[:4000], UnavailableError("gone")))
        assert part.read_bytes() == RAW[:4000]
        assert not store.path(SHA256).exists()
        store.fetch(blob(), Source())
        assert store.path(SHA256).read_bytes() == RAW

    @pytest.mark.parametrize(
        ("raw", "error"),
        [
            (RAW[:-1], SizeMismatchError),
            (RAW + b"x", SizeMismatchError),
            (b"x" + RAW[1:], DigestMismatchError),
        ],
    )
    def test_wrong_content_leaves_nothing(self, store, raw, error):
        with pytest.raises(error, match="the subject"):
            store.fetch(blob(), Source(raw), subject="the subject")
        assert list(store.path(SHA256).parent.iterdir()) == []
        assert store.sums == {}

    def test_a_folder_in_the_way_of_the_part(self, store):
        path = put(store, SHA256, b"", ".part")
        path.unlink()
        path.mkdir()
        with pytest.raises(MediaError, match="cannot write"):
            store.fetch(blob(), Source())

    @pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to(p.parent / "kept")])
    def test_a_link_or_a_pipe_in_the_way_of_the_part(self, store, make):
        kept = put(store, SHA256, b"kept", ".part").rename(store.path(SHA256).parent / "kept")
        make(store.path(SHA256).with_name(SHA256.hex + ".part"))
        store.fetch(blob(), Source())
        assert (kept.read_bytes(), store.path(SHA256).read_bytes()) == (b"kept", RAW)

    def test_a_part_that_shrinks_meanwhile(self, store, monkeypatch):
        put(store, SHA256, RAW[:10], ".part")
        monkeypatch.setattr(os, "readv", lambda *_: 0)
        source = Source()
        store.fetch(blob(), source)
        assert source.offsets == [0]

    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        left=st.binary(max_size=30), raw=st.binary(max_size=20), digest=st.sampled_from(["sha256", "sha512"])
    )
    def test_whatever_was_left_the_result_is_right(self, tmp_path, left, raw, digest):
        store = BlobStore(tmp_path / "bundle")
        found = Digest.of(raw, digest)
        part = put(store, found, left, ".part")
        store.fetch(blob(found, len(raw)), Source(raw))
        assert store.path(found).read_bytes() == raw
        assert not part.exists()
        assert store.sums[found] == (Digest.of(raw).hex, len(raw))

    def test_what_could_not_be_synced_is_written_anew(self, store, monkeypatch):
        """After EIO the kernel calls the pages clean: it would say next time that they are on the disk."""

        def fail(_: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            store.path(SHA256).parent.mkdir(parents=True)
            with pytest.raises(MediaError, match="cannot write"):
                store.fetch(blob(), Source())
        assert list(store.path(SHA256).parent.iterdir()) == []
        source = Source()
        store.fetch(blob(), source)
        assert source.offsets == [0]

    def test_a_part_that_fails_when_it_is_closed_is_named(self, store, monkeypatch):
        real = os.close

        def close(fd: int) -> None:
            real(fd)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        store.path(SHA256).parent.mkdir(parents=True)
        monkeypatch.setattr(os, "close", close)
        with pytest.raises(NoSpaceError, match=f"cannot write: {store.path(SHA256)}.part"):
            store.fetch(blob(), Source())
        monkeypatch.undo()
        assert not store.path(SHA256).exists()


class TestSink:
    @ALGORITHMS
    def test_add(self, store, digest):
        store.add(Bytes(RAW), digest, len(RAW))
        assert store.sums[digest] == (SHA256.hex, len(RAW))
        assert store.read(digest, len(RAW)) == RAW

    def test_add_again_is_checked(self, store):
        store.add(Bytes(RAW), SHA256, len(RAW))
        store.add(Bytes(RAW), SHA256, len(RAW))
        with pytest.raises(SizeMismatchError):
            store.add(Bytes(RAW[:-1]), SHA256, len(RAW))

    def test_add_wrong(self, store):
        with pytest.raises(DigestMismatchError):
            store.add(Bytes(b"x" * len(RAW)), SHA256, len(RAW))
        assert store.sums == {}

    def test_add_unnamed(self, store):
        assert store.add_unnamed(io.BytesIO(RAW)) == (SHA256, len(RAW))
        assert store.sums == {SHA256: (SHA256.hex, len(RAW))}
        assert store.path(SHA256).read_bytes() == RAW

    def test_add_unnamed_that_breaks(self, store):
        with pytest.raises(EndpointError):
            store.add_unnamed(BrokenStream(b"x", EndpointError("gone")))
        assert store.sums == {}

    def test_read_is_bounded(self, store):
        store.add(Bytes(RAW), SHA256, len(RAW))
        with pytest.raises(SizeMismatchError, match="at most 9 bytes, got 10,000"):
            store.read(SHA256, 9)

    def test_read_checks_again(self, store):
        store.add(Bytes(RAW), SHA256, len(RAW))
        store.path(SHA256).write_bytes(b"x" * len(RAW))
        with pytest.raises(DigestMismatchError):
            store.read(SHA256, len(RAW))


def test_prune(store):
    keep, drop = store.add_unnamed(Bytes(b"keep"))[0], store.add_unnamed(Bytes(b"drop"))[0]
    put(store, SHA512, b"", ".part")
    store.prune({keep})
    assert set(store.sums) == {keep}
    assert [path.name for path in store.folder.rglob("*") if path.is_file()] == [keep.hex]
    assert not store.path(drop).exists()


SIZES = (4000, 3000, 2999, 1)
PIECES = (RAW[:4000], RAW[4000:7000], RAW[7000:9999], RAW[9999:])


@pytest.fixture
def spread(tmp_path: Path) -> BlobStore:
    """Three volumes; both digests of the content are in four parts on them, two on the third."""
    folders = [tmp_path / f"bundle.v{number}" for number in (1, 2, 3)]
    cut = {
        digest: tuple(
            Segment(folders[min(n, 2)] / f"{digest.path}.{n:03d}", size) for n, size in enumerate(SIZES)
        )
        for digest in (SHA256, SHA512)
    }
    return BlobStore(folders[0], folders[1:], cut)


def lay(store: BlobStore, digest: Digest, pieces=PIECES, suffix: str = "") -> list[Path]:
    """Write the first of the parts."""
    paths = []
    for segment, raw in zip(store.segments(digest, len(RAW)), pieces, strict=False):
        path = segment.path.with_name(segment.path.name + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        paths.append(path)
    return paths


def content(store: BlobStore, digest: Digest) -> list[bytes]:
    """What the volumes hold of a blob; nothing else is there."""
    paths = [segment.path for segment in store.segments(digest, len(RAW))]
    assert {path for folder in (store.folder, *store.others) for path in folder.glob("blobs/*/*")} == set(
        paths
    )
    return [path.read_bytes() for path in paths]


class TestParts:
    @ALGORITHMS
    def test_written(self, spread, digest):
        seen = []
        spread.fetch(blob(digest), Source(), advance=seen.append)
        assert content(spread, digest) == list(PIECES)
        assert (sum(seen), spread.written) == (len(RAW), 1)
        assert spread.sums == {digest: (SHA256.hex, len(RAW))}
        paths = [segment.path for segment in spread.segments(digest, len(RAW))]
        assert spread.part_sums == {p: Digest.of(raw).hex for p, raw in zip(paths, PIECES, strict=True)}
        assert spread.read(digest, len(RAW)) == RAW

    @ALGORITHMS
    def test_checked(self, spread, digest):
        assert not spread.present(digest)
        lay(spread, digest)
        seen = []
        assert spread.present(digest)
        assert spread.check(digest, len(RAW), seen.append)
        assert sum(seen) == len(RAW)
        assert spread.sums[digest] == (SHA256.hex, len(RAW))
        assert sorted(spread.part_sums.values()) == sorted(Digest.of(piece).hex for piece in PIECES)

    @pytest.mark.parametrize("number", range(4))
    @pytest.mark.parametrize(
        "harm",
        [
            lambda path: path.unlink(),
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            lambda path: path.write_bytes(path.read_bytes() + b"x"),
            lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"),
            lambda path: (path.unlink(), path.mkdir()),
            lambda path: (path.unlink(), os.mkfifo(path)),
            lambda path: (path.rename(path.parent / "other"), path.symlink_to("other")),
        ],
        ids=["missing", "short", "long", "harmed", "folder", "pipe", "link"],
    )
    def test_one_part_is_wrong(self, spread, number, harm):
        harm(lay(spread, SHA256)[number])
        assert not spread.check(SHA256, len(RAW))
        assert (spread.sums, spread.part_sums) == ({}, {})

    def test_parts_in_each_others_place(self, spread):
        lay(spread, SHA256, (PIECES[0], PIECES[2] + b"x", PIECES[1][:-1], PIECES[3]))
        assert not spread.check(SHA256, len(RAW))

    def test_the_whole_in_one_file_is_not_taken_for_the_parts(self, spread):
        put(spread, SHA256, RAW)
        assert not spread.present(SHA256)
        assert not spread.check(SHA256, len(RAW))

    @ALGORITHMS
    @pytest.mark.parametrize("done", [1, 3999, 4000, 4001, 7000, 9998, 9999, 10_000])
    def test_goes_on_where_it_stopped(self, spread, digest, done):
        lay(spread, digest, [piece for piece in _first(done) if piece], ".part")
        seen, source = [], Source()
        spread.fetch(blob(digest), source, advance=seen.append)
        assert source.offsets == ([done] if done < len(RAW) else [])
        assert content(spread, digest) == list(PIECES)
        assert spread.sums[digest] == (SHA256.hex, len(RAW))
        assert sum(seen) == len(RAW)

    @pytest.mark.parametrize("number", range(1, 4))
    def test_goes_on_after_a_crash_between_two_names(self, spread, number):
        """All parts were written; the first ones had got their names."""
        lay(spread, SHA256)
        for segment in spread.segments(SHA256, len(RAW))[number:]:
            segment.path.rename(segment.part)
        source = Source()
        spread.fetch(blob(), source)
        assert source.offsets == []
        assert content(spread, SHA256) == list(PIECES)

    @pytest.mark.parametrize("number", range(4))
    def test_a_harmed_part_is_mended(self, spread, number):
        path = lay(spread, SHA256)[number]
        path.write_bytes(b"x" + path.read_bytes()[1:])
        source = Source()
        spread.fetch(blob(), source)
        assert source.offsets[-1] == (9999 if number == 3 else 0)
        assert content(spread, SHA256) == list(PIECES)

    def test_keeps_what_it_has_when_the_source_is_away(self, spread):
        paths = lay(spread, SHA256, _first(5000), ".part")

        def away(_: int) -> Bytes:
            raise UnavailableError("away")

        with pytest.raises(UnavailableError):
            spread.fetch(blob(), away)
        assert [path.read_bytes() for path in paths] == _first(5000)

    @pytest.mark.parametrize("raw", [RAW[:-1], RAW + b"x", b"x" + RAW[1:], RAW[:-1] + b"x"])
    def test_wrong_content_leaves_nothing(self, spread, raw):
        with pytest.raises((SizeMismatchError, DigestMismatchError), match="the subject"):
            spread.fetch(blob(), Source(raw), subject="the subject")
        assert not [path for folder in (spread.folder, *spread.others) for path in folder.glob("blobs/*/*")]
        assert (spread.sums, spread.part_sums) == ({}, {})

    def test_a_pipe_in_the_way_of_a_part(self, spread):
        path = spread.segments(SHA256, len(RAW))[1].part
        path.parent.mkdir(parents=True)
        os.mkfifo(path)
        spread.fetch(blob(), Source())
        assert content(spread, SHA256) == list(PIECES)

    def test_added(self, spread):
        spread.add(Bytes(RAW), SHA512, len(RAW))
        assert content(spread, SHA512) == list(PIECES)

    def test_a_part_that_goes_away_after_the_check(self, spread):
        lay(spread, SHA256)
        assert spread.check(SHA256, len(RAW))
        spread.segments(SHA256, len(RAW))[2].path.unlink()
        with pytest.raises(MissingContentError, match=r"missing part: .*bundle\.v3/blobs/.*\.002"):
            spread.read(SHA256, len(RAW))

    def test_prune(self, spread):
        """Of what is wanted, the parts stay, and the copies of whole blobs on every volume."""
        small = Digest.of(b"small")
        for folder in (spread.folder, *spread.others):
            for name in (small.path, SHA256.path, f"{SHA256.path}.009", f"{SHA256.path}.000.part"):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"small")
        parts, gone = lay(spread, SHA256), lay(spread, SHA512)
        assert spread.check(SHA256, len(RAW))
        assert spread.check(SHA512, len(RAW))
        spread.prune({SHA256, small})
        assert set(spread.sums) == {SHA256}
        wanted = {*parts, *(folder / small.path for folder in (spread.folder, *spread.others))}
        assert {p for folder in (spread.folder, *spread.others) for p in folder.glob("blobs/*/*")} == wanted
        assert not any(path.exists() for path in gone)


def _first(size: int) -> list[bytes]:
    """The first `size` bytes, in parts."""
    pieces = []
    for piece in PIECES:
        pieces.append(piece[:size])
        size -= len(pieces[-1])
    return pieces
