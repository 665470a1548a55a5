"""The trust root as a document: which keys may sign what, with which thresholds.

Only the values and their JSON; `root.py` checks who signed such a document.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field
from datetime import datetime
from typing import Any, Self

from airgap.errors import FormatError
from airgap.limits import MAX_OWNER_CHARACTERS, MAX_ROOT_KEYS
from airgap.oci.strict_json import Fields, dump, parse_object
from airgap.times import format_time, parse_time
from airgap.trust.keys import ALGORITHMS, FAMILIES, PublicKey, is_of
from airgap.trust.recall import KEY as RECALLED
from airgap.trust.recall import Recall, check_recalls, parse_recalls
from airgap.values import dataclass

ROLES = ("root", "release", "receipt")
"""The roles: `root` signs trust roots, `release` signs bundles, `receipt` signs receipts."""


_KEYID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_OWNER = re.compile(r"[A-Za-z0-9](?: ?[A-Za-z0-9._@'-])*", re.ASCII)
_UNKNOWN = "a newer version of airgap may have written this root"


@dataclass(frozen=True, slots=True)
class RootKey:
    """A key, its owner, and the period (both ends included) in which its signatures count."""

    public_key: PublicKey
    owner: str
    not_before: datetime | None = None
    not_after: datetime | None = None

    def counts_at(self, now: datetime) -> bool:
        """Return whether `now` is within the key's validity period."""
        return (self.not_before is None or self.not_before <= now) and (
            self.not_after is None or now <= self.not_after
        )


@dataclass(frozen=True, slots=True)
class Role:
    """The keys that may sign, how many must sign, and whether they must belong to different owners."""

    keyids: frozenset[str]
    threshold: int
    distinct_owners: bool


@dataclass(frozen=True, slots=True)
class Revocation:
    """A key is void above serial `after_serial`, except for the statements in `accepted` (hex SHA-256).

    Serials belong to one stream. For a key that signs several streams, or with which a thief could sign "old"
    bundles, use `after_serial` 0 and the full list of accepted statements.
    """

    after_serial: int
    accepted: frozenset[str]


@dataclass(frozen=True, slots=True)
class ReceivingSite:
    """One side's identity: the keys that sign its receipts."""

    receipt_keyids: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRoot:
    """One version of the trust root. It is consistent, but not necessarily trusted.

    `require_algorithms` holds algorithms or families of `keys.FAMILIES`; `policy.check_signatures` explains
    them.
    """

    version: int
    epoch: int
    expires: datetime
    keys: Mapping[str, RootKey] = field(hash=False)
    roles: Mapping[str, Role] = field(hash=False)
    require_algorithms: tuple[str, ...] = ()
    revoked: Mapping[str, Revocation] = field(default_factory=dict, hash=False)
    sites: Mapping[str, ReceivingSite] = field(default_factory=dict, hash=False)
    recalled: tuple[Recall, ...] = ()
    """The bundles that must not be used any more, in the order of their SHA-256."""

    def __post_init__(self) -> None:
        _check_keys(self)
        _check_roles(self)
        _check_algorithms(self)
        _check_revocations(self)
        _check_sites(self)
        check_recalls(self.recalled, self.epoch, self.name)

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"trust root {self.version}"

    @classmethod
    def parse(cls, payload: bytes, where: str) -> Self:
        """Read the payload of a root's envelope. Raises `FormatError`, also for an unknown field."""
        fields = Fields(parse_object(payload, where, floats=False), where)
        version = fields.integer("version")
        epoch = fields.integer("epoch")
        expires = parse_time(fields.text("expires"), f"{where}: expires")
        keys = {keyid: _key(entry) for keyid, entry in _entries(fields, "keys")}
        roles = {name: _role(entry) for name, entry in _entries(fields, "roles")}
        required = fields.texts("require_algorithms")
        revoked = {keyid: _revocation(entry) for keyid, entry in _entries(fields, "revoked")}
        sites = {name: _site(entry) for name, entry in _entries(fields, "sites")}
        recalled = parse_recalls(fields, _UNKNOWN)
        fields.end(hint=_UNKNOWN)
        return cls(
            version=version,
            epoch=epoch,
            expires=expires,
            keys=keys,
            roles=roles,
            require_algorithms=required,
            revoked=revoked,
            sites=sites,
            recalled=recalled,
        )

    def to_bytes(self) -> bytes:
        """Return the canonical payload: equal roots give equal bytes; `parse` is the inverse."""
        return dump(
            {
                "version": self.version,
                "epoch": self.epoch,
                "expires": format_time(self.expires),
                "keys": {keyid: _key_json(key) for keyid, key in sorted(self.keys.items())},
                "roles": {name: _role_json(self.roles[name]) for name in ROLES},
                "require_algorithms": list(self.require_algorithms),
                "revoked": {
                    keyid: {"after_serial": revocation.after_serial, "accepted": sorted(revocation.accepted)}
                    for keyid, revocation in sorted(self.revoked.items())
                },
                "sites": {
                    name: {"receipt_keyids": sorted(site.receipt_keyids)}
                    for name, site in sorted(self.sites.items())
                },
                **({RECALLED: [recall.value for recall in self.recalled]} if self.recalled else {}),
            }
        )

    @property
    def signing_keyids(self) -> frozenset[str]:
        """The keys that sign trust roots or bundles, but not those that only sign receipts."""
        return self.roles["root"].keyids | self.roles["release"].keyids

    def recall_of(self, statement_sha256: str) -> Recall | None:
        """Return the recall of a statement, given its SHA-256 in hex; None if it is not recalled."""
        return next((r for r in self.recalled if r.statement_sha256 == statement_sha256), None)

    def owners(self, keyids: Iterable[str]) -> tuple[str, ...]:
        """Return the different owners of these keys, sorted. Names that look alike (`Eve`, `eve`) are one."""
        people = {skeleton(self.keys[keyid].owner): self.keys[keyid].owner for keyid in sorted(keyids)}
        return tuple(sorted(people.values()))

    def key_title(self, keyid: str) -> str:
        """Return the owner of a key and the first digits of its id, for people who decide on the key."""
        return f"{self.keys[keyid].owner} {keyid[:16]}" if keyid in self.keys else f"unknown key {keyid[:16]}"

    def missing_algorithms(self, keyids: Iterable[str]) -> tuple[str, ...]:
        """Return the entries of `require_algorithms` that none of these keys satisfies."""
        algorithms = {self.keys[keyid].public_key.algorithm for keyid in keyids}
        return tuple(
            demanded
            for demanded in self.require_algorithms
            if not any(is_of(algorithm, demanded) for algorithm in algorithms)
        )


