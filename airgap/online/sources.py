"""Opens and reads sources, and collects the failures of single images."""

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
        """Return the bytes that `descriptor` names, from the repository of `reference`.

        Raises `FormatError` for other media types than documents and configs, and `IntegrityError` for bytes
        of another size or digest.
        """
        raw = self._read.get(descriptor.digest, lambda: _read(source, reference, descriptor))
        return check_size_and_digest(raw, descriptor, reference)


def _read(source: ContentSource, reference: ImageReference, descriptor: Descriptor) -> bytes:
    if descriptor.media_type in DOCUMENT_TYPES:
        return source.read_document(reference, descriptor)
    if descriptor.media_type not in CONFIG_TYPES:
        raise FormatError("not a config", subject=reference, got=descriptor.media_type)
    out = bytearray()
    stream = source.open_blob(reference, descriptor)
    subject = f"{reference}: config {descriptor.digest}"
    with contextlib.closing(CheckedReader(stream, descriptor.digest, descriptor.size, subject)) as reader:
        copy(reader, out.extend)
    return bytes(out)


OpenSource = Callable[[str, ImageReference | None, Path | None], Source]
"""Opens a source from its kind (`registry`, `docker…`, `archive`, `oci`), the requested
reference, and the file or folder of the source."""

Failures = dict[str, AirgapError]
"""The errors of single images, by name."""

PER_IMAGE = (EndpointError, FormatError, IntegrityError, TrustError)
"""Errors that do not affect other images."""

METADATA_JOBS = 16
"""Images whose metadata is read at a time; one by one, most of the time would be spent waiting."""


def sort_out(failed: Failures, failures: Failures | None) -> None:
    """Add errors of single images to `failures`; raise the first other error."""
    for name, error in failed.items():
        error.subject = error.subject or name  # a reader of one of many files may not name it
        if failures is None or not isinstance(error, PER_IMAGE):
            raise error
        failures[name] = error


def refuse_failures(failures: Failures, total: int, *, hint: str) -> None:
    """Raise the error of a run in which some of `total` images failed: their own error if all have the same
    one, else one that lists them, with `hint`.
    """
    errors = list(dict.fromkeys(failures.values()))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        partial = PartialError("some images failed", failures, total, hint=hint)
        if len(failures) == total:
            partial.what, partial.got = f"all {total} images failed", None
        raise partial
