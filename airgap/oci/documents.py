"""Image manifests, image indexes and image configs (OCI image-spec 1.1, Docker manifest v2 schema 2).

Each is parsed once from the received bytes, and keeps them as `raw`: digests are computed over `raw`,
and `raw` is passed on. Documents that two programs could read differently are refused.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, field
from typing import Any, Self

from airgap.errors import AmbiguousError, DigestMismatchError, FormatError, SizeMismatchError
from airgap.limits import MAX_BLOB_BYTES, MAX_LAYER_URLS
from airgap.oci.digest import Digest
from airgap.oci.platform import UNKNOWN, Platform
from airgap.oci.spelling import CONFIG, DOCUMENT, Keys, check_spelling
from airgap.oci.strict_json import Fields, parse_object
from airgap.values import dataclass

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})
DOCUMENT_TYPES = MANIFEST_TYPES | INDEX_TYPES
CONFIG_TYPES = frozenset({OCI_CONFIG, DOCKER_CONFIG})

EMPTY_LAYER = Digest.of(bytes(1024))
"""The diff ID of a tar without entries."""

SCHEMA_VERSION = 2
_FOREIGN_LAYERS = (
    "application/vnd.docker.image.rootfs.foreign.",
    "application/vnd.oci.image.layer.nondistributable.",
)
"""Layers of Windows base images, which registries may omit; `urls` has their other locations."""
_URL = re.compile(r"https://[a-z0-9][\x21-\x7e]{1,2000}", re.ASCII | re.IGNORECASE)
_LAYER_FAMILIES = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names content by media type, digest and size in bytes."""

    media_type: str
    digest: Digest
    size: int
    _: KW_ONLY
    platform: Platform | None = None
    annotations: dict[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str | None = None
    urls: tuple[str, ...] = ()
    """Other locations of a foreign layer. airgap never requests them, and does not write them."""

    @classmethod
    def parse(cls, value: Any, where: str, *, layer: bool = False) -> Self:
        """Read a JSON object; raises `FormatError`, also for `urls` on anything but a foreign `layer`."""
        fields = Fields(value, where)
        media_type = fields.text("mediaType")
        digest = Digest.parse(fields.text("digest"), where)
        size = fields.integer("size")
        if size > MAX_BLOB_BYTES:
            raise FormatError(
                "too large", subject=where, want=f"at most {MAX_BLOB_BYTES:,} bytes", got=f"{size:,}"
            )
        urls = _urls(fields, f"{where} {digest}", allowed=layer and media_type.startswith(_FOREIGN_LAYERS))
        if (data := fields.optional_text("data")) is not None:
            _check_embedded(data, digest, size, where)
        return cls(
            media_type,
            digest,
            size,
            platform=_parse_platform(fields.take("platform"), where),
            annotations=fields.string_map("annotations"),
            artifact_type=fields.optional_text("artifactType"),
            urls=urls,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object, in the usual order of keys."""
        value: dict[str, Any] = {"mediaType": self.media_type}
        if self.artifact_type is not None:
            value["artifactType"] = self.artifact_type
        value |= {"digest": str(self.digest), "size": self.size}
        if self.annotations:
            value["annotations"] = dict(sorted(self.annotations.items()))
        if self.platform is not None:
            platform = {"architecture": self.platform.architecture, "os": self.platform.os}
            if self.platform.variant:
                platform["variant"] = self.platform.variant
            value["platform"] = platform
        return value


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """One image for one platform: a config and layers. With another config type, an artifact."""

    raw: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    _: KW_ONLY
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def digest(self) -> Digest:
        """The SHA-256 of the raw bytes."""
        return Digest.of(self.raw)

    @property
    def is_image(self) -> bool:
        """Return whether an engine could run it; anything else is an artifact (a chart, an SBOM, …). Some
        artifacts have the config of an image (cosign's signatures), but none has an image's layers.
        """
        layers = all(layer.media_type.startswith(_LAYER_FAMILIES) for layer in self.layers)
        return self.config.media_type in CONFIG_TYPES and layers and self.subject is None

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers, each digest once."""
        return tuple({blob.digest: blob for blob in (self.config, *self.layers)}.values())


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """Several image manifests under one digest, one for each platform."""

    raw: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def digest(self) -> Digest:
        """The SHA-256 of the raw bytes."""
        return Digest.of(self.raw)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The values of a config that an engine needs: its platform and the digests of unpacked layers."""

    raw: bytes
    platform: Platform
    """`UNKNOWN` if the config does not name one."""
    diff_ids: tuple[Digest, ...]

    @classmethod
    def parse(cls, raw: bytes, where: str = "image config") -> Self:
        """Read the bytes of the config blob; raises `FormatError`."""
        fields = _fields(raw, CONFIG, where)
        rootfs = fields.child("rootfs")
        if rootfs.text("type") != "layers":
            raise FormatError("unknown rootfs type", subject=where, want="layers", got=rootfs.text("type"))
        diff_ids = rootfs.texts("diff_ids") if rootfs.take("diff_ids") is not None else ()
        return cls(
            raw,
            _config_platform(fields),
            tuple(Digest.parse(text, f"{where}: diff_ids") for text in diff_ids),
        )


def runnable_config(raw: bytes, where: str) -> ImageConfig | None:
    """Return the config in `raw`; None if it has no layers, because engines do not unpack that, and
    registries treat it as an artifact. Raises `FormatError`.
    """
    return ImageConfig.parse(raw, where) if "rootfs" in parse_object(raw, where) else None


def chain_ids(diff_ids: Sequence[Digest]) -> list[Digest]:
    """Return the chain ID of each layer, bottom first (config.md#layer-chainid)."""
    chains: list[Digest] = []
    for diff_id in diff_ids:
        chains.append(Digest.of(f"{chains[-1]} {diff_id}".encode()) if chains else diff_id)
    return chains


def parse_document(raw: bytes, media_type: str | None, where: str) -> ImageManifest | ImageIndex:
    """Return the image manifest or image index in `raw`; its descriptor has `media_type`.

    Raises `FormatError`, or `AmbiguousError` if the document could be read as both kinds
    (CVE-2021-41190) or calls itself something else than its descriptor does.
    """
    fields = _fields(raw, DOCUMENT, where)
    if fields.integer("schemaVersion") != SCHEMA_VERSION:
        raise FormatError(
            "unsupported schemaVersion",
            subject=where,
            want=SCHEMA_VERSION,
            got=fields.integer("schemaVersion"),
        )
    own = fields.optional_text("mediaType")
    if own is not None and media_type is not None and own != media_type:
        raise AmbiguousError(
            "mediaType differs from the descriptor's", subject=where, want=media_type, got=own
        )
    has = [key for key in ("layers", "config", "manifests", "fsLayers") if fields.has(key)]
    if has == ["manifests"]:
        found, allowed = media_type or own or OCI_INDEX, INDEX_TYPES
    elif has == ["layers", "config"]:
        found, allowed = media_type or own or OCI_MANIFEST, MANIFEST_TYPES
    else:
        raise AmbiguousError(
            "neither an image manifest nor an image index",
            subject=where, want="config and layers, or manifests", got=", ".join(has) or "none of them",
        )  # fmt: skip
    if found not in allowed:
        raise AmbiguousError(
            "mediaType does not fit the content", subject=where, want=" or ".join(sorted(allowed)), got=found
        )
    if has == ["manifests"]:
        return ImageIndex(
            raw, found, _descriptors(fields, "manifests", where), fields.string_map("annotations")
        )
    config = Descriptor.parse(fields.take("config"), f"{where}: config")
    subject = fields.take("subject")
    return ImageManifest(
        raw, found, config, _descriptors(fields, "layers", where),
        subject=None if subject is None else Descriptor.parse(subject, f"{where}: subject"),
        artifact_type=fields.optional_text("artifactType"), annotations=fields.string_map("annotations"),
    )  # fmt: skip


def subject_of(raw: bytes, where: str) -> Digest | None:
    """Return the digest of the document that an image manifest or index refers to (`subject`), if any."""
    subject = Fields(parse_object(raw, where), where).take("subject")
    return None if subject is None else Descriptor.parse(subject, f"{where}: subject").digest


def check_size_and_digest(raw: bytes, descriptor: Descriptor, where: object) -> bytes:
    """Return `raw` if it matches `descriptor`; else raise an `IntegrityError`."""
    if len(raw) != descriptor.size:
        raise SizeMismatchError(
            "wrong size", subject=where, want=f"{descriptor.size:,} bytes", got=f"{len(raw):,}"
        )
    actual = Digest.of(raw, descriptor.digest.algorithm)
    if actual != descriptor.digest:
        raise DigestMismatchError("wrong digest", subject=where, want=descriptor.digest, got=actual)
    return raw


def _fields(raw: bytes, keys: Keys, where: str) -> Fields:
    """Return the fields of the object in `raw`; raises if a defined key is spelled in another case."""
    document = parse_object(raw, where)
    check_spelling(document, keys, where)
    return Fields(document, where)


def _descriptors(fields: Fields, key: str, where: str) -> tuple[Descriptor, ...]:
    layer = key == "layers"
    found = (
        [] if layer and fields.take(key) is None else fields.items(key)
    )  # Go writes null for an empty list
    return tuple(
        Descriptor.parse(value, f"{where}: {key}[{i}]", layer=layer) for i, value in enumerate(found)
    )


def _urls(fields: Fields, subject: str, *, allowed: bool) -> tuple[str, ...]:
    if not fields.take("urls"):
        return ()
    if not allowed:
        raise FormatError("content kept elsewhere (urls) cannot cross the gap", subject=subject)
    urls = tuple(fields.texts("urls"))
    if len(urls) > MAX_LAYER_URLS or not all(map(_URL.fullmatch, urls)):
        raise FormatError(
            "bad addresses of a foreign layer (urls)",
            subject=subject,
            want=f"at most {MAX_LAYER_URLS} of https",
        )
    return urls


def _parse_platform(value: Any, where: str) -> Platform | None:
    """Return the platform; None also for an empty object or empty texts, which some tools write."""
    if value is None or value == {}:
        return None
    fields = Fields(value, f"{where}: platform")
    architecture, variant = fields.text("architecture"), fields.optional_text("variant") or ""
    os = fields.optional_text("os")
    return Platform.of(os, architecture, variant) if os and architecture else None


def _config_platform(fields: Fields) -> Platform:
    os, architecture = fields.optional_text("os"), fields.optional_text("architecture")
    variant = fields.optional_text("variant") or ""
    return Platform.of(os, architecture, variant) if os and architecture else UNKNOWN


def _check_embedded(data: str, digest: Digest, size: int, where: str) -> None:
    """Check that embedded content (`data`) is the content of the digest, because readers may use either."""
    try:
        raw = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise FormatError("embedded data is not base64", subject=where) from error
    if len(raw) != size or Digest.of(raw, digest.algorithm) != digest:
        raise AmbiguousError("embedded data differs from the digest", subject=where, want=digest)