def skeleton(name: str) -> str:
    """Return a form that is equal for two names that a reader could confuse; for comparison, never shown.

    Names of people and sites are ASCII, the restriction level "ASCII-Only" of Unicode TR39 §5.2: invisible
    characters, variation selectors and letters of other scripts cannot occur. What remains confusable within
    ASCII is mapped as in TR39 §4 (`0O`, `1lI`, `rn` and `m`, `vv` and `w`); case and punctuation are ignored.
    """
    letters = "".join(character for character in name.lower() if character.isalnum())
    return letters.translate(_LOOK_ALIKE).replace("rn", "m").replace("vv", "w")


_LOOK_ALIKE = str.maketrans("01i", "oll")


# -- reading ---------------------------------------------------------------------------------------


def _entries(fields: Fields, key: str) -> list[tuple[str, Fields]]:
    inner = fields.child(key)
    return [(name, inner.child(name)) for name in inner.keys()]  # noqa: SIM118  # a method, not a dict


def _key(fields: Fields) -> RootKey:
    key = PublicKey.from_pem(fields.text("pem"), fields.where)
    owner = fields.text("owner")
    not_before, not_after = (_optional_time(fields, name) for name in ("not_before", "not_after"))
    fields.end(hint=_UNKNOWN)
    return RootKey(key, owner, not_before, not_after)


def _optional_time(fields: Fields, name: str) -> datetime | None:
    text = fields.optional_text(name)
    return None if text is None else parse_time(text, f"{fields.where}: {name}")


def _role(fields: Fields) -> Role:
    role = Role(_set(fields, "keyids"), fields.integer("threshold"), fields.boolean("distinct_owners"))
    fields.end(hint=_UNKNOWN)
    return role


def _revocation(fields: Fields) -> Revocation:
    revocation = Revocation(fields.integer("after_serial"), _set(fields, "accepted"))
    fields.end(hint=_UNKNOWN)
    return revocation


def _site(fields: Fields) -> ReceivingSite:
    site = ReceivingSite(_set(fields, "receipt_keyids"))
    fields.end(hint=_UNKNOWN)
    return site


def _set(fields: Fields, key: str) -> frozenset[str]:
    """Return a list of 64-digit hex values, each once."""
    texts, where = fields.texts(key), f"{fields.where}: {key}"
    if len(set(texts)) < len(texts):
        raise FormatError("the same value twice", subject=where)
    _check_hex(texts, where)
    return frozenset(texts)


# -- writing ---------------------------------------------------------------------------------------


def _key_json(key: RootKey) -> dict[str, Any]:
    value = {"pem": key.public_key.pem, "owner": key.owner}
    if key.not_before is not None:
        value["not_before"] = format_time(key.not_before)
    if key.not_after is not None:
        value["not_after"] = format_time(key.not_after)
    return value


