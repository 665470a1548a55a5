"""Tars as `docker save` of several generations writes them, and a sink to take them."""

import gzip
import json
from collections.abc import Iterable

from airgap.bundle import tar_entries
from airgap.oci.digest import ByteStream, CheckedReader, Digest, copy
from airgap.oci.documents import CONTAINERD_NAME, OCI_INDEX, OCI_LAYER_TAR, OCI_MANIFEST, REF_NAME
from airgap.oci.strict_json import dump
from tests.support.images import Image, Layer, make_image, tar_of

BASE = tar_of({"base": b"b" * 3000})
TOPS = {"a": tar_of({"a": b"a"}), "b": tar_of({"b": b"b"})}


def tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A tar of `files` in their order, then symbolic links."""
    parts = [tar_entries.header(n, len(c)) + c + tar_entries.padding(len(c)) for n, c in files.items()]
    parts += [_link(name, target) for name, target in (links or {}).items()]
    return b"".join(parts) + tar_entries.END_OF_ARCHIVE


def _link(name: str, target: str) -> bytes:
    block = tar_entries.header(name, 0)
    block = block[:156] + b"2" + target.encode().ljust(100, b"\0") + block[257:]
    return block[:148] + b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:])) + block[156:]


def config_of(plain_layers: Iterable[bytes], **fields: object) -> bytes:
    diff_ids = [str(Digest.of(layer)) for layer in plain_layers]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs, **fields}).encode()


CONFIGS = {name: config_of([BASE, top], label=name) for name, top in TOPS.items()}
IDS = {name: Digest.of(config) for name, config in CONFIGS.items()}


def saved_by_20() -> tuple[dict[str, bytes], dict[str, str]]:
    """Docker 20.10: one folder a layer, the second use of a layer is a link; tags t/a:1 and t/b:1."""
    files, items = {}, []
    for name in "ab":
        files[f"{name}1/VERSION"] = b"1.0"
        files[f"{name}1/json"] = b'{"id":"x"}'
        files[f"{name}1/layer.tar"] = BASE
        files[f"{name}2/layer.tar"] = TOPS[name]
        files[f"{IDS[name].hex}.json"] = CONFIGS[name]
        layers = [f"{name}1/layer.tar", f"{name}2/layer.tar"]
        items.append({"Config": f"{IDS[name].hex}.json", "RepoTags": [f"t/{name}:1"], "Layers": layers})
    del files["b1/layer.tar"]
    files["manifest.json"] = json.dumps(items).encode()
    files["repositories"] = b'{"t/a":{"1":"x"}}'
    return files, {"b1/layer.tar": "../a1/layer.tar"}


def saved_by_28() -> dict[str, bytes]:
    """Docker 25 and later with a graph driver: an OCI layout round plain layers."""
    files, items, entries = {}, [], []
    for name in "ab":
        layers = [BASE, TOPS[name]]
        descriptors = [
            {"mediaType": OCI_LAYER_TAR, "digest": str(Digest.of(raw)), "size": len(raw)} for raw in layers
        ]
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": str(IDS[name])}
        config["size"] = len(CONFIGS[name])
        manifest = dump(
            {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": descriptors}
        )
        for raw in (*layers, CONFIGS[name], manifest, b'{"legacy":"' + name.encode() + b'"}'):
            files[Digest.of(raw).path] = raw
        annotations = {CONTAINERD_NAME: f"docker.io/t/{name}:1", REF_NAME: "1"}
        entry = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(manifest)), "size": len(manifest)}
        entries.append({**entry, "annotations": annotations})
        paths = [Digest.of(raw).path for raw in layers]
        items.append({"Config": IDS[name].path, "RepoTags": [f"t/{name}:1"], "Layers": paths})
    files["index.json"] = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    files["manifest.json"] = json.dumps(items).encode()
    files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    return files


def gzipped(plain: bytes) -> Layer:
    return Layer(
        gzip.compress(plain, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip", Digest.of(plain)
    )


def images() -> dict[str, Image]:
    """The same two images as a registry has them."""
    return {name: make_image([gzipped(BASE), gzipped(top)], label=name) for name, top in TOPS.items()}


def hybrid(named: dict[str, Image], *, items: list[dict] | None = None) -> dict[str, bytes]:
    """The containerd store's form: documents and blobs as they are, under both kinds of names."""
    files, entries = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}, []
    for name, image in named.items():
        files |= {digest.path: raw for digest, raw in image.contents.items()}
        entry = image.descriptor.to_json()
        entries.append({**entry, "annotations": {CONTAINERD_NAME: name} if name else {}})
    files["index.json"] = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    if items is not None:
        files["manifest.json"] = json.dumps(items).encode()
    return files


def item(image: Image, *tags: str) -> dict:
    layers = [layer.path for layer in image.layers]
    return {"Config": image.config.path, "RepoTags": list(tags) or None, "Layers": layers}


class MemorySink:
    """A `BlobSink` in memory."""

    def __init__(self) -> None:
        self.contents: dict[Digest, bytes] = {}

    def add(self, stream: ByteStream, digest: Digest, size: int) -> None:
        out = bytearray()
        copy(CheckedReader(stream, digest, size), out.extend)
        self.contents[digest] = bytes(out)

    def add_unnamed(self, stream: ByteStream) -> tuple[Digest, int]:
        out = bytearray()
        copy(stream, out.extend)
        digest = Digest.of(bytes(out))
        self.contents[digest] = bytes(out)
        return digest, len(out)

    def read(self, digest: Digest, limit: int) -> bytes:
        assert len(self.contents[digest]) <= limit
        return self.contents[digest]
