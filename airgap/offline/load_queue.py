"""Choose the next image when several are loaded at a time."""

import threading
from collections.abc import Sequence

from airgap.oci.digest import Digest
from airgap.offline.loader import LoadedImage


class LoadQueue:
    """Hands out images so that no blob is sent twice at a time, and the images in progress are together no
    larger than the largest image. `images` gives the digests and sizes of the blobs to send.
    """

    def __init__(self, images: Sequence[tuple[LoadedImage, dict[Digest, int]]]) -> None:
        self._waiting = list(images)
        self._under_way: dict[int, dict[Digest, int]] = {}
        self._limit = max((sum(blobs.values()) for _, blobs in images), default=0)
        self._changed = threading.Condition()

    def take(self) -> LoadedImage | None:
        """Wait for the next image that may be sent and return it; None when no image is left."""
        with self._changed:
            while self._waiting:
                for index, (result, blobs) in enumerate(self._waiting):
                    if self._fits(blobs):
                        del self._waiting[index]
                        self._under_way[id(result)] = blobs
                        return result
                self._changed.wait()
            return None

    def _fits(self, blobs: dict[Digest, int]) -> bool:
        used = sum(sum(others.values()) for others in self._under_way.values())
        if self._under_way and used + sum(blobs.values()) > self._limit:
            return False
        return not any(blobs.keys() & others.keys() for others in self._under_way.values())

    def done(self, result: LoadedImage) -> None:
        """Report that an image from `take` was loaded or failed."""
        with self._changed:
            del self._under_way[id(result)]
            self._changed.notify_all()
