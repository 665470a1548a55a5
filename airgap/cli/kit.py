"""Make a kit: airgap itself on a medium, for machines with no network.

A kit contains the wheels of airgap and of its dependencies, signed like a bundle, and an installer that needs
only Python on the server. Running the command again makes the same kit, or a newer one if there are newer
wheels.

Example: airgap kit --to /media/stick --platform linux-x86_64 --python 3.11
"""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.cli import console, progress_output
from airgap.cli.options import MediaWriting, Output, SigningChoice
from airgap.cli.register import make_app, register, with_groups

if TYPE_CHECKING:
    from airgap.online.kit import MadeKit

app = make_app()


def make(
    context: typer.Context,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The medium, or another folder, for the kit.")
    ] = None,
    platform: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="linux-x86_64, linux-aarch64, musllinux-x86_64 or musllinux-aarch64 (default: this host); "
            "may be repeated.",
        ),
    ] = None,
    python: Annotated[
        list[str] | None,
        typer.Option(metavar="N.N", help="The server's Python (default: 3.11 to 3.14); may be repeated."),
    ] = None,
    wheels: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Take wheels from this folder instead of pip's index.")
    ] = None,
    *,
    signing: SigningChoice,
    writing: MediaWriting,
    output: Output,
) -> None:
    if context.invoked_subcommand is not None:
        return
    from airgap.cli.opening import open_site
    from airgap.errors import UsageError
    from airgap.online.kit import KitOrder, make_kit
    from airgap.online.wheels import targets_of

    if to is None:
        raise UsageError("--to is missing", want="--to DIR", hint="see airgap kit --help")
    targets = targets_of(platform or (), python or ())
    checked = open_site()
    order = KitOrder(
        to=to, targets=targets, signer=signing.signer(checked.site), now=checked.now, wheels=wheels,
        allow_system=writing.allow_system_disk, read_back=writing.read_back,
    )  # fmt: skip
    _show(make_kit(checked.site, order, progress_output.make_progress(quiet=output.quiet)), output)


app.callback()(with_groups(make))


def _show(made: "MadeKit", output: Output) -> None:
    statement = made.statement
    value = {
        "kit": str(made.path),
        "version": statement.version,
        "targets": [str(target) for target in statement.targets],
        "files": len(statement.subjects),
        "bytes": statement.total_bytes,
        "statement_sha256": made.statement_sha256,
        "keys": list(made.signers),
        **made.proof.record(),
    }
    lines = [
        f"sealed: {made.path} ({console.size(statement.total_bytes)}, {len(statement.subjects)} files)",
        f"for {', '.join(map(str, statement.targets))}",
        f"statement sha256 {made.statement_sha256}",
        *console.proof_lines(made.proof),
        f"{made.path.name}/VERIFY.txt has the commands that check a copy by this sum and install it",
    ]
    console.show_result(value, lines, output)


@register(app, "verify")
def verify_kit_folder(
    kit: Annotated[Path, typer.Argument(metavar="KIT", help="The kit's folder.")],
    allow_downgrade: Annotated[
        bool, typer.Option("--allow-downgrade", help="Accept a kit of an older airgap than this one.")
    ] = False,
    into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the checked files to a new folder in DIR."),
    ] = None,
    *,
    output: Output,
) -> None:
    """Check a kit against the trust root installed here: signatures, and every file.

    A medium can return other bytes when it is read again. With --into, you install the checked bytes.

    Example: airgap kit verify /media/stick/airgap-kit-0.1.0 --into /root
    """
    from airgap.carry.verify_kit import verify_kit
    from airgap.cli.opening import open_site

    checked = open_site()
    verified = verify_kit(kit, checked.site, checked.now, allow_downgrade=allow_downgrade, into=into)
    statement, verdict = verified.statement, verified.verdict
    value = {
        "kit": str(kit),
        "version": statement.version,
        "targets": [str(target) for target in statement.targets],
        "files": len(statement.subjects),
        "bytes": statement.total_bytes,
        "statement_sha256": verified.statement_sha256,
        "owners": list(verdict.owners),
        "keys": list(verdict.keyids),
        "threshold": verdict.threshold,
        "copy": None if verified.copy is None else str(verified.copy),
    }
    content = f"{len(statement.subjects)} files, {console.size(statement.total_bytes)}"
    keys, owners = ", ".join(verdict.signers), ", ".join(verdict.owners)
    lines = [f"good: {statement.title}, signed by {owners}, {content}, keys: {keys}"]
    if verified.copy is not None:
        lines.append(f"copied; to install it: sh {quote(str(verified.copy / 'install.sh'))}")
    console.show_result(value, lines, output)
