"""Changes of a trust root, and the differences between two versions. Rules only.

A change returns the same version with other content; `next_version` raises the number, after checking that
every role still has enough keys.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from airgap.errors import UsageError
from airgap.limits import MAX_RECALLS
from airgap.times import format_time
from airgap.trust.document import ROLES, ReceivingSite, Revocation, Role, RootKey, TrustRoot
from airgap.trust.keys import PublicKey
from airgap.trust.recall import Recall

Change = Callable[[TrustRoot], TrustRoot]

ROOT_LIFETIME = timedelta(days=730)
EXPIRES_SOON = timedelta(days=30)
"""How long before a root expires people are warned."""

_SHORT = 16
"""The number of digits of a key id that messages show, and that are enough to name a key."""


def next_version(old: TrustRoot, change: Change, now: datetime) -> TrustRoot:
    """Return the root that follows `old`. Raises `UsageError` for a change that changes nothing, and for one
    that leaves a role without enough keys that can sign at `now`.
    """
    new = change(old)
    if new == old:
        raise UsageError("this would not change the trust root", subject=old.name)
    for name in ROLES:
        able = {keyid for keyid in new.roles[name].keyids if _can_sign(new, keyid, now)}
        _refuse_lockout(new, name, new.roles[name], able)
    return replace(new, version=old.version + 1)


def expiry_warning(root: TrustRoot, now: datetime) -> str | None:
    """Return the warning about a root that expires soon or has expired; else None."""
    if now < root.expires - EXPIRES_SOON:
        return None
    if now >= root.expires:
        return f"{root.name} has expired: `airgap trust rotate` makes the next one"
    days = (root.expires - now).days
    return f"{root.name} expires in {days} days: `airgap trust rotate` makes the next one"


def undo_warning(root: TrustRoot) -> str | None:
    """Return the warning that one person can undo the rule that two must sign bundles, with what to set; None
    where bundles need only one, or trust roots need two.
    """
    release, rule = root.roles["release"], root.roles["root"]
    if release.threshold < 2 or (rule.threshold > 1 and rule.distinct_owners):
        return None
    able = root.owners(keyid for keyid in rule.keyids if keyid not in root.revoked)
    need = "" if len(able) > 1 else "`airgap trust add OWNER --key PUB.pem --role root`, then "
    return (
        f"one person ({' or '.join(able)}) can still undo this alone, by another trust root: "
        f"{need}`airgap trust threshold root 2 --distinct-owners`"
    )


def find_keys(root: TrustRoot, name: str) -> tuple[str, ...]:
    """Return the ids of the keys with this `name`: all keys of an owner, or the key with this id or these
    first 16 digits. Raises `UsageError` if there are none.
    """
    owned = tuple(sorted(keyid for keyid, key in root.keys.items() if key.owner == name))
    digits = name.lower()
    matches = [keyid for keyid in root.keys if len(digits) >= _SHORT and keyid.startswith(digits)]
    if owned or len(matches) == 1:
        return owned or tuple(matches)
    raise UsageError(
        "no such key in the trust root", subject=name, want="an owner, or a key id",
        got=", ".join(dict.fromkeys(key.owner for _, key in sorted(root.keys.items()))),
    )  # fmt: skip


# -- changes


def add_key(owner: str, key: PublicKey, roles: Iterable[str]) -> Change:
    """Give `roles` to a person's key, which may already be in the root with other roles."""

    def change(root: TrustRoot) -> TrustRoot:
        _refuse_unfit(root, owner, key)
        if key.keyid in root.roles["receipt"].keyids:
            raise UsageError(
                "a site's own key signs only receipts", subject=owner, got=key.keyid,
                hint="it has no passphrase; run `airgap key generate` to make a person's key",
            )  # fmt: skip
        keys = {key.keyid: RootKey(key, owner), **root.keys}
        return replace(root, keys=keys, roles=_with(root.roles, roles, key.keyid))

    return change


def add_site_key(name: str, key: PublicKey, *, own: str) -> Change:
    """Add a receiving site, whose `key` signs its receipts. `own` names the site that changes the root."""

    def change(root: TrustRoot) -> TrustRoot:
        if name == own:
            raise UsageError(
                "the receiving site has the name of this site", subject=name, want="another name",
                hint="otherwise receipts could not distinguish the two sites",
            )  # fmt: skip
        _refuse_unfit(root, name, key)
        if any(key.keyid in root.roles[role].keyids for role in ("root", "release")):
            raise UsageError("a person's key cannot sign receipts", subject=name, got=key.keyid)
        known = root.sites[name].receipt_keyids if name in root.sites else frozenset()
        return replace(
            root,
            keys={key.keyid: RootKey(key, name), **root.keys},
            roles=_with(root.roles, ["receipt"], key.keyid),
            sites={**root.sites, name: ReceivingSite(known | {key.keyid})},
        )

    return change


