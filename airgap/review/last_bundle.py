"""Finds the bundle before another in its stream that was sealed, signed or loaded here, to compare them."""

from airgap.audit.record import Outcome
from airgap.audit.report import LedgerEntry, newest_first
from airgap.bundle.statement import Statement
from airgap.carry.compare_images import ImageList
from airgap.errors import FormatError
from airgap.oci.digest import Digest
from airgap.site import Site


def last_known(site: Site, statement: Statement) -> ImageList | None:
    """Return the images of the newest bundle of the stream before `statement` that a command here checked;
    None if there is none. The chain of the ledger is not checked.
    """
    before = statement.epoch, statement.serial - 1
    found: tuple[tuple[int, int], LedgerEntry] | None = None
    for entry in newest_first(site.ledger_path) if statement.serial > 1 or statement.epoch > 1 else ():
        place = _place(entry) if _is_checked(entry, site, statement.stream) else None
        if place is not None and place <= before and (found is None or place > found[0]):
            found = place, entry
        if found is not None and found[0] == before:  # no other can be newer
            break
    if found is None:
        return None
    newest = found[1]
    images = {str(image.get("reference")): _digest(image.get("digest")) for image in newest.images}
    return ImageList(f"{newest.title} ({newest.event} here)", images)


def _is_checked(entry: LedgerEntry, site: Site, stream: str) -> bool:
    return (
        stream in entry.streams
        and entry.sender == site.sender
        and entry.result in (Outcome.OK, Outcome.PARTIAL)
    )


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
