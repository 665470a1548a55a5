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
    assert plain.config
    document, inner = json.loads(plain.raw), json.loads(plain.contents[plain.config])
    config(inner)
    return _written(document, json.dumps(inner).encode(), layers, manifest, platform)


def _written(
    document: dict[str, Any], config: bytes, layers: Sequence[Layer], manifest: Change, platform: str
) -> Image:
    document["config"] |= {"digest": str(Digest.of(config)), "size": len(config)}
    manifest(document)
    raw = json.dumps(document).encode()
    contents = {Digest.of(each): each for each in (raw, config, *(layer.blob for layer in layers))}
    descriptor = Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw), platform=Platform.parse(platform))
    found = tuple(Digest.of(layer.blob) for layer in layers)
    return Image(descriptor, raw, contents, Digest.of(config), found)


def _sets(**values: Any) -> Change:
    return lambda document: document.update(values)


def _drops(*keys: str) -> Change:
    return lambda document: [document.pop(key) for key in keys]


def _layers_are(media_type: str) -> Change:
    return lambda document: [layer.update(mediaType=media_type) for layer in document["layers"]]


def _chunked(*more: Layer) -> Image:
    """zstd:chunked: a frame for each file, and a table of contents in a frame that readers skip."""
    raw = tar_of({"chunked": noise(900, 5)})
    toc = zstandard.compress(json.dumps({"version": 1, "entries": []}).encode())
    skipped = b"\x50\x2a\x4d\x18" + len(toc).to_bytes(4, "little") + toc
    frames = zstandard.compress(raw[:512]) + zstandard.compress(raw[512:])
    layer = Layer(frames + skipped, OCI_LAYER_ZSTD, Digest.of(raw))

    def note(document: dict[str, Any]) -> None:
        at = len(layer.blob) - len(toc)
        document["layers"][0]["annotations"] = {
            "io.github.containers.zstd-chunked.manifest-checksum": str(Digest.of(toc)),
            "io.github.containers.zstd-chunked.manifest-position": f"{at}:{len(toc)}:40:1",
        }

    return changed([layer, *more], manifest=note)


def _estargz(*more: Layer) -> Image:
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
    return changed([layer, *more], manifest=lambda m: m["layers"][0].update(annotations=annotations))


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
    head = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, **more}
    document: dict[str, Any] = {**head, "config": named[0], "layers": named[1:]}
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


EMPTY_JSON = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_WASM_LAYER = "application/vnd.wasm.content.layer.v1+wasm"
_HISTORY = ({"created_by": "ENV A=1", "empty_layer": True}, {"created_by": "COPY"}, {"created_by": "COPY"})


def odd_images(*more: Layer) -> dict[str, Image]:
    """By what is odd about them, each with `more` layers on top."""
    plain, arm64 = make_image([BASE, FIRST, *more]), make_image([BASE, *more], "linux/arm64")
    other = changed([BASE, *more], config=_sets(architecture="arm64"))
    as_amd64 = other.descriptor.to_json() | {"platform": {"os": "linux", "architecture": "amd64"}}
    two = [BASE, FIRST, *more]
    return {
        "plain": plain,
        "one layer twice": make_image([BASE, EMPTY, FIRST, EMPTY, *more, *(EMPTY for _ in more)]),
        "one layer three times": make_image([BASE, FIRST, FIRST, FIRST, *more, *more]),
        "no layers": make_image([*more]),
        "`layers: null`": make_image([*more]) if more else changed([], manifest=_sets(layers=None)),
        "`diff_ids: null`, no layers": changed([*more], config=_null_diff_ids if not more else _nothing),
        "index in an index": make_index([make_index([plain, arm64])]),
        "`os` empty": changed(two, config=_sets(os="")),
        "`os` absent": changed(two, config=_drops("os")),
        "no platform": changed(two, config=_drops("os", "architecture")),
        "linux/arm/v7": make_image([BASE, *more], "linux/arm/v7"),
        "zstd": make_image([BASE, Layer.of({"z": noise(500, 3)}, "zstd"), *more]),
        "zstd:chunked": _chunked(*more),
        "eStargz": _estargz(*more),
        "not compressed": make_image([BASE, Layer.of({"u": noise(500, 4)}, "none"), *more]),
        "Docker schema 2": make_image(two, docker=True),
        "WebAssembly": make_image([FIRST, *more], "wasi/wasm"),
        "Windows": changed([FIRST, *more], config=_sets(**{"os.version": "10.0.20348.1"}), platform="windows/amd64"),
        "120 layers": make_image([*(Layer.of({f"f{i}": b"x"}) for i in range(120)), *more]),
        "another platform in the config": index_of([as_amd64], other),
        "one manifest twice in an index": make_index([plain, plain]),
        "no history": changed(two, config=_drops("history")),
        "`empty_layer` in the history": changed([BASE, FIRST], config=_sets(history=list(_HISTORY))),
        "no `created`": changed(two, config=_drops("created")),
    }  # fmt: skip


def artifacts() -> dict[str, Image]:
    """What no engine runs, by its kind."""
    plain = make_image([BASE, FIRST])
    signature = (b'{"critical":{}}', "application/vnd.dev.cosign.simplesigning.v1+json")
    chart = (gzip.compress(b"chart", mtime=0), "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    sbom, kind = (b'{"spdxVersion":"SPDX-2.3"}', "application/spdx+json"), "application/vnd.example"
    no_layers = b'{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":[]}}'
    return {
        "no `rootfs` in the config": changed([BASE, FIRST], config=_drops("rootfs")),
        "WebAssembly layers": changed([FIRST], manifest=_layers_are(_WASM_LAYER), platform="wasi/wasm"),
        "artifact, empty config": artifact(EMPTY_JSON, EMPTY_TYPE, [(b"x", "text/plain")], artifactType=kind),
        "artifact, no layers": artifact(EMPTY_JSON, EMPTY_TYPE, [], artifactType=kind),
        "artifact, empty layer": artifact(EMPTY_JSON, EMPTY_TYPE, [(EMPTY_JSON, EMPTY_TYPE)], artifactType=kind),
        "artifact with a subject": artifact(EMPTY_JSON, EMPTY_TYPE, [sbom], subject=plain, artifactType=sbom[1]),
        "Helm chart": artifact(b'{"name":"c"}', "application/vnd.cncf.helm.config.v1+json", [chart]),
        "cosign signature": artifact(no_layers, OCI_CONFIG, [signature]),
        "SBOM": artifact(EMPTY_JSON, EMPTY_TYPE, [sbom], artifactType=sbom[1]),
    }  # fmt: skip


def refused_images() -> dict[str, Image]:
    """What is not carried, for safety."""
    return {
        "config over 4 MiB": changed(config=lambda c: c["config"]["Labels"].update(big="x" * (5 << 20))),
        "layers and no diff_ids": changed(config=_null_diff_ids),
    }


def _null_diff_ids(config: dict[str, Any]) -> None:
    config["rootfs"]["diff_ids"] = None
