"""The lock: the manifest with every image resolved to a digest (`NAME.lock.yaml`)."""

from collections.abc import Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field

from airgap.errors import FormatError
from airgap.limits import MAX_LOCK_BYTES
from airgap.manifest import strict_yaml
from airgap.manifest.cosign_identity import (
    IDENTITY_KEY,
    CosignIdentity,
    CosignIdentityDocument,
    CosignIdentityField,
    parse_identity,
)
from airgap.manifest.fields import (
    AttachmentChoice,
    AttachmentsText,
    CertaintyText,
    DigestText,
    FilePath,
    Flag,
    LineText,
    LockedSource,
    MediaType,
    Name,
    PlatformText,
    Reference,
    Sha256,
    Size,
    Version,
)
from airgap.manifest.locked_files import (
    LockedChartDocument,
    LockedFile,
    LockedFilesDocument,
    locked_files_yaml,
    parse_locked_files,
    written_path,
)
from airgap.manifest.strict_yaml import Document, YamlPath
from airgap.manifest.transfer import BroughtByChart, TransferManifest
from airgap.manifest.validate import Lists, Strict, validate
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, Descriptor
from airgap.oci.files_artifact import EMPTY_CONFIG, artifact_descriptor, artifact_manifest
from airgap.oci.helm_chart import chart_manifest
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference
from airgap.values import dataclass

_HEADER = b"# written by airgap lock; commit it beside the manifest\n"
_TWIN_HINT = "give one of them another name with 'as' in the manifest"
_FILE_SOURCES = ("archive", "oci")
FILE_SOURCE = "file"
"""The source of an artifact that carries files of the manifest."""
CHART_SOURCE = "chart"
"""The source of a chart from a repository over HTTP."""


class _LockedDocument(Strict):
    ref: Reference
    rename: Annotated[Reference, Field(alias="as")]
    source: LockedSource
    archive: FilePath | None = None
    platforms: tuple[PlatformText, ...]
    platforms_by_default: Flag = False
    digest: DigestText | None = None
    media_type: MediaType | None = None
    size: Size | None = None
    image_id: DigestText | None = None
    cosign_key: Annotated[FilePath | None, Field(alias="cosign-key")] = None
    cosign_identity: CosignIdentityField = None
    attachments: AttachmentsText = AttachmentChoice.AUTO
    attachments_unknown: LineText | None = None
    subject: DigestText | None = None
    chart: Reference | None = None
    certainty: CertaintyText | None = None


class _LockDocument(Strict):
    version: Version
    name: Name
    manifest_sha256: Sha256
    images_sha256: Sha256 | None = None
    images: tuple[_LockedDocument, ...] = ()
    files: tuple[LockedFilesDocument, ...] = ()
    charts: tuple[LockedChartDocument, ...] = ()


