"""Whether the ledger still is the one that was witnessed: by signed bundles and receipts that name its state.

The chain alone does not show that lines are missing at the end, or that all of it was written anew. A
checkpoint that left the machine does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from airgap.audit.chain import LedgerState, check_ledger
from airgap.audit.receipt import PREDICATE_TYPE as RECEIPT
from airgap.audit.receipt import Receipt
from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.statement import Statement
from airgap.errors import LedgerError
from airgap.oci.strict_json import Fields, parse_object
from airgap.review.records import Kept, read_file
from airgap.site import Site
from airgap.trust.envelope import MAX_ENVELOPE, Envelope


@dataclass(frozen=True, slots=True)
class Witness:
    """A state of a ledger that somebody signed."""

    origin: str
    size: int
    root: str
    source: str


def check_witnessed(site: Site, kept: Kept, files: Iterable[Path] = ()) -> tuple[LedgerState, int]:
    """Check the chain, and that the ledger has grown out of each state in bundles and receipts that are
    `kept` here and in `files`; also how many states those were.

    Raises `LedgerError`. The signatures on `files` are not checked: a forged one can raise an alarm, not
    hide one.
    """
    found = [*_kept(kept, site.name), *(_in_file(path) for path in files)]
    own = [each for each in found if each is not None and each.origin == site.name]
    state = check_ledger(site.ledger_path, at={each.size for each in own})
    for each in sorted(own, key=lambda witness: witness.size):
        _compare(state, each, site.ledger_path)
    return state, len(own)


def _compare(state: LedgerState, witness: Witness, ledger: Path) -> None:
    hint = "keep the file as it is: lines were removed or written anew after the other side had seen them"
    if witness.size > state.size:
        raise LedgerError(
            "the ledger was cut", subject=ledger, want=f"{witness.size} lines or more ({witness.source})",
            got=f"{state.size}", hint=hint,
        )  # fmt: skip
    if state.roots[witness.size] != witness.root:
        raise LedgerError(
            "the ledger is not the one that was witnessed", subject=f"{ledger}, first {witness.size} lines",
            want=f"root {witness.root} ({witness.source})", got=state.roots[witness.size], hint=hint,
        )  # fmt: skip


def _kept(kept: Kept, site: str) -> Iterator[Witness]:
    """Only what this site has signed: another one may say of its ledger what it likes."""
    for sealed in kept.sealed:
        if (sender := sealed.statement.sender) is not None:
            point = sender.checkpoint
            yield Witness(point.origin, point.size, point.root, str(sealed.path))
    for each in (receipt for receipt in kept.receipts if receipt.receipt.site == site):
        yield _of_receipt(each.receipt, each.path)


def _of_receipt(receipt: Receipt, path: Path) -> Witness:
    point = receipt.checkpoint
    return Witness(point["origin"], point["size"], point["root"], str(path))


def _in_file(path: Path) -> Witness | None:
    """The state that a bundle or a receipt names; None for a bundle that names none."""
    where = path / ENVELOPE_FILE if path.is_dir() else path
    envelope = Envelope.parse(read_file(where), str(where))
    fields = Fields(
        parse_object(envelope.payload, str(where), max_bytes=MAX_ENVELOPE, floats=False), str(where)
    )
    if fields.text("predicateType") == RECEIPT:
        return _of_receipt(Receipt.parse(envelope.payload, str(where)), where)
    sender = Statement.parse(envelope.payload, str(where)).sender
    if sender is None:
        return None
    point = sender.checkpoint
    return Witness(point.origin, point.size, point.root, str(where))
