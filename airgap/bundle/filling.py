"""Fills a store with blobs: existing blobs are read first, and only missing or wrong ones are written."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from airgap.bundle.store import Opener
from airgap.errors import AirgapError, MediaError
from airgap.oci.digest import Advance, Digest
from airgap.oci.documents import Descriptor
from airgap.workers import run_all, run_each

Phase = Callable[[str, int], AbstractContextManager[Advance]]
"""Shows a phase of work over a number of bytes, like `Progress.phase`."""


class Store(Protocol):
    """A store for blobs of known digests: a bundle's folder, its volumes, or its tar."""

    sums: dict[Digest, tuple[str, int]]
    """The SHA-256 in hex and the size of each blob that is present and checked."""

    def present(self, digest: Digest) -> bool:
        """Return whether an earlier attempt may have left the blob."""

    def check(self, digest: Digest, size: int, advance: Advance | None = None) -> bool:
        """Read all of the blob, and return whether it is present and correct."""

    def fetch(
        self, blob: Descriptor, open_at: Opener, *, advance: Advance | None = None, subject: object = None
    ) -> None:
        """Write the blob, and check it."""


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
    """Write missing and wrong blobs into the store with `fetch`, the largest first; return those that failed.

    `before_change` is called before the first byte is written, if any is. A `MediaError` is raised, because
    it concerns all blobs.
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
