"""Where the files of a plan's bundle go."""

from airgap.bundle.choose_folders import SpaceNeeded, layers_of, place
from airgap.bundle.folders import BundleFolders
from airgap.errors import UsageError
from airgap.online.plan import TransferPlan
from airgap.online.terms import Order
from airgap.trust.cosign import is_material


def folders_of(plan: TransferPlan, order: Order, title: str) -> BundleFolders:
    """The folder, or the volumes, of the bundle called `title`.

    Raises `NoSpaceError` when it does not fit, and `UsageError` for volumes of images whose sizes are
    not known before they are packed. Such exports are not counted otherwise.
    """
    places = (order.to, *order.further)
    if plan.exports and (order.further or order.volume_size):
        raise UsageError(
            "volumes are planned before the content comes, and an export's size is not known then",
            subject=plan.exports[0].images[0].reference,
            hint="pack into one folder first, then `airgap repack` cuts it",
        )
    return place(space_needed(plan, title), places, order.volume_size, allow_system=order.allow_system)


def space_needed(plan: TransferPlan, title: str) -> SpaceNeeded:
    """The space that the bundle called `title` needs, without its exports."""
    blobs = {digest: blob.size for digest, (blob, _) in plan.blobs.items()}
    cut = layers_of((image.graph for image in plan.images), blobs, is_material)
    return SpaceNeeded(title, cut, blobs, len(plan.lock.images))
