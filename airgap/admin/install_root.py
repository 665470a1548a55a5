"""Install a trust root: the one decision that a person makes without a signature."""

import shlex
from pathlib import Path

from airgap.admin.find_root import normal_fingerprint
from airgap.admin.senders import put_marks_back, recorded_settings, refuse_known, sender_to_install
from airgap.durable import exists
from airgap.errors import AirgapError, TrustError, UsageError
from airgap.ledger_summary import current_facts
from airgap.oci.name_rules import ANY_NAME, NameRule, NameRules
from airgap.sender_state import DEFAULT_SENDER, SENDER_FILE, SenderSettings
from airgap.site import MarkKind, Site
from airgap.trust.root import SignedRoot, walk_roots
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class Installed:
    """The result of `install_root`."""

    site: str
    owners: tuple[str, ...]
    fresh: bool
    sender: str = ""
    """The name of the sender."""
    names: str = ""
    """The rules about the names that it may set, for people."""


@dataclass(frozen=True, slots=True)
class SenderChoice:
    """What a person chooses about the sender whose root is installed."""

    name: str | None = None
    """Its name; None for the first sender."""
    rule: NameRule | None = None
    """The names that it may set at every target; None to leave the rules as they are."""


FIRST = SenderChoice()


def recorded_roots(home: Path, sender: str | None = None) -> dict[int, str]:
    """Return the fingerprints of a sender's roots in the ledger at `home`, by version; none if there is no
    site.
    """
    if not exists(home / "site.json"):
        return {}
    site = sender_to_install(Site(home), sender)
    return dict(current_facts(site.home, site.ledger_path).of(site.sender).roots)


def install_root(
    home: Path, name: str | None, signed: SignedRoot, fingerprint: str | None, choice: SenderChoice = FIRST
) -> Installed:
    """Trust `signed` from now on, as a root of the chosen sender. If there is no site at `home`, make one
    with `name`.

    The first root needs its `fingerprint`, which a person got through another channel. Later ones must follow
    the installed one by their signatures; a given fingerprint is still compared. Raises `UsageError` for a
    new site without a name, and for another name once the site has received or signed anything.
    """
    releasing = signed.root.roles["release"].keyids
    owners = tuple(sorted({key.owner for keyid, key in signed.root.keys.items() if keyid in releasing}))
    if not exists(home / "site.json"):
        _compare(signed, fingerprint)
        if name is None:
            raise UsageError(
                "--site is missing", subject=home, want="the name of this side",
                hint="bundles name the sites that they are for: spell it as the sending side does",
            )  # fmt: skip
        Site.create(home, name)
    site = sender_to_install(Site(home), choice.name)
    settings = _settings(site, choice)
    about = {"root_version": signed.root.version, "expects": signed.fingerprint}
    with site.ledger().attempt("trust-change", change="install", **about) as attempt:
        attempt.add(root_version=signed.root.version, fingerprint=signed.fingerprint)
        facts = current_facts(site.home, site.ledger_path)
        recorded = facts.of(site.sender).roots.get(signed.root.version)
        if fingerprint is not None or (recorded is None and not site.roots()):
            _compare(signed, fingerprint)
        _refuse_other(site, signed, recorded)
        refuse_known(site, signed, facts)
        if name not in (None, site.name):
            attempt.add(renamed={"from": site.name, "to": name})
            site = Site.create(home, name).from_sender(site.sender)
        put_marks_back(site, facts)
        fresh = site.put_root_back(signed) if recorded is not None else _install(site, signed)
        if settings is not None:
            attempt.add(settings=settings.value)
            site.set_settings(settings)
        settings = site.settings if settings is None else settings  # a failing disk fails the attempt
    names = ANY_NAME if settings.rules is None else str(settings.rules)
    return Installed(site.name, owners, fresh, settings.name, names)


