"""Reads what a bundle says of itself when nobody whom this site trusts has signed it.

It is for people who hold an unknown medium, and for nothing else: no root is kept, no file but the envelope
and the statement is read, and the result cannot be verified, loaded or copied (FORMAT.md §7.3).
"""

from airgap.bundle.files import Files
from airgap.bundle.statement import Statement
from airgap.carry.verify import read_envelope, read_statement
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class Claims:
    """What a bundle says of itself. Anybody may have written it."""

    statement: Statement
    sha256: str
    """Hex SHA-256 of the statement, which can be compared with the one that the sending side states."""
    keyids: tuple[str, ...]
    """The keys that it says have signed it."""


def read_claims(folder: Files) -> Claims:
    """Do steps 1, 2, 5 and 6 of the verification: everything but the signatures, with the same limits."""
    envelope = read_envelope(folder)
    statement, sha256 = read_statement(folder, envelope)
    return Claims(statement, sha256, tuple(signature.keyid for signature in envelope.signatures))
