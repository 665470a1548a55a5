"""What may become of a trust root in its next version, and how two versions differ (DESIGN §4). Rules only.

Each change gives the same version with other contents; `next_version` numbers it, after looking that
nobody is locked out by it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from airgap.errors import UsageError
from airgap.times import format_time
from airgap.trust.document import ROLES, Revocation, Role, RootKey, Site, TrustRoot
from airgap.trust.keys import PublicKey

Change = Callable[[TrustRoot], TrustRoot]

ROOT_LIFETIME = timedelta(days=730)
EXPIRES_SOON = timedelta(days=30)
"""How long before a root's end people are told of it."""

_SHORT = 16
"""Digits of a key id that messages show, and that people may name a key by."""


def next_version(old: TrustRoot, change: Change, now: datetime) -> TrustRoot:
    """The root that follows `old`. Raises `UsageError` for a change that changes nothing, and for one that
    leaves a role without enough keys that can act at `now`.
    """
    new = change(old)
    if new == old:
        raise UsageError("that would change nothing", subject=old.name)
    for name in ROLES:
        able = {keyid for keyid in new.roles[name].keyids if _can_act(new, keyid, now)}
        _refuse_lockout(new, name, new.roles[name], able)
    return replace(new, version=old.version + 1)


def expiry_warning(root: TrustRoot, now: datetime) -> str | None:
    """What to tell people whose root ends soon, or has ended."""
    if now < root.expires - EXPIRES_SOON:
        return None
    if now >= root.expires:
        return f"{root.name} has expired: `airgap trust rotate` makes the next one"
    days = (root.expires - now).days
    return f"{root.name} expires in {days} days: `airgap trust rotate` makes the next one"


def find_keys(root: TrustRoot, name: str) -> tuple[str, ...]:
    """The ids of the keys that a person means: all of an owner, or the one with this id or its first 16
    digits. Raises `UsageError` when there are none.
    """
    owned = tuple(sorted(keyid for keyid, key in root.keys.items() if key.owner == name))
    digits = name.lower()
    meant = [keyid for keyid in root.keys if len(digits) >= _SHORT and keyid.startswith(digits)]
    if owned or len(meant) == 1:
        return owned or tuple(meant)
    raise UsageError(
        "no such key in the trust root", subject=name, want="an owner, or a key id",
        got=", ".join(dict.fromkeys(key.owner for _, key in sorted(root.keys.items()))),
    )  # fmt: skip


# -- changes


def add_key(owner: str, key: PublicKey, roles: Iterable[str]) -> Change:
    """A person's key gets `roles`; it may be in the root already, with others."""

    def change(root: TrustRoot) -> TrustRoot:
        _refuse_unfit(root, owner, key)
        if key.keyid in root.roles["receipt"].keyids:
            raise UsageError(
                "a site's own key signs receipts and nothing else", subject=owner, got=key.keyid,
                hint="it is kept without a passphrase; `airgap key generate` makes a person's key",
            )  # fmt: skip
        keys = {key.keyid: RootKey(key, owner), **root.keys}
        return replace(root, keys=keys, roles=_with(root.roles, roles, key.keyid))

    return change


def add_site(name: str, key: PublicKey, *, own: str) -> Change:
    """A receiving site, whose `key` signs its receipts. `own` names the site that changes the root."""

    def change(root: TrustRoot) -> TrustRoot:
        if name == own:
            raise UsageError(
                "this site has that name itself", subject=name, want="another name for the receiving site",
                hint="receipts would not tell the two apart",
            )  # fmt: skip
        _refuse_unfit(root, name, key)
        if any(key.keyid in root.roles[role].keyids for role in ("root", "release")):
            raise UsageError("a person's key signs no receipts", subject=name, got=key.keyid)
        known = root.sites[name].receipt_keyids if name in root.sites else frozenset()
        return replace(
            root,
            keys={key.keyid: RootKey(key, name), **root.keys},
            roles=_with(root.roles, ["receipt"], key.keyid),
            sites={**root.sites, name: Site(known | {key.keyid})},
        )

    return change


def remove(name: str) -> Change:
    """The keys of an owner or a site, or one key, are gone: nothing that they sign counts, old or new."""

    def change(root: TrustRoot) -> TrustRoot:
        return _without(root, find_keys(root, name))

    return change