def _settings(site: Site, choice: SenderChoice) -> SenderSettings | None:
    """Return the settings to write; None to leave them as they are. Raises `UsageError` for a new sender that
    has no rule.
    """
    known = exists(site.folder / SENDER_FILE, follow=False)
    if choice.rule is None:
        if known or choice.name is None:
            return None
        if site.sender:
            raise UsageError(
                "--names is missing", subject=choice.name, want="the names that this sender may set",
                hint="as in --names 'registry.vendor/*'; --names '*' allows every name",
            )  # fmt: skip
        return SenderSettings(choice.name, None)
    before = recorded_settings(
        site, current_facts(site.home, site.ledger_path)
    )  # the file may have been changed
    rules = (before.rules or NameRules()).replaced(choice.rule)
    return SenderSettings(site.sender or choice.name or DEFAULT_SENDER, rules)


def _refuse_other(site: Site, signed: SignedRoot, recorded: str | None) -> None:
    """Raise `TrustError` unless the root follows the installed one, or is the one in the ledger."""
    if recorded is None:
        if (installed := site.roots()) and installed.get(signed.root.version) != signed.raw:
            _refuse_no_successor(site, signed)
    elif signed.fingerprint != recorded:
        if site.roots():
            _refuse_no_successor(site, signed)
        raise TrustError(
            "another trust root of this version was installed here", subject=signed.root.name,
            want=recorded, got=signed.fingerprint,
        )  # fmt: skip


def _install(site: Site, signed: SignedRoot) -> bool:
    if site.roots().get(signed.root.version) == signed.raw:
        return False
    site.install_root(signed)
    return True


def _compare(signed: SignedRoot, fingerprint: str | None) -> None:
    subject = f"trust root {signed.root.version}"
    if fingerprint is None:
        raise UsageError(
            "--fingerprint is missing",
            subject=subject,
            hint="ask the sending side for it (`airgap trust show`), through another channel than the file",
        )
    given = normal_fingerprint(fingerprint, subject)
    if given != signed.fingerprint:
        raise TrustError(
            "wrong fingerprint",
            subject=subject,
            want=given,
            got=signed.fingerprint,
            hint="ask the sending side for it again (`airgap trust show` there); if it is right, what is "
            "here is not from that side: do not use it",
        )


def _refuse_no_successor(site: Site, signed: SignedRoot) -> None:
    """Raise `TrustError` unless `signed` follows the installed root."""
    current = site.root()
    refusal: TrustError | None = None
    try:
        if walk_roots(current, {signed.root.version: signed.raw}):
            return
    except TrustError as error:
        refusal = error
    if current.root.keys.keys().isdisjoint(signed.root.signing_keyids):
        owners = ", ".join(current.root.owners(current.root.roles["release"].keyids))
        raise TrustError(
            "this is another sender's trust root",
            subject=f"trust root {signed.root.version}",
            want=f"one that follows the installed root of {owners}",
            hint="; ".join(filter(None, (_undo_init(site), _how_to_add(site, signed)))),
        )
    raise refusal or TrustError(
        "does not follow the installed trust root",
        subject=f"trust root {signed.root.version}",
        want=f"version {current.root.version + 1}, signed by version {current.root.version}",
        hint="install the versions in between first: every bundle contains them, so run "
        "`airgap trust install BUNDLE`",
    )


def _undo_init(site: Site) -> str | None:
    """Return what to do where `airgap init` was run by mistake, at a receiving side or by a co-signer; None
    if this side has sent or accepted anything.
    """
    try:
        used = site.marked(MarkKind.SENT) or site.marked(MarkKind.RECEIVED) or not site.public_keys()
    except AirgapError:
        return None
    if used or list(site.roots()) != [1]:
        return None
    home = shlex.quote(str(site.home))
    return (
        f"if `airgap init` was run here by mistake: `mv {home} {home}.init`, then run this again; a key made "
        f"there that you sign with is kept: `cp -rp {home}.init/keys {home}/`"
    )


def _how_to_add(site: Site, signed: SignedRoot) -> str:
    """Return how to install a root that does not belong to the sender whose state `site` has."""
    for other in site.each_sender():
        if other.roots() and not other.root().root.keys.keys().isdisjoint(signed.root.signing_keyids):
            name = other.sender_name
            return f"it belongs to the sender {name}: run this again with --sender {name}"
    return "add the sender under a name of your choice: --sender NAME --names 'registry.example/*'"
