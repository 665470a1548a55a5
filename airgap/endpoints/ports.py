"""What the use-cases ask of their neighbours: one page of Protocols.

Adapters give the minimum. Walking the graph of an image, checking digests, deciding what is
already there, ordering and retrying live once, in the use-cases. Every adapter raises only
`EndpointError` and its children (also while streaming), never prints, and takes its time-outs as
arguments.
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
    """Serves documents and blobs by digest: a registry, an OCI layout, an OCI archive.

    Nothing that it hands out is checked: callers compare digest and size.
    """

    @property
    def name(self) -> str:
        """How a person would call it: `registry:ghcr.io`, `oci:/srv/images`."""

    def resolve(self, reference: ImageReference) -> Descriptor:
        """What `reference` means now; the digest wins over the tag. Raises `NotFoundError`."""

    def read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        """An image manifest or image index, at most 4 MiB."""

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        """The blob's bytes from `offset` on. A source that cannot seek raises `EndpointError` for
        an offset other than 0 before it hands out a byte.
        """


@runtime_checkable
class SparseSource(Protocol):
    """A content source whose indexes may name more than it holds: an OCI layout."""

    def has(self, reference: ImageReference, descriptor: Descriptor) -> bool:
        """Whether there is such a blob or document; whether it is right shows when it is read."""


class BlobSink(Protocol):
    """Takes the blobs of an export; a bundle's blob store is one."""

    def add(self, stream: ByteStream, digest: Digest, size: int) -> None:
        """Keep the content under `digest`, after checking digest and size while it streams.
        Content that is there already is drained and checked all the same.
        """

    def add_unnamed(self, stream: ByteStream) -> tuple[Digest, int]:
        """Keep content whose digest is not known before; return its SHA-256 and size in bytes."""

    def read(self, digest: Digest, limit: int) -> bytes:
        """Content that was added, at most `limit` bytes."""


@runtime_checkable
class ExportSource(Protocol):
    """Hands out whole images in one pass: a Docker engine, a `docker save` archive."""

    @property
    def name(self) -> str:
        """How a person would call it."""

    def identify(self, reference: ImageReference) -> Digest:
        """The image ID that `reference` has now: of the config (graph driver) or of the image
        manifest or index (containerd image store). Raises `NotFoundError`.
        """

    def export(
        self, references: Sequence[ImageReference], sink: BlobSink, advance: Advance
    ) -> "list[ExportedImage]":
        """Stream all `references` into `sink` with one request; one result each, in their order."""


@runtime_checkable
class PlatformSource(Protocol):
    """An `ExportSource` that can tell beforehand which platforms of an image it has: a containerd store."""

    def platforms(self, reference: ImageReference) -> list[tuple[Descriptor, bool]] | None:
        """The image manifests in its index, and whether each is there as a whole; None when that is not
        known, or it is not an index.
        """


@dataclass(frozen=True, slots=True)
class ExportedImage:
    """What an export put into the sink for one reference."""

    reference: ImageReference
    descriptor: Descriptor
    """The image manifest or image index; its bytes are in the sink too."""
    image_id: Digest
    repacked: bool
    """Whether layers were compressed anew and the image manifest made here."""


