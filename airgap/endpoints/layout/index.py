"""`index.json` of an OCI image layout: the names of its images. No I/O."""

from functools import lru_cache

from airgap.endpoints.naming import IndexEntry, by_name, index_entries, with_name, without_names
from airgap.oci.documents import OCI_INDEX, Descriptor
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import dump, parse_object

EMPTY = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})


@lru_cache(maxsize=4)
def parse_index(raw: bytes, where: str) -> tuple[IndexEntry, ...]:
    """Return the entries as `index_entries` does. The same bytes are parsed once, as they are read for every
    image.
    """
    return tuple(index_entries(raw, where))


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
