"""Refuses recalled bundles, and finds what is still loaded of them, by the receipts of the loading site."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from airgap.audit.receipt import CONTENT_ONLY, PRESENT, Receipt, ReceiptImage
from airgap.bundle.statement import Statement
from airgap.errors import AirgapError, RecalledError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.owned import read_owned
from airgap.prove_receipt import prove_again
from airgap.site import Site
from airgap.trust.envelope import Envelope
from airgap.trust.recall import Recall
from airgap.trust.root import TrustRoot
from airgap.values import dataclass

_SHOWN = 8
"""The most names in one message; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedName:
    """A name at a target that a bundle set."""

    target: str
    reference: str
    replaced_by: str = ""
    """The title of the bundle that set the name later; empty if none did."""


FindLoaded = Callable[[str], Sequence[LoadedName]]
"""Returns what a site loaded of a statement, given its SHA-256 in hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalledHere:
    """The names at one target that a recalled bundle set and no later load has replaced or removed."""

    recall: Recall
    title: str
    """The title of the bundle, by the receipt of its load."""
    target: str
    references: tuple[str, ...]

    @property
    def words(self) -> str:
        """One line for people."""
        names = _listed(self.references)
        return f"{self.title} is recalled: {self.recall.words}; still the newest at {self.target}: {names}"


def check_recalled(
    statement: Statement, statement_sha256: str, root: TrustRoot, find_loaded: FindLoaded
) -> None:
    """Raise `RecalledError` if `root` recalls the statement.

    Args:
        statement: The signed statement.
        statement_sha256: The SHA-256 of its bytes in hex.
        root: The newest trust root.
        find_loaded: Returns what is loaded of it at this site, for the hint.
    """
    recall = root.recall_of(statement_sha256)
    if recall is None:
        return
    found = f"{recall.words}, trust root {root.version}"
    if recall.misnames(statement.stream, statement.epoch, statement.serial):
        found += f"; the recall calls it {recall.title}, epoch {recall.epoch}"
    raise RecalledError(
        "the bundle is recalled and must not be used", subject=statement.title, got=found,
        hint=_what_to_do(find_loaded(statement_sha256)),
    )  # fmt: skip


def _what_to_do(loaded: Sequence[LoadedName]) -> str:
    still = [f"{name.reference} at {name.target}" for name in loaded if not name.replaced_by]
    gone = [f"{name.reference} at {name.target} by {name.replaced_by}" for name in loaded if name.replaced_by]
    parts = ["nothing of it is loaded here by this site's receipts"] if not loaded else []
    parts += [f"loaded here and not replaced: {_listed(still)}"] if still else []
    parts += [f"replaced since: {_listed(gone)}"] if gone else []
    way = "load a newer bundle, or go back with `airgap load --back BUNDLE --reason TEXT`"
    return "; ".join([*parts, way if still else "ask the sending side for a newer bundle"])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def own_receipts(site: Site, *, strict: bool = False) -> list[Receipt]:
    """Return the receipts of loads here whose signatures are good, the oldest first.

    Args:
        site: The site.
        strict: Whether a receipt that cannot be read or proved raises its `AirgapError`. Otherwise it is left
            out, and `airgap audit report` names it.
    """
    roots, own = site.root_versions(), (site.name, site.key.public_key)
    found = []
    for path in sorted((site.home / "receipts").glob("*.receipt.json")):
        try:
            envelope = Envelope.parse(read_owned(path, MAX_ENVELOPE_BYTES), str(path))
            found.append(prove_again(envelope, roots, str(path), own))
        except AirgapError:
            if strict:
                raise
    return in_order(receipt for receipt in found if receipt.site == site.name)


def in_order(receipts: Iterable[Receipt]) -> list[Receipt]:
    """Return receipts of one site in the order of its loads: by time, then by the length of its ledger."""
    return sorted(receipts, key=lambda receipt: (receipt.time, receipt.checkpoint["size"]))


def loaded_names(receipts: Iterable[Receipt], statement_sha256: str) -> list[LoadedName]:
    """Return the names that a bundle set at the targets of one site, and what has replaced them. Names that a
    later load removed are left out.

    Args:
        receipts: The receipts of that site, the oldest first.
        statement_sha256: The SHA-256 of the bundle's statement in hex.
    """
    names: dict[tuple[str, str], str | None] = {}
    for receipt in receipts:
        own = receipt.statement_sha256 == statement_sha256
        for name in receipt.pruned:
            names.pop((receipt.target, name.reference), None)
        for image in receipt.images:
            key = receipt.target, image.reference
            if _has_name(image) and (own or key in names):
                names[key] = None if own else receipt.title
    return [
        LoadedName(target=target, reference=reference, replaced_by=later or "")
        for (target, reference), later in names.items()
    ]


def _has_name(image: ReceiptImage) -> bool:
    return image.verdict in PRESENT and not (image.reason or "").startswith(CONTENT_ONLY)


def recalled_here(site: Site) -> tuple[RecalledHere, ...]:
    """Return the names that recalled bundles still have at the targets of this site.

    A sender can recall only bundles that were accepted from it.
    """
    senders = [sender for sender in site.each_sender() if sender.roots()]
    recalled: list[Recall] = []
    for sender in senders:
        recalls = sender.root().root.recalled
        if recalls and len(senders) > 1:
            own = sender.accepted.statements()
            recalls = tuple(recall for recall in recalls if recall.statement_sha256 in own)
        recalled += recalls
    return tuple(still_loaded(own_receipts(site), recalled)) if recalled else ()


def still_loaded(receipts: Sequence[Receipt], recalled: Iterable[Recall]) -> Iterator[RecalledHere]:
    """Yield the names of recalled bundles that no later load has replaced or removed, by bundle and target.

    Args:
        receipts: The receipts of one site, the oldest first.
        recalled: The recalls of the newest trust root.
    """
    newest: dict[tuple[str, str], Receipt] = {}
    for receipt in receipts:
        for name in receipt.pruned:
            newest.pop((receipt.target, name.reference), None)
        newest |= {(receipt.target, image.reference): receipt for image in receipt.images if _has_name(image)}
    there: dict[tuple[str, str], list[str]] = {}
    for (target, reference), receipt in newest.items():
        there.setdefault((receipt.statement_sha256, target), []).append(reference)
    titles = {receipt.statement_sha256: receipt.title for receipt in receipts}
    recalls = {recall.statement_sha256: recall for recall in recalled}
    for (sha256, target), references in there.items():
        if sha256 in recalls:
            yield RecalledHere(
                recall=recalls[sha256], title=titles[sha256], target=target, references=tuple(references)
            )
