"""Small synthetic images, byte for byte the same on every run, and OCI layouts that hold them."""

import gzip
import io
import json
import random
import tarfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from airgap.oci.digest import Digest
from airgap.oci.documents import (
    CONTAINERD_NAME,
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_LAYER_TAR,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    REF_NAME,
    Descriptor,
)
from airgap.oci.platform import Platform

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def tar_of(files: dict[str, bytes]) -> bytes:
    """A reproducible tar of regular files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o644
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@dataclass(frozen=True)
class Layer:
    """One layer: its blob as carried and the digest of the tar inside."""

    blob: bytes
    media_type: str
    diff_id: Digest

    @classmethod
    def of(cls, files: dict[str, bytes], compression: str = "gzip") -> "Layer":
        raw = tar_of(files)
        if compression == "gzip":
            return cls(gzip.compress(raw, 6, mtime=0), OCI_LAYER_GZIP, Digest.of(raw))
        if compression == "zstd":
            return cls(zstandard.compress(raw, 3), OCI_LAYER_ZSTD, Digest.of(raw))
        return cls(raw, OCI_LAYER_TAR, Digest.of(raw))


@dataclass
class Image:
    """An image manifest or index as raw bytes, with every blob and document under it."""

    descriptor: Descriptor
    raw: bytes
    contents: dict[Digest, bytes] = field(default_factory=dict)
    """All documents and blobs below, itself included."""
    config: Digest | None = None
    """The digest of the config: what a graph-driver Docker calls the image ID."""
    layers: tuple[Digest, ...] = ()


def _add(
    contents: dict[Digest, bytes], raw: bytes, media_type: str, platform: Platform | None = None
) -> Descriptor:
    digest = Digest.of(raw)
    contents[digest] = raw
    return Descriptor(media_type, digest, len(raw), platform=platform)


def make_image(
    layers: list[Layer], platform: str = "linux/amd64", *, docker: bool = False, label: str = ""
) -> Image:
    """An image over `layers`; with `docker`, in Docker's schema 2 media types."""
    where = Platform.parse(platform)
    contents: dict[Digest, bytes] = {}
    config = {
        "architecture": where.architecture,
        "os": where.os,
        **({"variant": where.variant} if where.variant else {}),
        "created": "2026-01-01T00:00:00Z",
        "config": {"Cmd": ["/hello"], "Labels": {"org.example.label": label}},
        "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "test"} for _ in layers],
    }
    config_descriptor = _add(contents, json.dumps(config).encode(), DOCKER_CONFIG if docker else OCI_CONFIG)
    descriptors = [
        _add(contents, layer.blob, DOCKER_LAYER if docker else layer.media_type) for layer in layers
    ]
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config_descriptor.to_json(),
        "layers": [descriptor.to_json() for descriptor in descriptors],
    }
    raw = json.dumps(manifest, indent=2).encode()
    descriptor = _add(contents, raw, media_type, where)
    return Image(descriptor, raw, contents, config_descriptor.digest, tuple(d.digest for d in descriptors))


def make_index(images: list[Image], *, docker: bool = False) -> Image:
    """A multi-platform index over `images`."""
    contents: dict[Digest, bytes] = {}
    for image in images:
        contents |= image.contents
    media_type = DOCKER_INDEX if docker else OCI_INDEX
    index = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [image.descriptor.to_json() for image in images],
    }
    raw = json.dumps(index, indent=1).encode()
    descriptor = _add(contents, raw, media_type)
    return Image(descriptor, raw, contents)


def simple_image(name: str, size: int = 2000, platform: str = "linux/amd64", **options: bool) -> Image:
    """A one-layer image whose content depends on `name` only."""
    layer = Layer.of({f"{name}.bin": noise(size, sum(name.encode())), "hello": name.encode()})
    return make_image([layer], platform, label=name, **options)


FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
NONDISTRIBUTABLE_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


def foreign_image(
    name: str = "windows", platform: str = "windows/amd64", *, docker: bool = True, **base: object
) -> Image:
    """An image whose first layer says where it can be had besides, with `base` changed in its descriptor."""
    layers = [Layer.of({"base": b"windows"}), Layer.of({"own": name.encode()})]
    found = make_image(layers, platform, docker=docker, label=name)
    manifest = json.loads(found.raw)
    media_type = FOREIGN_LAYER if docker else NONDISTRIBUTABLE_LAYER
    manifest["layers"][0] |= {"mediaType": media_type, "urls": [f"https://mcr.example.com/{name}"], **base}
    raw = json.dumps(manifest).encode()
    del found.contents[found.descriptor.digest]
    descriptor = _add(found.contents, raw, found.descriptor.media_type, Platform.parse(platform))
    return Image(descriptor, raw, found.contents, found.config, found.layers)


def archive_of(images: dict[str, Image], leave_out: Collection[Digest] = ()) -> bytes:
    """An OCI archive in which each image has the name that is its key; Docker loads it too."""
    files: dict[str, bytes] = {}
    entries = []
    for name, image in images.items():
        files |= {digest.path: raw for digest, raw in image.contents.items() if digest not in leave_out}
        notes = {REF_NAME: name, CONTAINERD_NAME: name}
        entries.append({**image.descriptor.to_json(), "annotations": notes})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    views = [
        {"Config": image.config.path, "RepoTags": [name], "Layers": [layer.path for layer in image.layers]}
        for name, image in images.items()
        if image.config
    ]
    tables = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps(index).encode(),
        "manifest.json": json.dumps(views).encode(),
    }
    return tar_of(files | tables)


def write_layout(folder: Path, images: dict[str, Image]) -> Path:
    """An OCI image layout at `folder` in which each image has the name that is its key."""
    entries = []
    for name, image in images.items():
        for digest, raw in image.contents.items():
            path = folder / digest.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)
        entry = image.descriptor.to_json()
        entry["annotations"] = {REF_NAME: name, CONTAINERD_NAME: name}
        entries.append(entry)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    (folder / "index.json").write_text(json.dumps(index))
    return folder
