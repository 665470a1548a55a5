"""Checking a kit by an airgap that is installed already, with the trust root of this site."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from airgap import __version__
from airgap.advice import KIT
from airgap.bundle.files import Folder
from airgap.bundle.seal import STATEMENT_FILE, SUMS_FILE
from airgap.bundle.views import sha256sums
from airgap.errors import (
    DigestMismatchError,
    FormatError,
    IncompleteError,
    MissingContentError,
    RollbackError,
    SizeMismatchError,
    TrustError,
)
from airgap.kit.install import FOLDERS, KitError, place_of
from airgap.kit.statement import ENVELOPE_FILE, MAX_STATEMENT, KitStatement
from airgap.oci.digest import Digest, copy
from airgap.offline.session import refuse_others
from airgap.offline.verify import check_files
from airgap.site import Site
from airgap.trust.envelope import MAX_ENVELOPE, STATEMENT_TYPE, Envelope
from airgap.trust.policy import Verdict, check_signatures


@dataclass(frozen=True, slots=True)
class VerifiedKit:
    """A kit whose signatures and files hold."""

    statement: KitStatement
    statement_sha256: str
    verdict: Verdict


def verify_kit(path: Path, site: Site, now: datetime, *, allow_downgrade: bool = False) -> VerifiedKit:
    """Signatures, then the version, then the file set, then every byte; the ledger has a record of it.

    The kit is signed by whoever may release bundles here. Its signatures carry no time and no place in a
    stream, so all that is asked is that it is not older than the airgap that asks. The installer in the
    kit asks too, but that of an old kit may not: here is where it counts.
    """
    refuse_others(path, KIT)
    ledger, words = site.ledger(), {"path": str(path.absolute()), "allow_downgrade": allow_downgrade}
    with ledger.attempt("kit-verify", **words) as attempt, Folder(path) as folder:
        envelope = _envelope(folder)
        verdict = check_signatures(envelope, site.root().root, "release", now, folder.where(ENVELOPE_FILE))
        if envelope.payload_type != STATEMENT_TYPE:
            want, got = STATEMENT_TYPE, envelope.payload_type
            raise TrustError("unexpected payload type", subject=ENVELOPE_FILE, want=want, got=got)
        sha256 = Digest.of(envelope.payload).hex
        attempt.add(statement_sha256=sha256, keys=list(verdict.keyids))
        if folder.read(STATEMENT_FILE, MAX_STATEMENT) != envelope.payload:
            subject = folder.where(STATEMENT_FILE)
            raise DigestMismatchError("not the statement that was signed", subject=subject, want=sha256)
        statement = KitStatement.parse(envelope.payload)
        if not allow_downgrade:
            _refuse_older(statement)
        _check_files(folder, statement, envelope)
        return VerifiedKit(statement, sha256, verdict)


def _envelope(folder: Folder) -> Envelope:
    try:
        raw = folder.read(ENVELOPE_FILE, MAX_ENVELOPE)
    except MissingContentError as error:
        raise IncompleteError(
            "unfinished kit, or none", subject=folder.path, want=ENVELOPE_FILE, got="no such file"
        ) from error
    return Envelope.parse(raw, ENVELOPE_FILE)


def _refuse_older(statement: KitStatement) -> None:
    try:
        older = place_of(statement.version) < place_of(__version__)
    except KitError as error:
        raise FormatError(str(error), subject=statement.title) from error
    if older:
        raise RollbackError(
            "older than the airgap that checks it",
            subject=statement.title,
            want=f"airgap {__version__} or later",
            got=statement.version,
            hint="an old one may lack checks; --allow-downgrade takes it all the same, as in install.sh",
        )


def _check_files(folder: Folder, statement: KitStatement, envelope: Envelope) -> None:
    """Exactly the files that are listed, each with its digest, and the list that the installer reads."""
    sizes = check_files(folder, statement, envelope.signatures, ENVELOPE_FILE, FOLDERS)
    if (total := sum(sizes.values())) != statement.total_bytes:
        want, got = f"{statement.total_bytes:,} bytes", f"{total:,}"
        raise SizeMismatchError("wrong size of all files", subject=folder.path, want=want, got=got)
    for name, sha256 in statement.subjects.items():
        _check_digest(folder, name, sha256)
    sums = sha256sums({name: sha256 for name, sha256 in statement.subjects.items() if name != SUMS_FILE})
    if Digest.of(sums).hex != statement.subjects.get(SUMS_FILE):
        raise DigestMismatchError("not the sums that were signed", subject=folder.where(SUMS_FILE))


def _check_digest(folder: Folder, name: str, sha256: str) -> None:
    want = Digest("sha256", sha256)
    hasher = want.hasher()
    with folder.open(name) as stream:
        copy(stream, hasher.update)
    if hasher.hexdigest() != sha256:
        got = f"sha256:{hasher.hexdigest()}"
        raise DigestMismatchError("wrong digest", subject=folder.where(name), want=want, got=got)