def _role_json(role: Role) -> dict[str, Any]:
    return {
        "keyids": sorted(role.keyids),
        "threshold": role.threshold,
        "distinct_owners": role.distinct_owners,
    }


# -- rules -----------------------------------------------------------------------------------------


def _check_hex(texts: Collection[str], where: str) -> None:
    for text in texts:
        if not _KEYID.fullmatch(text):
            raise FormatError("not an id", subject=where, want="64 lower-case hex digits", got=repr(text))


def _check_keys(root: TrustRoot) -> None:
    if root.version < 1 or not 1 <= len(root.keys) <= MAX_ROOT_KEYS:
        raise FormatError(
            "not a trust root", subject=root.name, want=f"version 1 or more, 1 to {MAX_ROOT_KEYS} keys",
            got=f"{len(root.keys)} keys",
        )  # fmt: skip
    for keyid, key in root.keys.items():
        where = f"{root.name}: key {keyid}"
        if key.public_key.keyid != keyid:
            raise FormatError(
                "the key id does not match the key", subject=where, want=key.public_key.keyid, got=keyid
            )
        if len(key.owner) > MAX_OWNER_CHARACTERS or not _OWNER.fullmatch(key.owner):
            raise FormatError(
                "not an owner's name",
                subject=where,
                want=f"at most {MAX_OWNER_CHARACTERS} ASCII letters, digits, single spaces, . _ @ ' -",
                got=repr(key.owner[:MAX_OWNER_CHARACTERS]),
                hint="write the name in ASCII letters: names that look alike must not count as two people",
            )
        if key.not_before and key.not_after and key.not_after < key.not_before:
            raise FormatError("not_after is before not_before", subject=where)
        _check_times(where, key.not_before, key.not_after)
    _check_times(root.name, root.expires)


def _check_times(where: str, *times: datetime | None) -> None:
    """Refuse times that `format_time` would not write unchanged."""
    for when in times:
        if when is not None and (when.utcoffset() is None or when.microsecond):
            raise FormatError("not a time in whole seconds with a zone", subject=where, got=when)


def _check_roles(root: TrustRoot) -> None:
    if set(root.roles) != set(ROLES):
        raise FormatError("wrong roles", subject=root.name, want=", ".join(ROLES), got=", ".join(root.roles))
    for name, role in root.roles.items():
        where = f"{root.name}: role {name}"
        _check_known(root, role.keyids, where)
        max_threshold = len(root.owners(role.keyids)) if role.distinct_owners else len(role.keyids)
        if not 1 <= role.threshold <= max_threshold:
            whose = "owners" if role.distinct_owners else "keys"
            raise FormatError(
                "the threshold cannot be met",
                subject=where,
                want=f"1 to {max_threshold} ({whose})",
                got=role.threshold,
            )


def _check_known(root: TrustRoot, keyids: Iterable[str], where: str) -> None:
    for keyid in sorted(keyids):
        if keyid not in root.keys:
            raise FormatError("the key is not listed in keys", subject=where, got=keyid)


def _check_algorithms(root: TrustRoot) -> None:
    where = f"{root.name}: require_algorithms"
    for demanded in root.require_algorithms:
        if demanded not in {*ALGORITHMS, *FAMILIES} or root.require_algorithms.count(demanded) > 1:
            known = ", ".join(dict.fromkeys((*FAMILIES, *ALGORITHMS)))
            raise FormatError("unknown or repeated algorithm", subject=where, want=known, got=repr(demanded))
    for name in ("root", "release"):
        if missing := root.missing_algorithms(root.roles[name].keyids):
            raise FormatError(
                "no key with a required algorithm", subject=f"{where}: role {name}", want=missing[0]
            )


def _check_revocations(root: TrustRoot) -> None:
    for keyid, revocation in root.revoked.items():
        where = f"{root.name}: revoked {keyid}"
        _check_hex((keyid, *revocation.accepted), where)
        if revocation.after_serial < 0:
            raise FormatError("negative after_serial", subject=where, got=revocation.after_serial)
        if keyid in root.roles["root"].keyids:
            raise FormatError("a revoked key may not sign trust roots", subject=where)


def _check_sites(root: TrustRoot) -> None:
    if len({skeleton(name) for name in root.sites}) < len(root.sites):
        raise FormatError("the names of two sites look alike", subject=root.name)
    for name, site in root.sites.items():
        where = f"{root.name}: site {name!r}"
        if not _SITE.fullmatch(name):
            raise FormatError("not a site name", subject=where, want="letters, digits, . _ -, at most 64")
        _check_known(root, site.receipt_keyids, where)
