"""A read-only registry over OCI layouts and bundles (OCI distribution-spec 1.1, the pull side)."""

from airgap.endpoints.server.server import ImageServer
from airgap.endpoints.server.snippets import CLIENTS, make_snippets

__all__ = ["CLIENTS", "ImageServer", "make_snippets"]
