"""Compares the ledger with its checkpoints in signed bundles and receipts.

The chain alone does not show that lines are missing at the end, or that the whole ledger was rewritten. A
checkpoint that left the machine does.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from airgap.audit.chain import LedgerState, check_ledger
from airgap.audit.receipt import PREDICATE_TYPE as RECEIPT
from airgap.audit.receipt import Receipt
from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.statement import Statement
from airgap.errors import LedgerError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.oci.strict_json import Fields, parse_object
from airgap.review.records import Kept, read_file
from airgap.site import Site
from airgap.trust.envelope import Envelope
from airgap.values import dataclass

CUT = "the ledger was cut"
"""The error for a ledger with fewer lines than a signed checkpoint of it."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A signed checkpoint of a ledger."""

    origin: str
    size: int
    root: str
    source: str


def check_witnessed(site: Site, kept: Kept, files: Iterable[Path] = ()) -> tuple[LedgerState, int]:
    """Check the chain, and that the ledger agrees with each checkpoint in bundles and receipts that are
    `kept` here and in `files`. Return its state and the number of checkpoints.

    Raises `LedgerError`. The signatures on `files` are not checked: a forged one can raise an alarm, not
    hide one.
    """
    checkpoints = [*_kept(kept, site.name), *(_in_file(path) for path in files)]
    own = [witness for witness in checkpoints if witness is not None and witness.origin == site.name]
    state = check_ledger(site.ledger_path, at={witness.size for witness in own})
    for witness in sorted(own, key=lambda witness: witness.size):
        _compare(state, witness, site.ledger_path)
    return state, len(own)


def _compare(state: LedgerState, witness: Witness, ledger: Path) -> None:
    hint = "keep the file as evidence: lines were removed or rewritten after a checkpoint of them was signed"
    if witness.size > state.size:
        raise LedgerError(
            CUT, subject=ledger, want=f"{witness.size} lines or more ({witness.source})",
            got=f"{state.size}", hint=hint,
        )  # fmt: skip
    if state.roots[witness.size] != witness.root:
        raise LedgerError(
            "the ledger disagrees with a signed checkpoint", subject=f"{ledger}, first {witness.size} lines",
            want=f"root {witness.root} ({witness.source})", got=state.roots[witness.size], hint=hint,
        )  # fmt: skip


def _kept(kept: Kept, site: str) -> Iterator[Witness]:
    """Yield the checkpoints that this site signed; those of other sites prove nothing about this ledger."""
    for sealed in kept.sealed:
        if (sender := sealed.statement.sender) is not None:
            point = sender.checkpoint
            yield Witness(point.origin, point.size, point.root, str(sealed.path))
    for answer in (answer for answer in kept.receipts if answer.receipt.site == site):
        yield _of_receipt(answer.receipt, answer.path)


def _of_receipt(receipt: Receipt, path: Path) -> Witness:
    point = receipt.checkpoint
    return Witness(point["origin"], point["size"], point["root"], str(path))


def _in_file(path: Path) -> Witness | None:
    """Return the checkpoint in a bundle or a receipt; None for a bundle without one."""
    where = path / ENVELOPE_FILE if path.is_dir() else path
    envelope = Envelope.parse(read_file(where), str(where))
    fields = Fields(
        parse_object(envelope.payload, str(where), max_bytes=MAX_ENVELOPE_BYTES, floats=False), str(where)
    )
    if fields.text("predicateType") == RECEIPT:
        return _of_receipt(Receipt.parse(envelope.payload, str(where)), where)
    sender = Statement.parse(envelope.payload, str(where)).sender
    if sender is None:
        return None
    point = sender.checkpoint
    return Witness(point.origin, point.size, point.root, str(where))
