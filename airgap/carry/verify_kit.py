"""Verify a kit with an installed airgap and this site's trust root, and copy it."""

import contextlib
import shutil
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from airgap import __version__
from airgap.advice import KIT
from airgap.bundle.contents import STATEMENT_FILE, SUMS_FILE, sha256sums, signature_file
from airgap.bundle.files import Folder, media_errors, write_stream
from airgap.carry.verify import check_files
from airgap.carry.verify_recorded import refuse_others
from airgap.errors import (
    DigestMismatchError,
    FormatError,
    IncompleteError,
    MediaError,
    MissingContentError,
    RollbackError,
    SizeMismatchError,
    TrustError,
    UsageError,
)
from airgap.kit.install import FOLDERS, KitError, place_of
from airgap.kit.statement import KIT_ENVELOPE_FILE, KitStatement
from airgap.limits import MAX_ENVELOPE_BYTES, MAX_KIT_STATEMENT_BYTES
from airgap.oci.digest import CHUNK, CheckedReader, Digest
from airgap.site import Site
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from airgap.trust.policy import SignatureVerdict, check_signatures
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class VerifiedKit:
    """A kit whose signatures and files are verified."""

    statement: KitStatement
    statement_sha256: str
    verdict: SignatureVerdict
    copy: Path | None
    """The folder with exactly the bytes that were checked."""


def verify_kit(
    path: Path, site: Site, now: datetime, *, allow_downgrade: bool = False, into: Path | None = None
) -> VerifiedKit:
    """Check the signatures, then the version, then the file set, then every byte, in a recorded attempt.

    With `into`, the checked bytes are written to a new folder in it, named after the kit, while they are
    read. Only that copy should be run: a medium may return different bytes when it is read again, and
    without `into`, a later read proves nothing. If the kit is refused, no copy is left.

    The kit is signed with keys that may sign bundles. Its signatures have no time and no place in a stream,
    so it is only required not to be older than this airgap. The installer in the kit checks that too, but
    the installer of an old kit may not, so this check is the one that counts.
    """
    refuse_others(path, KIT)
    ledger, words = site.ledger(), {"path": str(path.absolute()), "allow_downgrade": allow_downgrade}
    words |= {} if into is None else {"into": str(into.absolute())}
    with ledger.attempt("kit-verify", **words) as attempt, Folder(path) as folder:
        envelope = _envelope(folder)
        verdict = check_signatures(
            envelope, site.root().root, "release", now, folder.where(KIT_ENVELOPE_FILE)
        )
        if envelope.payload_type != STATEMENT_TYPE:
            want, got = STATEMENT_TYPE, envelope.payload_type
            raise TrustError("unexpected payload type", subject=KIT_ENVELOPE_FILE, want=want, got=got)
        sha256 = Digest.of(envelope.payload).hex
        attempt.add(statement_sha256=sha256, keys=list(verdict.keyids))
        if folder.read(STATEMENT_FILE, MAX_KIT_STATEMENT_BYTES) != envelope.payload:
            subject = folder.where(STATEMENT_FILE)
            raise DigestMismatchError("not the statement that was signed", subject=subject, want=sha256)
        statement = KitStatement.parse(envelope.payload)
        if not allow_downgrade:
            _refuse_older(statement)
        copy = None if into is None else into / statement.title
        with _new_folder(copy):
            _check_files(folder, statement, envelope, copy)
        return VerifiedKit(statement, sha256, verdict, copy)


def _envelope(folder: Folder) -> Envelope:
    try:
        raw = folder.read(KIT_ENVELOPE_FILE, MAX_ENVELOPE_BYTES)
    except MissingContentError as error:
        raise IncompleteError(f"not a finished kit (no {KIT_ENVELOPE_FILE})", subject=folder.path) from error
    return Envelope.parse(raw, KIT_ENVELOPE_FILE)


def _refuse_older(statement: KitStatement) -> None:
    try:
        older = place_of(statement.version) < place_of(__version__)
    except KitError as error:
        raise FormatError(str(error), subject=statement.title) from error
    if older:
        raise RollbackError(
            "the kit is older than this airgap",
            subject=statement.title,
            want=f"airgap {__version__} or later",
            got=statement.version,
            hint="an older airgap may lack checks; to accept it, use --allow-downgrade, as in install.sh",
        )


@contextlib.contextmanager
def _new_folder(path: Path | None) -> Iterator[None]:
    """Make a folder that only this user can write to; remove it if the block raises."""
    if path is None:
        yield
        return
    try:
        with media_errors("cannot write", path):
            path.mkdir(0o700)
    except MediaError as error:
        if isinstance(error.__cause__, FileExistsError):
            raise UsageError(
                "already exists",
                subject=path,
                want="a new folder",
                hint="remove it, or choose another --into",
            ) from error
        raise
    try:
        yield
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _check_files(folder: Folder, statement: KitStatement, envelope: Envelope, copy: Path | None) -> None:
    """Check that exactly the listed files exist, with the right digests, and check the installer's list."""
    sizes = check_files(folder, statement.subjects, envelope.signatures, KIT_ENVELOPE_FILE, FOLDERS)
    if (total := sum(sizes.values())) != statement.total_bytes:
        want, got = f"{statement.total_bytes:,} bytes", f"{total:,}"
        raise SizeMismatchError("wrong total size of the files", subject=folder.path, want=want, got=got)
    for name, sha256 in statement.subjects.items():
        chunks = _checked(folder, name, sha256, sizes[name])
        if copy is None:
            deque(chunks, maxlen=0)
        else:
            write_stream(copy / name, chunks)
    sums = sha256sums({name: sha256 for name, sha256 in statement.subjects.items() if name != SUMS_FILE})
    if Digest.of(sums).hex != statement.subjects.get(SUMS_FILE):
        raise DigestMismatchError("not the signed checksums", subject=folder.where(SUMS_FILE))
    if copy is not None:
        loose = {signature_file(sig.keyid, KIT_ENVELOPE_FILE): sig.sig for sig in envelope.signatures}
        written = {STATEMENT_FILE: envelope.payload, **loose, KIT_ENVELOPE_FILE: envelope.to_bytes()}
        for name, raw in written.items():
            write_stream(copy / name, [raw])


def _checked(folder: Folder, name: str, sha256: str, size: int) -> Iterator[bytes]:
    """Yield the content of a file in chunks. Raises before the last one if the size or digest is wrong."""
    buffer = memoryview(bytearray(CHUNK))
    with contextlib.closing(
        CheckedReader(folder.open(name), Digest("sha256", sha256), size, folder.where(name))
    ) as reader:
        while count := reader.readinto(buffer):
            yield bytes(buffer[:count])
