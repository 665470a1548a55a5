"""The base classes of the sources and targets that the use-cases work with, on one page.

Endpoints do the minimum. Walking the graph of an image, checking digests, deciding what is already present,
ordering and retrying are done once, in the use-cases. Every endpoint raises only `EndpointError` and its
children (also while streaming), never prints, and takes its time-outs as arguments.

A target is of one of four kinds: content by digest, an engine, a folder of archives, one archive. Methods
that are not abstract are abilities that most endpoints of a kind lack.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

from airgap.bundle.files import Files
from airgap.endpoints.engine_info import EngineInfo
from airgap.errors import EndpointError
from airgap.limits import MAX_JSON_BYTES
from airgap.oci.digest import Advance, ByteStream, Digest
from airgap.oci.documents import Descriptor, check_size_and_digest
from airgap.oci.files_artifact import CarriedFile, FileState
from airgap.oci.reference import ImageReference
from airgap.values import dataclass


class Endpoint(ABC):
    """A source or a target."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name shown to people: `registry:ghcr.io`, `oci:/srv/images`."""

    def describe_engine(self) -> str:
        """Describe the engine behind it for people; empty for other endpoints, and if it is not known."""
        return ""


class ContentSource(Endpoint):
    """A source that serves documents and blobs by digest: a registry, an OCI layout, a bundle."""

    is_sparse: ClassVar[bool] = False
    """True if its indexes may name more than it holds: an OCI layout."""

    @abstractmethod
    def resolve(self, reference: ImageReference) -> Descriptor:
        """Return the descriptor that `reference` points to now; a digest takes precedence over a tag. Raises
        `NotFoundError`.
        """

    def read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        """Return an image manifest or index. Raises `EndpointError` for one of more than 4 MiB, and
        `IntegrityError` for another one than `descriptor` means.
        """
        subject = f"{reference}: {descriptor.digest}"
        if descriptor.size > MAX_JSON_BYTES:
            want = f"at most {MAX_JSON_BYTES:,} bytes"
            raise EndpointError("document too large", subject=subject, want=want, got=f"{descriptor.size:,}")
        return check_size_and_digest(self._read_document(reference, descriptor), descriptor, subject)

    @abstractmethod
    def _read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        """Return an image manifest or index of at most 4 MiB, as the source has it."""

    @abstractmethod
    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        """Return a stream of the blob's bytes from `offset` on; callers check digest and size. A source that
        cannot seek raises `EndpointError` for an offset other than 0 before it returns a byte.
        """

    def has(self, reference: ImageReference, descriptor: Descriptor) -> bool:  # noqa: ARG002
        """Return whether there is such a blob or document; reading it shows whether it is correct."""
        return True

    def check_usable(self) -> None:
        """Raise `RecalledError` if its images must no longer be used: a bundle can be recalled at any time.
        May be called from several threads.
        """
        return


class NamedSource(ContentSource):
    """A content source that can list its names: an OCI layout, a bundle."""

    @abstractmethod
    def names(self) -> list[ImageReference]:
        """Return the full name of every image that has one, each once."""


class BlobSink(Protocol):
    """A receiver of the blobs of an export; a bundle's blob store is one."""

    def add(self, stream: ByteStream, digest: Digest, size: int) -> None:
        """Store `size` bytes of content under `digest`, checking both while it streams. Content that is
        already present is still read and checked.
        """

    def add_unnamed(self, stream: ByteStream) -> tuple[Digest, int]:
        """Store content whose digest is not known beforehand; return its SHA-256 and size in bytes."""

    def read(self, digest: Digest, limit: int) -> bytes:
        """Return content that was added, of at most `limit` bytes."""


class ExportSource(Endpoint):
    """A source that exports whole images in one pass: a Docker engine, a `docker save` archive."""

    @abstractmethod
    def identify(self, reference: ImageReference) -> Digest:
        """Return the image ID of `reference` now: the digest of the config (graph driver) or of the image
        manifest or index (containerd image store). Raises `NotFoundError`.
        """

    @abstractmethod
    def export(
        self, references: Sequence[ImageReference], sink: BlobSink, advance: Advance
    ) -> "list[ExportedImage]":
        """Stream all `references` into `sink` with one request; return one result for each, in order."""

    def platforms(self, reference: ImageReference) -> list[tuple[Descriptor, bool]] | None:  # noqa: ARG002
        """Return the image manifests in the image's index, and whether each is complete; None if that is not
        known or the image is not an index.
        """
        return None


