"""Takes the bundles that a person means by paths, by a medium's folder, or by a bundle's name.

Which one is meant is decided in `carry/find_bundles`.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airgap.cli import console
from airgap.errors import AirgapError, printable

if TYPE_CHECKING:
    from airgap.advice import Need
    from airgap.carry.find_bundles import FoundBundle, ReceiverOf


def take_bundles(
    paths: Sequence[Path],
    command: str,
    *,
    options: str = "",
    any_site: bool = False,
    need: "Need | None" = None,
) -> list[Path]:
    """Return the paths of the bundles that are meant, and say which was taken if its path was not given.

    Args:
        paths: The arguments of the command. One that exists and is not a medium's folder stays as it is.
        command: The command, for the ones to choose from.
        options: The options that it needs besides.
        any_site: Whether bundles for other sites may be meant as well.
        need: What may be at a path; a bundle if it is None.

    Raises:
        UsageError: Something else is at a path, or several bundles may be meant.
    """
    from airgap.advice import BUNDLE
    from airgap.carry.find_bundles import find_by_title, holds_bundles, is_absent_title, meant_on
    from airgap.carry.verify_recorded import refuse_others

    taken: list[Path] = []
    for path in paths:
        found: FoundBundle | None = None
        if holds_bundles(path):
            found = meant_on(path, None if any_site else _receiver(), command, options)
        elif is_absent_title(path):
            found = find_by_title(str(path))
        taken += found.paths if found else [path]
        if found:
            console.say(printable(f"{path}: taking {', '.join(map(str, found.paths))}") + "\n")
    refuse_others([path for path in taken if path != Path("-")], need or BUNDLE)
    return taken


def take_lost_or_found(paths: Sequence[Path], command: str) -> list[Path]:
    """Return the paths of the bundles that are meant, of any site; a path that is absent stays as it is."""
    from airgap.carry.find_bundles import is_absent_title
    from airgap.durable import exists

    return [
        taken
        for path in paths
        for taken in (
            take_bundles([path], command, any_site=True)
            if exists(path, follow=False) or is_absent_title(path)
            else [path]
        )
    ]


def take_named(path: Path) -> Path:
    """Return the bundle in the current folder or on a medium, if `path` is a bundle's name; else `path`."""
    from airgap.carry.find_bundles import find_by_title, is_absent_title

    found = find_by_title(str(path)) if is_absent_title(path) else None
    if found is None:
        return path
    console.say(printable(f"{path}: taking {found.paths[0]}") + "\n")
    return found.paths[0]


def _receiver() -> "ReceiverOf | None":
    """Return this site, to leave out bundles for other ones; None if there is none yet."""
    from airgap.carry.choose_sender import site_of
    from airgap.carry.verify_recorded import receiver
    from airgap.site import Site, default_home, now

    with contextlib.suppress(AirgapError):
        site, moment = Site(default_home()), now()
        site.root()
        return lambda folder: receiver(site_of(folder, site), moment)
    return None
