"""Make, list, show and add signing keys, and change their passphrases."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.cli import console
from airgap.cli.options import Algorithm, Output, PassphraseFile
from airgap.cli.register import make_group, register

if TYPE_CHECKING:
    from airgap.site import Site

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
        raise KeyFileError("a key with that name exists already", subject=site.key_path(owner))
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
def list_keys(*, output: Output) -> None:
    """List people's signing keys at this site, and the site's own key, with whole key ids to read out.

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
    lines = [
        line for name, algorithm, keyid in rows for line in (f"{name}: {algorithm}", f"  key id {keyid}")
    ]
    console.show_result(value, lines, output)


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

    site = open_site(recording=False).site
    _present(site, owner)
    key = site.public_keys()[owner]
    value = {"owner": owner, "algorithm": key.algorithm, "keyid": key.keyid, "pem": key.pem}
    console.show_result(value, key.pem.splitlines(), output)


@register(app, "passwd")
def change_passphrase(
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="The owner of the key.")],
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File with the new passphrase (default: AIRGAP_NEW_PASSPHRASE, or a prompt)."
        ),
    ] = None,
    *,
    output: Output,
) -> None:
    """Change the passphrase of a signing key.

    Copies and backups that were made before keep the old passphrase.

    Example: airgap key passwd alice
    """
    from airgap.cli import passphrase
    from airgap.cli.opening import open_site

    site = open_site().site
    _present(site, owner)
    with site.ledger().attempt("trust-change", change="key passwd", owner=owner) as attempt:
        what = f"the key of {owner}"
        key = site.change_passphrase(
            owner,
            passphrase.existing(passphrase_file, what),
            lambda: passphrase.replacement(new_passphrase_file, what),
        )
        attempt.add(keys=[key.public_key.keyid])
    value = {"owner": owner, "keyid": key.public_key.keyid, "key": str(site.key_path(owner))}
    console.show_result(value, [f"the passphrase of the key of {owner} was changed"], output)


@register(app, "add")
def add_key(
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="The name to store it under.")],
    file: Annotated[
        Path, typer.Option("--key", metavar="FILE", help="The encrypted private key: a spare key, or a copy.")
    ],
    passphrase_file: PassphraseFile = None,
    *,
    output: Output,
) -> None:
    """Store an existing private key here, with the passphrase that it has.

    Example: airgap key add alice --key /media/safe/spare.pem
    """
    from airgap.cli import passphrase
    from airgap.cli.opening import open_site
    from airgap.trust.keys import SigningKey

    site = open_site().site
    given = passphrase.existing(passphrase_file, f"the key in {file}")
    word: list[bytes] = []

    def ask_once() -> bytes:
        word.append(given())
        return word[-1]

    with site.ledger().attempt("trust-change", change="key add", owner=owner) as attempt:
        key = SigningKey.load(file, ask_once)
        path = site.add_key(owner, key, word[-1] if word else passphrase.chosen(passphrase_file))
        attempt.add(keys=[key.public_key.keyid])
    value = {"owner": owner, "keyid": key.public_key.keyid, "key": str(path)}
    console.show_result(value, [f"key of {owner}: {path}", f"  key id {key.public_key.keyid}"], output)


def _present(site: "Site", owner: str) -> None:
    from airgap.errors import KeyFileError

    if owner not in (keys := site.public_keys()):
        raise KeyFileError("no such key", subject=owner, got=", ".join(keys) or "none")
