"""The images of the journeys, and how they get into a registry."""

import io
import json
from pathlib import Path

from airgap.endpoints.registry import Registry, RegistryOptions
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from tests.support.images import Image, Layer, make_image, make_index, noise, simple_image
from tests.support.registries import RealRegistry

BASE = Layer.of({"base.bin": noise(400_000, 1)})


def corpus() -> dict[str, Image]:
    """One image of every kind that the journey must keep."""
    return {
        "acme/one:1": make_image([BASE, Layer.of({"one": b"1" * 5000})], label="one"),
        "acme/two:1": make_image([BASE, Layer.of({"two": b"2" * 5000})], label="two"),
        "acme/multi:1": make_index([simple_image("amd"), simple_image("arm", platform="linux/arm64/v8")]),
        "acme/schema2:1": simple_image("old", docker=True),
        "acme/zstd:1": make_image([BASE, Layer.of({"z": b"z" * 90_000}, "zstd")], label="zstd"),
        "acme/raw:1": make_image([Layer.of({"raw": b"r" * 9000}, "none")], label="raw"),
    }


def push(registry: RealRegistry, images: dict[str, Image], options: RegistryOptions | None = None) -> None:
    """Put images into a registry with their very bytes: other tools would rewrite some of them."""
    client = Registry(registry.host, options=options)
    for name, image in images.items():
        reference = ImageReference.parse(f"{registry.host}/{name}")
        documents = [
            raw for raw in image.contents.values() if raw.startswith(b"{") and b"schemaVersion" in raw
        ]
        for digest, raw in image.contents.items():
            if raw not in documents:
                client.put_blob(
                    reference, Descriptor("application/octet-stream", digest, len(raw)), io.BytesIO(raw)
                )
        for raw in sorted(documents, key=lambda raw: b'"manifests"' in raw):
            media_type = json.loads(raw)["mediaType"]
            client.put_document(reference, Descriptor(media_type, Digest.of(raw), len(raw)), raw)
        client.tag(reference, image.descriptor, image.raw)


RELEASES_BASE = Layer.of({"base.bin": noise(2_000_000, 1)})


def version(number: int, *more: Layer) -> Image:
    """A release of one application: a small layer on what all have."""
    return make_image(
        [RELEASES_BASE, *more, Layer.of({f"v{number}": noise(20_000, number)})], label=str(number)
    )


def size_of(bundle: Path) -> int:
    return sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
