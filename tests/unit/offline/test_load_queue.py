"""No blob is on its way twice, and what is on its way together is bounded."""

import threading
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.oci.digest import Digest
from airgap.offline.load_engine import LoadQueue

BASE = Digest.of(b"base")


def own(number: int) -> Digest:
    return Digest.of(b"%d" % number)


def queue_of(*blobs: dict[Digest, int]) -> tuple[LoadQueue, list]:
    images = [SimpleNamespace(number=number) for number in range(len(blobs))]
    return LoadQueue(list(zip(images, blobs, strict=True))), images


def test_empty():
    assert queue_of()[0].take() is None


def test_in_order_as_long_as_they_fit():
    queue, images = queue_of({own(0): 9}, {own(1): 4}, {own(2): 5}, {own(3): 9})
    assert queue.take() is images[0]
    queue.done(images[0])
    assert [queue.take(), queue.take()] == images[1:3]
    queue.done(images[1])
    queue.done(images[2])
    assert queue.take() is images[3]
    assert queue.take() is None


def test_what_does_not_fit_lets_others_pass():
    queue, images = queue_of({own(0): 6}, {own(1): 10}, {own(2): 4})
    assert [queue.take(), queue.take()] == [images[0], images[2]]


def test_what_shares_a_blob_lets_others_pass():
    queue, images = queue_of({BASE: 1, own(0): 9}, {BASE: 1}, {})
    assert [queue.take(), queue.take()] == [images[0], images[2]]
    queue.done(images[2])
    queue.done(images[0])
    assert queue.take() is images[1]


@pytest.mark.parametrize("second", [{BASE: 1}, {own(1): 5}], ids=["shared", "too much"])
def test_waits_until_it_may_go(second):
    queue, images = queue_of({BASE: 5}, second)
    assert queue.take() is images[0]
    taken = []
    thread = threading.Thread(target=lambda: taken.append(queue.take()), daemon=True)
    thread.start()
    thread.join(0.05)
    assert taken == []
    queue.done(images[0])
    thread.join(120)
    assert taken == [images[1]]


def test_who_waits_for_the_last_one_goes_away_empty():
    queue, images = queue_of({BASE: 5}, {BASE: 5})
    queue.take()
    taken = []
    threads = [threading.Thread(target=lambda: taken.append(queue.take()), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    queue.done(images[0])
    for thread in threads:
        thread.join(120)
    assert sorted(taken, key=lambda image: image is None) == [images[1], None, None]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 8).map(own), st.integers(0, 100), max_size=4), max_size=12))
def test_every_image_goes_once_within_the_bounds(blobs):
    queue, images = queue_of(*blobs)
    sizes = {id(image): found for image, found in zip(images, blobs, strict=True)}
    limit = max((sum(found.values()) for found in blobs), default=0)
    lock, going, seen, faults = threading.Lock(), [], [], []

    def work() -> None:
        while (image := queue.take()) is not None:
            with lock:
                going.append(sizes[id(image)])
                seen.append(image.number)
                digests = [digest for each in going for digest in each]
                if len(digests) != len(set(digests)) or sum(sum(g.values()) for g in going) > limit:
                    faults.append(list(going))
            with lock:
                going[:] = [each for each in going if each is not sizes[id(image)]]
            queue.done(image)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(seen) == list(range(len(blobs)))
    assert faults == []
