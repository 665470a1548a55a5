"""Reduce an image to the parts that a bundle carries, for targets that refuse an incomplete index.

The new index keeps the order of the original one, and the entries themselves. So the same bundle gives the
same digest everywhere, and a second load recognises it.
"""

from collections.abc import Collection
from typing import Any

from airgap.bundle.graph import CarriedManifest, ImageGraph
from airgap.oci.digest import Digest
from airgap.oci.documents import INDEX_TYPES, Descriptor
from airgap.oci.strict_json import dump, parse_object

CarriedDocuments = dict[Digest, tuple[Descriptor, bytes]]


def reduced(graph: ImageGraph, refused: Collection[Digest] = ()) -> ImageGraph | None:
    """Return the carried part of an index, without the documents in `refused`: if one platform is left, its
    unchanged manifest, else an index of those that are left. None if the index is complete, or if no usable
    part is left.
    """
    kept = tuple(item for item in graph.manifests if item.descriptor.digest not in refused)
    if graph.root.media_type not in INDEX_TYPES or not kept:
        return None
    if any(item.config for item in graph.manifests) and not any(item.config for item in kept):
        return None
    made: CarriedDocuments = {}
    root = _rebuilt(graph.root, graph.documents, refused, made)
    if root is None or root.digest == graph.root.digest:
        return None
    if (lone := graph.lone_manifest) is not None:
        return only(lone, graph)
    return ImageGraph(root, made, kept)


def only(item: CarriedManifest, graph: ImageGraph) -> ImageGraph:
    """Return the graph of one manifest of an image."""
    digest = item.descriptor.digest
    return ImageGraph(item.descriptor, {digest: graph.documents[digest]}, (item,))


def _rebuilt(
    descriptor: Descriptor, documents: CarriedDocuments, refused: Collection[Digest], made: CarriedDocuments
) -> Descriptor | None:
    """Add the document, without absent entries, to `made` after its children; return None if it is absent."""
    if descriptor.digest in refused or descriptor.digest not in documents:
        return None
    _, raw = documents[descriptor.digest]
    if descriptor.media_type in INDEX_TYPES:
        value = parse_object(raw, str(descriptor.digest))
        entries = [_entry(entry, documents, refused, made) for entry in value["manifests"]]
        kept = [entry for entry in entries if entry is not None]
        if not kept:
            return None
        if kept != value["manifests"]:
            raw = dump({**value, "manifests": kept})
            descriptor = Descriptor(descriptor.media_type, Digest.of(raw), len(raw))
    made[descriptor.digest] = (descriptor, raw)
    return descriptor


def _entry(
    entry: dict[str, Any], documents: CarriedDocuments, refused: Collection[Digest], made: CarriedDocuments
) -> dict[str, Any] | None:
    """Return an element of `manifests`, with a new digest if it is an index that was reduced."""
    digest = Digest.parse(entry["digest"])
    if digest not in documents:
        return None
    rebuilt = _rebuilt(documents[digest][0], documents, refused, made)
    if rebuilt is None:
        return None
    return (
        entry if rebuilt.digest == digest else {**entry, "digest": str(rebuilt.digest), "size": rebuilt.size}
    )


def described(graph: ImageGraph) -> str:
    """Describe the reduced image that a name refers to, such as `its linux/amd64 image`."""
    platforms = [str(item.platform) for item in graph.manifests if item.config]
    if graph.root.media_type not in INDEX_TYPES:
        return f"its {platforms[0]} image"
    return f"an index made by airgap of {', '.join(platforms) or 'the carried parts'}"
