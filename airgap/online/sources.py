"""How the online side gets at its sources."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from airgap.endpoints.ports import ContentSource, Source
from airgap.errors import AirgapError, EndpointError, FormatError, IntegrityError, PartialError, TrustError
from airgap.oci.digest import CheckedReader, Digest, copy
from airgap.oci.documents import CONFIG_TYPES, DOCUMENT_TYPES, Descriptor, check_size_and_digest
from airgap.oci.reference import ImageReference
from airgap.workers import Memo


class Documents:
    """Image manifests, indexes and configs, each read and checked once; for several threads."""

    def __init__(self) -> None:
        self._read: Memo[Digest, bytes] = Memo()

    def read(self, source: ContentSource, reference: ImageReference, descriptor: Descriptor) -> bytes:
        """The bytes that `descriptor` names, from the repository of `reference`.

        Raises `FormatError` for what is neither a document nor a config, and `IntegrityError` for bytes of
        another size or digest.
        """
        raw = self._read.get(descriptor.digest, lambda: _read(source, reference, descriptor))
        return check_size_and_digest(raw, descriptor, reference)


def _read(source: ContentSource, reference: ImageReference, descriptor: Descriptor) -> bytes:
    if descriptor.media_type in DOCUMENT_TYPES:
        raw = source.read_document(reference, descriptor)
        return check_size_and_digest(raw, descriptor, f"{reference}: {descriptor.digest}")
    if descriptor.media_type not in CONFIG_TYPES:
        raise FormatError("not a config", subject=reference, got=descriptor.media_type)
    out = bytearray()
    stream = source.open_blob(reference, descriptor)
    subject = f"{reference}: config {descriptor.digest}"
    with contextlib.closing(CheckedReader(stream, descriptor.digest, descriptor.size, subject)) as reader:
        copy(reader, out.extend)
    return bytes(out)


OpenSource = Callable[[str, ImageReference | None, Path | None], Source]
"""Opens a source from its kind (`registry`, `docker…`, `archive`, `oci`), the reference wanted from
it, and the file or folder that it is in."""

Failures = dict[str, AirgapError]
"""What went wrong with single images, by their names."""

PER_IMAGE = (EndpointError, FormatError, IntegrityError, TrustError)
"""Errors that leave other images alone."""

METADATA_JOBS = 16
"""Images whose metadata is read at a time: one after the other, most of the time is waiting for answers."""


def sort_out(failed: Failures, failures: Failures | None) -> None:
    """Add to `failures` what leaves other images alone; raise the first of what does not."""
    for name, error in failed.items():
        error.subject = error.subject or name  # a reader of one file among many may not name it
        if failures is None or not isinstance(error, PER_IMAGE):
            raise error
        failures[name] = error


def refuse_failures(failures: Failures, total: int, *, hint: str) -> None:
    """Raise the error of a run in which some of `total` images failed: their own when it is one and the same,
    else one that lists them, with `hint`.
    """
    errors = list(dict.fromkeys(failures.values()))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise PartialError("some images failed", failures, total, hint=hint)
