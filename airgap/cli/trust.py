"""Show, install or change the trust root."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import complete, console, trust_change, trust_install, trust_senders
from airgap.cli.options import TableOutput
from airgap.cli.register import make_group, register
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from airgap.trust.root import SignedRoot

app = make_group()


@register(app, "show")
def show_root(
    sender: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="The sender whose trust root is shown.", autocompletion=complete.senders
        ),
    ] = "default",
    *,
    output: TableOutput,
) -> None:
    """Show the installed trust root of the first sender, which may be this side, or of another one.

    Example: airgap trust show
    """
    from airgap.admin.senders import find_sender
    from airgap.cli.opening import open_site
    from airgap.trust.change import expiry_warning

    checked = open_site(recording=False)
    signed = find_sender(checked.site, sender).root()
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
        "recalled": [recall.value for recall in root.recalled],
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
        *(f"recalled: {recall.title}, epoch {recall.epoch}: {recall.words}" for recall in root.recalled),
    ]


register(app, "install")(trust_install.install)
app.add_typer(trust_senders.app)
app.add_typer(trust_change.app)
