"""The command `airgap trust install`."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import complete, console, trust_senders
from airgap.cli.options import Output

if TYPE_CHECKING:
    from airgap.admin.find_root import FoundRoots
    from airgap.admin.install_root import Installed, SenderChoice
    from airgap.site import Site
    from airgap.trust.root import SignedRoot


def install(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE|FOLDER|FILE",
            readable=False,
            help="Where the trust root is: a bundle, a medium with bundles, a folder or a file.",
        ),
    ],
    fingerprint: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The fingerprint, received by another way than the root."),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The name of this side, as bundles name it; needed once."),
    ] = None,
    sender: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The name of the sender; needed for each after the first, and for its later trust roots.",
            autocompletion=complete.senders,
        ),
    ] = None,
    names: trust_senders.Names = None,
    *,
    output: Output,
) -> None:
    """Trust a sending side, after comparing the fingerprint of its trust root.

    The root that fits the fingerprint is found, whichever version it is, and the versions that follow it are
    installed too. A site may accept bundles from several senders: each one after the first gets a name with
    --sender, and may set only the names that --names allows.

    Example: airgap trust install /media/stick/edge-stack-0007 --site plant-7
    """
    from airgap.advice import ROOT, refuse_other
    from airgap.cli.opening import compare_site

    refuse_other(path, ROOT)
    home = compare_site(roots=False)
    found, done = _install(home, path, fingerprint, site, _choice(home, sender, names))
    _show(found, done, _recalled(home), output)


def _recalled(home: Path) -> list[dict[str, Any]]:
    from airgap.cli.recall_warnings import recalled_loaded
    from airgap.errors import AirgapError
    from airgap.site import Site

    try:
        return recalled_loaded(Site(home))
    except AirgapError:  # another version is still to be put back
        return []


def _choice(home: Path, sender: str | None, names: list[str] | None) -> "SenderChoice":
    """Return the sender that is meant, with the rules about its names."""
    from airgap.admin.install_root import SenderChoice
    from airgap.admin.senders import sender_to_install
    from airgap.durable import exists
    from airgap.sender_state import SENDER_FILE
    from airgap.site import Site

    needed = False
    if sender is not None and exists(home / "site.json"):
        chosen = sender_to_install(Site(home), sender)
        needed = bool(chosen.sender) and not exists(chosen.folder / SENDER_FILE)
    return SenderChoice(sender, trust_senders.asked_rule(names, sender, needed=needed))


def _install(
    home: Path, path: Path, fingerprint: str | None, site: str | None, choice: "SenderChoice"
) -> "tuple[FoundRoots, list[Installed]]":
    from airgap.admin.find_root import find_roots
    from airgap.admin.install_root import install_root, recorded_roots
    from airgap.durable import exists
    from airgap.errors import AirgapError

    state = _state(home, choice)
    if fingerprint is None and not (state and (state.folder / "trust").exists()) and _can_ask():
        # the fingerprint of the file is not shown: it would only be copied
        fingerprint = typer.prompt("Type the fingerprint that the sending side gave you", err=True)
    found = find_roots(path, fingerprint, recorded_roots(home, choice.name))
    if site is None and fingerprint is not None and not exists(home / "site.json"):
        site = _ask_name(_destinations(found))
    installed: dict[int, bytes] = {}
    with contextlib.suppress(AirgapError):  # a root that was changed or lost is put back
        installed = state.roots() if state else {}
    todo = [signed for signed in found.roots if installed.get(signed.root.version) != signed.raw]
    done = [
        install_root(home, site, signed, fingerprint if _fits(signed, fingerprint, found) else None, choice)
        for signed in todo or found.roots[-1:]
    ]
    return found, done


def _state(home: Path, choice: "SenderChoice") -> "Site | None":
    """Return this site with the state of the chosen sender; None if there is no site yet."""
    from airgap.admin.senders import sender_to_install
    from airgap.durable import exists
    from airgap.site import Site

    return sender_to_install(Site(home), choice.name) if exists(home / "site.json") else None


def _show(
    found: "FoundRoots", done: Sequence["Installed"], recalled: list[dict[str, Any]], output: Output
) -> None:
    from airgap.sender_state import DEFAULT_SENDER

    newest, site = found.roots[-1], done[-1].site
    value = {
        "version": newest.root.version,
        "fingerprint": newest.fingerprint,
        "site": site,
        "sender_name": done[-1].sender,
        "fresh": any(item.fresh for item in done),
        "recalled_loaded": recalled,
    }
    verb = "installed" if value["fresh"] else "installed already"
    lines = [f"{verb}: {newest.root.name} of {', '.join(done[-1].owners)}, for site {site}"]
    if done[-1].sender != DEFAULT_SENDER:
        lines.append(f"sender: {done[-1].sender}; it may set: {done[-1].names}")
    if (names := _destinations(found)) and site not in names:
        lines.append(f"what is there is for {', '.join(names)}; if that is this site, name it with --site")
    console.show_result(value, lines, output)


def _can_ask() -> bool:
    return bool(sys.stdin and sys.stdin.isatty())


def _fits(signed: "SignedRoot", fingerprint: str | None, found: "FoundRoots") -> bool:
    """Return whether the fingerprint is to be compared with this root: with the one that it led to."""
    if fingerprint is None or len(found.roots) == 1:
        return True
    from airgap.admin.find_root import normal_fingerprint

    return normal_fingerprint(fingerprint, signed.root.name) == signed.fingerprint


def _destinations(found: "FoundRoots") -> list[str]:
    """Return the sites that the bundles beside the root are for, as far as the root vouches for them."""
    from airgap.bundle.volumes import open_bundle
    from airgap.carry.receiver import Receiver
    from airgap.carry.verify import authenticate
    from airgap.errors import AirgapError
    from airgap.site import now

    names: set[str] = set()
    receiver = Receiver(site="", root=found.roots[-1], mark=lambda _: None, now=now(), partly=True)
    for bundle in found.bundles:
        try:
            with open_bundle(bundle, alone=True) as folder:
                names.update(authenticate(folder, receiver).statement.destinations)
        except AirgapError:  # another sender's, or damaged: `verify` reports that
            continue
    return sorted(names)


def _ask_name(names: Sequence[str]) -> str:
    """Ask for the name of this side. It is never guessed: bundles for another name are refused.

    Raises:
        UsageError: Nobody can be asked.
    """
    from airgap.errors import UsageError

    choice = ", ".join(names)
    if not _can_ask():
        raise UsageError(
            "--site is missing",
            want=f"the name of this side, such as {choice}" if names else "the name of this side",
            hint="bundles name the sites that they are for: spell it as the sending side does",
        )
    if names:
        console.say(f"The bundles there are for: {choice}\n")
    default = names[0] if len(names) == 1 else None
    return str(typer.prompt("Name of this side", default=default, err=True))
