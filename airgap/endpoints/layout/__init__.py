"""OCI image layout folders, `oci:DIR`, as source and as target (OCI image-spec 1.1, image-layout.md)."""

from airgap.endpoints.layout.endpoint import Layout

__all__ = ["Layout"]
