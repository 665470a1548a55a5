"""Images that are not loaded, whatever the target would say."""

import contextlib

from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.ports import FileTarget, FolderTarget, StreamTarget, Target
from airgap.errors import AirgapError, EndpointError, MissingContentError, PolicyError
from airgap.offline.image_tar import runnable
from airgap.offline.loader import Loading


def refused(image: VerifiedImage, target: Target, loading: Loading) -> AirgapError | None:
    """Why the image is not loaded there: nothing of it was carried, or it has foreign layers, and what reads
    the target asks the addresses in them even though the layers are there.
    """
    if image.graph.is_hollow:
        return MissingContentError(
            "the bundle has none of the platforms of this image",
            subject=image.name,
            want=image.record.digest,
            hint="ask the sending side to pack a platform that the image has at its source",
        )
    if loading.allow_urls or not _asks_addresses(image, target):
        return None
    layer = next(iter(image.graph.foreign.values()))
    return PolicyError(
        "the image has foreign layers, and tools ask the addresses in them (urls) when they read it there",
        subject=f"{image.name} into {target.name}",
        got=layer.urls[0],
        hint="the layers are in the bundle; --allow-urls loads them where these addresses may be asked",
    )


def _asks_addresses(image: VerifiedImage, target: Target) -> bool:
    """Readers of layouts, archives and registries (skopeo, podman, containerd) go to the addresses
    first (FORMAT.md §4). Docker and containerd import a stream as it is.
    """
    if not image.graph.foreign or isinstance(target, FolderTarget):
        return False
    if isinstance(target, FileTarget) or not isinstance(target, StreamTarget):
        return True
    info = target.info()
    if not info.config_ids:  # podman
        return False
    with contextlib.suppress(EndpointError):  # nothing in it for this engine: said elsewhere
        return any(layer.urls for layer in runnable(image, info.platform).manifest.layers)
    return False
