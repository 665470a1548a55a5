"""A Helm chart as an OCI artifact, in the form of `helm push` (helm.sh/docs/topics/registries)."""

from collections.abc import Mapping

from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, SCHEMA_VERSION, Descriptor
from airgap.oci.strict_json import dump

CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
PROVENANCE_LAYER = "application/vnd.cncf.helm.chart.provenance.v1.prov"
CONFIG_KEYS = (
    "name", "home", "version", "description", "icon", "apiVersion", "appVersion", "kubeVersion", "type",
)  # fmt: skip
"""The keys of Chart.yaml that have text; Helm reads the rest from the archive."""


def chart_config(metadata: Mapping[str, str]) -> bytes:
    """Return the config of a chart with these values of Chart.yaml."""
    return dump({key: metadata[key] for key in CONFIG_KEYS if key in metadata})


def chart_manifest(config: bytes, digest: Digest, size: int) -> bytes:
    """Return the manifest of a chart: its config, and the archive with this digest and size in bytes."""
    return dump(
        {
            "schemaVersion": SCHEMA_VERSION,
            "mediaType": OCI_MANIFEST,
            "config": Descriptor(CHART_CONFIG, Digest.of(config), len(config)).to_json(),
            "layers": [Descriptor(CHART_LAYER, digest, size).to_json()],
        }
    )