@dataclass(frozen=True, slots=True)
class ExportedImage:
    """The result of an export for one reference."""

    reference: ImageReference
    descriptor: Descriptor
    """The image manifest or image index; its bytes are in the sink too."""
    image_id: Digest
    repacked: bool
    """True if layers were compressed again and the image manifest was made here."""


@dataclass(frozen=True, slots=True)
class PresentImage:
    """An image that a target has now."""

    name: ImageReference | None
    """Its name, as `kept_name` compares it; None if it has none, or one that no bundle can have."""
    shown: str
    """Its name for people; empty if it has none."""
    digest: Digest | None
    """What `find` returns for the name; None if it cannot be read."""


class _Target(Endpoint):
    """What all targets have."""

    def present(self) -> Iterator[PresentImage]:
        """Yield every image that it has now, once for each name. Raises `EndpointError` if it cannot list."""
        raise EndpointError("cannot list the images of this target", subject=self.name)

    def kept_name(self, name: ImageReference) -> Hashable:
        """Return the part of a name that the target keeps: names with the same part would be one name."""
        return name.normal

    def remove_name(self, reference: ImageReference, digest: Digest) -> None:  # noqa: ARG002
        """Remove a name that refers to the image `digest`, and nothing that has another name. Raises
        `EndpointError` if something uses the image, or if this target cannot remove names.
        """
        raise EndpointError("names cannot be removed at this target", subject=self.name)

    def sweep(self) -> None:
        """Remove the temporary names or files of this process, and of processes that were killed."""


