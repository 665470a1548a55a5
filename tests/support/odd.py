"""Images that are odd inside, byte for byte the same on every run."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from typing import Any

import zstandard

from airgap.oci.digest import Digest
from airgap.oci.documents import (
    EMPTY_LAYER,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
)
from airgap.oci.platform import Platform
from tests.support.images import Image, Layer, make_image, make_index, noise, tar_of

EMPTY = Layer(gzip.compress(bytes(1024), mtime=0), OCI_LAYER_GZIP, EMPTY_LAYER)
"""An empty tar: what BuildKit writes for an instruction that changes nothing."""
BASE = Layer.of({"base": noise(3000, 1)})
FIRST, SECOND = (Layer.of({name: name.encode() * 50}) for name in ("first", "second"))

Change = Callable[[dict[str, Any]], object]
AMD64 = Platform("linux", "amd64")


def _nothing(_: dict[str, Any]) -> None:
    pass


def changed(
    layers: Sequence[Layer] = (BASE, FIRST),
    *,
    config: Change = _nothing,
    manifest: Change = _nothing,
    platform: str = "linux/amd64",
) -> Image:
    """An image whose config and manifest were changed before they were written."""
    plain = make_image(list(layers), platform)
    document, inner = (
        json.loads(plain.raw),
        json.loads(plain.contents[plain.config or plain.descriptor.digest]),
    )
    config(inner)
    return _written(document, json.dumps(inner).encode(), layers, manifest, platform)


def _written(
    document: dict[str, Any], config: bytes, layers: Sequence[Layer], manifest: Change, platform: str
) -> Image:
    document["config"] |= {"digest": str(Digest.of(config)), "size": len(config)}
    manifest(document)
    raw = json.dumps(document).encode()
    contents = {Digest.of(each): each for each in (raw, config, *(layer.blob for layer in layers))}
    descriptor = Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw), Platform.parse(platform))
    found = tuple(Digest.of(layer.blob) for layer in layers)
    return Image(descriptor, raw, contents, Digest.of(config), found)


def _sets(**values: Any) -> Change:
    return lambda document: document.update(values)


def _drops(*keys: str) -> Change:
    return lambda document: [document.pop(key) for key in keys]


def _layers_are(media_type: str, **annotations: str) -> Change:
    def change(document: dict[str, Any]) -> None:
        for layer in document["layers"]:
            layer["mediaType"] = media_type
            if annotations:
                layer["annotations"] = {key.replace("_", "."): value for key, value in annotations.items()}

    return change


def _chunked() -> Image:
    """zstd:chunked: a frame for each file, and a table of contents in a frame that readers skip."""
    raw = tar_of({"chunked": noise(900, 5)})
    toc = zstandard.compress(json.dumps({"version": 1, "entries": []}).encode())
    skipped = b"\x50\x2a\x4d\x18" + len(toc).to_bytes(4, "little") + toc
    layer = Layer(
        zstandard.compress(raw[:512]) + zstandard.compress(raw[512:]) + skipped,
        OCI_LAYER_ZSTD,
        Digest.of(raw),
    )

    def note(document: dict[str, Any]) -> None:
        at = len(layer.blob) - len(toc)
        document["layers"][0]["annotations"] = {
            "io.github.containers.zstd-chunked.manifest-checksum": str(Digest.of(toc)),
            "io.github.containers.zstd-chunked.manifest-position": f"{at}:{len(toc)}:40:1",
        }

    return changed([layer], manifest=note)


def _estargz() -> Image:
    """eStargz: a gzip member for each file, the table of contents as the last entry, and a footer of 51 bytes."""
    toc = json.dumps({"version": 1, "entries": []}).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in {"bin": noise(900, 6), "stargz.index.json": toc}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    raw = out.getvalue()
    head, tail = gzip.compress(raw[:1536], mtime=0), gzip.compress(raw[1536:], mtime=0)
    extra = f"{len(head):016x}STARGZ".encode()
    footer = (
        b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff" + (len(extra) + 4).to_bytes(2, "little") + b"SG"
        + len(extra).to_bytes(2, "little") + extra + b"\x01\x00\x00\xff\xff" + bytes(8)
    )  # fmt: skip
    layer = Layer(head + tail + footer, OCI_LAYER_GZIP, Digest.of(raw))
    annotations = {"containerd.io/snapshot/stargz/toc.digest": str(Digest.of(toc))}
    return changed([layer], manifest=lambda m: m["layers"][0].update(annotations=annotations))


def artifact(
    config: bytes,
    config_type: str,
    blobs: Sequence[tuple[bytes, str]],
    *,
    subject: Image | None = None,
    **more: Any,
) -> Image:
    """A manifest that no engine runs."""
    named = [
        {"mediaType": kind, "digest": str(Digest.of(raw)), "size": len(raw)}
        for raw, kind in ((config, config_type), *blobs)
    ]
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        **more,
        "config": named[0],
        "layers": named[1:],
    }
    contents = {Digest.of(raw): raw for raw in (config, *(raw for raw, _ in blobs))}
    if subject is not None:
        document["subject"] = Descriptor(OCI_MANIFEST, subject.descriptor.digest, len(subject.raw)).to_json()
    raw = json.dumps(document).encode()
    descriptor = Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw))
    return Image(descriptor, raw, {**contents, descriptor.digest: raw})


def index_of(entries: Sequence[dict[str, Any]], *images: Image) -> Image:
    """An index with just these entries, over what the images hold."""
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}).encode()
    contents = {digest: each for image in images for digest, each in image.contents.items()}
    descriptor = Descriptor(OCI_INDEX, Digest.of(raw), len(raw))
    return Image(descriptor, raw, {**contents, descriptor.digest: raw})


PLAIN = make_image([BASE, FIRST])
EMPTY_JSON = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


def odd_images() -> dict[str, Image]:
    """By what is odd about them."""
    history = [{"created_by": "ENV A=1", "empty_layer": True}, {"created_by": "COPY"}, {"created_by": "COPY"}]
    arm64 = make_image([BASE], "linux/arm64")
    other = changed(config=_sets(architecture="arm64"))
    return {
        "plain": PLAIN,
        "layer-twice": make_image([BASE, EMPTY, FIRST, EMPTY]),
        "layer-three-times": make_image([BASE, FIRST, FIRST, FIRST]),
        "no-layers": make_image([]),
        "layers-null": changed([], manifest=_sets(layers=None)),
        "no-rootfs": changed(config=_drops("rootfs")),
        "diff-ids-null": changed([], config=lambda c: c["rootfs"].update(diff_ids=None)),
        "nested-index": make_index([make_index([PLAIN, arm64])]),
        "os-empty": changed(config=_sets(os="")),
        "os-absent": changed(config=_drops("os")),
        "no-platform": changed(config=_drops("os", "architecture")),
        "arm-v7": make_image([BASE], "linux/arm/v7"),
        "zstd": make_image([BASE, Layer.of({"z": noise(500, 3)}, "zstd")]),
        "zstd-chunked": _chunked(),
        "estargz": _estargz(),
        "uncompressed": make_image([BASE, Layer.of({"u": noise(500, 4)}, "none")]),
        "schema2": make_image([BASE, FIRST], docker=True),
        "wasm": make_image([FIRST], "wasi/wasm"),
        "wasm-layers": changed([FIRST], manifest=_layers_are("application/vnd.wasm.content.layer.v1+wasm"), platform="wasi/wasm"),
        "windows": changed([FIRST], config=_sets(**{"os.version": "10.0.20348.1"}), platform="windows/amd64"),
        "120-layers": make_image([Layer.of({f"f{i}": b"x"}) for i in range(120)]),
        "config-over-4-mib": changed(config=lambda c: c["config"]["Labels"].update(big="x" * (5 << 20))),
        "another-platform-in-config": index_of(
            [other.descriptor.to_json() | {"platform": {"os": "linux", "architecture": "amd64"}}], other
        ),
        "twice-in-index": make_index([PLAIN, PLAIN]),
        "no-history": changed(config=_drops("history")),
        "empty-layer-in-history": changed(config=_sets(history=history)),
        "no-created": changed(config=_drops("created")),
        "artifact-empty-config": artifact(EMPTY_JSON, EMPTY_TYPE, [(b"x", "text/plain")], artifactType="application/x"),
        "artifact-helm": artifact(
            b'{"name":"chart"}', "application/vnd.cncf.helm.config.v1+json",
            [(gzip.compress(b"chart", mtime=0), "application/vnd.cncf.helm.chart.content.v1.tar+gzip")],
        ),
        "artifact-cosign": artifact(
            b'{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":[]}}', OCI_CONFIG,
            [(b'{"critical":{}}', "application/vnd.dev.cosign.simplesigning.v1+json")],
        ),
        "artifact-sbom": artifact(EMPTY_JSON, EMPTY_TYPE, [(b"{}", "application/spdx+json")], subject=PLAIN, artifactType="application/spdx+json"),
        "artifact-no-layers": artifact(EMPTY_JSON, EMPTY_TYPE, [], artifactType="application/x"),
        "artifact-empty-descriptor": artifact(EMPTY_JSON, EMPTY_TYPE, [(EMPTY_JSON, EMPTY_TYPE)], artifactType="application/x"),
    }  # fmt: skip
