"""How the online side gets at its sources."""

from collections.abc import Callable
from pathlib import Path

from airgap.endpoints.ports import Source
from airgap.oci.reference import ImageReference

OpenSource = Callable[[str, ImageReference | None, Path | None], Source]
"""Opens a source from its kind (`registry`, `docker…`, `archive`, `oci`), the reference wanted from
it, and the file or folder that it is in."""

METADATA_JOBS = 8
"""Images whose metadata is read at a time."""
