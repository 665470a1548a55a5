"""Finds the senders of a site, changes the rules about their names, and removes them (FORMAT.md §12)."""

import shutil
from dataclasses import replace

from airgap.audit.facts import LedgerFacts
from airgap.bundle.files import media_errors
from airgap.durable import exists, sync_folder
from airgap.errors import TrustError, UsageError
from airgap.ledger_summary import current_facts
from airgap.oci.name_rules import NameRule, NameRules
from airgap.owned import refuse_shared_folder
from airgap.sender_state import DEFAULT_SENDER, SENDER_FILE, SENDERS, SenderSettings
from airgap.site import Site
from airgap.site_check import CHANGE_SENDER
from airgap.trust.root import SignedRoot


def find_sender(site: Site, name: str) -> Site:
    """Return the site with the state of the sender of this name. Raises `UsageError` if it is unknown."""
    first = recorded_settings(site, current_facts(site.home, site.ledger_path)).name
    if name in (DEFAULT_SENDER, first):
        return site.from_sender("")
    others = site.other_senders()
    if name not in others:
        raise UsageError(
            "there is no such sender", subject=repr(name[:80]), want=" or ".join((first, *others)),
            hint="`airgap trust install BUNDLE --sender NAME --names PATTERN` adds one",
        )  # fmt: skip
    return site.from_sender(name)


def sender_to_install(site: Site, name: str | None) -> Site:
    """Return the site with the state of the sender whose root is to be installed.

    If no root was installed here before, the sender becomes the first one, whatever its name.
    """
    if name is None or name == DEFAULT_SENDER:
        return site
    facts = current_facts(site.home, site.ledger_path)
    first = recorded_settings(site, facts)
    is_first = name == first.name or not (site.roots() or facts.roots)
    return site.from_sender("" if is_first else name)


def refuse_known(site: Site, signed: SignedRoot, facts: LedgerFacts) -> None:
    """Raise `TrustError` if the root was installed under another name, or if the name belonged to another
    sender. A sender that was removed keeps its name, because its marks still count.
    """
    version = signed.root.version
    for name, known in {"": facts, **facts.senders}.items():
        if name != site.sender and known.roots.get(version) == signed.fingerprint:
            other = name or recorded_settings(site.from_sender(""), facts).name
            raise TrustError(
                "this sender has another name here", subject=signed.root.name, want=f"--sender {other}",
                got=site.sender or DEFAULT_SENDER, hint="what was accepted from it counts under that name",
            )  # fmt: skip
    known = facts.of(site.sender)
    if site.sender and known.roots and version not in known.roots and not site.roots():
        raise TrustError(
            "the name belongs to a sender that was removed", subject=site.sender,
            want=f"its trust root {min(known.roots)}, with the fingerprint {known.roots[min(known.roots)]}",
            got=f"version {version}", hint="name another sender with another --sender",
        )  # fmt: skip


def put_marks_back(site: Site, facts: LedgerFacts) -> None:
    """Write the marks of a sender that is installed again, so that its older bundles stay refused."""
    known = facts.of(site.sender)
    if not (site.sender and known.removed):
        return
    with site.receiving():
        for stream, mark in known.received.items():
            site.set_received(stream, mark)


def allow(site: Site, name: str, rule: NameRule) -> SenderSettings:
    """Replace one rule about the names that a sender may set, and return its settings. A rule without
    patterns is removed.

    The other rules are those in the ledger, so that a file that was changed is written again.
    """
    sender = find_sender(site, name)
    before = recorded_settings(sender, current_facts(site.home, site.ledger_path))
    settings = replace(before, rules=(before.rules or NameRules()).replaced(rule))
    change_settings(sender, settings)
    return settings


def change_settings(sender: Site, settings: SenderSettings) -> None:
    """Write the settings of a sender, and record them."""
    settings.to_bytes()  # refuse too many rules before anything is recorded
    with sender.ledger().attempt("trust-change", change=CHANGE_SENDER) as attempt:
        attempt.add(settings=settings.value)
        sender.set_settings(settings)


def remove_sender(site: Site, name: str) -> None:
    """Remove a sender: its roots, marks and envelopes. The ledger keeps the marks, see `put_marks_back`."""
    facts = current_facts(site.home, site.ledger_path)
    known = facts.senders.get(name)
    is_known = known is not None and known.roots and not known.removed  # its files may be lost
    if not is_known and not find_sender(site, name).sender:
        raise UsageError(
            "the first sender cannot be removed", subject=name,
            hint="this AIRGAP_HOME is for its bundles; use another AIRGAP_HOME for a site without it",
        )  # fmt: skip
    sender = site.from_sender(name)
    with (
        sender.ledger().attempt("trust-change", change="remove sender") as attempt,
        media_errors("cannot remove", sender.folder),
    ):
        attempt.add(removed=True)
        if exists(sender.folder, follow=False):
            refuse_shared_folder(sender.folder, home=False)
            (sender.folder / SENDER_FILE).unlink(missing_ok=True)  # from here on, the sender is not trusted
            sync_folder(sender.folder)
            shutil.rmtree(sender.folder)
            sync_folder(site.home / SENDERS)


def recorded_settings(sender: Site, facts: LedgerFacts) -> SenderSettings:
    """Return the settings that the ledger has."""
    if recorded := facts.of(sender.sender).settings:
        return SenderSettings.from_bytes(recorded.encode(), str(sender.ledger_path))
    return SenderSettings(sender.sender or DEFAULT_SENDER, NameRules() if sender.sender else None)
