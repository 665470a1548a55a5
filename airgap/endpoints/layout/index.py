"""`index.json` of an OCI image layout: the names of its images. No I/O."""

from dataclasses import dataclass
from functools import lru_cache

from airgap.endpoints.naming import by_name, namings, with_name, without_names
from airgap.errors import FormatError
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX, Descriptor, ImageIndex, parse_document
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import dump, parse_object

EMPTY = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})


@dataclass(frozen=True, slots=True)
class Entry:
    """One descriptor of `index.json`, and its names."""

    descriptor: Descriptor
    names: tuple[ImageReference, ...] = ()
    tag: str | None = None
    problem: str = ""

    @property
    def ids(self) -> frozenset[Digest]:
        """The digests that identify this entry."""
        return frozenset({self.descriptor.digest})


@lru_cache(maxsize=4)
def parse_index(raw: bytes, where: str) -> tuple[Entry, ...]:
    """Return the entries in order. The same bytes are parsed once, as they are read for every image.

    Raises `FormatError`, and `AmbiguousError` for an entry with two different full names.
    """
    index = parse_document(raw, None, where)
    if not isinstance(index, ImageIndex):
        raise FormatError("not an image index", subject=where, got=index.media_type)
    return tuple(
        Entry(descriptor, named.names, named.tag, named.problem)
        for descriptor, named in zip(index.manifests, namings(index.manifests, where), strict=True)
    )


def with_entry(raw: bytes, where: str, reference: ImageReference, descriptor: Descriptor) -> bytes:
    """Return `raw` with `descriptor` as the one entry of that name, and all others unchanged.

    A reference without a tag gets an entry named by its digest, unless there is one of that digest. Raises
    `FormatError` if the result could not be read again, for example for too many entries.
    """
    entries = parse_index(raw, where)
    if reference.tag is None and any(entry.descriptor.digest == descriptor.digest for entry in entries):
        return raw
    index = parse_object(raw, where)
    kept = zip(index["manifests"], entries, strict=True)
    index["manifests"] = [value for value, entry in kept if not by_name([entry], reference)]
    index["manifests"].append(_entry_json(reference, descriptor))
    changed = dump(index)
    parse_index(changed, where)
    return changed


def _entry_json(reference: ImageReference, descriptor: Descriptor) -> dict[str, object]:
    value = descriptor.to_json()
    name = reference.with_digest(descriptor.digest).kept
    return value | {"annotations": without_names(descriptor) | with_name(name)}
