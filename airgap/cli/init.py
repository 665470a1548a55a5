"""Set up a sending site: key, trust root and ledger.

The signing key is stored encrypted. Receiving sides compare the printed fingerprint before they trust
this side.

Example: airgap init --owner alice --site hq
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.cli import console
from airgap.cli.opening import compare_site
from airgap.cli.options import Algorithm, Output, PassphraseFile

if TYPE_CHECKING:
    from airgap.admin.init_site import MadeSite


def run(
    owner: Annotated[
        str | None, typer.Option(metavar="NAME", help="Owner of the signing key (default: your user name).")
    ] = None,
    site: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name of this side (default: the host name).")
    ] = None,
    algorithm: Algorithm = "ecdsa-p256",
    spare_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write a second key, which may sign trust roots, to keep in a safe."
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    *,
    output: Output,
) -> None:
    from airgap.account import required_name
    from airgap.admin.init_site import set_up
    from airgap.cli import passphrase
    from airgap.site import now

    made = set_up(
        compare_site(),
        owner or required_name("name the owner of the signing key with --owner NAME"),
        site or site_name(),
        algorithm=algorithm,
        passphrase=lambda: passphrase.chosen(passphrase_file),
        now=now(),
        spare=spare_key,
        spare_passphrase=lambda: passphrase.chosen(passphrase_file, "the spare key"),
    )
    value = {
        "site": made.site,
        "home": str(made.home),
        "owner": made.owner,
        "key": str(made.key_path),
        "keyid": made.keyid,
        "root": str(made.root_path),
        "fingerprint": made.fingerprint,
        "spare_key": str(made.spare) if made.spare else None,
    }
    console.show_result(value, lines_about(made), output)


def lines_about(made: "MadeSite") -> list[str]:
    """Return lines about a new site, and what to take to the receiving side."""
    return [
        f"site {made.site} at {made.home}",
        f"signing key of {made.owner}: {made.key_path}",
        f"  key id {made.keyid}",
        f"trust root: {made.root_path}",
        f"  fingerprint {format_fingerprint(made.fingerprint)}",
        "Every bundle has the root file; take the fingerprint there by another way (paper, phone).",
        "On that side: airgap trust install BUNDLE --site NAME",
        *_about_loss(made.spare),
    ]


def _about_loss(spare: Path | None) -> list[str]:
    if spare is not None:
        return [
            f"spare key: {spare}; keep it away from this machine, and its passphrase in another place",
            "If this machine is lost: `airgap restore`, or `airgap key add` with the spare key.",
        ]
    return [
        "Only this key may change the trust root: if it is lost, each site must install a new one by hand.",
        "Make a backup now (`airgap backup FILE`), or add a second root key (`airgap trust add`).",
    ]


def site_name() -> str:
    """Return the host name as a valid site name."""
    return re.sub(r"[^a-z0-9]+", "-", os.uname().nodename.split(".")[0].lower()).strip("-") or "site"


def format_fingerprint(fingerprint: str) -> str:
    """Return the fingerprint in blocks of four characters, to read aloud."""
    return " ".join(fingerprint[i : i + 4] for i in range(0, len(fingerprint), 4))
