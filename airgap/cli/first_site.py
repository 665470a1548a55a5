"""Sets up the first site from `pack`, for a person at a terminal."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from airgap.cli import console
from airgap.cli.options import Output, SigningChoice
from airgap.errors import printable

if TYPE_CHECKING:
    from airgap.site_check import CheckedSite
    from airgap.trust.keys import Signer


def may_set_up(output: Output) -> bool:
    """Return whether there is no site yet and a person can be asked; a script gets the error instead."""
    from airgap.durable import exists
    from airgap.site import default_home

    terminals = all(stream and stream.isatty() for stream in (sys.stdin, sys.stderr))
    return terminals and not output.json and not exists(default_home() / "site.json", follow=False)


def set_up_first(signing: SigningChoice) -> "tuple[CheckedSite, Signer]":
    """Say every step, ask, and set up the site. Raises `UsageError` if the answer is no."""
    from airgap.account import required_name
    from airgap.admin.init_site import set_up
    from airgap.cli import passphrase
    from airgap.cli.init import lines_about, site_name
    from airgap.cli.opening import open_site
    from airgap.site import default_home, now
    from airgap.trust.keys import DEFAULT_ALGORITHM

    home, name = default_home(), site_name()
    owner = signing.key or required_name("name the owner of the signing key with --key NAME")
    _say(_steps(home, name, owner))
    if not typer.confirm("Set it up now?", err=True):
        open_site()  # raises: there is still no site
    secret = passphrase.chosen(signing.passphrase_file)
    made = set_up(home, owner, name, algorithm=DEFAULT_ALGORITHM, passphrase=lambda: secret, now=now())
    _say(lines_about(made))
    opened = open_site()
    return opened, opened.site.signing_key(owner, lambda: secret)


def _steps(home: Path, name: str, owner: str) -> list[str]:
    return [
        f"There is no site here yet: {home}",
        "The images were found. To sign the bundle, airgap would now set up:",
        f"  - the site {name}, with a key of its own and an audit ledger",
        f"  - a signing key of {owner}, encrypted with a passphrase that you choose",
        "  - a trust root, which says that this key may sign bundles",
        f"`airgap init --owner {owner} --site {name}` does the same; other names are set there.",
    ]


def _say(lines: list[str]) -> None:
    width = shutil.get_terminal_size().columns
    for line in lines:
        console.say("\n".join(console.wrapped(printable(line), width)) + "\n")
