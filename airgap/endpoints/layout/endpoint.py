"""`Layout`: the ports of a folder. A bundle is such a folder too; its verifier decides whether to
trust it.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from airgap.bundle.files import FileStream, write_all
from airgap.endpoints.layout.folder import MARKER, LayoutFolder
from airgap.endpoints.listing import ListedImage, ListingSource, merged
from airgap.endpoints.naming import (
    EMPTY_INDEX,
    IndexEntry,
    Lookup,
    index_entries,
    with_entries,
    without_entry,
)
from airgap.endpoints.ports import ContentTarget, NamedSource, PresentImage
from airgap.errors import (
    AmbiguousError,
    EndpointError,
    FormatError,
    IntegrityError,
    NotFoundError,
    SizeMismatchError,
)
from airgap.limits import MAX_JSON_BYTES
from airgap.oci.digest import ByteStream, CheckedReader, Digest, copy, read_up_to
from airgap.oci.documents import Descriptor, ImageIndex, ImageManifest, check_size_and_digest, parse_document
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import is_fallback_tag

_INDEX = "index.json"
_DIR_MANIFEST = "manifest.json"
_DIR_MARK = b"Directory Transport Version: 1."


class Layout(NamedSource, ListingSource, ContentTarget):
    """One folder as source and target, which is created on the first write.

    As a source it may also be a folder of `skopeo copy … dir:DIR` or `podman save --format docker-dir`, which
    has one image: `version`, `manifest.json` (the image manifest or index itself), and every other file under
    the hex digits of its digest; manifests of an index end in `.manifest.json`.

    Raises `EndpointError` and its children; also `MediaError` if the disk fails, `FormatError` for an invalid
    `index.json`, and `SizeMismatchError` for a file of the wrong size.
    """

    is_sparse = True

    def __init__(self, folder: Path) -> None:
        self._folder = LayoutFolder(folder)
        self._where = f"{folder}/{_INDEX}"
        self._preparing = threading.Lock()
        self._prepared = False
        self._known: tuple[tuple[int, ...], Lookup[IndexEntry]] | None = None
        self._held_back: dict[ImageReference, Descriptor] | None = None

    @property
    def name(self) -> str:
        return f"oci:{self._folder.path}"

    def names(self) -> list[ImageReference]:
        """Return the full name of every image that has one, in the order of `index.json`, each once."""
        return list(dict.fromkeys(name for entry in self._entries().images for name in entry.names))

    def present(self) -> Iterator[PresentImage]:
        for image in self.list_images():
            for name in image.names or [None]:
                yield PresentImage(name, str(name or image.tag or ""), image.digest)

    def list_images(self) -> list[ListedImage]:
        """Return all entries of `index.json`, and those of the referrer lists in it. A document that cannot
        be read is ignored here; reading that image raises the error.
        """
        return merged(map(self._listed, self._searched().images))

    def _listed(self, entry: IndexEntry) -> ListedImage:
        own = entry.descriptor.digest
        contents, subject = {own}, None
        with contextlib.suppress(EndpointError, FormatError, IntegrityError):
            document = self._document(entry.descriptor)
            if isinstance(document, ImageIndex):
                contents |= {child.digest for child in document.manifests}
            elif document.subject is not None:
                subject = document.subject.digest
        named = (entry.names, entry.tag, entry.problem)
        return ListedImage(own, *named, entry.ids, frozenset(contents), subject)

    def _searched(self) -> Lookup[IndexEntry]:
        """Return the entries, and those of each referrer list, which has its own tag (OCI distribution-spec
        1.1, "Referrers Tag Schema").
        """
        known = self._entries()
        lists = [entry for entry in known.images if is_fallback_tag(entry.tag)]
        if not lists:
            return known
        entries = list(known.images)
        for entry in lists:
            with contextlib.suppress(EndpointError, FormatError, IntegrityError):
                document = self._document(entry.descriptor)
                if isinstance(document, ImageIndex):
                    entries += [IndexEntry(child) for child in document.manifests]
        return Lookup(entries)

    def _document(self, descriptor: Descriptor) -> ImageManifest | ImageIndex:
        where = f"{self._folder.path}: {descriptor.digest}"
        if descriptor.size > MAX_JSON_BYTES:
            raise FormatError("document too large", subject=where, got=f"{descriptor.size:,}")
        with contextlib.closing(self._open_checked(descriptor)) as stream:
            raw = check_size_and_digest(read_up_to(stream, stream.size), descriptor, where)
        return parse_document(raw, descriptor.media_type, where)

    def resolve(self, reference: ImageReference) -> Descriptor:
        """Return the entry of `index.json` with this digest; without one, the entry of this name, otherwise
        the only one named just by the tag. Nested indexes are not searched.
        """
        descriptor = _one(self._searched().matching(reference), reference)
        if descriptor is None:
            raise NotFoundError(f"no such image in {self.name}", subject=reference)
        return descriptor

    def has(self, reference: ImageReference, descriptor: Descriptor) -> bool:  # noqa: ARG002
        try:
            self._open(descriptor.digest).close()
        except NotFoundError:
            return False
        return True

    def _read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        with contextlib.closing(self.open_blob(reference, descriptor)) as stream:
            return read_up_to(stream, stream.size)

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> FileStream:  # noqa: ARG002
        """Open a blob. Raises `SizeMismatchError` at once if the file's size differs from the
        descriptor's.
        """
        stream = self._open_checked(descriptor)
        stream.seek(offset)
        return stream

    def find(self, reference: ImageReference) -> Digest | None:
        try:
            entries = self._entries()
        except NotFoundError:
            return None
        same = entries.by_name(reference) if reference.tag else entries.by_digest(reference.digest)
        descriptor = _one(same, reference)
        return None if descriptor is None else descriptor.digest

    def holds(self, reference: ImageReference, descriptor: Descriptor) -> bool:
        """Return whether the content is present and correct: it is read, as a file's name proves nothing."""
        try:
            stream = self.open_blob(reference, descriptor)
            with contextlib.closing(CheckedReader(stream, descriptor.digest, descriptor.size)) as reader:
                copy(reader, lambda _: None)
        except (EndpointError, IntegrityError):
            return False
        return True

    def put_blob(self, reference: ImageReference, descriptor: Descriptor, stream: ByteStream) -> None:  # noqa: ARG002
        """Write a blob durably, whole or not at all; replaces any file with that digest."""

        def write(fd: int) -> None:
            written = copy(stream, lambda view: write_all(fd, view))
            if written != descriptor.size:
                raise _wrong_size(descriptor, written)

        self._prepare()
        self._folder.write_blob(descriptor.digest.path, write)

    def put_document(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:  # noqa: ARG002
        self._prepare()
        self._folder.write_blob(descriptor.digest.path, lambda fd: write_all(fd, raw))

    def tag(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        """Make the document the only entry of that name in `index.json`; without a tag, an entry without a
        name. The content of an earlier image of that name stays.
        """
        if not self.holds(reference, descriptor):
            self.put_document(reference, descriptor, raw)
        if self._held_back is not None:
            self._held_back[reference] = descriptor
        else:
            self._name({reference: descriptor})

    @contextlib.contextmanager
    def naming(self) -> Iterator[None]:
        """Write `index.json` once, at the end: it has all names, so writing it for each name would take time
        that grows with the square of their number.
        """
        self._held_back = {}
        try:
            yield
            named = self._held_back
        finally:
            self._held_back = None
        if named:
            self._name(named)

    def _name(self, named: dict[ImageReference, Descriptor]) -> None:
        self._prepare()
        self._folder.sync()
        with self._folder.locked():
            index = self._folder.read(_INDEX)
            self._folder.write_document(_INDEX, with_entries(index, self._where, named))

    def remove_name(self, reference: ImageReference, digest: Digest) -> None:  # noqa: ARG002
        """Remove the entries of that name in `index.json`. The content stays."""
        with self._folder.locked():
            index = self._folder.read(_INDEX)
            self._folder.write_document(_INDEX, without_entry(index, self._where, reference))

    def sweep(self) -> None:
        """Remove the unfinished blobs of processes that were killed."""
        self._folder.sweep()

    def _entries(self) -> Lookup[IndexEntry]:
        """Return the entries of `index.json`; it is read again only if it has changed."""
        if self._single_entry is not None:
            return Lookup((self._single_entry,))
        self._folder.check()
        identity = self._folder.identity(_INDEX)
        if self._known is None or self._known[0] != identity:
            self._known = identity, Lookup(index_entries(self._folder.read(_INDEX), self._where))
        return self._known[1]

    @cached_property
    def _single_entry(self) -> IndexEntry | None:
        """The image of a `dir:` folder; None for a layout."""
        return _dir_entry(self._folder)

    def _open(self, digest: Digest) -> FileStream:
        names = (
            (digest.path,)
            if self._single_entry is None
            else _dir_file_names(self._single_entry.descriptor.digest, digest)
        )
        for name in names[:-1]:
            with contextlib.suppress(NotFoundError):
                return self._folder.open(name)
        return self._folder.open(names[-1])

    def _open_checked(self, descriptor: Descriptor) -> FileStream:
        stream = self._open(descriptor.digest)
        if stream.size != descriptor.size:
            stream.close()
            raise _wrong_size(descriptor, stream.size)
        return stream

    def _prepare(self) -> None:
        with self._preparing:
            if self._prepared:
                return
            self._folder.create()
            with self._folder.locked():
                try:
                    self._folder.read(_INDEX)
                except NotFoundError:
                    self._folder.write_document(_INDEX, EMPTY_INDEX)
            self._prepared = True


def _dir_entry(folder: LayoutFolder) -> IndexEntry | None:
    """Return the one image of such a folder, which has no name; None for any other folder."""
    with contextlib.suppress(NotFoundError):
        folder.read(MARKER)
        return None
    with contextlib.suppress(NotFoundError):
        if folder.read("version").startswith(_DIR_MARK):
            raw = folder.read(_DIR_MANIFEST)
            document = parse_document(raw, None, f"{folder.path}/{_DIR_MANIFEST}")
            return IndexEntry(Descriptor(document.media_type, document.digest, len(raw)))
    return None


def _dir_file_names(root: Digest, digest: Digest) -> tuple[str, ...]:
    """Return the possible file names of content in the folder of the image `root`."""
    return (_DIR_MANIFEST,) if digest == root else (digest.hex, f"{digest.hex}.manifest.json")


def _one(entries: Sequence[IndexEntry], reference: ImageReference) -> Descriptor | None:
    """Return the one image among `entries`; raises `AmbiguousError` if there are two."""
    by_digest = {entry.descriptor.digest: entry.descriptor for entry in entries}
    if len(by_digest) > 1:
        digests = " and ".join(sorted(map(str, by_digest)))
        raise AmbiguousError("two images have the same name", subject=reference, got=digests)
    return next(iter(by_digest.values()), None)


def _wrong_size(descriptor: Descriptor, got: int) -> SizeMismatchError:
    return SizeMismatchError(
        "wrong size", subject=descriptor.digest, want=f"{descriptor.size:,} bytes", got=f"{got:,}"
    )
