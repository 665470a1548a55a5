"""What a site keeps of its transfers: the envelopes of bundles that it sealed, and receipts.

Whoever can write into these folders could put something there: a file counts when a key of the trust root
signed it, by any version of the root that is installed here.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

from airgap.agreement import Evidence
from airgap.audit.receipt import Receipt
from airgap.audit.report import Entry
from airgap.bundle.files import Folder, is_absent
from airgap.bundle.statement import Statement
from airgap.errors import AirgapError, MediaError, UsageError
from airgap.prove_receipt import prove_again
from airgap.site import Site
from airgap.trust.envelope import MAX_ENVELOPE, Envelope
from airgap.trust.keys import PublicKey
from airgap.trust.root import TrustRoot

Roots = Mapping[int, TrustRoot]
_NO_ROOTS: Roots = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Sealed:
    """A bundle that was sealed here."""

    statement: Statement
    statement_sha256: str
    path: Path
    """Of its envelope's copy."""
    envelope: Envelope | None = field(default=None, compare=False, repr=False)

    @classmethod
    def read(cls, path: Path, roots: Roots = _NO_ROOTS) -> Self:
        """From a copy that this site has made. Raises as `Evidence.parse`."""
        found = Evidence.parse(read_file(path), str(path), roots)
        return cls(found.statement, found.statement_sha256, path, found.envelope)

    def evidence(self, roots: Roots) -> Evidence:
        """What receipts of this bundle are compared with."""
        return Evidence(self.statement, self.envelope, roots)


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A receipt of a load here, or one that came back from another site and was proved then."""

    receipt: Receipt
    path: Path
    sha256: str = field(default="", compare=False)
    """Of the file, in hex."""

    @classmethod
    def read(cls, path: Path, roots: Roots = _NO_ROOTS, own: tuple[str, PublicKey] | None = None) -> Self:
        """From this site's own folder. Raises as `proving.prove_again`."""
        raw = read_file(path)
        receipt = prove_again(Envelope.parse(raw, str(path)), roots, str(path), own)
        return cls(receipt, path, hashlib.sha256(raw).hexdigest())

    @property
    def title(self) -> str:
        """The bundle's."""
        return f"{self.receipt.bundle_stream}-{self.receipt.serial:04d}"


@dataclass(frozen=True, slots=True)
class Kept:
    """All of it, the oldest first."""

    sealed: tuple[Sealed, ...]
    receipts: tuple[KeptReceipt, ...]
    unreadable: dict[Path, AirgapError] = field(default_factory=dict, hash=False)
    """Files that are not as they were written, or not signed; none of the others is doubted for them."""
    roots: Roots = field(default_factory=dict, compare=False, repr=False)
    """All versions of the trust root that are installed here."""

    @classmethod
    def of(cls, site: Site) -> Self:
        """What is in the folders of `site` now."""
        unreadable: dict[Path, AirgapError] = {}
        sealed, receipts = [], []
        roots: Roots = {}
        own: tuple[str, PublicKey] | None = None
        try:
            roots = site.root_versions()
            own = (site.name, site.key.public_key)
        except AirgapError as error:
            unreadable[site.home / "trust"] = error
        for path in site.kept_envelopes():
            try:
                sealed.append(Sealed.read(path, roots))
            except AirgapError as error:
                unreadable[path] = error
        for path in site.kept_receipts():
            try:
                receipts.append(KeptReceipt.read(path, roots, own))
            except AirgapError as error:
                unreadable[path] = error
        sealed.sort(key=lambda each: (each.statement.created, each.statement.title))
        receipts.sort(key=lambda each: (each.receipt.time, str(each.path)))
        return cls(tuple(sealed), tuple(receipts), unreadable, roots)

    def find(self, stream: str, serial: int, statement_sha256: str) -> Sealed | None:
        """The bundle that a receipt speaks of, if it was sealed here just so."""
        for each in self.sealed:
            found = (each.statement.stream, each.statement.serial, each.statement_sha256)
            if found == (stream, serial, statement_sha256):
                return each
        return None

    def raise_disk_errors(self) -> None:
        """Raise `MediaError` for a file that the disk refuses to read: it may be the one that decides."""
        for error in self.unreadable.values():
            if isinstance(error, MediaError):
                raise error

    def gone(self, entries: Iterable[Entry]) -> dict[Path, str]:
        """Receipts that were kept by what the ledger says, and are not here now, with a line on each.

        Lines of older versions name the file only. A file that is there and does not count is told by
        `unreadable`.
        """
        sums = {each.sha256 for each in self.receipts}
        names = {each.path.name for each in self.receipts}
        found: dict[Path, str] = {}
        told = {path.name for path in self.unreadable}
        for entry in entries:
            path, sha256 = entry.details.get("receipt"), entry.details.get("receipt_sha256")
            if entry.event not in ("load", "receipt") or not isinstance(path, str):
                continue
            name = Path(path).name
            if name not in told and (sha256 not in sums if sha256 else name not in names):
                line = f"a receipt of {entry.title} is gone: {path} (line {entry.seq} of the ledger)"
                found[Path(path)] = line
        return found


def read_file(path: Path) -> bytes:
    """A file of at most 16 MiB, which may come from anywhere: no link is followed to it. Raises `UsageError`
    where nothing is.
    """
    if is_absent(path):
        raise UsageError("no such file", subject=path)
    with Folder(path.absolute().parent) as folder:
        return folder.read(path.name, MAX_ENVELOPE)
