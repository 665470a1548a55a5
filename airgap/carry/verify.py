"""Verify a bundle in the order of FORMAT.md §7, with its step numbers.

    1  read the envelope once, up to a limit                                  `read_envelope`
    2  decode it strictly                                                     `read_envelope`
    3  follow the trust roots from the installed one, and keep each           `_walk_roots`
    4  check the signatures over the received bytes                           `authenticate`
    5  check the type of the payload                                          `read_statement`
    6  compare the payload with statement.json, and only then parse it        `read_statement`
    7  check that the bundle is not recalled, is for this site, now, and not
       older than what was accepted, and that its keys are not revoked        `check_receiver`, `verify`
    8  check that exactly the listed files exist                              `check_files`
    9  check the small files, and that they agree on the images               `SmallFilesCheck.images`
    10 check each blob while it is read                                       `open_blob`, `verify_content`

Everything is checked before it is used, and the first failure ends the verification. No socket is opened.
`verify` does steps 1 to 9, and `check` does the same without step 7, except that it refuses recalled bundles.
Step 10 is done where the blobs are read: by `CheckedBundle.open_blob` for one blob, and by `verify_content`
for all of them.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field, fields, replace
from pathlib import Path

from airgap.bundle.contents import ENVELOPE_FILE, STATEMENT_FILE, signature_file
from airgap.bundle.damage import raise_all
from airgap.bundle.files import BUNDLE_FOLDERS, Files, SeekableStream, unlisted
from airgap.bundle.statement import Requirement, Statement
from airgap.carry.recalled import check_recalled
from airgap.carry.receiver import Receiver, check_receiver
from airgap.carry.rollback import left_fork
from airgap.carry.verify_small_files import SmallFilesCheck, VerifiedImage
from airgap.errors import (
    DigestMismatchError,
    IncompleteError,
    IntegrityError,
    MissingContentError,
    TrustError,
    UnknownKeyError,
    UnlistedContentError,
)
from airgap.limits import MAX_BUNDLE_FILES, MAX_ENVELOPE_BYTES, MAX_ROOT_STEPS, MAX_STATEMENT_BYTES
from airgap.oci.digest import CheckedReader, Digest, copy
from airgap.oci.documents import Descriptor
from airgap.progress import Progress, phase_unless
from airgap.site import Mark
from airgap.trust.envelope import STATEMENT_TYPE, Envelope, Signature
from airgap.trust.policy import SignatureVerdict, check_revocations, check_signatures, check_signatures_so_far
from airgap.trust.root import SignedRoot, TrustRoot
from airgap.values import dataclass
from airgap.workers import errors_of, run_all

REPAIR_HINT = (
    "write the damaged files again with `airgap repair` from another copy, or with `airgap pack` "
    "on the sending side"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBundle:
    """A bundle that passed steps 1 to 6, 8 and 9: authentic and complete, except that blobs are not read yet.
    Of step 7, only the recall is checked, so it may be for another site, expired, or signed by a revoked key:
    it may be sent, copied and repaired, but not loaded.
    """

    folder: Files
    statement: Statement
    statement_sha256: str
    verdict: SignatureVerdict
    newer_roots: tuple[SignedRoot, ...]
    """Trust roots in the bundle that follow from the installed one."""
    images: tuple[VerifiedImage, ...]
    sizes: Mapping[str, int] = field(hash=False)
    """The size in bytes of each file that the statement lists, by name."""
    envelope: Envelope
    sender: str = ""
    """The sender under whose root it was verified; empty if the site has only one."""

    def open_blob(self, descriptor: Descriptor) -> CheckedReader:
        """Do step 10 for one blob: return its content, which is checked before the last byte is read."""
        name = descriptor.digest.path
        subject = self.folder.where(name)
        if name not in self.statement.subjects:
            raise IncompleteError("the bundle leaves this blob out", subject=descriptor.digest)
        reader = CheckedReader(self.folder.open(name), descriptor.digest, descriptor.size, subject)
        listed = Digest("sha256", self.statement.subjects[name])
        if listed == descriptor.digest:
            return reader
        return CheckedReader(reader, listed, descriptor.size, subject)

    def read(self, name: str, limit: int) -> bytes:
        """Read a listed small file and check it. Raises `SizeMismatchError` for more than `limit` bytes."""
        return SmallFilesCheck(self.folder, self.statement, self.sizes).read(name, limit)

    @property
    def blobs(self) -> dict[Digest, Descriptor]:
        """The blobs in the bundle, without those that a delta leaves out."""
        blobs = {d: blob for image in self.images for d, blob in image.graph.contents.items()}
        return {digest: blob for digest, blob in blobs.items() if digest.path in self.sizes}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedBundle(CheckedBundle):
    """A bundle that passed steps 1 to 9. Only `verify` makes one."""

    mark: Mark | None
    """The site's high-water mark before this bundle."""
    bases: tuple["VerifiedBundle", ...] = ()
    """Older bundles of the stream that have content which this one leaves out."""

    def with_bases(self, bases: Iterable["VerifiedBundle"]) -> "VerifiedBundle":
        """Return the bundle with the content of older ones. Only content counts: their names do not."""
        return replace(self, bases=tuple(bases))

    @property
    def left_out(self) -> tuple[Requirement, ...]:
        """The blobs that neither the bundle nor one of its bases has."""
        requires = self.statement.requires
        return tuple(blob for blob in requires if blob.digest.path not in self._holder(blob.digest).sizes)

    def open_blob(self, descriptor: Descriptor) -> CheckedReader:
        """Step 10 for one blob, of the bundle or of one of its bases."""
        return CheckedBundle.open_blob(self._holder(descriptor.digest), descriptor)

    def open_unchecked(self, digest: Digest) -> SeekableStream:
        """Open a blob, of the bundle or of one of its bases, whose digest the caller checks."""
        return self._holder(digest).folder.open(digest.path)

    def _holder(self, digest: Digest) -> "VerifiedBundle":
        return next((bundle for bundle in (self, *self.bases) if digest.path in bundle.sizes), self)

    @property
    def repeat(self) -> bool:
        """Whether this site has accepted exactly this bundle before."""
        return self.mark is not None and self.mark.statement_sha256 == self.statement_sha256

    @property
    def missed(self) -> int:
        """The number of bundles of the stream between the last accepted one and this one."""
        statement, mark = self.statement, self.mark
        if mark is None or mark.epoch != statement.epoch:
            return 0
        return max(0, statement.serial - mark.serial - 1)

    @property
    def left_fork(self) -> str | None:
        """The warning of `rollback.left_fork`, or None."""
        return left_fork(self.statement, self.mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """A statement that passed steps 1 to 6: it has the required signatures. It is not checked yet whether the
    files are right, nor whether the bundle is for this site now.
    """

    statement: Statement
    sha256: str
    verdict: SignatureVerdict
    root: TrustRoot
    newer_roots: tuple[SignedRoot, ...]
    envelope: Envelope
    sender: str = ""
    """The sender under whose root it was verified; empty if the site has only one."""


def authenticate(folder: Files, receiver: Receiver) -> Authenticated:
    """Do steps 1 to 6."""
    # 1, 2: read the envelope once, up to a limit, and decode it strictly.
    envelope = read_envelope(folder)
    # 3: follow the chain of trust roots from the installed one.
    newer = _walk_roots(folder, receiver)
    root = (newer[-1] if newer else receiver.root).root
    # 4: check the signatures over the received bytes.
    rule = check_signatures_so_far if receiver.partly else check_signatures
    try:
        verdict = rule(envelope, root, "release", receiver.now, folder.where(ENVELOPE_FILE))
    except UnknownKeyError as error:
        if receiver.senders:
            error.hint = (
                f"it is of no sender that this site knows: {', '.join(receiver.senders)}; "
                "`airgap trust install BUNDLE --sender NAME --names PATTERN` adds one"
            )
        raise
    # 5, 6: check the type of the payload, compare it with statement.json, and only then parse it.
    statement, sha256 = read_statement(folder, envelope)
    return Authenticated(
        statement=statement,
        sha256=sha256,
        verdict=verdict,
        root=root,
        newer_roots=tuple(newer),
        envelope=envelope,
        sender=receiver.sender,
    )


def read_statement(folder: Files, envelope: Envelope) -> tuple[Statement, str]:
    """Do steps 5 and 6; return the statement and its SHA-256. The signatures are not checked here."""
    if envelope.payload_type != STATEMENT_TYPE:
        raise TrustError(
            "unexpected payload type", subject=ENVELOPE_FILE, want=STATEMENT_TYPE, got=envelope.payload_type
        )
    sha256 = Digest.of(envelope.payload).hex
    # the file is what stock tools check
    if folder.read(STATEMENT_FILE, MAX_STATEMENT_BYTES) != envelope.payload:
        subject = folder.where(STATEMENT_FILE)
        raise DigestMismatchError(
            "not the statement that was signed", subject=subject, want=f"sha256:{sha256}"
        )
    return Statement.parse(envelope.payload), sha256


def check(folder: Files, receiver: Receiver) -> CheckedBundle:
    """Do steps 1 to 6, 8 and 9. A recalled bundle is refused here too, so that it is not passed on."""
    authenticated = authenticate(folder, receiver)
    if not receiver.recalled_too:
        statement, sha256 = authenticated.statement, authenticated.sha256
        check_recalled(statement, sha256, authenticated.root, receiver.find_loaded)
    return _check(folder, authenticated, authenticated.verdict)


def verify(folder: Files, receiver: Receiver) -> VerifiedBundle:
    """Do steps 1 to 9. Raises the error of the first step that fails. Only the blobs are still unchecked
    afterwards.
    """
    authenticated = authenticate(folder, receiver)
    # 7: the bundle is for this site, now, and not older than what was accepted.
    mark = receiver.mark(authenticated.statement.stream)
    statement, sha256 = authenticated.statement, authenticated.sha256
    check_receiver(statement, sha256, authenticated.root, receiver, mark)
    verdict = check_revocations(authenticated.verdict, authenticated.root, statement.serial, sha256)
    checked = _check(folder, authenticated, verdict)
    proved = {field.name: getattr(checked, field.name) for field in fields(CheckedBundle)}
    return VerifiedBundle(**proved, mark=mark)


def _check(folder: Files, authenticated: Authenticated, verdict: SignatureVerdict) -> CheckedBundle:
    try:
        # 8: exactly the listed files exist, and the signature files equal the envelope's signatures.
        sizes = check_files(folder, authenticated.statement.subjects, authenticated.envelope.signatures)
        # 9: check the small files, and that they agree on the images.
        images = SmallFilesCheck(folder, authenticated.statement, sizes).images()
    except UnlistedContentError:  # another copy cannot repair an additional file
        raise
    except IntegrityError as error:
        error.hint = error.hint or REPAIR_HINT
        raise
    return CheckedBundle(
        folder=folder,
        statement=authenticated.statement,
        statement_sha256=authenticated.sha256,
        verdict=verdict,
        newer_roots=authenticated.newer_roots,
        images=images,
        sizes=sizes,
        envelope=authenticated.envelope,
        sender=authenticated.sender,
    )


def read_envelope(folder: Files) -> Envelope:
    """Do steps 1 and 2. Raises `IncompleteError` for a folder without an envelope."""
    try:
        raw = folder.read(ENVELOPE_FILE, MAX_ENVELOPE_BYTES)
    except MissingContentError as error:
        raise IncompleteError(
            f"not a finished bundle (no {ENVELOPE_FILE})",
            subject=folder.path,
            hint=_bundles_below(folder.path) or _FINISH,
        ) from error
    return Envelope.parse(raw, ENVELOPE_FILE)


_FINISH = (
    "run the `airgap pack` that began it again; if it is a copy, run the same `receive`, `repack` or `send` "
    "again, or repair it from another copy with `airgap repair`"
)


def _bundles_below(path: Path) -> str | None:
    """Return a hint that names the bundles in the folder, if it is the medium's folder and not a bundle's."""
    if not path.is_dir():
        return None
    below = sorted(envelope.parent for envelope in path.glob(f"*/{ENVELOPE_FILE}"))
    return f"give the folder of the bundle: {', '.join(map(str, below))}" if below else None


def _walk_roots(folder: Files, receiver: Receiver) -> list[SignedRoot]:
    """Return the roots in the bundle that follow from the installed one without a gap. Each is read only
    after the previous one is verified, so a folder full of other files costs no time. Each is kept before
    the next is read, even if the bundle is refused later (TUF 5.3.8).
    """
    newer: list[SignedRoot] = []
    last = receiver.root
    while len(newer) < MAX_ROOT_STEPS and folder.has(name := f"trust/{last.root.version + 1}.root.json"):
        last = last.successor(folder.read(name, MAX_ENVELOPE_BYTES), folder.where(name))
        receiver.keep(last)
        newer.append(last)
    return newer


def check_files(
    folder: Files,
    subjects: Collection[str],
    signatures: tuple[Signature, ...],
    envelope: str = ENVELOPE_FILE,
    folders: Collection[str] = BUNDLE_FOLDERS,
) -> dict[str, int]:
    """Do step 8: exactly the listed files exist, which are the `subjects`. Returns their sizes."""
    loose = {signature_file(signature.keyid, envelope): signature.sig for signature in signatures}
    expected = {*subjects, envelope, STATEMENT_FILE, *loose}
    sizes: dict[str, int] = {}
    for file in folder.files(folders):
        sizes[file.name] = file.size
        if len(sizes) > MAX_BUNDLE_FILES:
            raise UnlistedContentError(
                "too many files", subject=folder.path, want=f"at most {MAX_BUNDLE_FILES:,}"
            )
    _refuse_other_files(folder, sorted(set(sizes) - expected), sorted(expected - set(sizes)))
    for name, sig in loose.items():
        if sizes[name] != len(sig) or folder.read(name, len(sig)) != sig:
            raise DigestMismatchError("not the signature in the envelope", subject=folder.where(name))
    return {name: sizes[name] for name in subjects}


def _refuse_other_files(folder: Files, extra: Sequence[str], absent: Sequence[str]) -> None:
    """Raise an error for files that the statement does not list, or that are absent. If there are several,
    the error has all of them.
    """
    wrong: list[IntegrityError] = [unlisted("file", folder.where(name)) for name in extra]
    wrong += [MissingContentError("missing file", subject=folder.where(name)) for name in absent]
    kinds = ((len(extra), "unlisted"), (len(absent), "missing"))
    got = ", ".join(f"{count} {kind}" for count, kind in kinds if count)
    raise_all(wrong, "the files are not those that the statement lists", subject=folder.path, got=got)


def verify_content(bundle: CheckedBundle, progress: Progress, jobs: int) -> list[IntegrityError]:
    """Do step 10 for every blob of the bundle; return all errors, not only the first."""
    todo = sorted(bundle.blobs.values(), key=lambda blob: -blob.size)
    wrong: list[IntegrityError] = []
    with phase_unless(progress, "verifying", sum(blob.size for blob in todo), lambda: wrong) as advance:

        def check(blob: Descriptor) -> None:
            with contextlib.closing(bundle.open_blob(blob)) as reader:
                copy(reader, lambda _: None, advance)

        wrong += errors_of(IntegrityError, run_all(check, todo, jobs))
    return wrong
