"""Reads what a site keeps of its transfers: the envelopes of bundles that it sealed, and receipts.

Others may be able to write into these folders. A file counts only if it is signed by a key of the trust root,
in any version of the root that is installed here.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Self

from airgap.agreement import Evidence
from airgap.audit.receipt import Receipt
from airgap.audit.report import LedgerEntry
from airgap.audit.search import entries_of
from airgap.bundle.files import Folder, is_absent
from airgap.bundle.statement import Statement
from airgap.durable import exists
from airgap.errors import AirgapError, MediaError, UsageError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.prove_receipt import prove_again
from airgap.sender_state import SENDERS
from airgap.site import Site
from airgap.trust.envelope import Envelope
from airgap.trust.keys import PublicKey
from airgap.trust.root import TrustRoot
from airgap.values import dataclass

Roots = Mapping[int, TrustRoot]
RECEIPT_EVENTS = ("load", "receipt")
"""The events whose records name a receipt."""
_NO_ROOTS: Roots = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Sealed:
    """A bundle that was sealed here."""

    statement: Statement
    statement_sha256: str
    path: Path
    """The copy of its envelope."""
    envelope: Envelope | None = field(default=None, compare=False, repr=False)

    @classmethod
    def read(cls, path: Path, roots: Roots = _NO_ROOTS) -> Self:
        """Read the copy that this site made. Raises as `Evidence.parse` does."""
        evidence = Evidence.parse(read_file(path), str(path), roots)
        return cls(evidence.statement, evidence.statement_sha256, path, evidence.envelope)

    def evidence(self, roots: Roots) -> Evidence:
        """Return what receipts of this bundle are compared with."""
        return Evidence(self.statement, self.envelope, roots)


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A receipt of a load here, or one that came back from another site and was proved then."""

    receipt: Receipt
    path: Path
    sha256: str = field(default="", compare=False)
    """The file's SHA-256, in hex."""
    sender: str = field(default="", compare=False)
    """The sender of the bundle that was loaded here, by the ledger; empty for the first one."""

    @classmethod
    def read(cls, path: Path, roots: Roots = _NO_ROOTS, own: tuple[str, PublicKey] | None = None) -> Self:
        """Read a file in this site's own folder. Raises as `prove_receipt.prove_again` does."""
        raw = read_file(path)
        receipt = prove_again(Envelope.parse(raw, str(path)), roots, str(path), own)
        return cls(receipt, path, hashlib.sha256(raw).hexdigest())

    @property
    def title(self) -> str:
        """The title of its bundle, with the name of its sender in front unless that is the first one."""
        return f"{self.sender}/{self.receipt.title}" if self.sender else self.receipt.title


@dataclass(frozen=True, slots=True)
class Kept:
    """All sealed bundles and receipts, the oldest first."""

    sealed: tuple[Sealed, ...]
    receipts: tuple[KeptReceipt, ...]
    unreadable: dict[Path, AirgapError] = field(default_factory=dict, hash=False)
    """Files that were changed or are not signed. They do not affect the other files."""
    roots: Roots = field(default_factory=dict, compare=False, repr=False)
    """All versions of the trust root that are installed here."""
    sender_roots: Mapping[str, Roots] = field(default_factory=dict, compare=False, repr=False)
    """The same of the senders after the first one, by name."""

    @classmethod
    def of(
        cls, site: Site, *, envelopes: Iterable[Path] | None = None, receipts: Iterable[Path] | None = None
    ) -> Self:
        """Read the folders of `site`; if `envelopes` or `receipts` are given, only these of their files."""
        unreadable: dict[Path, AirgapError] = {}
        sealed, answers = [], []
        roots: Roots = {}
        own: tuple[str, PublicKey] | None = None
        try:
            roots = site.root_versions()
            own = (site.name, site.key.public_key)
        except AirgapError as error:
            unreadable[site.home / "trust"] = error
        for path in site.kept_envelopes() if envelopes is None else envelopes:
            try:
                sealed.append(Sealed.read(path, roots))
            except AirgapError as error:
                unreadable[path] = error
        senders = _loaded_senders(site)
        for path in site.kept_receipts() if receipts is None else receipts:
            try:
                read = KeptReceipt.read(path, roots, own)
                answers.append(replace(read, sender=senders.get(read.sha256, "")))
            except AirgapError as error:
                unreadable[path] = error
        sealed.sort(key=lambda bundle: (bundle.statement.created, bundle.statement.title))
        answers.sort(key=lambda answer: (answer.receipt.time, str(answer.path)))
        return cls(tuple(sealed), tuple(answers), unreadable, roots, _sender_roots(site))

    def find(self, stream: str, serial: int, statement_sha256: str) -> Sealed | None:
        """Return the bundle of a receipt, if it was sealed here with the same statement; else None."""
        for sealed in self.sealed:
            found = (sealed.statement.stream, sealed.statement.serial, sealed.statement_sha256)
            if found == (stream, serial, statement_sha256):
                return sealed
        return None

    def raise_disk_errors(self) -> None:
        """Raise `MediaError` for a file that the disk refuses to read: it may decide the comparison."""
        for error in self.unreadable.values():
            if isinstance(error, MediaError):
                raise error

    def missing_receipts(self, entries: Iterable[LedgerEntry]) -> dict[Path, str]:
        """Return the receipts that the ledger lists but that no longer exist, with a line about each. Of the
        entries, only those of `RECEIPT_EVENTS` count.

        Ledger lines of older versions have only the file name. Files that exist but do not count are in
        `unreadable`.
        """
        sums = {answer.sha256 for answer in self.receipts}
        names = {answer.path.name for answer in self.receipts}
        missing: dict[Path, str] = {}
        unreadable = {path.name for path in self.unreadable}
        for entry in entries:
            path, sha256 = entry.details.get("receipt"), entry.details.get("receipt_sha256")
            if entry.event not in RECEIPT_EVENTS or not isinstance(path, str):
                continue
            name = Path(path).name
            if name not in unreadable and (sha256 not in sums if sha256 else name not in names):
                line = f"a receipt of {entry.title} is missing: {path} (line {entry.seq} of the ledger)"
                missing[Path(path)] = line
        return missing


def _loaded_senders(site: Site) -> dict[str, str]:
    """Return the senders of the bundles that were loaded here, by the SHA-256 of the receipt, which does not
    name the sender.
    """
    if not exists(site.home / SENDERS):
        return {}
    with contextlib.suppress(AirgapError):  # a ledger that cannot be read is reported elsewhere
        loads = entries_of(site.ledger_path, "load")
        return {str(load.details.get("receipt_sha256")): load.sender for load in loads}
    return {}


def _sender_roots(site: Site) -> dict[str, Roots]:
    roots: dict[str, Roots] = {}
    for name in site.other_senders():
        with contextlib.suppress(AirgapError):  # reported by the comparison with the ledger
            roots[name] = site.from_sender(name).root_versions()
    return roots


def read_file(path: Path) -> bytes:
    """Return a file of at most 16 MiB from any origin; links are not followed. Raises `UsageError` if it does
    not exist.
    """
    if is_absent(path):
        raise UsageError("no such file", subject=path)
    with Folder(path.absolute().parent) as folder:
        return folder.read(path.name, MAX_ENVELOPE_BYTES)
