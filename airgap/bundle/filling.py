"""Bringing blobs into a store: what is there is read first, and only what is missing or wrong is written."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from airgap.bundle.store import Opener
from airgap.errors import AirgapError, MediaError
from airgap.oci.digest import Advance, Digest
from airgap.oci.documents import Descriptor
from airgap.workers import run_all, run_each

Phase = Callable[[str, int], AbstractContextManager[Advance]]
"""Shows a stretch of work over so many bytes; `Progress.phase` is one."""


class Store(Protocol):
    """Where blobs of known digests go: a bundle's folder, its volumes, or its tar."""

    sums: dict[Digest, tuple[str, int]]
    """SHA-256 in hex and size of the blobs that are there, checked."""

    def present(self, digest: Digest) -> bool:
        """Whether an earlier attempt may have left the blob."""

    def check(self, digest: Digest, size: int, advance: Advance | None = None) -> bool:
        """Whether the blob is there and right, found out by reading all of it."""

    def fetch(
        self, blob: Descriptor, open_at: Opener, *, advance: Advance | None = None, subject: object = None
    ) -> None:
        """Write the blob, checked."""


def fill(
    store: Store,
    blobs: Iterable[Descriptor],
    fetch: Callable[[Descriptor, Advance], object],
    *,
    title: str,
    jobs: int,
    phase: Phase,
    before_change: Callable[[], object],
) -> list[tuple[Descriptor, AirgapError]]:
    """Have `fetch` write into the store what is missing or wrong there, the largest first; what failed.

    `before_change` is called before the first byte is written, if one is. A medium's failure is
    everybody's, and raised.
    """
    ordered = sorted(blobs, key=lambda blob: -blob.size)
    present = [blob for blob in ordered if blob.digest not in store.sums and store.present(blob.digest)]
    if present:
        with phase("checking what is there", _bytes(present)) as advance:
            run_each(lambda blob: store.check(blob.digest, blob.size, advance), present, jobs)
    missing = [blob for blob in ordered if blob.digest not in store.sums]
    if not missing:
        return []
    before_change()
    with phase(title, _bytes(missing)) as advance:
        errors = run_all(lambda blob: fetch(blob, advance), missing, jobs)
    for error in errors:
        if isinstance(error, MediaError):
            raise error
    return [(blob, error) for blob, error in zip(missing, errors, strict=True) if error is not None]


def _bytes(blobs: Sequence[Descriptor]) -> int:
    return sum(blob.size for blob in blobs)
