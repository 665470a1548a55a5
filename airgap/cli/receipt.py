"""Show receipts of loads, and import those that came back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import console
from airgap.cli.options import Output, TableOutput
from airgap.cli.register import make_group, register
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airgap.audit.receipt import Receipt
    from airgap.review.receipts import Imported
    from airgap.trust.root import TrustRoot

NAME = "receipt"
PANEL = "Both sides"
app = make_group()

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="RECEIPT", readable=False, help="The file that `airgap load` wrote on the other side."
    ),
]


@register(app, "import")
def import_receipts(files: Files, *, output: Output) -> None:
    """Import receipts that came back: they confirm delivery of a bundle that was sealed here.

    The trust root must have the key of the receiving site. Each receipt is compared with the bundle and with
    earlier receipts of the site. A receipt that does not agree is kept too (exit code 13).

    Example: airgap receipt import /media/stick/edge-stack-0007-12.receipt.json
    """
    from airgap.advice import RECEIPT, refuse_other
    from airgap.cli.opening import open_site
    from airgap.errors import AirgapError, PartialError, TrustError
    from airgap.review.receipts import Imported, import_receipt
    from airgap.review.records import read_file

    checked = open_site()
    site, time = checked.site, checked.now
    done: list[tuple[Path, Imported]] = []
    refused: dict[str, AirgapError] = {}
    for path in files:
        try:
            refuse_other(path, RECEIPT)
            done.append((path, import_receipt(site, path, read_file(path), time)))
        except AirgapError as error:  # the others are imported and reported
            refused[str(path)] = error
    if not done:
        raise next(iter(refused.values()))
    failure = PartialError("some receipts were refused", refused, len(files)) if refused else None
    value: dict[str, Any] = {"receipts": [_imported(path, imported) for path, imported in done]}
    lines = [line for _, imported in done for line in _imported_lines(imported)]
    console.show_partial_result(value, lines, output, [failure] if failure else [])
    if any(imported.alarms for _, imported in done):
        raise typer.Exit(TrustError.exit_code)


def _imported(path: Path, imported: "Imported") -> dict[str, Any]:
    return {
        "receipt": str(path),
        "kept": str(imported.kept.path),
        "fresh": imported.fresh,
        "alarms": list(imported.alarms),
        "unconfirmed": list(imported.unconfirmed),
        **_value(imported.kept.receipt),
    }


def _imported_lines(imported: "Imported") -> list[str]:
    receipt = imported.kept.receipt
    verb = "imported" if imported.fresh else "imported already"
    return [
        f"{verb}: {imported.kept.title} at {receipt.site}, {receipt.target}: {receipt.result}",
        *(f"alarm: {alarm}" for alarm in imported.alarms),
        *(f"not confirmed: {line}" for line in imported.unconfirmed),
    ]


@register(app, "show")
def show_receipts(files: Files, *, output: TableOutput) -> None:
    """Show a receipt, after checking that its site signed it.

    Example: airgap receipt show edge-stack-0007-12.receipt.json
    """
    from airgap.advice import RECEIPT, refuse_other
    from airgap.cli.opening import open_site
    from airgap.prove_receipt import prove_receipt
    from airgap.review.records import read_file
    from airgap.trust.envelope import Envelope

    checked = open_site(recording=False)
    site, time = checked.site, checked.now
    own = (site.name, site.key.public_key)
    root = site.root().root
    for path in files:
        refuse_other(path, RECEIPT)
    envelopes = [Envelope.parse(read_file(path), str(path)) for path in files]
    receipts = [
        prove_receipt(envelope, root, time, str(path), own)
        for path, envelope in zip(files, envelopes, strict=True)
    ]
    roots = site.root_versions()
    lines = [line for receipt in receipts for line in _lines(receipt, _signers(receipt, roots))]
    console.show_result({"receipts": [_value(receipt) for receipt in receipts]}, lines, output)


def _signers(receipt: "Receipt", roots: "Mapping[int, TrustRoot]") -> list[str]:
    """Return owner and id of the keys that, by the receipt, signed the bundle."""
    root = roots.get(receipt.root_version) or roots[max(roots)]
    return [root.key_title(keyid) for keyid in receipt.keyids]


def _value(receipt: "Receipt") -> dict[str, Any]:
    from airgap.times import format_time

    return {
        "site": receipt.site,
        "bundle": f"{receipt.bundle_stream}-{receipt.serial:04d}",
        "statement_sha256": receipt.statement_sha256,
        "time": format_time(receipt.time),
        "result": receipt.result,
        "target": receipt.target,
        "engine": receipt.target_engine or None,
        "operator": receipt.operator,
        "claimed_operator": receipt.claimed_operator,
        "keys": list(receipt.keyids),
        "root_version": receipt.root_version,
        "checkpoint": dict(receipt.checkpoint),
        "images": [
            {
                "reference": image.reference,
                "digest": image.digest,
                "verdict": image.verdict,
                "before": image.before,
                "after": image.target_digest,
                "error": image.error,
                "reason": image.reason,
            }
            for image in receipt.images
        ],
        "blobs_held": len(receipt.holds),
    }


def _lines(receipt: "Receipt", signers: list[str]) -> list[str | Table]:
    from airgap.times import format_time

    rows = [(i.reference, i.verdict, i.before or "-", i.target_digest or "-") for i in receipt.images]
    return [
        f"{receipt.bundle_stream}-{receipt.serial:04d} at {receipt.site}, {receipt.target}: {receipt.result}",
        *([f"engine: {receipt.target_engine}"] if receipt.target_engine else []),
        f"loaded {format_time(receipt.time)} by {receipt.by} with airgap {receipt.tool_version}",
        f"signed by {receipt.site}; statement sha256 {receipt.statement_sha256}, by {', '.join(signers)}",
        Table(("IMAGE", "VERDICT", "BEFORE", "AFTER"), rows),
        *(f"{image.reference}: {image.reason}" for image in receipt.images if image.reason),
    ]
