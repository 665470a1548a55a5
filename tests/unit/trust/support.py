"""People with keys, and trust roots over them, for the tests of this package."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

from airgap.trust.envelope import ROOT_TYPE, STATEMENT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from airgap.trust.root import Role, RootKey, SignedRoot, TrustRoot

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1"}\n'


def key(name: str, algorithm: str = "ecdsa-p256") -> SigningKey:
    """The key called `name`, the same within one run."""
    return _key(name, algorithm)


@cache
def _key(name: str, algorithm: str) -> SigningKey:
    return SigningKey.generate(algorithm)


def keyid(name: str, algorithm: str = "ecdsa-p256") -> str:
    return key(name, algorithm).public_key.keyid


def role(*names: str, threshold: int = 1, distinct_owners: bool = False) -> Role:
    return Role(frozenset(keyid(name) for name in names), threshold, distinct_owners)


def make_root(
    *names: str,
    threshold: int = 1,
    distinct_owners: bool = False,
    owners: Mapping[str, str] | None = None,
    **fields: object,
) -> TrustRoot:
    """A root in which `names` sign bundles, `root` signs roots and `site` receipts.

    Who is not in `owners` owns the key that has the same name.
    """
    people = {**{name: name for name in (*names, "root", "site")}, **(owners or {})}
    root = TrustRoot(
        version=1,
        epoch=1,
        expires=NOW + 30 * DAY,
        keys={keyid(name): RootKey(key(name).public_key, owner) for name, owner in people.items()},
        roles={
            "root": role("root"),
            "release": role(*names, threshold=threshold, distinct_owners=distinct_owners),
            "receipt": role("site"),
        },
    )
    return replace(root, **fields)


def with_key(root: TrustRoot, name: str, **fields: object) -> TrustRoot:
    """`root` with changed fields of one key."""
    changed = replace(root.keys[keyid(name)], **fields)
    return replace(root, keys={**root.keys, keyid(name): changed})


def signed(*names: str, payload: bytes = PAYLOAD) -> Envelope:
    return Envelope.sign(STATEMENT_TYPE, payload, [key(name) for name in names])


def root_file(root: TrustRoot, *names: str) -> bytes:
    return Envelope.sign(ROOT_TYPE, root.to_bytes(), [key(name) for name in names]).to_bytes()


def signed_root(root: TrustRoot, *names: str) -> SignedRoot:
    return SignedRoot.parse(root_file(root, *names), "root.json")
