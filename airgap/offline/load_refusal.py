"""Refuse images that airgap does not load into a target, even if the target would accept them."""

import contextlib

from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.ports import FileTarget, FolderTarget, StreamTarget, Target
from airgap.errors import AirgapError, EndpointError, MissingContentError, PolicyError
from airgap.offline.image_tar import runnable
from airgap.offline.loader import Loading


def refused(image: VerifiedImage, target: Target, loading: Loading) -> AirgapError | None:
    """Return the error for an image that is not loaded, or None: no platform of it is in the bundle, or it
    has foreign layers and readers of the target would download them although the layers are present.
    """
    if image.graph.is_hollow:
        return MissingContentError(
            "the bundle has none of the platforms of this image",
            subject=image.name,
            want=image.record.digest,
            hint="ask the sending side to pack a platform that the source image has",
        )
    if loading.allow_urls or not _uses_addresses(image, target):
        return None
    layer = next(iter(image.graph.foreign.values()))
    return PolicyError(
        "the image has foreign layers, and tools that read it there connect to their addresses (urls)",
        subject=f"{image.name} into {target.name}",
        got=layer.urls[0],
        hint="the layers are in the bundle; if tools may connect to these addresses, use --allow-urls",
    )


def _uses_addresses(image: VerifiedImage, target: Target) -> bool:
    """Return whether readers of the target connect to the addresses in foreign layers. Readers of layouts,
    archives and registries (skopeo, podman, containerd) do (FORMAT.md §4); Docker and containerd import a
    stream unchanged.
    """
    if not image.graph.foreign or isinstance(target, FolderTarget):
        return False
    if isinstance(target, FileTarget) or not isinstance(target, StreamTarget):
        return True
    info = target.info()
    if not info.config_ids:  # podman
        return False
    with contextlib.suppress(EndpointError):  # no platform for this engine: reported elsewhere
        return any(layer.urls for layer in runnable(image, info.platform).manifest.layers)
    return False