@runtime_checkable
class ContentTarget(Protocol):
    """Takes documents and blobs by digest: a registry, an OCI layout."""

    @property
    def name(self) -> str:
        """How a person would call it."""

    def find(self, reference: ImageReference) -> Digest | None:
        """The digest that the name (its tag, else its digest) has at the target now; None when it
        has none.
        """

    def holds(self, reference: ImageReference, descriptor: Descriptor) -> bool:
        """Whether the blob is there, with the right size, readable for `reference`."""

    def put_blob(self, reference: ImageReference, descriptor: Descriptor, stream: ByteStream) -> None:
        """Store a blob. `stream` raises before its last byte when the content is wrong."""

    def put_document(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        """Store an image manifest or index under its digest; what it names is there already."""

    def tag(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        """Point the name of `reference` at the document: the commit point of one image."""


@runtime_checkable
class MountingTarget(Protocol):
    """A target with repositories that can share blobs: a registry."""

    def mount(self, reference: ImageReference, descriptor: Descriptor, source: ImageReference) -> bool:
        """Make the blob of another repository of the target readable for `reference` too, without
        sending it. False when the target does not do that.
        """


@runtime_checkable
class ResumingTarget(Protocol):
    """A content target that can go on in the middle of a blob: a registry."""

    def upload(
        self, reference: ImageReference, descriptor: Descriptor, open_at: Callable[[int], ByteStream]
    ) -> None:
        """As `put_blob`, and tried again after failures that pass. `open_at` gives the content from an
        offset on, which is 0 at first; each stream is closed here, and raises before its last byte
        when the blob as a whole is wrong. It is not called when the target has the blob elsewhere.
        """


@runtime_checkable
class ReferrerSource(Protocol):
    """A source that knows what refers to an image: signatures, SBOMs, attestations."""

    def referrers(self, reference: ImageReference, digest: Digest) -> list[Descriptor]:
        """Image manifests and indexes in the repository of `reference` whose subject is `digest`, at
        most 1,000, with artifact type and annotations as the source tells them.
        """


@runtime_checkable
class ReferrerTarget(Protocol):
    """A content target that keeps account of referrers."""

    def put_referrer(
        self, reference: ImageReference, subject: Digest, descriptor: Descriptor, raw: bytes
    ) -> None:
        """As `put_document`, for a document whose subject is `subject`, so that `referrers` finds it.
        `descriptor` has the artifact type and the annotations that a list of referrers shows.
        """


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What a stream target can take."""

    platform: Platform
    """The platform that it runs."""
    keeps_index: bool
    """Whether it keeps image manifests and indexes (containerd image store, podman), and not only
    configs and layers (graph driver)."""
    zstd_layers: bool
    """Whether it can unpack layers in zstd."""
    version: str = ""
    config_ids: bool = False
    """Whether an image's ID is its config's digest although it keeps indexes (podman). `find_id` then
    knows an image by either. Without an index the ID is always the config's digest."""

    one_platform: bool = False
    """Whether it keeps of an index only what is for its own platform (containerd, podman). Without
    an index there is one platform anyway."""

    product: str = field(default="", compare=False)
    """`Docker`, `podman` or `containerd`."""
    host: str = field(default="", compare=False)
    """What the engine calls the machine that it runs on."""
    address: str = field(default="", compare=False)
    """Where it was reached, and who said so: `unix:///run/docker.sock (context plant)`."""

    def __str__(self) -> str:
        """For people: which engine it was."""
        words = " ".join(filter(None, (self.product, self.version, f"on {self.host}" if self.host else "")))
        return ", ".join(filter(None, (words, self.address)))

    @property
    def ids_are_configs(self) -> bool:
        """Whether an image's ID is its config's digest, and not that of its image manifest or index."""
        return self.config_ids or not self.keeps_index


@runtime_checkable
class Engine(Protocol):
    """A neighbour that can tell which one it is: names like `docker` may mean several."""

    def info(self) -> EngineInfo:
        """What it is, and what it can take; asked once."""


def engine_of(neighbour: object) -> str:
    """Which engine a source or target is, for people; empty for others, and where it cannot be told."""
    info = neighbour.info() if isinstance(neighbour, Engine) else None
    return str(info) if info is not None and info.address else ""


@runtime_checkable
class StreamTarget(Protocol):
    """Takes images as a tar stream in the form of `docker save`: Docker, podman, containerd."""

    @property
    def name(self) -> str:
        """How a person would call it."""

    def info(self) -> EngineInfo:
        """What it can take; asks the engine once."""

    def find(self, reference: ImageReference) -> Digest | None:
        """The image ID that the name has now, or None."""

    def layer_chains(self) -> frozenset[Digest]:
        """The chain IDs of all layers of all images that are there (graph driver only)."""

    def find_id(self, image_id: Digest) -> bool:
        """Whether an image of that ID is there and whole, under any name."""

    def load(self, tar: Iterable[bytes]) -> None:
        """Send the stream. When `tar` raises, the connection is cut before its end and the
        exception passes on; any complaint of the engine, also one it makes with a friendly status
        code, is an `EndpointError`.
        """

    def tag(self, image_id: Digest, reference: ImageReference) -> None:
        """Point a name at an image that is there."""

    def untag(self, reference: ImageReference) -> None:
        """Take a name away; no error when it is not there."""


@runtime_checkable
class IndexTarget(Protocol):
    """A `StreamTarget` that may have some platforms of an image and not others: Docker's containerd store."""

    def available(self, image_id: Digest) -> frozenset[Digest] | None:
        """The image manifests in the index `image_id` of which all content is there; None where the target
        does not tell, and for an image that is not an index.
        """


@runtime_checkable
class StagingTarget(Protocol):
    """A `StreamTarget` that takes an image under a passing name, so that its own name moves when all is
    proved, by `tag`. It keeps names with a digest and no tag, too.
    """

    @property
    def remark(self) -> str:
        """What is to be known of images that were named here; empty for nothing."""

    def is_named(self, image_id: Digest, reference: ImageReference) -> bool:
        """Whether all is as `tag` would leave it: each name kept for the reference means that image."""

    def stage(self, image_id: Digest) -> ImageReference:
        """The passing name for an image to be loaded under."""

    def sweep(self) -> None:
        """See `SweptTarget`."""


@runtime_checkable
class SweptTarget(Protocol):
    """A target where a load that is killed leaves something that nobody wants."""

    def sweep(self) -> None:
        """Take away what passes only: the names or files of this process, and of those that were killed."""


@runtime_checkable
class FileTarget(Protocol):
    """Takes all images of a load as one archive: a file."""

    @property
    def name(self) -> str:
        """How a person would call it."""

    def write(self, tar: Iterable[bytes]) -> None:
        """Write the archive, whole or not at all: when `tar` raises, nothing is there."""


@runtime_checkable
class ListedFile(Protocol):
    """A `FileTarget` that can tell what is in the file."""

    def names(self) -> dict[ImageReference, Digest]:
        """What each name in the file means, read from the file; raises one of ours when it cannot be read."""


@runtime_checkable
class PlacingTarget(Protocol):
    """A target that keeps less than the whole of a name: a folder, in which an image is a file."""

    def place(self, reference: ImageReference) -> Path:
        """Where it keeps the image of that name."""


@runtime_checkable
class FolderTarget(Protocol):
    """Takes each image as an archive of its own: the folder from which k3s imports."""

    @property
    def name(self) -> str:
        """How a person would call it."""

    @property
    def takes_sparse(self) -> bool:
        """Whether its reader takes an index of which the archive lacks manifests."""

    @property
    def hint(self) -> str:
        """What has still to happen before the images are in use."""

    def open_archive(self, reference: ImageReference) -> AbstractContextManager[Files]:
        """The files of the archive of that name; raises one of ours when there is none that can be read."""

    def put_archive(self, reference: ImageReference, tar: Iterable[bytes]) -> None:
        """Write the archive of that name, whole or not at all: when `tar` raises, the old one stays."""


Target = ContentTarget | StreamTarget | FileTarget | FolderTarget
Source = ContentSource | ExportSource