def revoke(name: str, after_serial: int, accepted: Iterable[str]) -> Change:
    """Keys are void above a serial, but for the statements `accepted` (hex SHA-256) now or before; they sign
    no trust roots any more.
    """

    def change(root: TrustRoot) -> TrustRoot:
        keyids = find_keys(root, name)
        for keyid in keyids:
            if keyid in root.revoked and after_serial > root.revoked[keyid].after_serial:
                raise UsageError(
                    "a key that is void does not become good again", subject=name,
                    want=f"serial {root.revoked[keyid].after_serial} or below", got=after_serial,
                    hint="--accept names single bundles that count all the same",
                )  # fmt: skip
            if keyid not in root.roles["release"].keyids:
                raise UsageError(
                    "only keys that sign bundles are revoked from some serial on", subject=name, got=keyid,
                    hint="`airgap trust remove` takes a key out of the root",
                )  # fmt: skip
        roles = {**root.roles, "root": _less(root, "root", keyids)}
        before = {keyid: each.accepted for keyid, each in root.revoked.items()}
        void = {
            keyid: Revocation(after_serial, frozenset(accepted) | before.get(keyid, frozenset()))
            for keyid in keyids
        }
        return replace(root, roles=roles, revoked={**root.revoked, **void})

    return change


def raise_epoch() -> Change:
    """The next epoch: the serials of all streams start again, and bundles of this epoch no longer count. Keys
    that are void from some serial on lose their roles: they signed bundles of this epoch only.
    """

    def change(root: TrustRoot) -> TrustRoot:
        void = frozenset(keyid for keyid, each in root.revoked.items() if each.after_serial > 0)
        roles = {name: _less(root, name, void & root.roles[name].keyids) for name in root.roles}
        return replace(root, epoch=root.epoch + 1, roles=roles)

    return change


def rotate(expires: datetime) -> Change:
    """Nothing but a new end."""
    return lambda root: replace(root, expires=expires.replace(microsecond=0))


def replace_key(name: str, key: PublicKey) -> Change:
    """Another key in the place of the one that `name` means, with its owner and its roles."""

    def change(root: TrustRoot) -> TrustRoot:
        keyids = find_keys(root, name)
        if len(keyids) > 1:
            raise UsageError("which key?", subject=name, want="the id of one", got=", ".join(keyids))
        if key.keyid in root.keys:
            raise UsageError("the new key is in the trust root already", subject=name, got=key.keyid)
        (old,) = keyids
        _refuse_unfit(root, root.keys[old].owner, key)
        roles = [role for role in ROLES if old in root.roles[role].keyids]
        sites = {
            site: Site(each.receipt_keyids | {key.keyid}) if old in each.receipt_keyids else each
            for site, each in root.sites.items()
        }
        keys = {**root.keys, key.keyid: RootKey(key, root.keys[old].owner)}
        both = replace(root, keys=keys, roles=_with(root.roles, roles, key.keyid), sites=sites)
        return _without(both, keyids)

    return change


def set_threshold(name: str, count: int, *, distinct_owners: bool | None = None) -> Change:
    """How many keys of a role must sign, and whether of different owners; None leaves that as it is."""

    def change(root: TrustRoot) -> TrustRoot:
        role = root.roles[name]
        distinct = role.distinct_owners if distinct_owners is None else distinct_owners
        wanted = Role(role.keyids, count, distinct)
        _refuse_lockout(root, name, wanted, role.keyids)
        return replace(root, roles={**root.roles, name: wanted})

    return change


def in_turn(*changes: Change) -> Change:
    """Several changes as one."""

    def change(root: TrustRoot) -> TrustRoot:
        for each in changes:
            root = each(root)
        return root

    return change


def _refuse_unfit(root: TrustRoot, owner: str, key: PublicKey) -> None:
    if key.keyid in root.keys and root.keys[key.keyid].owner != owner:
        raise UsageError("the key of another owner", subject=owner, got=root.keys[key.keyid].owner)
    if key.keyid in root.revoked:
        raise UsageError("a revoked key gets no role again", subject=owner, got=key.keyid)


def _with(roles: Mapping[str, Role], names: Iterable[str], keyid: str) -> dict[str, Role]:
    more = {name: replace(roles[name], keyids=roles[name].keyids | {keyid}) for name in names}
    return {**roles, **more}


