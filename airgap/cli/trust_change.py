"""The commands of `airgap trust` that make and sign the next version of the trust root."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import complete, console
from airgap.cli.options import Output, PassphraseFile
from airgap.cli.register import register
from airgap.values import dataclass

if TYPE_CHECKING:
    from airgap.admin.change_root import Changed, Signers
    from airgap.trust.change import Change
    from airgap.trust.keys import PublicKey
    from airgap.trust.proposal import Proposal

app = typer.Typer()
"""The commands; `airgap.cli.trust` adds them to its own."""

KeyId = Annotated[
    str | None,
    typer.Option(
        "--keyid", metavar="HEX", help="The key's id, received through another channel than the key."
    ),
]
Who = Annotated[
    str, typer.Argument(metavar="OWNER|KEYID", help="The owner of the keys, or the id of one key.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RootSigning:
    """The keys that sign a trust root."""

    signer: Annotated[
        list[str] | None,
        typer.Option(
            "--signer",
            metavar="NAME",
            help="A key at this site that signs (default: all that may); may be repeated.",
            autocompletion=complete.key_owners,
        ),
    ] = None
    passphrase_file: PassphraseFile = None

    def signers(self) -> "Signers":
        """Return the keys; a person is asked for their passphrases when they sign."""
        from airgap.admin.change_root import Signers
        from airgap.cli import passphrase

        return Signers(
            tuple(self.signer or ()),
            lambda site, name: passphrase.signing_key(site, name, self.passphrase_file, f"the key of {name}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposing(RootSigning):
    """The keys that sign a new trust root, and its file while others must sign."""

    proposal: Annotated[
        Path | None,
        typer.Option(
            "--proposal",
            metavar="FILE",
            help="Where to write the proposal if others must sign (default: N.root.proposal.json).",
        ),
    ] = None


@register(app, "add")
def add_signer(
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="The owner of the key.")],
    key: Annotated[
        Path,
        typer.Option(
            "--key",
            metavar="PUB.pem",
            help="The owner's public key, from `airgap key show` on their machine.",
        ),
    ],
    role: Annotated[
        list[str] | None, typer.Option(metavar="ROLE", help="release (the default) or root; may be repeated.")
    ] = None,
    keyid: KeyId = None,
    *,
    proposing: Proposing,
    output: Output,
) -> None:
    """Allow a person to sign bundles or trust roots.

    Example: airgap trust add bob --key bob.pub --role release --role root
    """
    from airgap.trust.change import add_key

    roles = [_role(name) for name in role or ["release"]]
    public = _confirmed(key, owner, keyid)
    _change("add", add_key(owner, public, roles), proposing, output)


@register(app, "add-site")
def add_receiving_site(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The receiving site.")],
    key: Annotated[Path, typer.Option("--key", metavar="SITE.pub", help="The site's public key, site.pub.")],
    keyid: KeyId = None,
    *,
    proposing: Proposing,
    output: Output,
) -> None:
    """Allow a receiving site to sign its receipts.

    Example: airgap trust add-site plant-7 --key site.pub
    """
    from airgap.site import Site, default_home
    from airgap.trust.change import add_site_key

    public = _confirmed(key, name, keyid)
    own = Site(default_home()).name
    _change("add-site", add_site_key(name, public, own=own), proposing, output)


@register(app, "remove")
def remove(who: Who, *, proposing: Proposing, output: Output) -> None:
    """Remove keys. Their signatures no longer count, not even on earlier bundles.

    Example: airgap trust remove bob
    """
    from airgap.trust.change import remove_keys

    _change("remove", remove_keys(who), proposing, output)


@register(app, "revoke")
def revoke(
    who: Who,
    after_serial: Annotated[
        int, typer.Option(metavar="N", min=0, help="Bundles up to this serial are still accepted.")
    ],
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="BUNDLE|SHA256", help="A bundle that is still accepted; may be repeated."),
    ] = None,
    *,
    proposing: Proposing,
    output: Output,
) -> None:
    """Revoke a key that was lost or must no longer be used, from a serial on.

    A thief can also sign bundles with old serials. If the key may have been stolen, use `--after-serial 0`,
    and name every good bundle with `--accept`.

    Example: airgap trust revoke bob --after-serial 0 --accept /srv/bundles/stack-0007
    """
    from airgap.trust.change import revoke_keys

    accepted = [_statement(bundle) for bundle in accept or ()]
    _change("revoke", revoke_keys(who, after_serial, accepted), proposing, output)


@register(app, "rotate")
def rotate(
    days: Annotated[
        int, typer.Option(metavar="N", min=1, max=3650, help="Days until the new root expires.")
    ] = 730,
    key: Annotated[
        str | None, typer.Option("--key", metavar="OWNER|KEYID", help="Replace this key as well.")
    ] = None,
    by: Annotated[
        Path | None, typer.Option("--by", metavar="PUB.pem", help="The public key that replaces --key.")
    ] = None,
    keyid: KeyId = None,
    *,
    proposing: Proposing,
    output: Output,
) -> None:
    """Extend the validity of the trust root; with --key, also replace a key.

    Bundles that only the replaced key signed are refused once the new root is installed: pack them again.

    Example: airgap trust rotate --key alice --by alice-2.pub
    """
    from datetime import timedelta

    from airgap.errors import UsageError
    from airgap.site import now
    from airgap.trust.change import extend_root, in_turn, replace_key

    if (key is None) != (by is None):
        raise UsageError("--key and --by go together", want="both or neither")
    changes = [extend_root(now() + timedelta(days=days))]
    if key is not None and by is not None:
        changes.append(replace_key(key, _confirmed(by, key, keyid)))
    _change("rotate", in_turn(*changes), proposing, output)


@register(app, "threshold")
def change_threshold(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="release or root.")],
    count: Annotated[int, typer.Argument(metavar="N", min=1, max=64, help="How many keys must sign.")],
    distinct_owners: Annotated[
        bool | None,
        typer.Option(
            "--distinct-owners/--any-owners", show_default=False, help="Count owners instead of keys."
        ),
    ] = None,
    *,
    proposing: Proposing,
    output: Output,
) -> None:
    """Set how many people must sign.

    Example: airgap trust threshold root 2 --distinct-owners
    """
    from airgap.trust.change import set_threshold

    change = set_threshold(_role(role), count, distinct_owners=distinct_owners)
    _change("threshold", change, proposing, output)


@register(app, "sign")
def sign_proposal(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The proposal.")],
    yes: Annotated[bool, typer.Option("--yes", help="Sign without asking.")] = False,
    *,
    signing: RootSigning,
    output: Output,
) -> None:
    """Sign a proposed trust root, after showing what changes.

    Example: airgap trust sign 2.root.proposal.json
    """
    from airgap.admin.change_root import sign_root
    from airgap.cli.opening import open_site

    done = sign_root(open_site().site, file, signing.signers(), lambda found: _agree(found, yes=yes))
    _show(done, file, output)


@register(app, "epoch")
def start_epoch(*, proposing: Proposing, output: Output) -> None:
    """Start a new epoch: the serials of all streams start again, and earlier bundles no longer load.

    Use it if a stolen key has signed a serial so high that yours are refused, or if a false bundle was
    loaded. Revoke the key first. Every site needs the new trust root, which travels in the next bundle.

    Example: airgap trust epoch
    """
    from airgap.trust.change import raise_epoch

    _change("epoch", raise_epoch(), proposing, output)


def _role(name: str) -> str:
    from airgap.errors import UsageError

    if name not in ("release", "root"):
        raise UsageError("not a role that people can have", want="release or root", got=repr(name))
    return name


def _confirmed(path: Path, owner: str, keyid: str | None) -> "PublicKey":
    """Return the public key in a file, after comparing its id with the one from another channel."""
    from airgap.admin.change_root import compare_keyid
    from airgap.bundle.files import Folder
    from airgap.limits import MAX_PUBLIC_KEY_BYTES
    from airgap.trust.keys import PublicKey

    with Folder(path.absolute().parent) as folder:
        key = PublicKey.from_pem(folder.read(path.name, MAX_PUBLIC_KEY_BYTES), str(path))
    if keyid is None and sys.stdin and sys.stdin.isatty():
        # the id of the file's key is not shown: it would only be copied
        keyid = typer.prompt(f"Type the key id that {owner!r} gave you", err=True)
    compare_keyid(key, owner, keyid)
    return key


def _statement(text: str) -> str:
    """Return the SHA-256 of a statement, given directly or as a bundle whose signatures must be valid."""
    import re

    from airgap.bundle.volumes import open_bundle
    from airgap.carry.verify import authenticate
    from airgap.carry.verify_recorded import receiver
    from airgap.site import Site, default_home, now

    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text
    with open_bundle(Path(text), alone=True) as folder:
        return authenticate(folder, receiver(Site(default_home()), now())).sha256


def _change(what: str, change: "Change", proposing: Proposing, output: Output) -> None:
    from airgap.admin.change_root import change_root
    from airgap.cli.opening import open_site

    checked = open_site()
    done = change_root(
        checked.site, what, change, proposing.signers(), now=checked.now, proposal=proposing.proposal
    )
    _show(done, done.path, output)


def _agree(proposal: "Proposal", *, yes: bool) -> None:
    """Show what would be signed, and ask for confirmation."""
    from airgap.errors import UsageError, printable
    from airgap.trust.change import describe_change

    for line in describe_change(proposal.old.root, proposal.new):
        typer.echo(printable(line), err=True)
    for line in _recall_alarms(proposal):
        typer.echo(printable(f"alarm: {line}"), err=True)
    signers = ", ".join(map(proposal.key_title, sorted(proposal.signers)))
    typer.echo(printable(f"signed so far by {signers}"), err=True)
    if yes:
        return
    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError("--yes is missing", want="a terminal, or --yes after reading what changes")
    typer.confirm("Sign it?", abort=True, err=True)


def _recall_alarms(proposal: "Proposal") -> list[str]:
    """Return an alarm for each proposed recall that names a bundle wrongly, as far as it is known here."""
    from dataclasses import replace

    from airgap.review.recalls import find_contradictions
    from airgap.review.records import Kept
    from airgap.site import Site, default_home

    if not proposal.new.recalled:
        return []
    kept = Kept.of(Site(default_home()))
    return list(find_contradictions(replace(kept, roots={**kept.roots, proposal.new.version: proposal.new})))


def _show(done: "Changed", file: Path, output: Output) -> None:
    console.show_result(changed_value(done), changed_lines(done, file), output)


def changed_value(done: "Changed") -> dict[str, Any]:
    """Return the JSON of a new trust root, or of its proposal."""
    from airgap.trust.change import undo_warning

    proposal = done.proposal
    return {
        "version": proposal.new.version,
        "installed": done.fingerprint is not None,
        "path": str(done.path),
        "fingerprint": done.fingerprint,
        "changes": list(done.lines),
        "signed_by": sorted(proposal.signers),
        "signers": [proposal.key_title(keyid) for keyid in sorted(proposal.signers)],
        "wants": list(proposal.wants),
        "who": list(proposal.who) if proposal.wants else [],
        "warning": undo_warning(proposal.new),
    }


def changed_lines(done: "Changed", file: Path) -> list[str]:
    """Return lines about a new trust root, or about its proposal in `file`, and what to do next."""
    from airgap.cli.init import format_fingerprint
    from airgap.trust.change import undo_warning

    proposal = done.proposal
    if done.fingerprint is not None:
        lines = [
            f"installed: {proposal.new.name}, fingerprint {format_fingerprint(done.fingerprint)}",
            "The next bundle carries it to the other side. To install it there at once, take the file:",
            f"  airgap trust install {file}",
        ]
    else:
        lines = [
            f"written: {file}; more signatures are needed:",
            *(f"  {want}" for want in proposal.wants),
            f"{', '.join(proposal.who)} can sign: airgap trust sign {file}",
        ]
    if warning := undo_warning(proposal.new):
        lines.append(f"warning: {warning}")
    return [*done.lines, *lines]
