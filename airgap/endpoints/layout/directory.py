"""Folders of `skopeo copy … dir:DIR` and `podman save --format docker-dir`, read as a layout with one image.

They hold `version`, `manifest.json` (the image manifest or index itself), and every other file under the
hex digits of its digest; manifests of an index end in `.manifest.json` (containers-image "dir" transport).
"""

import contextlib

from airgap.endpoints.layout.folder import MARKER, LayoutFolder
from airgap.endpoints.naming import IndexEntry
from airgap.errors import NotFoundError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor, parse_document

_MANIFEST = "manifest.json"
_MARK = b"Directory Transport Version: 1."


def entry_of(folder: LayoutFolder) -> IndexEntry | None:
    """Return the one image of such a folder, which has no name; None for any other folder."""
    with contextlib.suppress(NotFoundError):
        folder.read(MARKER)
        return None
    with contextlib.suppress(NotFoundError):
        if folder.read("version").startswith(_MARK):
            raw = folder.read(_MANIFEST)
            document = parse_document(raw, None, f"{folder.path}/{_MANIFEST}")
            return IndexEntry(Descriptor(document.media_type, document.digest, len(raw)))
    return None


def file_names(root: Digest, digest: Digest) -> tuple[str, ...]:
    """Return the possible file names of content in the folder of the image `root`."""
    return (_MANIFEST,) if digest == root else (digest.hex, f"{digest.hex}.manifest.json")
