"""The signed summary of a site's ledger, which saves reading its first lines again (FORMAT.md §12).

It has the facts of the lines up to a certain one, and the Merkle tree over them. It counts only if this
site's own key signed it, and if the ledger has the same line at the same position.
"""

import contextlib
from pathlib import Path

from airgap.audit.chain import LedgerCheckpoint, check_ledger, checkpoint
from airgap.audit.facts import LedgerFacts, read_facts
from airgap.bundle.files import write_file
from airgap.durable import exists
from airgap.errors import AirgapError
from airgap.limits import MAX_LEDGER_SUMMARY_BYTES
from airgap.owned import read_owned
from airgap.trust.envelope import Envelope
from airgap.trust.site_key import load_site_key

SUMMARY = "ledger.summary.json"
_TYPE = "application/vnd.airgap.ledger-summary.v1+json"


def read_summary(home: Path) -> LedgerFacts | None:
    """Return the summary of the site at `home`; None if there is none, or if this site's key has not signed
    it. The summary only saves work.
    """
    path = home / SUMMARY
    with contextlib.suppress(AirgapError):
        if exists(path, follow=False):
            envelope = Envelope.parse(read_owned(path, 2 * MAX_LEDGER_SUMMARY_BYTES), str(path))
            key = load_site_key(home / "site.key").public_key
            if envelope.payload_type == _TYPE and envelope.is_signed_by(key):
                return LedgerFacts.parse(envelope.payload)
    return None


def write_summary(home: Path, facts: LedgerFacts) -> None:
    """Sign and write a summary, unless it would be too large. A full disk is not an error."""
    payload = facts.to_bytes()
    if len(payload) <= MAX_LEDGER_SUMMARY_BYTES:
        raw = Envelope.sign(_TYPE, payload, [load_site_key(home / "site.key")]).to_bytes()
        with contextlib.suppress(AirgapError):  # a full disk is reported by the writes that matter
            write_file(home / SUMMARY, raw)


def current_facts(home: Path, ledger: Path) -> LedgerFacts:
    """Return the facts of the whole ledger of the site at `home`. Raises as `read_facts` does."""
    return read_facts(ledger, read_summary(home))


def current_checkpoint(home: Path, ledger: Path) -> LedgerCheckpoint:
    """Return the checkpoint of all lines of a ledger.

    Only the lines after the summary are read. Lines before it that were changed since are therefore not
    found here: the checkpoint has the lines as they were, and `airgap audit verify` finds the difference.
    Without a summary, the whole chain is checked.

    Args:
        home: The folder of the site.
        ledger: The file of its ledger, whose last line is complete.

    Raises:
        LedgerError: The chain is broken, or the ledger was cut or replaced.
    """
    summary = read_summary(home)
    if summary is None or summary.tree is None:
        return checkpoint(check_ledger(ledger))
    facts = read_facts(ledger, summary)
    return {"origin": facts.site, "size": facts.number, "root": summary.tree.root()}