def remove_keys(name: str) -> Change:
    """Remove the keys of an owner or a site, or one key: their signatures no longer count, old or new."""

    def change(root: TrustRoot) -> TrustRoot:
        return _without(root, find_keys(root, name))

    return change


def revoke_keys(name: str, after_serial: int, accepted: Iterable[str]) -> Change:
    """Make keys void above a serial, except for the statements `accepted` (hex SHA-256) now or earlier. The
    keys can no longer sign trust roots.
    """

    def change(root: TrustRoot) -> TrustRoot:
        keyids = find_keys(root, name)
        for keyid in keyids:
            if keyid in root.revoked and after_serial > root.revoked[keyid].after_serial:
                raise UsageError(
                    "a revocation cannot be weakened", subject=name,
                    want=f"serial {root.revoked[keyid].after_serial} or below", got=after_serial,
                    hint="--accept names single bundles that still count",
                )  # fmt: skip
            if keyid not in root.roles["release"].keyids:
                raise UsageError(
                    "only a key that signs bundles can be revoked from a serial on", subject=name, got=keyid,
                    hint="run `airgap trust remove` to remove a key from the root",
                )  # fmt: skip
        roles = {**root.roles, "root": _less(root, "root", keyids)}
        before = {keyid: revocation.accepted for keyid, revocation in root.revoked.items()}
        void = {
            keyid: Revocation(after_serial, frozenset(accepted) | before.get(keyid, frozenset()))
            for keyid in keyids
        }
        return replace(root, roles=roles, revoked={**root.revoked, **void})

    return change


def recall_bundle(recall: Recall) -> Change:
    """Add a recall: a site that has the new root refuses the bundle. It cannot be taken back."""

    def change(root: TrustRoot) -> TrustRoot:
        if root.recall_of(recall.statement_sha256) is not None:
            raise UsageError("the bundle is recalled already", subject=recall.title)
        if len(root.recalled) >= MAX_RECALLS:
            raise UsageError(
                "there are too many recalls in the trust root", subject=recall.title,
                want=f"at most {MAX_RECALLS}",
                hint="`airgap trust epoch` makes every site refuse all bundles that were sealed so far",
            )  # fmt: skip
        recalled = sorted((*root.recalled, recall), key=lambda known: known.statement_sha256)
        return replace(root, recalled=tuple(recalled))

    return change


def raise_epoch() -> Change:
    """Begin the next epoch: the serials of all streams start again, and bundles of this one no longer count.
    Keys that are void from a serial on lose their roles, because they signed bundles of this epoch only.
    """

    def change(root: TrustRoot) -> TrustRoot:
        void = frozenset(keyid for keyid, revocation in root.revoked.items() if revocation.after_serial > 0)
        roles = {name: _less(root, name, void & root.roles[name].keyids) for name in root.roles}
        return replace(root, epoch=root.epoch + 1, roles=roles)

    return change


def extend_root(expires: datetime) -> Change:
    """Change only the expiry."""
    return lambda root: replace(root, expires=expires.replace(microsecond=0))


def replace_key(name: str, key: PublicKey) -> Change:
    """Replace the key with this `name` by another one, with the same owner and roles."""

    def change(root: TrustRoot) -> TrustRoot:
        keyids = find_keys(root, name)
        if len(keyids) > 1:
            raise UsageError(
                "several keys match", subject=name, want="the id of one key", got=", ".join(keyids)
            )
        if key.keyid in root.keys:
            raise UsageError("the new key is in the trust root already", subject=name, got=key.keyid)
        (old,) = keyids
        _refuse_unfit(root, root.keys[old].owner, key)
        roles = [role for role in ROLES if old in root.roles[role].keyids]
        sites = {
            name: ReceivingSite(site.receipt_keyids | {key.keyid}) if old in site.receipt_keyids else site
            for name, site in root.sites.items()
        }
        keys = {**root.keys, key.keyid: RootKey(key, root.keys[old].owner)}
        both = replace(root, keys=keys, roles=_with(root.roles, roles, key.keyid), sites=sites)
        return _without(both, keyids)

    return change


