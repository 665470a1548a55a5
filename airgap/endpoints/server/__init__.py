"""A read-only registry over OCI layouts and bundles (OCI distribution-spec 1.1, the pull side)."""

from airgap.endpoints.server.catalogue import NamedSource
from airgap.endpoints.server.server import ImageServer

__all__ = ["ImageServer", "NamedSource"]
