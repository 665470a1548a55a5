"""No blob is on its way twice, and what is on its way together is bounded."""

import threading
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.oci.digest import Digest
from airgap.offline.load_queue import LoadQueue

BASE, RUNTIME = Digest.of(b"base"), Digest.of(b"runtime")
UNIT = 32 << 20
"""Two of them are small together, three are not."""


def own(number: int) -> Digest:
    return Digest.of(b"%d" % number)


def queue_of(*blobs: dict[Digest, int]) -> tuple[LoadQueue, list]:
    """A queue of images with blobs of so many units."""
    images = [SimpleNamespace(number=number) for number in range(len(blobs))]
    sizes = [{digest: units * UNIT for digest, units in found.items()} for found in blobs]
    return LoadQueue(list(zip(images, sizes, strict=True))), images


def test_empty():
    assert queue_of()[0].take() is None


def test_the_largest_first_as_long_as_they_fit():
    queue, images = queue_of({own(0): 4}, {own(1): 9}, {own(2): 5}, {own(3): 9})
    assert queue.take() is images[1]
    queue.done(images[1], loaded=True)
    assert queue.take() is images[3]
    queue.done(images[3], loaded=True)
    assert [queue.take(), queue.take()] == [images[2], images[0]]
    queue.done(images[0], loaded=True)
    queue.done(images[2], loaded=True)
    assert queue.take() is None


def test_what_does_not_fit_lets_others_pass():
    queue, images = queue_of({own(0): 6}, {own(1): 10}, {own(2): 0})
    assert [queue.take(), queue.take()] == [images[1], images[2]]


def test_no_more_than_two_large_ones_and_more_small_ones():
    queue, images = queue_of({own(0): 9}, {own(1): 2}, {own(2): 2})
    assert queue.take() is images[0]
    queue.done(images[0], loaded=True)
    queue, images = queue_of(*({own(number): 0.5} for number in range(4)))
    assert [queue.take() for _ in images] == images


def test_what_shares_a_blob_lets_others_pass():
    queue, images = queue_of({BASE: 1, own(0): 9}, {BASE: 1}, {own(2): 9})
    assert [queue.take(), queue.take()] == [images[1], images[2]]


def test_a_base_that_holds_up_others_comes_first_and_no_longer_counts_once_it_is_loaded():
    queue, images = queue_of(
        {BASE: 4, RUNTIME: 1, own(0): 9}, {BASE: 4, RUNTIME: 1}, {BASE: 4}, {BASE: 4, own(3): 5}
    )
    assert queue.take() is images[2]
    queue.done(images[2], loaded=True)
    assert [queue.take(), queue.take()] == [images[1], images[0 + 3]]
    queue.done(images[1], loaded=True)
    assert queue.take() is images[0]


def test_the_blobs_of_an_image_that_failed_still_count():
    queue, images = queue_of({BASE: 1}, {BASE: 1, own(1): 3}, {BASE: 1, own(2): 3})
    assert queue.take() is images[0]
    queue.done(images[0], loaded=False)
    taken = []
    threads = [threading.Thread(target=lambda: taken.append(queue.take()), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    threads[0].join(0.05)
    threads[1].join(0.05)
    assert len(taken) == 1
    queue.done(taken[0], loaded=True)
    for thread in threads:
        thread.join(120)
    assert {image.number for image in taken} == {1, 2}


@pytest.mark.parametrize("second", [{BASE: 1}, {own(1): 5}], ids=["shared", "too much"])
def test_waits_until_it_may_go(second):
    queue, images = queue_of(second, {BASE: 5})
    first = queue.take()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(queue.take()), daemon=True)
    thread.start()
    thread.join(0.05)
    assert taken == []
    queue.done(first, loaded=True)
    thread.join(120)
    assert [*taken, first] in (images, images[::-1])


def test_who_waits_for_the_last_one_goes_away_empty():
    queue, images = queue_of({BASE: 5}, {BASE: 5})
    first = queue.take()
    taken = []
    threads = [threading.Thread(target=lambda: taken.append(queue.take()), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    queue.done(first, loaded=True)
    for thread in threads:
        thread.join(120)
    [last] = [image for image in images if image is not first]
    assert sorted(taken, key=lambda image: image is None) == [last, None, None]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.dictionaries(st.integers(0, 8).map(own), st.integers(0, 100), max_size=4), max_size=12),
    st.booleans(),
)
def test_every_image_goes_once_within_the_bounds(blobs, loaded):
    queue, images = queue_of(*blobs)
    sizes = {id(image): found for image, found in zip(images, blobs, strict=True)}
    limit = max((sum(found.values()) for found in blobs), default=0)
    lock, going, seen, there, faults = threading.Lock(), {}, [], set(), []

    def work() -> None:
        while (image := queue.take()) is not None:
            with lock:
                going[image.number] = {d: s for d, s in sizes[id(image)].items() if d not in there}
                seen.append(image.number)
                digests = [digest for sent in going.values() for digest in sent]
                total = sum(sum(sent.values()) for sent in going.values())
                if len(digests) != len(set(digests)) or total > max(limit, 2):
                    faults.append(dict(going))
            with lock:
                there.update(sizes[id(image)] if loaded else ())
                del going[image.number]
            queue.done(image, loaded=loaded)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(seen) == list(range(len(blobs)))
    assert faults == []
