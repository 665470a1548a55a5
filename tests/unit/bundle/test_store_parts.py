"""Blobs that lie in parts on several volumes."""

import os
from pathlib import Path

import pytest

from airgap.bundle.blob_files import Segment
from airgap.bundle.store import BlobStore
from airgap.errors import (
    DigestMismatchError,
    MissingContentError,
    SizeMismatchError,
    UnavailableError,
)
from airgap.oci.digest import Digest
from tests.support.streams import Bytes
from tests.unit.bundle.store_support import ALGORITHMS, RAW, SHA256, SHA512, Source, blob, put

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
