"""Add a signature to a sealed bundle. A signature vouches for the content, so every byte is checked first."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from airgap.bundle.contents import ENVELOPE_FILE, signature_file
from airgap.bundle.files import Folder, media_errors
from airgap.bundle.locks import claimed
from airgap.bundle.volumes import BundleLocation, open_bundle, paths_of
from airgap.bundle.writer import add_signature
from airgap.carry.operator import Operator
from airgap.carry.receiver import check_root_named
from airgap.carry.verify import CheckedBundle, check, verify_content
from airgap.carry.verify_recorded import bundle_attempt, bundle_details, keeper, raise_wrong
from airgap.durable import sync_folder
from airgap.errors import ExpiredError, IncompleteError, MissingContentError, UnknownKeyError, UsageError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.times import format_time
from airgap.trust.envelope import Envelope
from airgap.trust.keys import Signer
from airgap.trust.policy import check_revocations, check_signatures_so_far, lacks
from airgap.trust.root import TrustRoot
from airgap.values import dataclass

Agree = Callable[[CheckedBundle, TrustRoot], None]
"""Shows a person the bundle that is to be signed, with the root that counts, and raises unless they agree."""


def _agreed(_: CheckedBundle, __: TrustRoot) -> None:
    """The `Agree` of a caller that has decided."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A bundle that has the signature."""

    bundle: CheckedBundle
    owners: tuple[str, ...]
    """The owners of its signatures."""
    wanted: str | None
    """Which signatures it still needs before it can be loaded; None if it has enough."""
    fresh: bool
    """False if the bundle already had this signature."""


def sign(location: BundleLocation, signer: Signer, operator: Operator, agree: Agree = _agreed) -> Signed:
    """Check the whole bundle, whichever site it is for, and add one signature, on every volume. `agree` is
    called before all bytes are read, unless the bundle has the signature.

    After an interruption, a second run finishes the work. Raises `UsageError` for a tar, `UnknownKeyError`
    for a key that may not sign bundles now, `ExpiredError` for an expired bundle, and the errors of the
    bundle, such as signatures that do not count.
    """
    paths = paths_of(location)
    keyid = signer.public_key.keyid
    with bundle_attempt(location, operator.site, "sign", key=keyid) as attempt:
        _refuse_tar(paths)
        with open_bundle(location):  # lock nothing in a path that is not a bundle
            pass
        with claimed(paths):
            _finish(paths, signer)
            who = replace(keeper(operator.site, operator.now), partly=True)
            with open_bundle(location) as folder:
                bundle = check(folder, who)
                attempt.add(**bundle_details(bundle))
                root = (bundle.newer_roots[-1] if bundle.newer_roots else who.root).root
                _refuse(bundle, signer, root, operator)
                fresh = keyid not in bundle.verdict.keyids
                if fresh:
                    agree(bundle, root)
                signers = ", ".join(bundle.verdict.signers)
                operator.progress.note(f"signed so far by {signers}; this is {root.key_title(keyid)}")
                wrong = verify_content(bundle, operator.progress, operator.jobs)
                raise_wrong(wrong, folder.path)
            envelope = bundle.envelope.with_signature(signer) if fresh else bundle.envelope
            if fresh:
                add_signature(paths, envelope.to_bytes(), keyid, envelope.raw_signatures[keyid])
        verdict = check_signatures_so_far(envelope, root, "release", operator.now)
        attempt.add(owners=list(verdict.owners), fresh=fresh)
        return Signed(bundle, verdict.owners, lacks(verdict, root), fresh)


def _refuse_tar(paths: Sequence[Path]) -> None:
    if any(path.is_file() for path in paths):
        raise UsageError(
            "a tar cannot be signed",
            subject=paths[0],
            want="a folder, or the folders of all volumes",
            hint="make a folder of it, with the same signatures: `airgap repack TAR --to DIR`",
        )


def _refuse(bundle: CheckedBundle, signer: Signer, root: TrustRoot, operator: Operator) -> None:
    statement, key = bundle.statement, signer.public_key
    check_root_named(statement, root)
    check_revocations(bundle.verdict, root, statement.serial, bundle.statement_sha256)
    entry = root.keys.get(key.keyid)
    if (
        entry is None
        or key.keyid not in root.roles["release"].keyids
        or key.keyid in root.revoked
        or not entry.counts_at(operator.now)
    ):
        raise UnknownKeyError(
            "this key may not sign bundles now",
            subject=f"{entry.owner} {key.keyid}" if entry else key.keyid,
            want=f"a key with the role release in {root.name}",
            hint="`airgap trust show` lists the keys that may sign bundles; `airgap trust add` on the "
            "sending side adds one",
        )
    if statement.expires <= operator.now:
        raise ExpiredError(
            "the bundle has expired",
            subject=statement.title,
            want=f"before {format_time(statement.expires)}",
            got=format_time(operator.now),
            hint="pack it again",
        )


def _finish(paths: Sequence[Path], signer: Signer) -> None:
    """Finish this signer's interrupted signature. If another signer was interrupted, the later check refuses
    what was left behind.
    """
    key = signer.public_key
    envelopes = {path: _envelope(path) for path in paths}
    for path in paths:  # readers refuse partial files in a sealed bundle
        for name in (signature_file(key.keyid), ENVELOPE_FILE):
            _remove(path / f"{name}.part")
    best = max(envelopes.values(), key=lambda envelope: len(envelope.signatures))
    own = [s for s in best.signatures if s.keyid == key.keyid and key.verify(best.message, s.sig)]
    if not own:
        for path in paths:
            _remove(path / signature_file(key.keyid))
        return
    before = (best.message, tuple(other for other in best.signatures if other not in own))
    behind = [path for path, other in envelopes.items() if (other.message, other.signatures) == before]
    add_signature(behind, best.to_bytes(), key.keyid, best.raw_signatures[key.keyid])


def _envelope(path: Path) -> Envelope:
    with Folder(path) as folder:
        try:
            return Envelope.parse(folder.read(ENVELOPE_FILE, MAX_ENVELOPE_BYTES), folder.where(ENVELOPE_FILE))
        except MissingContentError as error:
            raise IncompleteError(
                f"not a finished bundle (no {ENVELOPE_FILE})",
                subject=path,
                hint="finish the bundle with the command that began it, then sign it",
            ) from error


def _remove(path: Path) -> None:
    with media_errors("cannot remove", path):
        if path.is_file():
            path.unlink()
            sync_folder(path.parent)
