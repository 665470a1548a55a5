"""The command `airgap audit compare`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import console
from airgap.cli.options import RegistryAccess, SshAccess, TableOutput, To
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from airgap.errors import AirgapError
    from airgap.review.compare_target import Finding
    from airgap.review.records import Kept
    from airgap.site import Site


def compare_target(
    to: To,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Leave out names like this, as in 'registry.k8s.io/pause*'; repeatable."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show images that are as loaded, too.")] = False,
    *,
    registries: RegistryAccess,
    ssh: SshAccess,
    output: TableOutput,
) -> None:
    """Show what a target has that no accepted bundle brought, what is missing there, and names that moved.

    It is compared with this site's receipts of loads to that target. Nothing is changed or recorded. The exit
    code is 21 if there is anything to look into, so that cron can run it.

    Example: airgap audit compare --to docker
    """
    from airgap.cli.endpoints import Endpoints, make_engine_ssh
    from airgap.cli.opening import open_site
    from airgap.review.compare_target import compare
    from airgap.review.records import Kept
    from airgap.times import format_time

    target = Endpoints(registries, ssh=make_engine_ssh(ssh, to)).target(to)
    checked = open_site(recording=False)
    site, kept = checked.site, Kept.of(checked.site)
    kept.raise_disk_errors()
    compared = compare(target, kept.receipts, site.name, ignore or ())
    findings, notes = compared.findings, _notes(kept, target.name, site)
    if compared.unlisted is not None:
        notes.append(f"only what was loaded is compared, as it cannot be listed: {compared.unlisted}")
    value = {
        "site": site.name,
        "time": format_time(checked.now),
        "target": target.name,
        "engine": target.describe_engine() or None,
        "images": [_value(finding) for finding in findings],
        "notes": notes,
    }
    lines = _lines(findings, target.name, every=every)
    console.show_partial_result(value, [*lines, *notes], output, _failures(findings, target.name))


def _notes(kept: "Kept", target: str, site: "Site") -> list[str]:
    from airgap.audit.search import entries_of
    from airgap.review.compare_target import loaded_targets
    from airgap.review.records import RECEIPT_EVENTS

    targets = loaded_targets(kept.receipts, site.name)
    notes = [f"not compared: {error}" for error in kept.unreadable.values()]
    notes += kept.missing_receipts(entries_of(site.ledger_path, *RECEIPT_EVENTS)).values()
    if target not in targets:
        other = f"; there are some for {', '.join(targets)}" if targets else ""
        notes.append(f"there is no receipt of a load to {target}{other}")
    return notes


def _failures(findings: Sequence["Finding"], target: str) -> "list[AirgapError]":
    from airgap.errors import DriftError
    from airgap.review.compare_target import DRIFT

    counts = [(sum(finding.state is state for finding in findings), state) for state in DRIFT]
    if not any(count for count, _ in counts):
        return []
    return [
        DriftError(
            "the target has other images than were loaded into it",
            subject=target,
            got=", ".join(f"{count} {state}" for count, state in counts if count),
            hint="`airgap audit find DIGEST` shows which bundle brought an image; `airgap load` of the "
            "newest bundle sets names and missing images right",
        )
    ]


def _value(finding: "Finding") -> dict[str, Any]:
    from airgap.times import format_time

    return {
        "reference": finding.name,
        "state": finding.state,
        "digest": str(finding.digest) if finding.digest else None,
        "expected": str(finding.expected) if finding.expected else None,
        "bundle": finding.bundle,
        "time": format_time(finding.time) if finding.time else None,
    }


def _lines(findings: Sequence["Finding"], target: str, *, every: bool) -> list[str | Table]:
    from airgap.review.compare_target import DRIFT

    shown = [finding for finding in findings if every or finding.state in DRIFT]
    rows = [
        (f.name or "(no name)", f.state, f.digest or "", f.expected or "", f.bundle, _day(f)) for f in shown
    ]
    table = [Table(("IMAGE", "STATE", "THERE", "LOADED", "BUNDLE", "ON"), rows)] if rows else []
    agreeing = sum(finding.state not in DRIFT for finding in findings)
    return [*table, f"{target}: {agreeing} of {len(findings)} images and names agree with the receipts"]


def _day(finding: "Finding") -> str:
    return finding.time.strftime("%Y-%m-%d") if finding.time else ""