def set_threshold(name: str, count: int, *, distinct_owners: bool | None = None) -> Change:
    """Set how many keys of a role must sign, and whether of different owners; None leaves that unchanged."""

    def change(root: TrustRoot) -> TrustRoot:
        role = root.roles[name]
        distinct = role.distinct_owners if distinct_owners is None else distinct_owners
        wanted = Role(role.keyids, count, distinct)
        _refuse_lockout(root, name, wanted, role.keyids)
        return replace(root, roles={**root.roles, name: wanted})

    return change


def in_turn(*changes: Change) -> Change:
    """Combine several changes into one, in their order."""

    def change(root: TrustRoot) -> TrustRoot:
        for apply in changes:
            root = apply(root)
        return root

    return change


def _refuse_unfit(root: TrustRoot, owner: str, key: PublicKey) -> None:
    if key.keyid in root.keys and root.keys[key.keyid].owner != owner:
        raise UsageError("the key belongs to another owner", subject=owner, got=root.keys[key.keyid].owner)
    if key.keyid in root.revoked:
        raise UsageError("a revoked key cannot get a role again", subject=owner, got=key.keyid)


def _with(roles: Mapping[str, Role], names: Iterable[str], keyid: str) -> dict[str, Role]:
    more = {name: replace(roles[name], keyids=roles[name].keyids | {keyid}) for name in names}
    return {**roles, **more}


def _without(root: TrustRoot, keyids: Iterable[str]) -> TrustRoot:
    gone = frozenset(keyids)
    sites = {name: ReceivingSite(site.receipt_keyids - gone) for name, site in root.sites.items()}
    return replace(
        root,
        keys={keyid: key for keyid, key in root.keys.items() if keyid not in gone},
        roles={name: _less(root, name, gone) for name in root.roles},
        sites={name: site for name, site in sites.items() if site.receipt_keyids},
    )


def _less(root: TrustRoot, name: str, keyids: Iterable[str]) -> Role:
    """Return a role without these keys. Raises `UsageError` here, because an invalid root cannot be made."""
    role = replace(root.roles[name], keyids=root.roles[name].keyids - frozenset(keyids))
    _refuse_lockout(root, name, role, role.keyids)
    return role


_SIGNED = {"root": "trust roots", "release": "bundles", "receipt": "receipts"}


def _refuse_lockout(root: TrustRoot, name: str, role: Role, keyids: Iterable[str]) -> None:
    """Raise `UsageError` unless `keyids`, which must be in `root`, are enough for a role."""
    able = sorted(keyids)
    owners = root.owners(able)
    have = len(owners) if role.distinct_owners else len(able)
    whose = "keys of different owners" if role.distinct_owners else "keys"
    missing = () if name == "receipt" else root.missing_algorithms(able)
    want = f"a key of {missing[0]}" if missing and have >= role.threshold else f"{role.threshold} {whose}"
    if not 1 <= role.threshold <= have or missing:
        raise UsageError(
            f"too few keys could still sign {_SIGNED[name]}", subject=f"role {name}", want=want,
            got=f"{have} ({', '.join(owners)})" if have else "none",
            hint="add a key first (`airgap trust add`), or lower the threshold (`airgap trust threshold`)",
        )  # fmt: skip


def _can_sign(root: TrustRoot, keyid: str, now: datetime) -> bool:
    return keyid not in root.revoked and root.keys[keyid].counts_at(now)


# -- differences


def describe_change(old: TrustRoot, new: TrustRoot) -> list[str]:
    """Return one line for each difference between `old` and `new`, for the people who have to sign it."""
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
    """Return everything in a root except its version, each fact under its own label."""
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
        owner = f"{root.keys[keyid].owner}, " if keyid in root.keys else ""
        found[f"revoked key {keyid}"] = owner + void + (but if revocation.accepted else "")
    for name, site in sorted(root.sites.items()):
        found[f"site {name}"] = f"receipts by key {', '.join(sorted(site.receipt_keyids))}"
    for recall in root.recalled:
        place = f"{recall.title}, epoch {recall.epoch}"
        found[f"recalled statement {recall.statement_sha256}"] = f"{place}: {recall.words}"
    return found


def _moment(when: datetime | None) -> str:
    return "any time" if when is None else format_time(when)
