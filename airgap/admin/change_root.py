"""Change the trust root: make the next version, sign it, and install it when it has enough signatures."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from airgap.audit.ledger import Attempt
from airgap.bundle.files import Folder, write_file
from airgap.durable import exists
from airgap.errors import KeyFileError, TrustError, UsageError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.site import Site
from airgap.trust.change import Change, describe_change, next_version
from airgap.trust.keys import PublicKey, Signer
from airgap.trust.policy import root_keys_suffice
from airgap.trust.proposal import Proposal
from airgap.trust.root import SignedRoot
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class Signers:
    """The keys of this site that sign: the named ones, else all that may, as far as they are needed."""

    names: Sequence[str]
    key: Callable[[Site, str], Signer]
    """Returns the key of the site with this name. Its passphrase is asked when it signs."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The result of a change."""

    proposal: Proposal
    lines: tuple[str, ...]
    """The differences, for people."""
    path: Path
    """The installed root or, while signatures are missing, the proposal."""
    fingerprint: str | None
    """Fingerprint of the installed root; None while signatures are missing."""


def compare_keyid(key: PublicKey, owner: str, given_keyid: str | None) -> None:
    """Raise unless `given_keyid`, which a person got through another channel than the key, is its id."""
    if given_keyid is None:
        raise UsageError(
            "--keyid is missing", subject=owner,
            hint=f"ask {owner} for it (`airgap key list`), through another channel than the key",
        )  # fmt: skip
    given = "".join(given_keyid.lower().split()).replace(":", "")
    if len(given) != len(key.keyid):
        raise UsageError("not a key id", subject=owner, want=f"{len(key.keyid)} hex digits", got=len(given))
    if given != key.keyid:
        raise TrustError(
            "wrong key id", subject=owner, want=given, got=key.keyid,
            hint="the file is not the key of its owner: do not use it",
        )  # fmt: skip


def change_root(
    site: Site,
    what: str,
    change: Change,
    signers: Signers,
    *,
    now: datetime,
    proposal: Path | None,
    **details: object,
) -> Changed:
    """Make and sign the next version. It is installed when the keys of this site are enough; else it is
    written to `proposal`, by default `N.root.proposal.json` in the current folder, for others to sign. The
    ledger's record has `details` too.
    """
    with site.ledger().attempt("trust-change", change=what, **details) as attempt:
        old = site.root()
        new = next_version(old.root, change, now)
        attempt.add(root_version=new.version, changes=describe_change(old.root, new))
        path = proposal or Path(f"{new.version}.root.proposal.json")
        mine = _names(site, old.root.roles["root"].keyids, signers, ())
        if not mine:
            want = f"a key with the role root in {old.root.name}"
            keys = ", ".join(site.public_keys()) or "none"
            raise KeyFileError(
                "no key of this site may sign trust roots", subject=site.home, want=want, got=keys
            )
        eligible = old.root.roles["root"].keyids | new.roles["root"].keyids
        more = mine[1:] + _names(site, eligible, signers, mine)
        public = site.public_keys()
        present = {public[name].keyid for name in (mine[0], *more)}
        if exists(path) and not all(root_keys_suffice(root, present) for root in (old.root, new)):
            raise UsageError(
                "the file already exists",
                subject=path,
                hint="move it away, or choose another file with --proposal",
            )
        draft = _signed(Proposal.make(old, new, signers.key(site, mine[0])), site, more, signers)
        return _keep(draft, site, path, attempt)


def sign_root(site: Site, path: Path, signers: Signers, agree: Callable[[Proposal], None]) -> Changed:
    """Add a signature to the proposal at `path`, after `agree` has shown it to a person; install it when it
    is complete. The command can be repeated after the root was installed. Raises whatever `agree` raises.
    """
    with site.ledger().attempt("trust-change", change="sign", path=str(path)) as attempt:
        raw = _read(path)
        draft = Proposal.parse(raw, _root_before(raw, site), str(path))
        attempt.add(root_version=draft.new.version, changes=describe_change(draft.old.root, draft.new))
        names = _names(site, draft.eligible - draft.signers, signers, ())
        if draft.wants and not names:
            raise KeyFileError(
                "no key of this site can add a signature", subject=path,
                want=f"a key of {', '.join(draft.who)}",
                got=", ".join(site.public_keys()) or "none",
            )  # fmt: skip
        agree(draft)
        draft = _signed(draft, site, names, signers)
        if _read(path) != raw:
            raise TrustError(
                "the file has changed meanwhile", subject=path, hint="review it again with the same command"
            )
        write_file(path, draft.envelope.to_bytes())
        return _keep(draft, site, path, attempt)


def _root_before(raw: bytes, site: Site) -> SignedRoot:
    """Return the root that a proposal follows: the newest installed one, or the one before it when the
    proposal itself is the newest.
    """
    newest = site.root()
    before = site.roots().get(newest.root.version - 1)
    if raw != newest.raw or before is None:
        return newest
    return SignedRoot.parse(before, f"{newest.root.version - 1}.root.json")


def _read(path: Path) -> bytes:
    with Folder(path.absolute().parent) as folder:
        return folder.read(path.name, MAX_ENVELOPE_BYTES)


def _names(site: Site, keyids: frozenset[str], signers: Signers, done: Sequence[str]) -> list[str]:
    """Return the names of this site's keys that are in `keyids`, of the named signers if any, without those
    in `done`. Raises `KeyFileError` for a named signer that the site does not have.
    """
    keys = site.public_keys()
    for name in signers.names:
        if name not in keys:
            raise KeyFileError("no such key", subject=name, got=", ".join(keys) or "none")
    names = signers.names or list(keys)
    return [name for name in names if keys[name].keyid in keyids and name not in done]


def _signed(proposal: Proposal, site: Site, names: Sequence[str], signers: Signers) -> Proposal:
    for name in names:
        if proposal.wants:
            proposal = proposal.signed(signers.key(site, name))
    return proposal


def _keep(proposal: Proposal, site: Site, path: Path, attempt: Attempt) -> Changed:
    attempt.add(keys=sorted(proposal.signers), wants=list(proposal.wants))
    lines = tuple(describe_change(proposal.old.root, proposal.new))
    if proposal.wants:
        write_file(path, proposal.envelope.to_bytes())
        return Changed(proposal, lines, path, None)
    signed = proposal.complete()
    site.install_root(signed)
    attempt.add(fingerprint=signed.fingerprint)
    return Changed(
        proposal, lines, site.home / "trust" / f"{signed.root.version}.root.json", signed.fingerprint
    )
