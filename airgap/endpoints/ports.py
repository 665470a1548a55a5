"""The Protocols that the use-cases require of their neighbours, on one page.

Adapters do the minimum. Walking the graph of an image, checking digests, deciding what is already present,
ordering and retrying are done once, in the use-cases. Every adapter raises only `EndpointError` and its
children (also while streaming), never prints, and takes its time-outs as arguments.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from airgap.bundle.files import Files
from airgap.oci.digest import Advance, ByteStream, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference


class ContentSource(Protocol):
    """A source that serves documents and blobs by digest: a registry, an OCI layout, an OCI archive.

    It does not check what it returns: callers compare digest and size.
    """

    @property
    def name(self) -> str:
        """The name shown to people: `registry:ghcr.io`, `oci:/srv/images`."""

    def resolve(self, reference: ImageReference) -> Descriptor:
        """Return the descriptor that `reference` points to now; a digest takes precedence over a tag. Raises
        `NotFoundError`.
        """

    def read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        """Return an image manifest or image index of at most 4 MiB."""

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        """Return a stream of the blob's bytes from `offset` on. A source that cannot seek raises
        `EndpointError` for an offset other than 0 before it returns a byte.
        """


@runtime_checkable
class SparseSource(Protocol):
    """A content source whose indexes may name more than it holds: an OCI layout."""

    def has(self, reference: ImageReference, descriptor: Descriptor) -> bool:
        """Return whether there is such a blob or document; reading it shows whether it is correct."""


class BlobSink(Protocol):
    """A receiver of the blobs of an export; a bundle's blob store is one."""

    def add(self, stream: ByteStream, digest: Digest, size: int) -> None:
        """Store the content under `digest`, checking digest and size while it streams. Content that is
        already present is still read and checked.
        """

    def add_unnamed(self, stream: ByteStream) -> tuple[Digest, int]:
        """Store content whose digest is not known beforehand; return its SHA-256 and size in bytes."""

    def read(self, digest: Digest, limit: int) -> bytes:
        """Return content that was added, of at most `limit` bytes."""


@runtime_checkable
class ExportSource(Protocol):
    """A source that exports whole images in one pass: a Docker engine, a `docker save` archive."""

    @property
    def name(self) -> str:
        """The name shown to people."""

    def identify(self, reference: ImageReference) -> Digest:
        """Return the image ID of `reference` now: the digest of the config (graph driver) or of the image
        manifest or index (containerd image store). Raises `NotFoundError`.
        """

    def export(
        self, references: Sequence[ImageReference], sink: BlobSink, advance: Advance
    ) -> "list[ExportedImage]":
        """Stream all `references` into `sink` with one request; return one result for each, in order."""


@runtime_checkable
class PlatformSource(Protocol):
    """An `ExportSource` that can list the platforms of an image before the export: a containerd store."""

    def platforms(self, reference: ImageReference) -> list[tuple[Descriptor, bool]] | None:
        """Return the image manifests in the image's index, and whether each is complete; None if that is not
        known or the image is not an index.
        """


@dataclass(frozen=True, slots=True)
class ExportedImage:
    """The result of an export for one reference."""

    reference: ImageReference
    descriptor: Descriptor
    """The image manifest or image index; its bytes are in the sink too."""
    image_id: Digest
    repacked: bool
    """True if layers were compressed again and the image manifest was made here."""


