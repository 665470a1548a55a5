"""Explains to a site why it lacks the base of a delta: the receipts and bundles that the statement names
(FORMAT.md §3.1), and what the site remembers of them. Nothing is decided here: only the error is explained.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from airgap.audit.receipt import Receipt
from airgap.audit.search import entries_with
from airgap.bundle.delta_bases import BaseReceipt, DeltaBase
from airgap.bundle.statement import Statement
from airgap.carry.accepted_bundles import AcceptedBundles
from airgap.durable import exists
from airgap.errors import AirgapError, MissingBaseError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.oci.digest import Digest
from airgap.owned import read_owned
from airgap.site import Site
from airgap.times import format_time
from airgap.trust.envelope import Envelope

_SHOWN = 3
"""The most bases or layers in one message."""
_FULL = "ask the sender for a full bundle (airgap pack --full); nothing was changed"


def missing_layers(digests: Sequence[Digest], what: str, *, subject: object, hint: str) -> MissingBaseError:
    """Return the error for layers that a delta leaves out and that are not there."""
    want = ", ".join(map(str, digests[:_SHOWN])) + (", …" if digests[_SHOWN:] else "")
    error = MissingBaseError(what, subject=subject, want=want, hint=hint)
    error.missing = tuple(map(str, digests))
    return error


@contextmanager
def explain_missing_base(statement: Statement, site: Site, target: str | None) -> Iterator[None]:
    """Add to a `MissingBaseError` what the bundle builds on, and what can be done.

    Args:
        statement: The statement of the delta.
        site: The site that lacks the base.
        target: The name of the target; None if the bundle is served.
    """
    try:
        yield
    except MissingBaseError as error:
        own = [base for base in statement.bases if base.counts_for(site.name)]
        if own:
            error.got = "; ".join(_known(base, site, target) for base in own[:_SHOWN])
            error.got += f"; and {len(own) - _SHOWN} more bases" if own[_SHOWN:] else ""
        elif statement.bases:
            sites = sorted({base.receipt.site for base in statement.bases if base.receipt})
            error.got = f"receipts of {', '.join(sites[:_SHOWN])} only, and none of {site.name}"
        error.hint = _hint(error, statement, own, site, target)
        raise


def _known(base: DeltaBase, site: Site, target: str | None) -> str:
    """Return a base, and what the site knows of it."""
    if (receipt := base.receipt) is None:
        known = "accepted here before" if AcceptedBundles(site).has_place(base) else "never accepted here"
        return f"a delta on {base.title} ({known})"
    words = f"a delta on {base.title} by the receipt of {format_time(receipt.time)} ({receipt.sha256[:12]}…, "
    loaded = loaded_into(site, receipt)
    if loaded is None:
        return f"{words}which this site does not have)"
    if loaded == target:
        return f"{words}when this target had it: it was lost since)"
    return f"{words}which is of a load into {loaded})"


def loaded_into(site: Site, wanted: BaseReceipt) -> str | None:
    """Return the target of the load of which this site made the receipt, by its receipts or else its ledger;
    None if neither has it. The receipt's signature is not checked.
    """
    for path in sorted((site.home / "receipts").glob("*.receipt.json"), reverse=True):
        with suppress(AirgapError):
            raw = read_owned(path, MAX_ENVELOPE_BYTES)
            if Digest.of(raw).hex == wanted.sha256:
                return Receipt.parse(Envelope.parse(raw, str(path)).payload, str(path)).target
    return _recorded_target(site, wanted.sha256)


def _recorded_target(site: Site, receipt_sha256: str) -> str | None:
    if exists(site.ledger_path):
        for entry in entries_with(site.ledger_path, receipt_sha256):
            if (entry.event, entry.details.get("receipt_sha256")) == ("load", receipt_sha256):
                return str(entry.details.get("target"))
    return None


def _hint(
    error: MissingBaseError, statement: Statement, own: list[DeltaBase], site: Site, target: str | None
) -> str:
    """Return what to do: load it with accepted bundles, load another one first, or ask for a full one."""
    streams = dict.fromkeys([*(base.stream for base in own), statement.stream])
    memory = AcceptedBundles(site)
    missing = {Digest.parse(text) for text in error.missing}
    holders = {b.title: b for stream in streams for b in memory.holding(stream, missing)}
    if missing == {blob for blob in missing for b in holders.values() if blob.path in b.subjects}:
        titles = " ".join(holders)
        command = f"airgap serve {titles} {statement.title}"
        if target is not None:
            command = f"airgap load {titles} {statement.title} --to {target}"
        return f"what is missing is in what was accepted here before: `{command}`; nothing was changed"
    if titles := ", ".join(dict.fromkeys(base.title for base in own[:_SHOWN])):
        how = f"load {titles} first, or name it in the same command" if target else f"also name {titles}"
        return f"{how}; without it, {_FULL}"
    if statement.bases:
        return f"{_FULL}; if a receipt of this site reaches the sender, the next delta can count on it"
    return f"name the bundles that it builds on in the same command, or {_FULL}"
