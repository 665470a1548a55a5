"""Recall a bundle: it must no longer be used at any site, not even at one that has accepted it.

The recall is part of the next trust root, is signed like any other change, and cannot be taken back. A site
that has this root does not verify, load, serve or copy the bundle, nor take content from it for another one.
What is already loaded stays: each site shows it until another bundle has replaced it.

The reason travels to every site and is shown there: do not write anything that they must not read. A version
of airgap that does not know recalls refuses a trust root with one, and all bundles after it: update those
sites first.

Example: airgap recall stack-0007 --reason 'CHG-91: the api image leaks a key'
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import console
from airgap.cli.options import Output
from airgap.cli.trust_change import Proposing, changed_lines, changed_value

if TYPE_CHECKING:
    from airgap.admin.recall import RecalledBundle, RecallResult
    from airgap.review.recalls import RecallImpact
    from airgap.site_check import CheckedSite


def run(
    bundle: Annotated[
        str,
        typer.Argument(
            metavar="BUNDLE|STREAM-SERIAL",
            help="The path of the bundle, or the name of one that was sealed here.",
        ),
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="The reason; every site shows it.")],
    epoch: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="The epoch of STREAM-SERIAL (default: the newest that has it)."
        ),
    ] = None,
    *,
    proposing: Proposing,
    output: Output,
) -> None:
    from airgap.admin.recall import find_bundle, recall
    from airgap.cli.opening import open_site
    from airgap.cli.reasons import checked_reason
    from airgap.review.recalls import find_impact
    from airgap.review.records import Kept

    reason = checked_reason(reason)
    checked = open_site()
    found = find_bundle(checked.site, bundle, epoch, checked.now)
    impact = find_impact(Kept.of(checked.site), found.statement, found.sha256)  # before anything is changed
    done = recall(
        checked.site, found, reason, proposing.signers, now=checked.now, proposal=proposing.proposal
    )
    _show(checked, found, done, impact, output)


def _show(
    checked: "CheckedSite",
    found: "RecalledBundle",
    done: "RecallResult",
    impact: "RecallImpact",
    output: Output,
) -> None:
    if done.changed is not None:
        value = changed_value(done.changed)
        lines = changed_lines(done.changed, done.changed.path)
    else:
        signed = checked.site.root()
        path = checked.site.home / "trust" / f"{signed.root.version}.root.json"
        value = _unchanged_value(signed.root.version, path, signed.fingerprint)
        lines = [f"recalled already: {done.recall.title}: {done.recall.words}", f"the trust root: {path}"]
    value |= {
        "bundle": found.statement.title,
        "statement_sha256": found.sha256,
        "reason": done.recall.reason,
        "fresh": done.changed is not None,
        "sealed_here": found.sealed_here,
        "confirmed_by": list(impact.confirmed_by),
        "still_at": {site: sorted(targets) for site, targets in impact.still_at.items()},
        "replaced_by": impact.replaced_by,
    }
    console.show_result(value, [*lines, *_impact_lines(found, impact)], output)


def _unchanged_value(version: int, path: Path, fingerprint: str) -> dict[str, Any]:
    names = ("changes", "signed_by", "signers", "wants", "who")
    head = {"version": version, "installed": True, "path": str(path), "fingerprint": fingerprint}
    return {**head, **{name: [] for name in names}, "warning": None}


def _impact_lines(found: "RecalledBundle", impact: "RecallImpact") -> list[str]:
    """Return lines about who has the bundle, and what replaces it."""
    title, stream = found.statement.title, found.statement.stream
    lines = [] if found.sealed_here else [f"{title} was not sealed here; it is recalled all the same"]
    lines.append(f"confirmed by: {', '.join(impact.confirmed_by) or 'no site'}")
    lines += [
        f"still at {site}: {', '.join(sorted(targets))}" for site, targets in sorted(impact.still_at.items())
    ]
    if impact.replaced_by:
        return [*lines, f"replaced by: {impact.replaced_by}, for the sites that load it"]
    return [*lines, f"no later bundle of {stream} was sealed here: `airgap pack` makes one"]
