"""The properties of an engine."""

from dataclasses import field

from airgap.oci.platform import Platform
from airgap.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """The properties of an engine, and what it accepts as a stream target."""

    platform: Platform
    """The platform that it runs."""
    keeps_index: bool
    """True if it keeps image manifests and indexes (containerd image store, podman), and not only configs and
    layers (graph driver)."""
    zstd_layers: bool
    """True if it can unpack zstd layers."""
    version: str = ""
    config_ids: bool = False
    """True if an image's ID is its config's digest although it keeps indexes (podman). `find_id` then finds
    an image by either digest. Without an index the ID is always the config's digest."""

    one_platform: bool = False
    """True if it keeps only its own platform of an index (containerd, podman). Without an index there is only
    one platform."""

    product: str = field(default="", compare=False)
    """`Docker`, `podman` or `containerd`."""
    host: str = field(default="", compare=False)
    """The engine's name for the machine that it runs on."""
    address: str = field(default="", compare=False)
    """The address at which it was reached, and where that is configured: `unix:///run/docker.sock (context
    plant)`."""

    def __str__(self) -> str:
        """Describe the engine for people."""
        words = " ".join(filter(None, (self.product, self.version, f"on {self.host}" if self.host else "")))
        return ", ".join(filter(None, (words, self.address)))

    @property
    def ids_are_configs(self) -> bool:
        """Return whether an image's ID is the digest of its config, not of its image manifest or index."""
        return self.config_ids or not self.keeps_index
