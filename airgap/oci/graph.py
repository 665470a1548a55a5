"""The graph of an image: its index, the indexes below it, and their image manifests."""

from collections.abc import Callable, Iterator

from airgap.errors import FormatError
from airgap.limits import MAX_INDEX_LEVELS
from airgap.oci.documents import DOCUMENT_TYPES, Descriptor, ImageIndex, ImageManifest

Document = ImageManifest | ImageIndex


def walk_documents(
    root: Descriptor, read: Callable[[Descriptor], Document | None]
) -> Iterator[tuple[Descriptor, Document]]:
    """Yield the documents from `root` down, parents before children, in the order of the indexes.

    `read` returns a document, or None to leave it out, with all that is below it. Raises `FormatError` for
    documents that are nested too deeply; a document that is named twice is read twice.
    """
    yield from _walk(root, read, 1)


def _walk(
    descriptor: Descriptor, read: Callable[[Descriptor], Document | None], level: int
) -> Iterator[tuple[Descriptor, Document]]:
    if level > MAX_INDEX_LEVELS:
        raise FormatError(
            "image indexes are nested too deeply",
            subject=descriptor.digest,
            want=f"at most {MAX_INDEX_LEVELS}",
        )
    document = read(descriptor)
    if document is not None:
        yield descriptor, document
    if isinstance(document, ImageIndex):
        for child in document.manifests:
            if child.media_type in DOCUMENT_TYPES:
                yield from _walk(child, read, level + 1)
