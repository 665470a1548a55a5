"""Chooses the folders for the bundle of a plan."""

from airgap.bundle.choose_folders import SpaceNeeded, layers_of, place
from airgap.bundle.folders import BundleFolders
from airgap.errors import UsageError
from airgap.online.plan import TransferPlan
from airgap.online.terms import Order
from airgap.trust.cosign import is_material


def folders_of(plan: TransferPlan, order: Order, title: str) -> BundleFolders:
    """Return the folder, or the volumes, of the bundle called `title`.

    Raises `NoSpaceError` if it does not fit, and `UsageError` for volumes with exports, whose sizes are known
    only once they are packed. The space for exports is not counted.
    """
    media = (order.to, *order.further)
    if plan.exports and (order.further or order.volume_size):
        raise UsageError(
            "cannot cut an export into volumes: its size is not known in advance",
            subject=plan.exports[0].images[0].reference,
            hint="pack into one folder, then cut it with `airgap repack`",
        )
    return place(space_needed(plan, title), media, order.volume_size, allow_system=order.allow_system)


def space_needed(plan: TransferPlan, title: str) -> SpaceNeeded:
    """Return what the bundle called `title` carries, without the exports."""
    blobs = {digest: blob.size for digest, (blob, _) in plan.blobs.items()}
    cut = layers_of((image.graph for image in plan.images), blobs, is_material)
    return SpaceNeeded(title, cut, blobs, len(plan.lock.images))
