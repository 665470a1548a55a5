"""What was loaded is remembered by target; a file that says nothing of use is no reason to stop."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import MediaError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.offline import holdings
from airgap.offline.holdings import HeldImage, Holdings

ONE, TWO, THREE = (ImageReference.parse(f"registry.test/{name}:1") for name in ("one", "two", "three"))
A, B, C = (Digest.of(raw) for raw in (b"a", b"b", b"c"))


@pytest.fixture
def held(tmp_path):
    return Holdings.of(tmp_path, "oci:out")


def good() -> dict:
    return {"images": [{"name": str(ONE), "root": str(A), "blobs": [str(B)]}]}


def read_back(held: Holdings) -> list[HeldImage]:
    return list(Holdings.of(held.path.parent.parent, "oci:out").images.values())


def test_nothing_yet(held, tmp_path):
    assert held.images == {}
    assert held.path.parent == tmp_path / "holdings"
    assert not held.path.exists()


def test_saved_and_read_back(held):
    held.add(ONE, A, [B, A])
    held.add(TWO, B, [])
    held.save()
    assert read_back(held) == [HeldImage(ONE, A, frozenset({A, B})), HeldImage(TWO, B, frozenset())]
    before = held.path.read_bytes()
    held.save()
    assert held.path.read_bytes() == before


def test_each_target_has_its_own(held, tmp_path):
    held.add(ONE, A, [])
    held.save()
    assert Holdings.of(tmp_path, "oci:other").images == {}


def test_those_with_most_of_the_blobs_first(held):
    held.add(ONE, A, [A])
    held.add(TWO, B, [A, B, C])
    held.add(THREE, C, [B])
    assert [image.name for image in held.with_any({A, B})] == [TWO, THREE, ONE]
    assert held.with_any({Digest.of(b"another")}) == []


def test_newest_first(held):
    held.add(ONE, A, [C])
    held.add(TWO, B, [C])
    held.add(THREE, B, [A])
    assert [image.name for image in held.with_blob(C)] == [TWO, ONE]
    held.add(ONE, A, [B, C])
    assert [image.name for image in held.with_blob(C)] == [ONE, TWO]
    assert [image.name for image in held.with_blob(B)] == [ONE]
    assert list(held.with_blob(Digest.of(b"?"))) == []


def test_the_oldest_are_forgotten(held, monkeypatch):
    for number in range(100):
        held.add(ONE, Digest.of(b"%d" % number), [A])
    monkeypatch.setattr(holdings, "MAX_HELD_IMAGES", 60)
    held.save()
    assert [image.root for image in read_back(held)] == [Digest.of(b"%d" % n) for n in range(40, 100)]
    monkeypatch.setattr(holdings, "MAX_HOLDINGS_BYTES", 4000)
    held.save()
    kept = read_back(held)
    assert held.path.stat().st_size <= 4000
    assert len(kept) == 15
    assert kept[-1].root == Digest.of(b"99")
    monkeypatch.setattr(holdings, "MAX_HOLDINGS_BYTES", 100)
    held.save()
    assert read_back(held) == []


def changed(**changes: object) -> bytes:
    return json.dumps({"images": [good()["images"][0], good()["images"][0] | changes]}).encode()


USELESS = {
    "empty": b"",
    "torn": json.dumps(good()).encode()[:-9],
    "not UTF-8": b"\xff" * 9,
    "a list": b"[]",
    "no images": b"{}",
    "twice": b'{"images":[],"images":[]}',
    "images of another kind": b'{"images":{}}',
    "no object": b'{"images":["x"]}',
    "bad name": changed(name="UPPER CASE"),
    "no name": changed(name=None),
    "bad root": changed(root="sha256:0"),
    "bad blob": changed(blobs=[str(A), "md5:0"]),
    "blobs of another kind": changed(blobs="x"),
}


@pytest.mark.parametrize("raw", USELESS.values(), ids=USELESS)
def test_useless_files_count_as_empty(held, raw):
    """Wholly so: not what stands before the fault either."""
    held.path.parent.mkdir()
    held.path.write_bytes(raw)
    assert read_back(held) == []
    held.add(ONE, A, [])
    held.save()
    assert len(read_back(held)) == 1


def test_too_large_counts_as_empty(held, monkeypatch):
    held.add(ONE, A, [])
    held.save()
    monkeypatch.setattr(holdings, "MAX_HOLDINGS_BYTES", held.path.stat().st_size - 1)
    assert read_back(held) == []


def test_a_path_that_is_not_a_file_counts_as_empty(held, tmp_path):
    held.path.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(json.dumps(good()))
    held.path.symlink_to(elsewhere)
    assert read_back(held) == []
    held.path.unlink()
    os.mkfifo(held.path)
    assert read_back(held) == []
    held.path.unlink()
    held.path.mkdir()
    assert read_back(held) == []


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_any_changed_byte_is_survived(tmp_path_factory, at, byte):
    held = Holdings.of(tmp_path_factory.getbasetemp() / "changed", "oci:out")
    raw = bytearray(json.dumps(good()).encode())
    raw[at % len(raw)] = byte
    held.path.parent.mkdir(parents=True, exist_ok=True)
    held.path.write_bytes(raw)
    assert len(read_back(held)) <= 1


def test_what_the_disk_does_not_give_is_not_replaced(held, monkeypatch):
    held.add(ONE, A, [B])
    held.save()

    def fail(*_):
        raise OSError(5, "bad")

    with monkeypatch.context() as patch:
        patch.setattr(os, "readv", fail)
        again = Holdings.of(held.path.parent.parent, "oci:out")
    again.add(TWO, B, [])
    with pytest.raises(MediaError, match=f"cannot read: {held.path}"):
        again.save()
    assert read_back(held) == [HeldImage(ONE, A, frozenset({B}))]