def _without(root: TrustRoot, keyids: Iterable[str]) -> TrustRoot:
    gone = frozenset(keyids)
    sites = {name: Site(site.receipt_keyids - gone) for name, site in root.sites.items()}
    return replace(
        root,
        keys={keyid: key for keyid, key in root.keys.items() if keyid not in gone},
        roles={name: _less(root, name, gone) for name in root.roles},
        sites={name: site for name, site in sites.items() if site.receipt_keyids},
    )


def _less(root: TrustRoot, name: str, keyids: Iterable[str]) -> Role:
    """A role without these keys; refused here in words, for a root that cannot be has no value."""
    role = replace(root.roles[name], keyids=root.roles[name].keyids - frozenset(keyids))
    _refuse_lockout(root, name, role, role.keyids)
    return role


_ACTS = {"root": "trust roots", "release": "bundles", "receipt": "receipts"}


def _refuse_lockout(root: TrustRoot, name: str, role: Role, keyids: Iterable[str]) -> None:
    """Raise `UsageError` unless `keyids` are enough for a role. They are in the keys of `root`."""
    able = sorted(keyids)
    owners = root.owners(able)
    have = len(owners) if role.distinct_owners else len(able)
    whose = "keys of different owners" if role.distinct_owners else "keys"
    missing = () if name == "receipt" else root.missing_algorithms(able)
    want = f"a key of {missing[0]}" if missing and have >= role.threshold else f"{role.threshold} {whose}"
    if not 1 <= role.threshold <= have or missing:
        raise UsageError(
            f"nobody could sign {_ACTS[name]} any more", subject=f"role {name}", want=want,
            got=f"{have} ({', '.join(owners)})" if have else "none",
            hint="add a key first (`airgap trust add`), or lower the threshold (`airgap trust threshold`)",
        )  # fmt: skip


def _can_act(root: TrustRoot, keyid: str, now: datetime) -> bool:
    return keyid not in root.revoked and root.keys[keyid].counts_at(now)


# -- what is different


def describe_change(old: TrustRoot, new: TrustRoot) -> list[str]:
    """One line for each thing in which `new` differs from `old`, for people who are to sign it."""
    before, after = _facts(old), _facts(new)
    lines = [f"trust root {old.version} -> {new.version}"]
    for label in dict.fromkeys((*before, *after)):
        was, now = before.get(label), after.get(label)
        if was is None:
            lines.append(f"new: {label}: {now}")
        elif now is None:
            lines.append(f"gone: {label}: {was}")
        elif was != now:
            lines.append(f"changed: {label}: {was} -> {now}")
    return lines


def _facts(root: TrustRoot) -> dict[str, str]:
    """All that a root says but its version, each under a label of its own."""
    found = {"epoch": str(root.epoch), "expires": format_time(root.expires)}
    for keyid, key in sorted(root.keys.items()):
        span = f"{_moment(key.not_before)} to {_moment(key.not_after)}"
        always = key.not_before is None and key.not_after is None
        algorithm = key.public_key.algorithm
        found[f"key {keyid}"] = f"{key.owner}, {algorithm}" + ("" if always else f", {span}")
    for name in ROLES:
        role = root.roles[name]
        whose = "keys of different owners" if role.distinct_owners else "keys"
        found[f"role {name}"] = f"{role.threshold} {whose} must sign"
        for keyid in sorted(role.keyids):
            found[f"role {name} of key {keyid}"] = root.keys[keyid].owner
    if root.require_algorithms:
        found["required algorithms"] = ", ".join(root.require_algorithms)
    for keyid, revocation in sorted(root.revoked.items()):
        but = f", but for the statements {', '.join(sorted(revocation.accepted))}"
        void = f"void above serial {revocation.after_serial}"
        found[f"revoked key {keyid}"] = (
            f"{root.keys[keyid].owner}, " * (keyid in root.keys) + void + (but if revocation.accepted else "")
        )
    for name, site in sorted(root.sites.items()):
        found[f"site {name}"] = f"receipts by key {', '.join(sorted(site.receipt_keyids))}"
    return found


def _moment(when: datetime | None) -> str:
    return "any time" if when is None else format_time(when)
