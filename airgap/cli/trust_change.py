"""The commands of `airgap trust` that make the next version of the trust root, and sign one."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.cli.options import Debug, Json, PassphraseFile, Quiet

if TYPE_CHECKING:
    from airgap.admin.change_root import Changed, Signers
    from airgap.trust.change import Change
    from airgap.trust.keys import PublicKey
    from airgap.trust.proposal import Proposal

SignerNames = Annotated[
    list[str] | None,
    typer.Option("--signer", metavar="NAME", help="Which keys here sign (else all that may); repeatable."),
]
ProposalFile = Annotated[
    Path | None,
    typer.Option(
        "--proposal", metavar="FILE", help="Where it goes when others must sign (N.root.proposal.json)."
    ),
]
KeyId = Annotated[
    str | None,
    typer.Option("--keyid", metavar="HEX", help="The key's id, by another way than the key came."),
]
Who = Annotated[str, typer.Argument(metavar="OWNER|KEYID", help="Whose keys, or the id of one.")]


def add(
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="Whose key it is.")],
    key: Annotated[
        Path, typer.Option("--key", metavar="PUB.pem", help="The public key: `airgap key show` there.")
    ],
    role: Annotated[
        list[str] | None, typer.Option(metavar="ROLE", help="release (the default) or root; repeatable.")
    ] = None,
    keyid: KeyId = None,
    signer: SignerNames = None,
    proposal: ProposalFile = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Let a person sign bundles, or trust roots.

    Example: airgap trust add bob --key bob.pub --role release --role root
    """
    from airgap.trust.change import add_key

    roles = [_role(name) for name in role or ["release"]]
    public = _confirmed(key, owner, keyid)
    _change("add", add_key(owner, public, roles), signer, proposal, passphrase_file, json)


def add_site(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The receiving site.")],
    key: Annotated[Path, typer.Option("--key", metavar="SITE.pub", help="site.pub of that site.")],
    keyid: KeyId = None,
    signer: SignerNames = None,
    proposal: ProposalFile = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Let a receiving site sign its receipts.

    Example: airgap trust add-site plant-7 --key site.pub
    """
    from airgap.site import Site, default_home
    from airgap.trust.change import add_site as change

    public = _confirmed(key, name, keyid)
    own = Site(default_home()).name
    _change("add-site", change(name, public, own=own), signer, proposal, passphrase_file, json)


def remove(
    who: Who,
    signer: SignerNames = None,
    proposal: ProposalFile = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Take keys out: nothing that they signed counts any more, earlier bundles included.

    Example: airgap trust remove bob
    """
    from airgap.trust.change import remove as change

    _change("remove", change(who), signer, proposal, passphrase_file, json)


def revoke(
    who: Who,
    after_serial: Annotated[
        int, typer.Option(metavar="N", min=0, help="Bundles up to this serial still count.")
    ],
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="BUNDLE|SHA256", help="A bundle that counts all the same; repeatable."),
    ] = None,
    signer: SignerNames = None,
    proposal: ProposalFile = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Void a key from some serial on: it was lost, or is not to be used.

    A thief can sign "old" serials too. `--after-serial 0` with every good bundle in `--accept` shuts him out.

    Example: airgap trust revoke bob --after-serial 0 --accept /srv/bundles/stack-0007
    """
    from airgap.trust.change import revoke as change

    accepted = [_statement(each) for each in accept or ()]
    _change("revoke", change(who, after_serial, accepted), signer, proposal, passphrase_file, json)


def rotate(
    days: Annotated[
        int, typer.Option(metavar="N", min=1, max=3650, help="Days until the new root expires.")
    ] = 730,
    key: Annotated[
        str | None, typer.Option("--key", metavar="OWNER|KEYID", help="Replace this key as well.")
    ] = None,
    by: Annotated[
        Path | None, typer.Option("--by", metavar="PUB.pem", help="The new public key for --key.")
    ] = None,
    keyid: KeyId = None,
    signer: SignerNames = None,
    proposal: ProposalFile = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Give the trust root a new end, and replace a key.

    What only the replaced key signed is refused once the new root is there: pack it again.

    Example: airgap trust rotate --key alice --by alice-2.pub
    """
    from datetime import timedelta

    from airgap.errors import UsageError
    from airgap.site import now
    from airgap.trust.change import in_turn, replace_key
    from airgap.trust.change import rotate as change

    if (key is None) != (by is None):
        raise UsageError("a key is replaced by another", want="both --key and --by, or neither")
    changes = [change(now() + timedelta(days=days))]
    if key is not None and by is not None:
        changes.append(replace_key(key, _confirmed(by, key, keyid)))
    _change("rotate", in_turn(*changes), signer, proposal, passphrase_file, json)


