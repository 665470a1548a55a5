"""Finds the bundle before another in its stream that was sealed, signed or loaded here, to compare them."""

from airgap.audit.record import Outcome
from airgap.audit.report import LedgerEntry, entries
from airgap.bundle.statement import Statement
from airgap.carry.compare_images import ImageList
from airgap.errors import FormatError
from airgap.oci.digest import Digest
from airgap.site import Site


def last_known(site: Site, statement: Statement) -> ImageList | None:
    """Return the images of the newest bundle of the stream before `statement` that a command here checked;
    None if there is none. The chain of the ledger is not checked.
    """
    checked = [
        (place, entry)
        for entry in entries(site.ledger_path, stream=statement.stream)
        if entry.sender == site.sender
        and entry.result in (Outcome.OK, Outcome.PARTIAL)
        and (place := _place(entry)) is not None
        and place < (statement.epoch, statement.serial)
    ]
    if not checked:
        return None
    _, newest = max(checked, key=lambda pair: (pair[0], pair[1].seq))
    images = {str(image.get("reference")): _digest(image.get("digest")) for image in newest.images}
    return ImageList(f"{newest.title} ({newest.event} here)", images)


def _place(entry: LedgerEntry) -> tuple[int, int] | None:
    """Return epoch and serial; `pack` records the epoch with what it sealed."""
    serial = entry.bundle.get("serial")
    sealed = entry.details.get("sealed")
    epoch = entry.bundle.get("epoch", sealed.get("epoch") if isinstance(sealed, dict) else None)
    return (epoch, serial) if entry.images and type(epoch) is int and type(serial) is int else None


def _digest(text: object) -> Digest | None:
    try:
        return Digest.parse(str(text))
    except FormatError:
        return None