_LISTS: Lists = {
    "images": {"": _LockedDocument, IDENTITY_KEY: CosignIdentityDocument},
    "files": {"": LockedFilesDocument},
    "charts": {"": LockedChartDocument},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedImage:
    """One resolved image. A lock file keeps media type, digest and size of `descriptor`."""

    reference: ImageReference
    """The name at the source."""
    name: ImageReference
    """The name on the offline side."""
    source: str
    """As in the manifest: `registry`, `docker`, `docker:…`, `archive`, `oci`."""
    path: Path | None
    """The archive or OCI layout, an absolute path."""
    platforms: tuple[Platform, ...]
    """Empty means all."""
    descriptor: Descriptor | None
    """The image manifest or index at the source, if the source has one."""
    image_id: Digest | None
    """The image's ID in an engine or in a `docker save` archive."""
    cosign_key: Path | None = None
    cosign_identity: CosignIdentity | None = None
    by_default: bool = False
    """True if the manifest names no platforms, so that `platforms` is the locking machine's default."""
    left_out: tuple[Platform, ...] = field(default=(), compare=False)
    """Other platforms of the image; not kept in the file."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Remarks about the choice of platforms; not kept in the file."""
    attachments: AttachmentChoice = AttachmentChoice.AUTO
    attachments_unknown: str | None = None
    """Why some attachments may not be locked; None if all are locked."""
    subject: Digest | None = None
    """For an attachment: the digest of the image manifest or index that it is attached to."""
    files: tuple[LockedFile, ...] = ()
    """The files that are carried as this artifact, or the archive of a chart; none of any other image."""
    chart_config: str | None = None
    """The config of a chart from a repository over HTTP, in JSON; None of anything else."""
    brought: BroughtByChart | None = None
    """Set if the manifest does not list the image, but a chart that it lists runs it."""

    @classmethod
    def of_files(cls, name: ImageReference, files: Sequence[LockedFile]) -> Self:
        """Return the artifact called `name` on the offline side that carries `files`."""
        return cls(
            reference=name,
            name=name,
            source=FILE_SOURCE,
            path=None,
            platforms=(),
            descriptor=artifact_descriptor([locked.carried for locked in files]),
            image_id=None,
            attachments=AttachmentChoice.NONE,
            files=tuple(files),
        )

    @classmethod
    def of_chart(cls, name: ImageReference, archive: LockedFile, config: str) -> Self:
        """Return the chart in `archive`, called `name` on the offline side."""
        locked = replace(cls.of_files(name, [archive]), source=CHART_SOURCE, chart_config=config)
        raw = locked.made_manifest
        return replace(locked, descriptor=Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw)))

    @property
    def made_config(self) -> bytes:
        """The config of an artifact that is made here, of files or of a chart."""
        return EMPTY_CONFIG if self.chart_config is None else self.chart_config.encode()

    @property
    def made_manifest(self) -> bytes:
        """The manifest of an artifact that is made here, of files or of a chart."""
        carried = [locked.carried for locked in self.files]
        if self.chart_config is None:
            return artifact_manifest(carried)
        return chart_manifest(self.made_config, carried[0].digest, carried[0].size)

    @property
    def is_demanding(self) -> bool:
        """True if the image must not be carried without its attachments."""
        signature = self.cosign_key or self.cosign_identity
        return self.attachments is AttachmentChoice.REQUIRED or signature is not None

    def attached(
        self, reference: ImageReference, descriptor: Descriptor | None, image_id: Digest | None, about: Digest
    ) -> "LockedImage":
        """Return an attachment of this image as an image of its own, at `reference` in the source.

        Args:
            reference: Its name at the source, with a cosign tag or a digest.
            descriptor: As of an image; None if the source is an archive of `docker save`.
            image_id: As of an image.
            about: The digest of the image manifest or index that it is attached to.
        """
        return replace(
            self,
            reference=reference,
            name=replace(self.name, tag=reference.tag, digest=None if reference.tag else reference.digest),
            platforms=(),
            by_default=False,
            descriptor=descriptor,
            image_id=image_id,
            cosign_key=None,
            cosign_identity=None,
            attachments=AttachmentChoice.REQUIRED if self.is_demanding else AttachmentChoice.AUTO,
            subject=about,
            brought=None,
        )

    @property
    def is_optional(self) -> bool:
        """True for an attachment that is carried only if it is available."""
        return self.subject is not None and self.attachments is not AttachmentChoice.REQUIRED


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image in an archive or layout that is left out, although no `ref` or `digest` selects others."""

    source: str
    """The archive or layout as a person writes it: `archive:vendor/app.tar`."""
    digest: Digest
    why: str

    def __str__(self) -> str:
        return f"left out of {self.source}: {self.digest} ({self.why})"


@dataclass(frozen=True, slots=True)
class Lock:
    """All resolved images of a manifest. Raises `FormatError` if two have the same offline name."""

    name: str
    manifest_sha256: str
    """SHA-256 of the bytes of the manifest that was locked, in hex."""
    images: tuple[LockedImage, ...]
    left_out: tuple[LeftOut, ...] = ()
    """Known only for a new lock: a lock file does not keep it."""
    images_sha256: str | None = None
    """`TransferManifest.images_sha256` of the manifest that was locked; None in locks of older versions."""

    def __post_init__(self) -> None:
        if twins := _twins(self.images):
            name = self.images[twins[0]].name
            raise FormatError("two images would have the same name offline", subject=name, hint=_TWIN_HINT)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file at `path`. Raises `FormatError` with `FILE:LINE:COLUMN` and the expected value."""
        return cls.parse(strict_yaml.read_yaml_file(path, MAX_LOCK_BYTES), path)

    @classmethod
    def parse(cls, raw: bytes, path: Path) -> Self:
        """Return the lock in `raw`; its paths are relative to the folder of `path`."""
        document = strict_yaml.parse_yaml(raw, str(path), MAX_LOCK_BYTES, fast=True)
        checked = validate(_LockDocument, document, _LISTS)
        folder = path.absolute().parent
        images = [
            _image(item, document, ("images", number), folder) for number, item in enumerate(checked.images)
        ]
        _refuse_twins(images, document)
        for number, files in enumerate(checked.files):
            locked = parse_locked_files(files, document, ("files", number), folder)
            images.append(LockedImage.of_files(files.rename, locked))
        for number, chart in enumerate(checked.charts):
            locked = parse_locked_files(chart, document, ("charts", number), folder)
            images.append(LockedImage.of_chart(chart.rename, locked[0], chart.config))
        return cls(checked.name, checked.manifest_sha256, tuple(images), images_sha256=checked.images_sha256)

    def fits(self, manifest: TransferManifest) -> bool:
        """Return whether this is the lock of `manifest`: the two list the same images. An older lock, which
        does not have their SHA-256, is the lock of exactly the bytes that were locked.
        """
        if self.images_sha256 is None:
            return self.manifest_sha256 == manifest.sha256
        return self.images_sha256 == manifest.images_sha256

    def to_bytes(self, folder: Path | None = None) -> bytes:
        """Return the lock file's bytes, which are the same for the same lock.

        Paths at or below `folder`, the folder of the file, are written relative to it. Other paths, and all
        paths without `folder`, are absolute.
        """
        content: dict[str, Any] = {
            "version": 1,
            "name": self.name,
            "manifest_sha256": self.manifest_sha256,
            **({"images_sha256": self.images_sha256} if self.images_sha256 else {}),
            "images": [_written(image, folder) for image in self.images if not image.files],
        }
        for key, source in (("files", FILE_SOURCE), ("charts", CHART_SOURCE)):
            if made := [image for image in self.images if image.source == source]:
                content[key] = [_made(image, folder) for image in made]
        return _HEADER + strict_yaml.dump_yaml(content)


