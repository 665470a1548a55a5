"""How the online side gets at its sources."""

from collections.abc import Callable
from pathlib import Path

from airgap.endpoints.ports import Source
from airgap.errors import AirgapError, EndpointError, FormatError, IntegrityError, TrustError
from airgap.oci.reference import ImageReference

OpenSource = Callable[[str, ImageReference | None, Path | None], Source]
"""Opens a source from its kind (`registry`, `docker…`, `archive`, `oci`), the reference wanted from
it, and the file or folder that it is in."""

Failures = dict[str, AirgapError]
"""What went wrong with single images, by their names."""

PER_IMAGE = (EndpointError, FormatError, IntegrityError, TrustError)
"""Errors that leave other images alone."""

METADATA_JOBS = 8
"""Images whose metadata is read at a time."""


def sort_out(failed: Failures, failures: Failures | None) -> None:
    """Add to `failures` what leaves other images alone; raise the first of what does not."""
    for name, error in failed.items():
        error.subject = error.subject or name  # a reader of one file among many may not name it
        if failures is None or not isinstance(error, PER_IMAGE):
            raise error
        failures[name] = error
