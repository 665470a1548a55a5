"""A layer in parts is repaired: only the parts that are wrong are fetched."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.bundle.blob_files import Segment
from airgap.bundle.store import BlobStore, fill
from airgap.errors import (
    DigestMismatchError,
    EndpointError,
    NoSpaceError,
    SizeMismatchError,
    UnavailableError,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_LAYER_TAR, Descriptor
from airgap.progress import Silent
from tests.support.damage import flip
from tests.support.images import noise
from tests.support.streams import BrokenStream, Bytes

# -- the mending of a layer in parts: only what is wrong is fetched, and no table is believed

CONTENT = noise(1000, 8)


BLOB = Descriptor(OCI_LAYER_TAR, Digest.of(CONTENT), len(CONTENT))


ENDS = (300, 650, 1000)


class Source:
    """Gives `raw` from any offset; remembers from where, and counts the bytes."""

    def __init__(self, raw: bytes = CONTENT) -> None:
        self.raw = raw
        self.offsets: list[int] = []
        self.given = 0

    def __call__(self, offset: int):
        self.offsets.append(offset)
        stream = Bytes(self.raw[offset:], 64)
        real = stream.readinto

        def readinto(buffer, /):
            got = real(buffer)
            self.given += got
            return got

        stream.readinto = readinto  # type: ignore[method-assign]
        return stream


def joined(segments) -> bytes:
    return b"".join(segment.path.read_bytes() for segment in segments)


def in_parts(folder: Path, ends=ENDS, sums=None) -> tuple[BlobStore, list[Segment]]:
    """A store in which the blob is whole, in parts that end there; `sums` are what a table says of them."""
    segments = []
    for number, (start, end) in enumerate(zip((0, *ends), ends, strict=False)):
        path = folder / f"v{number}" / f"{BLOB.digest.path}.{number:03d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT[start:end])
        said = Digest.of(CONTENT[start:end]).hex if sums is None else sums[number]
        segments.append(Segment(path, end - start, said))
    others = [folder / f"v{number}" for number in range(1, len(ends))]
    return BlobStore(folder / "v0", others, {BLOB.digest: tuple(segments)}), segments


@pytest.mark.parametrize("wrong", [{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}])
def test_only_wrong_parts_are_asked_for(tmp_path, wrong):
    store, segments = in_parts(tmp_path)
    for number in wrong:
        flip(segments[number].path)
    inodes = [segment.path.stat().st_ino for segment in segments]
    source = Source()
    store.fetch(BLOB, source)
    starts = (0, *ENDS)
    assert source.offsets == [starts[number] for number in sorted(wrong)]
    assert source.given == sum(segments[number].size for number in wrong)
    assert joined(segments) == CONTENT
    assert {n for n in range(3) if segments[n].path.stat().st_ino == inodes[n]} >= {0, 1, 2} - wrong
    assert store.sums[BLOB.digest] == (BLOB.digest.hex, 1000)
    assert store.part_sums == {segment.path: segment.sha256 for segment in segments}
    assert store.written == 1
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("sums", [[None, None, None], ["0" * 64] * 3])
def test_without_sums_that_hold_the_whole_is_fetched(tmp_path, sums):
    store, segments = in_parts(tmp_path, sums=sums)
    flip(segments[1].path)
    source = Source()
    store.fetch(BLOB, source)
    assert joined(segments) == CONTENT
    assert source.given >= 350


def test_progress_counts_the_whole_layer_once(tmp_path):
    store, segments = in_parts(tmp_path)
    flip(segments[2].path)
    done = []
    store.fetch(BLOB, Source(), advance=done.append)
    assert sum(done) == 1000


def test_a_source_that_cannot_begin_in_the_middle(tmp_path):
    store, segments = in_parts(tmp_path)
    flip(segments[1].path)
    source = Source()

    def open_at(offset):
        if offset:
            raise EndpointError("no ranges here")
        return source(offset)

    store.fetch(BLOB, open_at)
    assert joined(segments) == CONTENT
    assert not list(tmp_path.rglob("*.part"))


def test_a_source_that_is_away_takes_nothing_along(tmp_path):
    store, segments = in_parts(tmp_path)
    flip(segments[1].path)
    good = [segments[n].path.read_bytes() for n in (0, 2)]
    with pytest.raises(UnavailableError):
        store.fetch(BLOB, lambda at: BrokenStream(CONTENT[at : at + 100], UnavailableError("gone")))
    assert [segments[n].path.read_bytes() for n in (0, 2)] == good
    source = Source()
    store.fetch(BLOB, source)
    assert source.given == 350
    assert joined(segments) == CONTENT


@pytest.mark.parametrize("raw", [CONTENT[:500] + b"!" + CONTENT[501:], CONTENT[:600], CONTENT + b"!"])
def test_a_source_that_is_wrong_takes_nothing_along(tmp_path, raw):
    store, segments = in_parts(tmp_path)
    flip(segments[1].path)
    good = [segments[n].path.read_bytes() for n in (0, 2)]
    if raw[300:650] == CONTENT[300:650]:  # then what it has to give is right
        store.fetch(BLOB, Source(raw))
        assert joined(segments) == CONTENT
        return
    with pytest.raises((DigestMismatchError, SizeMismatchError)):
        store.fetch(BLOB, Source(raw))
    assert [segments[n].path.read_bytes() for n in (0, 2)] == good
    assert BLOB.digest not in store.sums
    assert not list(tmp_path.rglob("*.part"))


def test_a_medium_that_fails_is_everybodys(tmp_path, monkeypatch):
    store, segments = in_parts(tmp_path)
    flip(segments[1].path)

    def full(_fd, _data):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("airgap.bundle.blob_files.write_all", full)
    with pytest.raises(NoSpaceError):
        fill(
            store,
            [BLOB],
            lambda blob, advance: store.fetch(blob, Source(), advance=advance),
            title="mending",
            jobs=1,
            phase=Silent().phase,
            before_change=lambda: None,
        )


STATES = st.sampled_from(["right", "flipped", "short", "long", "gone", "half written"])


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_whatever_was_left_it_comes_out_right(tmp_path_factory, data):
    """Any parts in any state, under tables that tell the truth, lie, or are silent."""
    cuts = sorted(data.draw(st.sets(st.integers(1, 999), min_size=1, max_size=4)))
    ends = (*cuts, 1000)
    sizes = [end - start for start, end in zip((0, *ends), ends, strict=False)]
    truth = [Digest.of(CONTENT[end - size : end]).hex for size, end in zip(sizes, ends, strict=True)]
    sums = [data.draw(st.sampled_from([true, true, true, "1" * 64, None])) for true in truth]
    store, segments = in_parts(tmp_path_factory.mktemp("parts"), ends, sums)
    states = [data.draw(STATES) for _ in segments]
    for segment, state in zip(segments, states, strict=True):
        raw = segment.path.read_bytes()
        if state == "flipped":
            flip(segment.path)
        elif state == "short":
            segment.path.write_bytes(raw[:-1])
        elif state == "long":
            segment.path.write_bytes(raw + b"x")
        elif state in ("gone", "half written"):
            segment.path.unlink()
        if state == "half written":
            segment.part.write_bytes(raw[: len(raw) // 2])
    source = Source()
    if not store.check(BLOB.digest, BLOB.size):
        store.fetch(BLOB, source)
    assert joined(segments) == CONTENT
    assert store.sums[BLOB.digest] == (BLOB.digest.hex, 1000)
    right = [state == "right" for state in states]
    if sums == truth and any(right):
        assert source.given == sum(size for size, good in zip(sizes, right, strict=True) if not good)