def lock_path(manifest: Path) -> Path:
    """Return the path of a manifest's lock: `stack.yaml` -> `stack.lock.yaml`."""
    stem = manifest.stem if manifest.suffix in {".yaml", ".yml"} else manifest.name
    return manifest.with_name(f"{stem}.lock.yaml")


def _image(item: _LockedDocument, document: Document, yaml_path: YamlPath, folder: Path) -> LockedImage:
    def refuse(what: str, want: str) -> FormatError:
        return FormatError(what, subject=document.at(yaml_path), want=want)

    if (item.source in _FILE_SOURCES) != (item.archive is not None):
        raise refuse(
            "source and archive contradict each other", "'archive' with the sources archive and oci only"
        )
    described = (item.digest, item.media_type, item.size)
    if None in described and described != (None, None, None):
        raise refuse("incomplete descriptor", "'digest', 'media_type' and 'size' together")
    if item.digest is None and item.image_id is None:
        raise refuse("image is not resolved", "'digest' or 'image_id'")
    if (item.chart is None) != (item.certainty is None):
        raise refuse("incomplete origin", "'chart' and 'certainty' together")
    return LockedImage(
        reference=item.ref,
        name=item.rename,
        source=item.source,
        path=None if item.archive is None else folder / item.archive,
        platforms=item.platforms,
        descriptor=_descriptor(item),
        image_id=item.image_id,
        cosign_key=None if item.cosign_key is None else folder / item.cosign_key,
        cosign_identity=parse_identity(item, document, yaml_path, folder),
        by_default=item.platforms_by_default,
        attachments=AttachmentChoice(item.attachments),
        attachments_unknown=item.attachments_unknown,
        subject=item.subject,
        brought=None if item.chart is None else BroughtByChart(item.chart, item.certainty or ""),
    )


def _descriptor(item: _LockedDocument) -> Descriptor | None:
    if item.digest is None or item.media_type is None or item.size is None:
        return None
    return Descriptor(item.media_type, item.digest, item.size)


def _twins(images: Sequence[LockedImage]) -> tuple[int, int] | None:
    """Return the positions of the first two images with the same offline name; None if there are none."""
    seen: dict[ImageReference, int] = {}
    for number, image in enumerate(images):
        if (first := seen.setdefault(image.name, number)) != number:
            return first, number
    return None


def _refuse_twins(images: Sequence[LockedImage], document: Document) -> None:
    if twins := _twins(images):
        first, second = twins
        raise FormatError(
            "two images would have the same name offline",
            subject=document.at(("images", second)),
            got=f"'{images[second].name}', as on line {document.line(('images', first))}",
            hint=_TWIN_HINT,
        )


def _made(image: LockedImage, folder: Path | None) -> dict[str, Any]:
    config = {} if image.chart_config is None else {"config": image.chart_config}
    return {"as": str(image.name), **config, "files": locked_files_yaml(image.files, folder)}


def _written(image: LockedImage, folder: Path | None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "ref": str(image.reference),
        "as": str(image.name),
        "source": image.source,
        "archive": image.path and written_path(image.path, folder),
        "platforms": [str(platform) for platform in image.platforms],
        "platforms_by_default": True if image.by_default else None,
    }
    if image.descriptor is not None:
        fields["digest"] = str(image.descriptor.digest)
        fields["media_type"] = image.descriptor.media_type
        fields["size"] = image.descriptor.size
    fields["image_id"] = None if image.image_id is None else str(image.image_id)
    fields["cosign-key"] = image.cosign_key and written_path(image.cosign_key, folder)
    fields[IDENTITY_KEY] = image.cosign_identity and image.cosign_identity.to_yaml(folder)
    fields["attachments"] = str(image.attachments) if image.attachments is not AttachmentChoice.AUTO else None
    fields["attachments_unknown"] = image.attachments_unknown
    fields["subject"] = None if image.subject is None else str(image.subject)
    if image.brought is not None:
        fields |= {"chart": str(image.brought.chart), "certainty": image.brought.certainty}
    return {key: value for key, value in fields.items() if value is not None}
