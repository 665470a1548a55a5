"""containerd as a target, by way of its own client `ctr`."""

from airgap.endpoints.containerd.target import Containerd

__all__ = ["Containerd"]
