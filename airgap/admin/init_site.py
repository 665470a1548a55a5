"""Set up a sending site: keys, the first trust root, and the ledger's first record."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from airgap.durable import exists
from airgap.errors import UsageError
from airgap.site import Site
from airgap.trust.change import ROOT_LIFETIME
from airgap.trust.envelope import ROOT_TYPE, Envelope
from airgap.trust.keys import PublicKey, SigningKey
from airgap.trust.root import SignedRoot, new_root
from airgap.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeSite:
    """The site that `set_up` made, with what a person needs to know about it."""

    site: str
    home: Path
    owner: str
    key_path: Path
    keyid: str
    root_path: Path
    fingerprint: str
    spare: Path | None
    """The file of the spare key, if one was asked for."""


def set_up(
    home: Path,
    owner: str,
    name: str,
    *,
    algorithm: str,
    passphrase: Callable[[], bytes],
    now: datetime,
    spare: Path | None = None,
    spare_passphrase: Callable[[], bytes] | None = None,
) -> MadeSite:
    """Set up the site at `home`, or finish it after an interruption.

    `spare` is a new file outside `home` for a second key of the owner, which may sign trust roots; its
    passphrase is by default the same. Raises `UsageError` when the site already has a trust root, as others
    rely on that.
    """
    site = Site.create(home, name)
    if site.roots():
        hint = "show its root and keys with `airgap trust show`"
        raise UsageError("this site is already set up", subject=home, hint=hint)
    with site.ledger().attempt("trust-change", change="init", owner=owner) as attempt:
        path = site.key_path(owner)
        if exists(path):
            key = SigningKey.load(path, passphrase)
        else:
            key = SigningKey.generate(algorithm)
            site.add_key(owner, key, passphrase())
        kept = _spare_key(spare, algorithm, spare_passphrase or passphrase) if spare else None
        own, ends = site.key.public_key, now + ROOT_LIFETIME
        root = new_root(owner, key.public_key, name, own, expires=ends, spare=kept)
        raw = Envelope.sign(ROOT_TYPE, root.to_bytes(), [key]).to_bytes()
        signed = SignedRoot.parse(raw, "1.root.json")
        site.install_root(signed)
        attempt.add(root_version=1, fingerprint=signed.fingerprint, keys=[key.public_key.keyid])
    return MadeSite(
        site=name,
        home=home,
        owner=owner,
        key_path=path,
        keyid=key.public_key.keyid,
        root_path=home / "trust" / "1.root.json",
        fingerprint=signed.fingerprint,
        spare=spare,
    )


def _spare_key(path: Path, algorithm: str, passphrase: Callable[[], bytes]) -> PublicKey:
    """Make the spare key, or read it if an interrupted run has made it already."""
    if exists(path):
        return SigningKey.load(path, passphrase).public_key
    key = SigningKey.generate(algorithm)
    key.save(path, passphrase())
    return key.public_key
