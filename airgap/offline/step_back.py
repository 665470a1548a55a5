"""A person's decision to load an accepted bundle again that is not the newest (FORMAT.md §7.1, rule 6)."""

from collections.abc import Sequence

from airgap.audit.facts import OVERRIDE
from airgap.audit.receipt import PRESENT, StepBack
from airgap.audit.record import NOTE
from airgap.carry.verify import VerifiedBundle
from airgap.carry.verify_recorded import bundle_details, refuse_recalled_since
from airgap.offline.loader import LoadedImage
from airgap.site import Site


def record_step_back(bundle: VerifiedBundle, site: Site, target: str, reason: str) -> None:
    """Record the decision, before the first name moves. The high-water mark stays.

    Raises:
        RecalledError: The bundle was recalled since it was verified.
    """
    refuse_recalled_since(bundle, site)
    site.ledger().append(
        OVERRIDE, NOTE, change="back", target=target, reason=reason,
        bundle=bundle_details(bundle)["bundle"], newest=bundle.mark.value if bundle.mark else None,
    )  # fmt: skip


def step_back_of(bundle: VerifiedBundle, reason: str | None) -> StepBack | None:
    """Return the decision as the receipt has it; None without a reason."""
    mark = bundle.mark
    if reason is None or mark is None:
        return None
    return StepBack(reason, mark.epoch, mark.serial, mark.statement_sha256)


def give_reason(results: Sequence[LoadedImage], step_back: StepBack | None, stream: str) -> None:
    """Add the reason of a step back to the images whose names it moved."""
    for result in results if step_back else ():
        if step_back and result.verdict in PRESENT and result.before not in (None, result.after):
            newest = f"{stream}-{step_back.serial:04d}"
            result.reason = result.reason or f"back from {newest}: {step_back.reason}"
