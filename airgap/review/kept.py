"""What a site keeps of its transfers: the envelopes of bundles that it sealed, and receipts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from airgap.audit.receipt import Receipt
from airgap.bundle.files import Folder, is_absent
from airgap.bundle.statement import Statement
from airgap.errors import AirgapError, UsageError
from airgap.oci.digest import Digest
from airgap.site import Site
from airgap.trust.envelope import MAX_ENVELOPE, Envelope


@dataclass(frozen=True, slots=True)
class Sealed:
    """A bundle that was sealed here."""

    statement: Statement
    statement_sha256: str
    path: Path
    """Of its envelope's copy."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a copy that this site has made. Raises `FormatError`; its signatures are not checked again."""
        envelope = Envelope.parse(read_file(path), str(path))
        statement = Statement.parse(envelope.payload, str(path))
        return cls(statement, Digest.of(envelope.payload).hex, path)


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A receipt of a load here, or one that came back from another site and was proved then."""

    receipt: Receipt
    path: Path

    @classmethod
    def read(cls, path: Path) -> Self:
        """From this site's own folder. Raises `FormatError`; its signature is not checked again."""
        return cls(Receipt.parse(Envelope.parse(read_file(path), str(path)).payload, str(path)), path)

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
    """Files that are not as they were written; none of the others is doubted for them."""

    @classmethod
    def of(cls, site: Site) -> Self:
        """What is in the folders of `site` now."""
        unreadable: dict[Path, AirgapError] = {}
        sealed, receipts = [], []
        for path in site.kept_envelopes():
            try:
                sealed.append(Sealed.read(path))
            except AirgapError as error:
                unreadable[path] = error
        for path in site.kept_receipts():
            try:
                receipts.append(KeptReceipt.read(path))
            except AirgapError as error:
                unreadable[path] = error
        sealed.sort(key=lambda each: (each.statement.created, each.statement.title))
        receipts.sort(key=lambda each: (each.receipt.time, str(each.path)))
        return cls(tuple(sealed), tuple(receipts), unreadable)

    def find(self, stream: str, serial: int, statement_sha256: str) -> Sealed | None:
        """The bundle that a receipt speaks of, if it was sealed here just so."""
        for each in self.sealed:
            found = (each.statement.stream, each.statement.serial, each.statement_sha256)
            if found == (stream, serial, statement_sha256):
                return each
        return None


def read_file(path: Path) -> bytes:
    """A file of at most 16 MiB, which may come from anywhere: no link is followed to it. Raises `UsageError`
    where nothing is.
    """
    if is_absent(path):
        raise UsageError("no such file", subject=path)
    with Folder(path.absolute().parent) as folder:
        return folder.read(path.name, MAX_ENVELOPE)
