"""Add a signature to a sealed bundle, after showing it, and checking all of it.

The content is shown, with the difference from the bundle before it that is known here, and you are asked
before it is signed. If the trust root needs several signers, a bundle loads once enough of them have signed.
Each signs the bundle itself or a copy. Name all volumes together.

Example: airgap sign /media/stick/edge-stack-0007 --key bob
"""

import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.cli import console
from airgap.cli.bundle_page import signer_lines, statement_lines, total_line
from airgap.cli.options import Bundles, Jobs, Output, SigningChoice
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from airgap.bundle.statement import Statement
    from airgap.carry.verify import CheckedBundle
    from airgap.site import Site
    from airgap.trust.root import TrustRoot

NAME = "sign"


def run(
    bundle: Bundles,
    jobs: Jobs = 2,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without asking.")] = False,
    *,
    signing: SigningChoice,
    output: Output,
) -> None:
    from airgap.bundle.volumes import refuse_several
    from airgap.carry.sign import sign
    from airgap.cli.bundle_choice import take_bundles
    from airgap.cli.operator_prompt import make_operator

    bundle = take_bundles(bundle, NAME, any_site=True)
    refuse_several(bundle)
    operator = make_operator(jobs, output)

    def agree(checked: "CheckedBundle", root: "TrustRoot") -> None:
        if not (yes and output.quiet):
            _show(checked, root, operator.site)
        if not yes:
            _ask(checked.statement.title)

    done = sign(bundle, signing.signer(operator.site), operator, agree)
    title = done.bundle.statement.title
    value = {
        "bundle": str(bundle[0]),
        "statement_sha256": done.bundle.statement_sha256,
        "owners": list(done.owners),
        "wanted": done.wanted,
        "fresh": done.fresh,
    }
    verb = "signed" if done.fresh else "signed already"
    lines = [f"{verb}: {title}, now by {', '.join(done.owners)}; every byte was checked"]
    if done.wanted is not None:
        lines.append(f"it does not load yet: {done.wanted} needed")
    console.show_result(value, lines, output)


def _show(bundle: "CheckedBundle", root: "TrustRoot", site: "Site") -> None:
    """Write to stderr what would be signed."""
    from airgap.errors import printable

    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    lines = [
        *statement_lines(bundle.statement, signer_lines(bundle.verdict, root), total_line(bundle.statement)),
        f"statement sha256 {bundle.statement_sha256}",
        *_difference(bundle.statement, site),
    ]
    for item in lines:
        for line in item.lines(width) if isinstance(item, Table) else [printable(item)]:
            console.say(line + "\n")


def _difference(statement: "Statement", site: "Site") -> list[str | Table]:
    from airgap.carry.compare_images import Change, ImageList, compare
    from airgap.review.last_bundle import last_known

    known = last_known(site, statement)
    if known is None:
        return [f"no earlier bundle of {statement.stream} is known here to compare it with"]
    images = ImageList(statement.title, {str(image.name): image.digest for image in statement.images})
    changes = [item for item in compare(known, images) if item.change is not Change.SAME]
    if not changes:
        return [f"the same images as {known.title}"]
    counts = {change: sum(item.change is change for item in changes) for change in Change}
    total = ", ".join(f"{count} {change}" for change, count in counts.items() if count)
    rows = [(item.name, item.change, item.before or "", item.after or "") for item in changes]
    return [f"since {known.title}: {total}", Table(("IMAGE", "CHANGE", "BEFORE", "AFTER"), rows)]


def _ask(title: str) -> None:
    """Ask a person whether to sign.

    Raises:
        UsageError: Nobody can be asked.
        KeyboardInterrupt: The answer is no.
    """
    from airgap.errors import UsageError

    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError(
            "--yes is missing",
            want="a terminal, or --yes",
            hint="read what is shown here, or by `airgap inspect`; then sign it with --yes",
        )
    try:
        agrees = typer.confirm(f"Sign {title}?", err=True)
    except typer.Abort:
        agrees = False
    if not agrees:
        raise KeyboardInterrupt
