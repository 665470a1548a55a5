"""Set up a sending site: keys, the first trust root, and the ledger's first record."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from airgap.durable import exists
from airgap.errors import UsageError
from airgap.site import Site
from airgap.trust.change import ROOT_LIFETIME
from airgap.trust.envelope import ROOT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from airgap.trust.root import SignedRoot, new_root


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


def set_up(
    home: Path, owner: str, name: str, *, algorithm: str, passphrase: Callable[[], bytes], now: datetime
) -> MadeSite:
    """Set up the site at `home`, or finish it after an interruption.

    Raises `UsageError` when the site already has a trust root, as others rely on that.
    """
    site = Site.create(home, name)
    if site.roots():
        raise UsageError(
            "this site is already set up",
            subject=home,
            hint="show its root and keys with `airgap trust show`",
        )
    with site.ledger().attempt("trust-change", change="init", owner=owner) as attempt:
        path = site.key_path(owner)
        if exists(path):
            key = SigningKey.load(path, passphrase)
        else:
            key = SigningKey.generate(algorithm)
            site.add_key(owner, key, passphrase())
        root = new_root(owner, key.public_key, name, site.key.public_key, expires=now + ROOT_LIFETIME)
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
    )