class ContentTarget(_Target):
    """A target that stores documents and blobs by digest: a registry, an OCI layout."""

    @abstractmethod
    def find(self, reference: ImageReference) -> Digest | None:
        """Return the digest that the name (its tag, otherwise its digest) has at the target now; None if the
        target does not have the name.
        """

    @abstractmethod
    def holds(self, reference: ImageReference, descriptor: Descriptor) -> bool:
        """Return whether the target has the blob, with the right size, readable for `reference`."""

    def holds_document(self, reference: ImageReference, descriptor: Descriptor) -> bool:
        """Return whether the target has the image manifest or index."""
        return self.holds(reference, descriptor)

    @abstractmethod
    def put_blob(self, reference: ImageReference, descriptor: Descriptor, stream: ByteStream) -> None:
        """Store a blob. `stream` raises before its last byte when the content is wrong."""

    def upload(
        self, reference: ImageReference, descriptor: Descriptor, open_at: Callable[[int], ByteStream]
    ) -> None:
        """Store a blob that `open_at` opens at an offset: 0 at first, others after temporary failures. Each
        stream is closed here, and raises before its last byte if the blob as a whole is wrong. None is opened
        if the target has the blob in another repository.
        """
        with contextlib.closing(open_at(0)) as stream:
            self.put_blob(reference, descriptor, stream)

    @abstractmethod
    def put_document(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        """Store an image manifest or index under its digest; the content that it names is already present."""

    @abstractmethod
    def tag(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        """Point the name of `reference` at the document: the commit point of one image."""

    def naming(self) -> AbstractContextManager[None]:
        """Return a context in which `tag` may wait for its end. Raises what `tag` raises."""
        return contextlib.nullcontext()


class RegistryTarget(ContentTarget):
    """A content target with repositories, which can share blobs, and with lists of referrers: a registry."""

    def kept_name(self, name: ImageReference) -> Hashable:
        return replace(name, registry="")

    def holds_document(self, reference: ImageReference, descriptor: Descriptor) -> bool:
        return self.find(replace(reference, tag=None, digest=descriptor.digest)) == descriptor.digest

    @abstractmethod
    def mount(self, reference: ImageReference, descriptor: Descriptor, source: ImageReference) -> bool:
        """Make the blob of another repository of the target readable for `reference` too, without sending it.
        Return False if the target does not support that.
        """

    @abstractmethod
    def put_referrer(
        self, reference: ImageReference, subject: Digest, descriptor: Descriptor, raw: bytes
    ) -> None:
        """Store a document whose subject is `subject`, as `put_document` does, so that the list of referrers
        has it. `descriptor` has the artifact type and the annotations that the list shows.
        """


class EngineTarget(_Target):
    """A target that takes images as a tar stream in the form of `docker save`: Docker, podman, containerd."""

    remark: str = ""
    """A note about the images that were named here; empty if there is none."""

    @abstractmethod
    def _read_info(self) -> EngineInfo:
        """Ask the engine for its properties."""

    @cached_property
    def _info(self) -> EngineInfo:
        return self._read_info()

    def info(self) -> EngineInfo:
        """Return the engine's properties; it is asked once."""
        return self._info

    def describe_engine(self) -> str:
        info = self.info()
        return str(info) if info.address else ""

    @abstractmethod
    def find(self, reference: ImageReference) -> Digest | None:
        """Return the image ID that the name has now, or None."""

    @abstractmethod
    def layer_chains(self) -> frozenset[Digest]:
        """Return the chain IDs of all layers of all images at the target (graph driver only)."""

    @abstractmethod
    def find_id(self, image_id: Digest, manifests: Collection[Digest] = ()) -> bool:
        """Return whether the target has a complete image of that ID, under any name. If the target lists the
        image manifests of an index, those in `manifests` must be complete too.
        """

    def is_named(self, image_id: Digest, reference: ImageReference) -> bool:  # noqa: ARG002
        """Return whether all names that the target keeps besides the tag point to that image."""
        return True

    @abstractmethod
    def load(self, tar: Iterable[bytes]) -> None:
        """Send the stream. If `tar` raises, the connection is cut before its end and the exception is passed
        on; any error that the engine reports, even with a success status, is an `EndpointError`.
        """

    @abstractmethod
    def tag(self, image_id: Digest, reference: ImageReference) -> None:
        """Point a name at an image that is already present."""

    @abstractmethod
    def untag(self, reference: ImageReference) -> None:
        """Remove a name; it is not an error if the name is absent."""


class StagingTarget(EngineTarget):
    """An engine that takes an image under a temporary name, so that `tag` moves its own name only after
    everything is proved. It also keeps names with a digest and no tag: containerd.
    """

    @abstractmethod
    def is_named(self, image_id: Digest, reference: ImageReference) -> bool:
        """Return whether all names are as `tag` would leave them: each name kept for the reference points to
        that image.
        """

    @abstractmethod
    def stage(self, image_id: Digest) -> ImageReference:
        """Return the temporary name under which an image is to be loaded."""


class FileTarget(_Target):
    """A target that takes all images of a load as one archive: a file."""

    @abstractmethod
    def write(self, tar: Iterable[bytes]) -> None:
        """Write the archive, whole or not at all: if `tar` raises, the file does not exist."""

    @abstractmethod
    def names(self) -> dict[ImageReference, Digest]:
        """Return the digest of each name in the file; raises an `AirgapError` if it cannot be read."""


class FolderTarget(_Target):
    """A target that takes each image as a separate archive: the folder from which k3s imports."""

    takes_sparse: bool
    """True if its reader accepts an index of which the archive lacks manifests."""
    hint: str
    """What an operator still has to do before the images are in use."""

    def kept_name(self, name: ImageReference) -> Hashable:
        return self.path_of(name)

    @abstractmethod
    def path_of(self, reference: ImageReference) -> Path:
        """Return the path at which it keeps the image of that name."""

    @abstractmethod
    def open_archive(self, reference: ImageReference) -> AbstractContextManager[Files]:
        """Open the files of the archive of that name; raises an `AirgapError` if there is none that can be
        read.
        """

    @abstractmethod
    def put_archive(self, reference: ImageReference, tar: Iterable[bytes]) -> None:
        """Write the archive of that name, whole or not at all: if `tar` raises, the old one stays."""


class FilesTarget(_Target):
    """A target that takes the files of a bundle, and no images: a folder."""

    @abstractmethod
    def state_of(self, carried: CarriedFile) -> FileState:
        """Return what it has under the name of the file now. Raises `AirgapError` for anything but a file."""

    @abstractmethod
    def put_file(self, carried: CarriedFile, stream: ByteStream, *, replace: bool) -> None:
        """Write the file, whole or not at all. Raises `PolicyError` over other content unless `replace`."""


Target = ContentTarget | EngineTarget | FileTarget | FolderTarget | FilesTarget
Source = ContentSource | ExportSource
