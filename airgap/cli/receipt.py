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
    from airgap.review.receipts import Imported, ReceiptImport
    from airgap.trust.root import TrustRoot

app = make_group()

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="RECEIPT", readable=False, help="The file that `airgap load` wrote on the other side."
    ),
]

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH", readable=False, help="Receipts, and folders with receipts: a medium that came back."
    ),
]


@register(app, "import")
def import_receipts(paths: Paths, *, output: Output) -> None:
    """Import receipts that came back: they confirm delivery of a bundle that was sealed here.

    A folder is searched for files named *.receipt.json, and so is its folder receipts/, in which
    `airgap load` leaves a copy. The trust root must have the key of the receiving site. Each receipt is
    compared with the bundle and with earlier receipts of the site. A receipt that does not agree is kept too
    (exit code 13).

    Examples:
      airgap receipt import /media/stick
      airgap receipt import plant-7-edge-stack-0007-12.receipt.json
    """
    from airgap.cli.opening import open_site
    from airgap.errors import AirgapError, PartialError
    from airgap.review.receipt_files import receipt_files
    from airgap.review.receipts import ReceiptImport

    checked = open_site()
    files = receipt_files(paths)
    imports = ReceiptImport(checked.site, checked.now)
    done: list[tuple[Path, Imported]] = []
    refused: dict[str, AirgapError] = {}
    lines: list[str | Table] = []
    for path in files:
        try:
            done.append((path, _import(imports, path)))
            lines += _imported_lines(done[-1][1])
        except AirgapError as error:  # the others are imported and reported
            refused[str(path)] = error
            lines.append(f"refused: {path.name}: {error}")
    if len(files) == 1 and refused:
        raise refused[str(files[0])]
    value: dict[str, Any] = {"receipts": [_imported(path, imported) for path, imported in done]}
    failure = PartialError("some receipts were refused", refused, len(files)) if refused else None
    if failure and not done:
        failure.what, failure.got = f"all {len(files)} receipts were refused", None
    alarmed = any(imported.alarms for _, imported in done)
    console.show_partial_result(value, lines, output, [failure] if failure else [], alarmed=alarmed)


def _import(imports: "ReceiptImport", path: Path) -> "Imported":
    from airgap.advice import RECEIPT, refuse_other
    from airgap.review.records import read_file

    refuse_other(path, RECEIPT)
    return imports.take(path, read_file(path))


def _imported(path: Path, imported: "Imported") -> dict[str, Any]:
    from airgap.review.receipts import ImportState

    foreign = imported.state == ImportState.OTHER_SENDER
    return {
        "receipt": str(path),
        "kept": None if foreign else str(imported.kept.path),
        "fresh": imported.fresh,
        "import": imported.state,
        "alarms": list(imported.alarms),
        "unconfirmed": list(imported.unconfirmed),
        **_value(imported.kept.receipt),
    }


def _imported_lines(imported: "Imported") -> list[str]:
    receipt = imported.kept.receipt
    return [
        f"{imported.state}: {imported.kept.title} at {receipt.site}, {receipt.target}: {receipt.result}",
        *(f"alarm: {alarm}" for alarm in imported.alarms),
        *(f"not confirmed: {line}" for line in imported.unconfirmed),
    ]


@register(app, "show")
def show_receipts(files: Files, *, output: TableOutput) -> None:
    """Show a receipt, after checking that its site signed it.

    Example: airgap receipt show plant-7-edge-stack-0007-12.receipt.json
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
        "bundle": receipt.title,
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
        "step_back": receipt.step_back.value if receipt.step_back else None,
        "pruned": [{"reference": n.reference, "digest": n.target_digest} for n in receipt.pruned],
    }


def _lines(receipt: "Receipt", signers: list[str]) -> list[str | Table]:
    from airgap.times import format_time

    rows = [(i.reference, i.verdict, i.before or "-", i.target_digest or "-") for i in receipt.images]
    back = receipt.step_back
    return [
        f"{receipt.bundle_stream}-{receipt.serial:04d} at {receipt.site}, {receipt.target}: {receipt.result}",
        *([f"engine: {receipt.target_engine}"] if receipt.target_engine else []),
        *([f"step back from {receipt.bundle_stream}-{back.serial:04d}: {back.reason}"] if back else []),
        f"loaded {format_time(receipt.time)} by {receipt.by} with airgap {receipt.tool_version}",
        f"signed by {receipt.site}; statement sha256 {receipt.statement_sha256}, by {', '.join(signers)}",
        Table(("IMAGE", "VERDICT", "BEFORE", "AFTER"), rows),
        *(f"{image.reference}: {image.reason}" for image in receipt.images if image.reason),
        *(f"removed: {name.reference}" for name in receipt.pruned),
    ]
