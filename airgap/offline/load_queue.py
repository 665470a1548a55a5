"""The order in which an engine gets its images, and which of them it gets at the same time."""

import threading
from collections import Counter
from collections.abc import Sequence

from airgap.oci.digest import Digest
from airgap.offline.loader import LoadedImage

MAX_STREAMS = 4
"""How many small images are sent at the same time."""

_LARGE_STREAMS = 2
"""How many larger images are sent at the same time: an engine unpacks each on one core, and all share its
disk."""

_SMALL_BYTES = 64 << 20
"""Images are small while those in progress have no more bytes than this."""

Waiting = tuple[LoadedImage, dict[Digest, int]]
"""An image, and the digests and sizes in bytes of the blobs to send."""


class LoadQueue:
    """Hands out images, the largest first. Two images in progress never have a blob in common, and unless
    they are small, they are together no larger than the largest image, because engines copy streams to disk
    first.

    A blob that was loaded with one image no longer counts for the others. So an image with a blob that holds
    up most of the others comes first.
    """

    def __init__(self, images: Sequence[Waiting]) -> None:
        self._waiting = list(images)
        self._under_way: dict[int, dict[Digest, int]] = {}
        self._limit = max((sum(blobs.values()) for _, blobs in images), default=0)
        self._changed = threading.Condition()
        self._sort()

    def take(self) -> LoadedImage | None:
        """Wait for the next image that may be sent, and return it; None once no image is left."""
        with self._changed:
            while self._waiting:
                for index, (result, blobs) in enumerate(self._waiting):
                    if self._fits(blobs):
                        del self._waiting[index]
                        self._under_way[id(result)] = blobs
                        return result
                self._changed.wait()
            return None

    def done(self, result: LoadedImage, *, loaded: bool) -> None:
        """Report that an image from `take` was loaded, so the engine has its blobs, or that it failed."""
        with self._changed:
            blobs = self._under_way.pop(id(result))
            if loaded and any(blobs.keys() & needed.keys() for _, needed in self._waiting):
                self._waiting = [(other, _without(needed, blobs)) for other, needed in self._waiting]
                self._sort()
            self._changed.notify_all()

    def _fits(self, blobs: dict[Digest, int]) -> bool:
        others = self._under_way.values()
        if any(blobs.keys() & other.keys() for other in others):
            return False
        total = sum(blobs.values()) + sum(sum(other.values()) for other in others)
        return not others or total <= _SMALL_BYTES or (len(others) < _LARGE_STREAMS and total <= self._limit)

    def _sort(self) -> None:
        self._waiting.sort(key=lambda item: -sum(item[1].values()))
        needed_by = Counter(digest for _, blobs in self._waiting for digest in blobs)
        sizes = {digest: size for _, blobs in self._waiting for digest, size in blobs.items()}
        shared = [digest for digest, count in needed_by.items() if count > 1]
        if shared:
            base = max(shared, key=lambda digest: (needed_by[digest] - 1) * sizes[digest])
            smallest = next(item for item in reversed(self._waiting) if base in item[1])
            self._waiting.remove(smallest)
            self._waiting.insert(0, smallest)


def _without(blobs: dict[Digest, int], loaded: dict[Digest, int]) -> dict[Digest, int]:
    return {digest: size for digest, size in blobs.items() if digest not in loaded}