@runtime_checkable
class ContentTarget(Protocol):
    """A target that stores documents and blobs by digest: a registry, an OCI layout."""

    @property
    def name(self) -> str:
        """The name shown to people."""

    def find(self, reference: ImageReference) -> Digest | None:
        """Return the digest that the name (its tag, otherwise its digest) has at the target now; None if the
        target does not have the name.
        """

    def holds(self, reference: ImageReference, descriptor: Descriptor) -> bool:
        """Return whether the target has the blob, with the right size, readable for `reference`."""

    def put_blob(self, reference: ImageReference, descriptor: Descriptor, stream: ByteStream) -> None:
        """Store a blob. `stream` raises before its last byte when the content is wrong."""

    def put_document(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        """Store an image manifest or index under its digest; the content that it names is already present."""

    def tag(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        """Point the name of `reference` at the document: the commit point of one image."""


@runtime_checkable
class MountingTarget(Protocol):
    """A target with repositories that can share blobs: a registry."""

    def mount(self, reference: ImageReference, descriptor: Descriptor, source: ImageReference) -> bool:
        """Make the blob of another repository of the target readable for `reference` too, without sending it.
        Return False if the target does not support that.
        """


@runtime_checkable
class ResumingTarget(Protocol):
    """A content target that can resume in the middle of a blob: a registry."""

    def upload(
        self, reference: ImageReference, descriptor: Descriptor, open_at: Callable[[int], ByteStream]
    ) -> None:
        """Store a blob as `put_blob` does, and try again after temporary failures. `open_at` opens the
        content at an offset, which is 0 at first; each stream is closed here, and raises before its last byte
        if the blob as a whole is wrong. It is not called if the target has the blob in another repository.
        """


@runtime_checkable
class ReferrerSource(Protocol):
    """A source that lists the referrers of an image: signatures, SBOMs, attestations."""

    def referrers(self, reference: ImageReference, digest: Digest) -> list[Descriptor]:
        """Return the image manifests and indexes in the repository of `reference` whose subject is `digest`,
        at most 1,000, with artifact type and annotations as the source reports them.
        """


@runtime_checkable
class ReferrerTarget(Protocol):
    """A content target that lists referrers."""

    def put_referrer(
        self, reference: ImageReference, subject: Digest, descriptor: Descriptor, raw: bytes
    ) -> None:
        """Store a document whose subject is `subject`, as `put_document` does, so that `referrers` finds it.
        `descriptor` has the artifact type and the annotations that a list of referrers shows.
        """


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The properties of an engine, and what it accepts as a stream target."""

    platform: Platform
    """The platform that it runs."""
    keeps_index: bool
    """True if it keeps image manifests and indexes (containerd image store, podman), and not only configs and
    layers (graph driver)."""
    zstd_layers: bool
    """True if it can unpack zstd layers."""
    version: str = ""
    config_ids: bool = False
    """True if an image's ID is its config's digest although it keeps indexes (podman). `find_id` then finds
    an image by either digest. Without an index the ID is always the config's digest."""

    one_platform: bool = False
    """True if it keeps only its own platform of an index (containerd, podman). Without an index there is only
    one platform."""

    product: str = field(default="", compare=False)
    """`Docker`, `podman` or `containerd`."""
    host: str = field(default="", compare=False)
    """The engine's name for the machine that it runs on."""
    address: str = field(default="", compare=False)
    """The address at which it was reached, and where that is configured: `unix:///run/docker.sock (context
    plant)`."""

    def __str__(self) -> str:
        """Describe the engine for people."""
        words = " ".join(filter(None, (self.product, self.version, f"on {self.host}" if self.host else "")))
        return ", ".join(filter(None, (words, self.address)))

    @property
    def ids_are_configs(self) -> bool:
        """Return whether an image's ID is the digest of its config, not of its image manifest or index."""
        return self.config_ids or not self.keeps_index


@runtime_checkable
class Engine(Protocol):
    """A neighbour that can identify itself: names like `docker` may mean several engines."""

    def info(self) -> EngineInfo:
        """Return the engine's properties; it is asked once."""


def engine_of(neighbour: object) -> str:
    """Describe the engine behind a source or target for people; empty for other neighbours and if it is
    unknown.
    """
    info = neighbour.info() if isinstance(neighbour, Engine) else None
    return str(info) if info is not None and info.address else ""


@runtime_checkable
class StreamTarget(Protocol):
    """A target that takes images as a tar stream in the form of `docker save`: Docker, podman, containerd."""

    @property
    def name(self) -> str:
        """The name shown to people."""

    def info(self) -> EngineInfo:
        """Return the engine's properties; it is asked once."""

    def find(self, reference: ImageReference) -> Digest | None:
        """Return the image ID that the name has now, or None."""

    def layer_chains(self) -> frozenset[Digest]:
        """Return the chain IDs of all layers of all images at the target (graph driver only)."""

    def find_id(self, image_id: Digest) -> bool:
        """Return whether the target has a complete image of that ID, under any name."""

    def load(self, tar: Iterable[bytes]) -> None:
        """Send the stream. If `tar` raises, the connection is cut before its end and the exception is passed
        on; any error that the engine reports, even with a success status, is an `EndpointError`.
        """

    def tag(self, image_id: Digest, reference: ImageReference) -> None:
        """Point a name at an image that is already present."""

    def untag(self, reference: ImageReference) -> None:
        """Remove a name; it is not an error if the name is absent."""


@runtime_checkable
class IndexTarget(Protocol):
    """A `StreamTarget` that may have some platforms of an image and not others: Docker's containerd store."""

    def available(self, image_id: Digest) -> frozenset[Digest] | None:
        """Return the image manifests in the index `image_id` whose content is complete; None if the target
        does not report that or the image is not an index.
        """


@runtime_checkable
class StagingTarget(Protocol):
    """A `StreamTarget` that takes an image under a temporary name, so that `tag` moves its own name only
    after everything is proved. It also keeps names with a digest and no tag.
    """

    @property
    def remark(self) -> str:
        """A note about the images that were named here; empty if there is none."""

    def is_named(self, image_id: Digest, reference: ImageReference) -> bool:
        """Return whether all names are as `tag` would leave them: each name kept for the reference points to
        that image.
        """

    def stage(self, image_id: Digest) -> ImageReference:
        """Return the temporary name under which an image is to be loaded."""

    def sweep(self) -> None:
        """See `SweptTarget`."""


@runtime_checkable
class SweptTarget(Protocol):
    """A target where a killed load leaves temporary names or files."""

    def sweep(self) -> None:
        """Remove the temporary names or files of this process, and of processes that were killed."""


@runtime_checkable
class FileTarget(Protocol):
    """A target that takes all images of a load as one archive: a file."""

    @property
    def name(self) -> str:
        """The name shown to people."""

    def write(self, tar: Iterable[bytes]) -> None:
        """Write the archive, whole or not at all: if `tar` raises, the file does not exist."""


@runtime_checkable
class ListedFile(Protocol):
    """A `FileTarget` that can list the images in the file."""

    def names(self) -> dict[ImageReference, Digest]:
        """Return the digest of each name in the file; raises an `AirgapError` if it cannot be read."""


@runtime_checkable
class PlacingTarget(Protocol):
    """A target that keeps only part of a name: a folder, in which an image is a file."""

    def path_of(self, reference: ImageReference) -> Path:
        """Return the path at which it keeps the image of that name."""


@runtime_checkable
class FolderTarget(Protocol):
    """A target that takes each image as a separate archive: the folder from which k3s imports."""

    @property
    def name(self) -> str:
        """The name shown to people."""

    @property
    def takes_sparse(self) -> bool:
        """Return whether its reader accepts an index of which the archive lacks manifests."""

    @property
    def hint(self) -> str:
        """What an operator still has to do before the images are in use."""

    def open_archive(self, reference: ImageReference) -> AbstractContextManager[Files]:
        """Open the files of the archive of that name; raises an `AirgapError` if there is none that can be
        read.
        """

    def put_archive(self, reference: ImageReference, tar: Iterable[bytes]) -> None:
        """Write the archive of that name, whole or not at all: if `tar` raises, the old one stays."""


Target = ContentTarget | StreamTarget | FileTarget | FolderTarget
Source = ContentSource | ExportSource