def threshold(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="release or root.")],
    count: Annotated[int, typer.Argument(metavar="N", min=1, max=64, help="How many keys must sign.")],
    distinct_owners: Annotated[
        bool | None,
        typer.Option(
            "--distinct-owners/--any-owners", show_default=False, help="Count owners in place of keys."
        ),
    ] = None,
    signer: SignerNames = None,
    proposal: ProposalFile = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Set how many people must sign.

    Example: airgap trust threshold root 2 --distinct-owners
    """
    from airgap.trust.change import set_threshold

    change = set_threshold(_role(role), count, distinct_owners=distinct_owners)
    _change("threshold", change, signer, proposal, passphrase_file, json)


def sign(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The proposal.")],
    yes: Annotated[bool, typer.Option("--yes", help="Sign without the question.")] = False,
    signer: SignerNames = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Sign a proposed trust root, after a look at what changes.

    Example: airgap trust sign 2.root.proposal.json
    """
    from airgap.admin.change_root import sign_root
    from airgap.cli.opening import open_site

    done = sign_root(
        open_site().site, file, _signers(signer, passphrase_file), lambda found: _agree(found, yes=yes)
    )
    _show(done, file, json)


def epoch(
    signer: SignerNames = None,
    proposal: ProposalFile = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Begin a new epoch: the serials of all streams start again, and no bundle of before loads any more.

    For when a stolen key has signed a serial so high that yours are refused, or a false bundle was loaded.
    Revoke the key first. Every site needs the new trust root: it travels in the next bundle.

    Example: airgap trust epoch
    """
    from airgap.trust.change import raise_epoch

    _change("epoch", raise_epoch(), signer, proposal, passphrase_file, json)


COMMANDS: dict[str, Callable[..., None]] = {
    "add": add,
    "add-site": add_site,
    "remove": remove,
    "revoke": revoke,
    "rotate": rotate,
    "threshold": threshold,
    "epoch": epoch,
    "sign": sign,
}


def _role(name: str) -> str:
    from airgap.errors import UsageError

    if name not in ("release", "root"):
        raise UsageError("not a role for people", want="release or root", got=repr(name))
    return name


def _confirmed(path: Path, owner: str, told: str | None) -> "PublicKey":
    """The public key in a file, whose id a person has got by another way."""
    from airgap.admin.change_root import compare_keyid
    from airgap.bundle.files import Folder
    from airgap.trust.keys import MAX_PUBLIC_PEM, PublicKey

    with Folder(path.absolute().parent) as folder:
        key = PublicKey.from_pem(folder.read(path.name, MAX_PUBLIC_PEM), str(path))
    if told is None and sys.stdin and sys.stdin.isatty():
        # the file's own is not shown before: it would only be copied
        told = typer.prompt(f"Type the key id that {owner!r} told you", err=True)
    compare_keyid(key, owner, told)
    return key


def _statement(text: str) -> str:
    """SHA-256 of the statement that is meant, by itself or by its bundle, whose signatures must hold."""
    import re

    from airgap.bundle.volumes import open_bundle
    from airgap.carry.verify import authenticate
    from airgap.carry.verify_recorded import receiver
    from airgap.site import Site, default_home, now

    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text
    with open_bundle(Path(text), alone=True) as folder:
        return authenticate(folder, receiver(Site(default_home()), now())).sha256


def _signers(names: list[str] | None, passphrase_file: Path | None) -> "Signers":
    from airgap.admin.change_root import Signers
    from airgap.cli import passphrase

    return Signers(
        tuple(names or ()), lambda name: passphrase.existing(passphrase_file, f"the key of {name}")
    )


def _change(
    what: str,
    change: "Change",
    names: list[str] | None,
    proposal: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    from airgap.admin.change_root import change_root
    from airgap.cli.opening import open_site

    here = open_site()
    signers = _signers(names, passphrase_file)
    done = change_root(here.site, what, change, signers, now=here.now, proposal=proposal)
    _show(done, done.path, as_json)


def _agree(proposal: "Proposal", *, yes: bool) -> None:
    """Show a person what is to be signed, and ask."""
    from airgap.errors import UsageError, printable
    from airgap.trust.change import describe_change

    for line in describe_change(proposal.old.root, proposal.new):
        typer.echo(printable(line), err=True)
    signers = ", ".join(map(proposal.key_title, sorted(proposal.signers)))
    typer.echo(printable(f"signed so far by {signers}"), err=True)
    if yes:
        return
    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError("nobody to ask", want="a terminal, or --yes after reading what changes")
    typer.confirm("Sign it?", abort=True, err=True)


def _show(done: "Changed", file: Path, as_json: bool) -> None:
    from airgap.cli import console
    from airgap.cli.init import grouped

    proposal = done.proposal
    value = {
        "version": proposal.new.version,
        "installed": done.fingerprint is not None,
        "path": str(done.path),
        "fingerprint": done.fingerprint,
        "changes": list(done.lines),
        "signed_by": sorted(proposal.signers),
        "signers": [proposal.key_title(keyid) for keyid in sorted(proposal.signers)],
        "wants": list(proposal.wants),
        "who": list(proposal.who) if proposal.wants else [],
    }
    if done.fingerprint is not None:
        lines = [
            f"installed: {proposal.new.name}, fingerprint {grouped(done.fingerprint)}",
            "It gets across with the next bundle by itself; or by its file, at once:",
            f"  airgap trust install {file}",
        ]
    else:
        lines = [
            f"written: {file}; more signatures are wanted:",
            *(f"  {want}" for want in proposal.wants),
            f"{', '.join(proposal.who)} can sign: airgap trust sign {file}",
        ]
    console.show_result(value, [*done.lines, *lines], as_json=as_json)
