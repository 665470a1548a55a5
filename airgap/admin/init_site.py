"""Making a sending site: keys, the first trust root, and the ledger's first record."""

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


@dataclass(frozen=True, slots=True)
class MadeSite:
    """What `set_up` made, and what a person needs to know of it."""

    site: str
    home: Path
    owner: str
    key_path: Path
    keyid: str
    root_path: Path
    fingerprint: str


def set_up(
    home: Path,
    owner: str,
    name: str,
    *,
    algorithm: str,
    passphrase: Callable[[], bytes],
    now: datetime,
) -> MadeSite:
    """Make the site at `home`, or finish making it after an interruption.

    Raises `UsageError` when there is a trust root already: nothing that others rely on is replaced.
    """
    site = Site.create(home, name)
    if site.roots():
        raise UsageError(
            "this site is set up already", subject=home, hint="`airgap trust show` shows its root and keys"
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
        name,
        home,
        owner,
        path,
        key.public_key.keyid,
        home / "trust" / "1.root.json",
        signed.fingerprint,
    )
