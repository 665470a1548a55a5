"""Signing keys: make, list and show them."""

from typing import Annotated

import typer

from airgap.cli import console
from airgap.cli.options import Algorithm, Output, PassphraseFile, TableOutput
from airgap.cli.register import make_group, register
from airgap.cli.tables import Table

NAME = "key"
PANEL = "Both sides"
app = make_group()


@register(app, "generate")
def generate(
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="The owner of the key.")],
    algorithm: Algorithm = "ecdsa-p256",
    passphrase_file: PassphraseFile = None,
    *,
    output: Output,
) -> None:
    """Make a signing key.

    Example: airgap key generate bob
    """
    from airgap.cli import passphrase
    from airgap.cli.opening import open_site
    from airgap.errors import KeyFileError
    from airgap.trust.keys import SigningKey

    site = open_site().site
    if site.key_path(owner).exists():
        raise KeyFileError("a key of that name exists already", subject=site.key_path(owner))
    with site.ledger().attempt("trust-change", change="key generate", owner=owner) as attempt:
        key = SigningKey.generate(algorithm)
        path = site.add_key(owner, key, passphrase.chosen(passphrase_file))
        attempt.add(keys=[key.public_key.keyid])
    value = {"owner": owner, "keyid": key.public_key.keyid, "algorithm": algorithm, "key": str(path)}
    lines = [
        f"key of {owner}: {path}",
        f"  key id {key.public_key.keyid}",
        f"  public key: {path.with_suffix('.pub')}",
    ]
    console.show_result(value, lines, output)


@register(app, "list")
def list_keys(*, output: TableOutput) -> None:
    """List the signing keys of people here, and the site's own key.

    Example: airgap key list
    """
    from airgap.cli.opening import open_site

    site = open_site(recording=False).site
    rows = [(owner, key.algorithm, key.keyid) for owner, key in site.public_keys().items()]
    own = site.key.public_key
    value = {
        "keys": [dict(zip(("owner", "algorithm", "keyid"), row, strict=True)) for row in rows],
        "site": {"site": site.name, "algorithm": own.algorithm, "keyid": own.keyid},
    }
    rows.append((f"{site.name} (this site, for receipts)", own.algorithm, own.keyid))
    console.show_result(value, [Table(("OWNER", "ALGORITHM", "KEY ID"), rows)], output)


@register(app, "show")
def show_key(
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="The owner of the key.")],
    *,
    output: Output,
) -> None:
    """Print a public key in PEM, as openssl reads it.

    Example: airgap key show alice > alice.pub
    """
    from airgap.cli.opening import open_site
    from airgap.errors import KeyFileError

    keys = open_site(recording=False).site.public_keys()
    if owner not in keys:
        raise KeyFileError("no such key", subject=owner, got=", ".join(keys) or "none")
    key = keys[owner]
    value = {"owner": owner, "algorithm": key.algorithm, "keyid": key.keyid, "pem": key.pem}
    console.show_result(value, key.pem.splitlines(), output)
