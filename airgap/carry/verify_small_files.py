"""Check that a bundle's small files agree about its images (FORMAT.md §7, step 9)."""

from collections.abc import Collection, Mapping
from dataclasses import field
from typing import assert_never

from airgap.bundle.contents import (
    INDEX_FILE,
    MANIFEST_FILE,
    OCI_LAYOUT,
    OCI_LAYOUT_FILE,
    SUMS_FILE,
    manifest_json,
    read_index,
    sha256sums,
)
from airgap.bundle.damage import raise_all
from airgap.bundle.files import Files
from airgap.bundle.graph import ImageGraph, walk_image
from airgap.bundle.statement import ImageRecord, Statement
from airgap.bundle.upstream import Upstream, UpstreamIdentity, UpstreamSignature
from airgap.errors import (
    AmbiguousError,
    DigestMismatchError,
    FormatError,
    IntegrityError,
    MissingContentError,
    SizeMismatchError,
    UnlistedContentError,
)
from airgap.limits import (
    MAX_ENVELOPE_BYTES,
    MAX_INDEX_BYTES,
    MAX_SUMS_FILE_BYTES,
    MAX_TRUSTED_ROOT_BYTES,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor, ImageIndex
from airgap.oci.reference import ImageReference
from airgap.trust import keyless
from airgap.trust.cosign import check_image, materials_of
from airgap.trust.keys import PublicKey
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class VerifiedImage:
    """One image of a verified bundle."""

    record: ImageRecord
    graph: ImageGraph
    renamed: ImageReference | None = None
    """The name that replaces the signed one in this load."""

    @property
    def name(self) -> ImageReference:
        """The name that the image gets in the target, in the form that targets keep."""
        return (self.renamed or self.record.name).kept

    @property
    def full_name(self) -> ImageReference:
        """`name`, with the digest if the manifest gave both tag and digest: a pod may use that form too."""
        asked = self.record.reference.digest is not None and self.name.tag is not None
        return self.name.with_digest(self.record.digest) if asked else self.name


@dataclass(frozen=True, slots=True)
class SmallFilesCheck:
    """Does step 9, for a bundle whose statement is authenticated and whose file set is right."""

    folder: Files
    statement: Statement
    sizes: Mapping[str, int] = field(hash=False)

    def images(self) -> tuple[VerifiedImage, ...]:
        """Check every small file and return the images on which all of them agree. If several of the files
        beside the blobs are wrong, the error has all of them.
        """
        try:
            return self._images()
        except (DigestMismatchError, SizeMismatchError):
            self._refuse_wrong_files()
            raise

    def _refuse_wrong_files(self) -> None:
        wrong: list[IntegrityError] = []
        for name in self.statement.subjects:
            if not name.startswith("blobs/"):
                try:
                    self.read(name, MAX_INDEX_BYTES)
                except IntegrityError as error:
                    wrong.append(error)
        if len(wrong) > 1:
            got = f"{len(wrong)} wrong files"
            raise IntegrityError.of_several(wrong, "the bundle is damaged", subject=self.folder.path, got=got)

    def _images(self) -> tuple[VerifiedImage, ...]:
        self._check_sums()
        self._check_others()
        entries = read_index(self.read(INDEX_FILE, MAX_INDEX_BYTES))
        records = {record.name: record for record in self.statement.images}
        if set(records) != set(entries):
            raise AmbiguousError("index.json and the statement name different images", subject=INDEX_FILE)
        recorded = {platform.digest for record in records.values() for platform in record.platforms}
        images = tuple(
            self._image(record, entries[record.name], recorded) for record in self.statement.images
        )
        self._check_blobs(images)
        self._check_docker_view(images)
        self._check_upstream(images)
        self._check_total()
        return images

    def read(self, name: str, limit: int) -> bytes:
        """Read a listed file. Raises `DigestMismatchError` unless its SHA-256 is the signed one."""
        if name not in self.statement.subjects:
            raise MissingContentError("not listed in the statement", subject=name)
        raw = self.folder.read(name, limit)
        want, got = Digest("sha256", self.statement.subjects[name]), Digest.of(raw)
        if want != got:
            raise DigestMismatchError("wrong digest", subject=self.folder.where(name), want=want, got=got)
        return raw

    def _check_sums(self) -> None:
        listed = {name: sha256 for name, sha256 in self.statement.subjects.items() if name != SUMS_FILE}
        if self.read(SUMS_FILE, MAX_SUMS_FILE_BYTES) != sha256sums(listed):
            raise AmbiguousError("SHA256SUMS and the statement differ", subject=SUMS_FILE)

    def _check_others(self) -> None:
        if self.read(OCI_LAYOUT_FILE, 1024) != OCI_LAYOUT:
            raise FormatError("unknown layout version", subject=OCI_LAYOUT_FILE, want=OCI_LAYOUT.decode())
        for name in self.statement.subjects:
            if name.startswith("trust/") or name == "VERIFY.txt":
                self.read(name, MAX_ENVELOPE_BYTES)

    def _image(
        self, record: ImageRecord, descriptor: Descriptor, recorded: Collection[Digest]
    ) -> VerifiedImage:
        """Return one image. `recorded` has the manifests of all images, because two images may carry
        different platforms of one index.
        """
        if record.digest != descriptor.digest:
            raise AmbiguousError(
                "index.json and the statement differ",
                subject=record.name,
                want=record.digest,
                got=descriptor.digest,
            )
        own = {platform.digest for platform in record.platforms}

        def carried(index: ImageIndex) -> list[Descriptor]:
            """Return the index entries in the bundle, without those that only other images have."""
            listed = (entry for entry in index.manifests if entry.digest.path in self.statement.subjects)
            return [entry for entry in listed if entry.digest in own or entry.digest not in recorded]

        graph = walk_image(descriptor, self._document, carried, str(record.name))
        if (record.kind, record.platforms) != (graph.kind, graph.records):
            raise AmbiguousError("the statement's platforms are not those of the image", subject=record.name)
        if record.files != graph.files:
            raise AmbiguousError("the statement's files are not those of the artifact", subject=record.name)
        return VerifiedImage(record, graph)

    def _document(self, descriptor: Descriptor) -> bytes:
        return self.read(descriptor.digest.path, descriptor.size)

    def _check_blobs(self, images: tuple[VerifiedImage, ...]) -> None:
        """Check that every reachable blob is listed or required, and that every listed blob is reachable."""
        required = {item.digest: item.size for item in self.statement.requires}
        manifests = [item.manifest for image in images for item in image.graph.manifests]
        layers = {layer.digest for manifest in manifests for layer in manifest.layers}
        foreign = {digest for image in images for digest in image.graph.foreign}
        for digest in required:
            if digest not in layers or digest.path in self.sizes:
                raise AmbiguousError(
                    "a required blob is in the bundle, or is not a layer", subject="requires", got=digest
                )
            if digest in foreign:
                raise AmbiguousError("a foreign layer is not in the bundle", subject="requires", got=digest)
        reached = set()
        wrong_sizes: dict[str, IntegrityError] = {}
        for image in images:
            for digest, descriptor in image.graph.contents.items():
                reached.add(digest.path)
                if digest.path not in self.sizes:
                    if required.get(digest) != descriptor.size:
                        what = "a blob is neither listed nor required"
                        raise MissingContentError(what, subject=image.name, want=digest)
                elif self.sizes[digest.path] != descriptor.size:
                    wrong_sizes[digest.path] = SizeMismatchError(
                        "wrong size",
                        subject=self.folder.where(digest.path),
                        want=f"{descriptor.size:,} bytes",
                        got=f"{self.sizes[digest.path]:,}",
                    )
        got = f"{len(wrong_sizes)} wrong sizes"
        raise_all([*wrong_sizes.values()], "the bundle is damaged", subject=self.folder.path, got=got)
        for name in self.statement.subjects:
            if name.startswith("blobs/") and name not in reached:
                raise UnlistedContentError("a blob that no image refers to", subject=name)
            if name.startswith("blobs/sha256/") and not name.endswith(self.statement.subjects[name]):
                raise AmbiguousError("the blob's name is not its listed digest", subject=name)

    def _check_upstream(self, images: tuple[VerifiedImage, ...]) -> None:
        """Check the upstream signatures in the same way as when the bundle was made. Without the library for
        keyless ones, these are only what the statement's signers state: `identities.py` says so.
        """
        roots = {image.record.digest: image for image in images}
        for image in images:
            claim = image.record.upstream_signature
            if claim is None:
                continue
            holder = roots.get(claim.manifest)
            if holder is None:
                raise AmbiguousError("the upstream signature is missing", subject=image.name)
            self._check_signature(image, claim, holder)

    def _check_signature(self, image: VerifiedImage, claim: Upstream, holder: VerifiedImage) -> None:
        manifests = [item.manifest for item in holder.graph.manifests]
        materials = [
            material for manifest in manifests for material in materials_of(manifest, self._document)
        ]
        match claim:
            case UpstreamSignature():
                key = PublicKey.from_pem(claim.key, f"{image.name}: upstream_signature")
                if key.keyid != claim.keyid:
                    raise AmbiguousError("the upstream signature is missing", subject=image.name)
                check_image(image.record.digest, key, materials)
            case UpstreamIdentity():
                identity = keyless.Identity(issuer=claim.issuer, subject=claim.subject)
                trusted_root = self.read(claim.file, MAX_TRUSTED_ROOT_BYTES)
                if keyless.is_available():
                    verifier = keyless.KeylessVerifier.under(trusted_root, claim.file)
                    verifier.check_image(image.record.digest, identity, materials)
            case _ as unreachable:
                assert_never(unreachable)

    def _check_total(self) -> None:
        total = sum(self.sizes.values())
        if total != self.statement.total_bytes:
            want = f"{self.statement.total_bytes:,} bytes"
            raise SizeMismatchError("wrong total size", subject=self.folder.path, want=want, got=f"{total:,}")

    def _check_docker_view(self, images: tuple[VerifiedImage, ...]) -> None:
        views = [view for image in images if (view := image.graph.docker_view(image.name))]
        if self.read(MANIFEST_FILE, MAX_INDEX_BYTES) != manifest_json(views):
            raise AmbiguousError(
                "manifest.json and index.json describe different images", subject=MANIFEST_FILE
            )
