"""`index.json` of an OCI image layout: which image has which name. No I/O."""

from dataclasses import dataclass
from functools import lru_cache

from airgap.errors import AmbiguousError, FormatError
from airgap.oci.documents import CONTAINERD_NAME, OCI_INDEX, REF_NAME, Descriptor, ImageIndex, parse_document
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import dump, parse_object

EMPTY = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})

_NAMES = (CONTAINERD_NAME, REF_NAME)


@dataclass(frozen=True, slots=True)
class Entry:
    """One descriptor of `index.json`; its name in full, or only a tag, or neither."""

    descriptor: Descriptor
    name: ImageReference | None
    tag: str | None

    def has_name(self, reference: ImageReference) -> bool:
        """Whether the entry's full name is that of `reference`, which has a tag. Digests do not count."""
        if self.name is None or reference.tag is None:
            return False
        return self.name.with_digest(None) == reference.with_digest(None)


@lru_cache(maxsize=4)
def parse_index(raw: bytes, where: str) -> tuple[Entry, ...]:
    """The entries, in their order. The same bytes are parsed once, as they are read for every image.

    Raises `FormatError`, and `AmbiguousError` for an entry with two different full names.
    """
    index = parse_document(raw, None, where)
    if not isinstance(index, ImageIndex):
        raise FormatError("not an image index", subject=where, got=index.media_type)
    return tuple(_parse_entry(descriptor, where) for descriptor in index.manifests)


def by_digest(entries: tuple[Entry, ...], reference: ImageReference) -> Descriptor | None:
    """The entry with the digest of `reference`."""
    found = (entry.descriptor for entry in entries if entry.descriptor.digest == reference.digest)
    return next(found, None)


def by_name(entries: tuple[Entry, ...], reference: ImageReference) -> Descriptor | None:
    """The entry with the full name of `reference`; raises `AmbiguousError` for two images of one name."""
    found = [entry.descriptor for entry in entries if entry.has_name(reference)]
    digests = sorted({str(descriptor.digest) for descriptor in found})
    if len(digests) > 1:
        raise AmbiguousError("two images of one name", subject=reference, got=" and ".join(digests))
    return found[0] if found else None


def by_tag(entries: tuple[Entry, ...], reference: ImageReference) -> Descriptor | None:
    """The entry that is called just like the tag of `reference`, if it is the only one."""
    found = [entry.descriptor for entry in entries if entry.tag is not None and entry.tag == reference.tag]
    return found[0] if len(found) == 1 else None


def with_entry(raw: bytes, where: str, reference: ImageReference, descriptor: Descriptor) -> bytes:
    """`raw` with `descriptor` as the one entry of that name, all others as they were.

    A reference without a tag gets an entry named by its digest, unless there is one of that digest.
    Raises `FormatError` for what could not be read again, too many entries among it.
    """
    entries = parse_index(raw, where)
    if reference.tag is None and any(entry.descriptor.digest == descriptor.digest for entry in entries):
        return raw
    index = parse_object(raw, where)
    kept = zip(index["manifests"], entries, strict=True)
    index["manifests"] = [value for value, entry in kept if not entry.has_name(reference)]
    index["manifests"].append(_entry_json(reference, descriptor))
    changed = dump(index)
    parse_index(changed, where)
    return changed


def _parse_entry(descriptor: Descriptor, where: str) -> Entry:
    texts = [descriptor.annotations.get(key, "") for key in _NAMES]
    names = {name for text in texts if (name := _full_name(text)) is not None}
    if len(names) > 1:
        raise AmbiguousError(
            "one image with two names", subject=f"{where} {descriptor.digest}", got=" and ".join(texts)
        )
    if names:
        return Entry(descriptor, names.pop(), None)
    return Entry(descriptor, None, descriptor.annotations.get(REF_NAME))


def _full_name(text: str) -> ImageReference | None:
    """None for free text and for a bare tag, which would read as the short name of an image."""
    if not any(mark in text for mark in "/:@"):
        return None
    try:
        return ImageReference.parse(text)
    except FormatError:
        return None


def _entry_json(reference: ImageReference, descriptor: Descriptor) -> dict[str, object]:
    value = descriptor.to_json()
    annotations = {key: text for key, text in descriptor.annotations.items() if key not in _NAMES}
    name = reference.with_digest(None if reference.tag else descriptor.digest)
    annotations |= dict.fromkeys(_NAMES, str(name))
    value.pop("annotations", None)
    return value | ({"annotations": annotations} if annotations else {})
