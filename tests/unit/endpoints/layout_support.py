"""What the tests of OCI folders share."""

import json
from pathlib import Path

from airgap.errors import (
    AmbiguousError,
    FormatError,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import CONTAINERD_NAME, OCI_LAYER_TAR, OCI_MANIFEST, REF_NAME, Descriptor
from airgap.oci.reference import ImageReference
from tests.support.images import Image, simple_image

API = ImageReference.parse("ghcr.io/acme/api:2.3")
IMAGE = simple_image("api")
OTHER = simple_image("other")


def entry(image: Image, **annotations: str) -> dict[str, object]:
    return image.descriptor.to_json() | ({"annotations": annotations} if annotations else {})


def named(text: str, image: Image = IMAGE) -> dict[str, object]:
    return entry(image, **{REF_NAME: text})


def index_of(*entries: dict[str, object]) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode()


def blob_of(raw: bytes) -> Descriptor:
    return Descriptor(OCI_LAYER_TAR, Digest.of(raw), len(raw))


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- index.json and oci-layout that are not what they should be

BAD_INDEXES = {
    "not JSON": (b"{", FormatError),
    "a list": (b"[]", FormatError),
    "duplicate key": (b'{"schemaVersion":2,"manifests":[],"manifests":[]}', AmbiguousError),
    "case twins": (b'{"schemaVersion":2,"manifests":[],"Manifests":[]}', AmbiguousError),
    "an image manifest": (IMAGE.raw, FormatError),
    "both kinds": (IMAGE.raw.replace(b'"layers"', b'"manifests": [], "layers"'), AmbiguousError),
    "wrong version": (b'{"schemaVersion":1,"manifests":[]}', FormatError),
    "digest that leads out": (
        index_of({"mediaType": OCI_MANIFEST, "digest": "sha256:../../../etc/passwd", "size": 1}),
        FormatError,
    ),
    "upper-case digest": (
        index_of({"mediaType": OCI_MANIFEST, "digest": "sha256:" + "A" * 64, "size": 1}),
        FormatError,
    ),
    "negative size": (
        index_of({"mediaType": OCI_MANIFEST, "digest": "sha256:" + "a" * 64, "size": -1}),
        FormatError,
    ),
    "annotation that is no text": (index_of(entry(IMAGE) | {"annotations": {REF_NAME: 1}}), FormatError),
    "two names": (index_of(entry(IMAGE, **{REF_NAME: "a/b:1", CONTAINERD_NAME: "a/b:2"})), AmbiguousError),
    "one name twice": (index_of(named(str(API)), named(str(API), OTHER)), AmbiguousError),
    "too large": (index_of(entry(IMAGE, x="x" * (4 << 20))), FormatError),
}
