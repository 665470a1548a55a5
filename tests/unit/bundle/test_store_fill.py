import contextlib

import pytest

from airgap.bundle.store import BlobStore, fill
from airgap.errors import EndpointError, MediaError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from tests.support.streams import Bytes

RAWS = (b"small", b"middle one", b"the largest of them all")
BLOBS = [Descriptor("", Digest.of(raw), len(raw)) for raw in RAWS]
CONTENT = {blob.digest: raw for blob, raw in zip(BLOBS, RAWS, strict=True)}


class Filling:
    """One call of `fill`, and all that it did."""

    def __init__(self, folder, broken=None):
        self.store = BlobStore(folder)
        self.broken = broken or {}
        self.done: list[object] = []

    @contextlib.contextmanager
    def phase(self, title, total):
        count = [0]
        yield lambda more: count.__setitem__(0, count[0] + more)
        self.done.append((title, total, count[0]))

    def fetch(self, blob, advance):
        self.done.append(blob.size)
        if blob.digest in self.broken:
            raise self.broken[blob.digest]
        self.store.fetch(blob, lambda _: Bytes(CONTENT[blob.digest]), advance=advance)

    def run(self, blobs=BLOBS):
        return fill(
            self.store, blobs, self.fetch, title="fetching", jobs=1, phase=self.phase,
            before_change=lambda: self.done.append("change"),
        )  # fmt: skip


def total(*blobs):
    return sum(blob.size for blob in blobs)


def test_the_largest_come_first(tmp_path):
    filling = Filling(tmp_path)
    assert filling.run() == []
    every = total(*BLOBS)
    assert filling.done == ["change", 23, 10, 5, ("fetching", every, every)]
    assert set(filling.store.sums) == set(CONTENT)


def test_what_is_there_is_read_and_nothing_written(tmp_path):
    Filling(tmp_path).run()
    again = Filling(tmp_path)
    assert again.run() == []
    every = total(*BLOBS)
    assert again.done == [("checking existing blobs", every, every)]
    assert set(again.store.sums) == set(CONTENT)
    assert again.run() == []  # and what was checked is not read once more
    assert len(again.done) == 1


def test_only_what_is_wrong_is_written(tmp_path):
    Filling(tmp_path).run()
    path = tmp_path / BLOBS[1].digest.path
    path.write_bytes(path.read_bytes()[::-1])
    again = Filling(tmp_path)
    assert again.run() == []
    assert again.done[1:] == ["change", 10, ("fetching", 10, 10)]
    assert path.read_bytes() == RAWS[1]


def test_nothing_to_do(tmp_path):
    filling = Filling(tmp_path)
    assert filling.run([]) == []
    assert filling.done == []


def test_one_that_fails_leaves_the_others_alone(tmp_path):
    error = EndpointError("no such blob")
    filling = Filling(tmp_path, {BLOBS[2].digest: error})
    assert filling.run() == [(BLOBS[2], error)]
    assert set(filling.store.sums) == {BLOBS[0].digest, BLOBS[1].digest}


def test_a_medium_that_fails_is_everybodys_failure(tmp_path):
    filling = Filling(tmp_path, {BLOBS[1].digest: MediaError("gone"), BLOBS[2].digest: EndpointError("no")})
    with pytest.raises(MediaError, match="gone"):
        filling.run()


def test_when_nothing_may_change_nothing_does(tmp_path):
    filling = Filling(tmp_path)

    def refuse():
        raise PermissionError

    with pytest.raises(PermissionError):
        fill(
            filling.store, BLOBS, filling.fetch, title="x", jobs=1, phase=filling.phase, before_change=refuse
        )
    assert filling.done == []
