"""Show, install or change the trust root."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import console, trust_change
from airgap.cli.options import Output, TableOutput
from airgap.cli.register import make_group, register
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from airgap.trust.root import SignedRoot

NAME = "trust"
PANEL = "Both sides"
app = make_group()


@register(app, "show")
def show_root(*, output: TableOutput) -> None:
    """Show the installed trust root.

    Example: airgap trust show
    """
    from airgap.cli.opening import open_site
    from airgap.trust.change import expiry_warning

    checked = open_site(recording=False)
    signed = checked.site.root()
    warning = expiry_warning(signed.root, checked.now)
    lines = _lines(signed) + ([f"warning: {warning}"] if warning else [])
    console.show_result(_value(signed) | {"warning": warning}, lines, output)


def _value(signed: "SignedRoot") -> dict[str, Any]:
    from airgap.times import format_time

    root = signed.root
    return {
        "version": root.version,
        "epoch": root.epoch,
        "expires": format_time(root.expires),
        "fingerprint": signed.fingerprint,
        "keys": [
            {
                "keyid": keyid,
                "owner": key.owner,
                "algorithm": key.public_key.algorithm,
                "pem": key.public_key.pem,
            }
            for keyid, key in sorted(root.keys.items())
        ],
        "roles": {
            name: {
                "keyids": sorted(role.keyids),
                "threshold": role.threshold,
                "distinct_owners": role.distinct_owners,
            }
            for name, role in root.roles.items()
        },
        "revoked": sorted(root.revoked),
        "sites": {name: sorted(site.receipt_keyids) for name, site in sorted(root.sites.items())},
    }


def _lines(signed: "SignedRoot") -> list[str | Table]:
    from airgap.cli.init import format_fingerprint
    from airgap.times import format_time

    root = signed.root
    rows = []
    for keyid, key in sorted(root.keys.items(), key=lambda item: item[1].owner):
        roles = ", ".join(name for name, role in root.roles.items() if keyid in role.keyids)
        state = "revoked" if keyid in root.revoked else roles
        rows.append((key.owner, state, key.public_key.algorithm, keyid))
    return [
        f"trust root {root.version}, epoch {root.epoch}, until {format_time(root.expires)}",
        f"fingerprint {format_fingerprint(signed.fingerprint)}",
        Table(("OWNER", "ROLES", "ALGORITHM", "KEY ID"), rows),
        *(
            f"{name}: {role.threshold} of {len(role.keyids)} keys"
            + (", of distinct owners" if role.distinct_owners else "")
            for name, role in root.roles.items()
        ),
    ]


@register(app, "install")
def install_trust_root(
    file: Annotated[
        Path,
        typer.Argument(metavar="ROOT-FILE", help="The sending side's trust root file, such as 1.root.json."),
    ],
    fingerprint: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The fingerprint, received through another channel than the file."),
    ] = None,
    site: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name of this side (default: the host name).")
    ] = None,
    *,
    output: Output,
) -> None:
    """Trust a sending side, after comparing the fingerprint of its trust root.

    Example: airgap trust install 1.root.json --site plant-7
    """
    from airgap.admin.install_root import install_root, read_root
    from airgap.advice import ROOT, refuse_other
    from airgap.cli.init import site_name
    from airgap.cli.opening import compare_site
    from airgap.site import default_home

    refuse_other(file, ROOT)
    signed = read_root(file)
    compare_site(roots=False)
    first = not (default_home() / "trust").exists()
    if fingerprint is None and first and sys.stdin and sys.stdin.isatty():
        # the fingerprint of the file is not shown: it would only be copied
        fingerprint = typer.prompt("Type the fingerprint that the sending side gave you", err=True)
    done = install_root(default_home(), site, signed, fingerprint, default=site_name())
    value = {
        "version": signed.root.version,
        "fingerprint": signed.fingerprint,
        "site": done.site,
        "fresh": done.fresh,
    }
    verb = "installed" if done.fresh else "installed already"
    lines = [f"{verb}: trust root {signed.root.version} of {', '.join(done.owners)}, for site {done.site}"]
    console.show_result(value, lines, output)


app.add_typer(trust_change.app)
