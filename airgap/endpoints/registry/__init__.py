"""A registry that speaks the OCI distribution-spec 1.1, as source and as target."""

from airgap.endpoints.registry.client import Registry
from airgap.endpoints.registry.config import RegistryOptions

__all__ = ["Registry", "RegistryOptions"]
