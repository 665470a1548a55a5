"""Helm charts: their archives, and the artifacts that `helm push` makes of them."""

import gzip
import json

from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, Descriptor
from airgap.oci.helm_chart import CHART_CONFIG, CHART_LAYER, PROVENANCE_LAYER
from tests.support.images import Image, tar_of


def chart_archive(name: str = "demo", version: str = "1.0.0", **files: str) -> bytes:
    """The archive of a chart; `files` are at its top, without `.yaml`."""
    members = {f"{name}/Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n".encode()}
    members |= {f"{name}/{file}.yaml": text.encode() for file, text in files.items()}
    return gzip.compress(tar_of(members), mtime=0)


def chart_image(
    archive: bytes, name: str = "demo", version: str = "1.0.0", provenance: bytes | None = None
) -> Image:
    """The artifact of a chart in a registry."""
    config = json.dumps({"name": name, "version": version, "apiVersion": "v2"}).encode()
    parts = [(CHART_CONFIG, config), (CHART_LAYER, archive)]
    if provenance is not None:
        parts.append((PROVENANCE_LAYER, provenance))
    of_config, *layers = [Descriptor(kind, Digest.of(raw), len(raw)).to_json() for kind, raw in parts]
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": of_config, "layers": layers}
    raw = json.dumps(document).encode()
    contents = {Digest.of(part): part for _, part in parts} | {Digest.of(raw): raw}
    return Image(Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw)), raw, contents)


def chart_index(*archives: tuple[str, bytes], name: str = "demo") -> bytes:
    """The index of a repository with these versions of a chart, each at `NAME-VERSION.tgz`."""
    versions = [
        {"version": version, "digest": Digest.of(archive).hex, "urls": [f"{name}-{version}.tgz"]}
        for version, archive in archives
    ]
    return json.dumps({"apiVersion": "v1", "entries": {name: versions}}).encode()
