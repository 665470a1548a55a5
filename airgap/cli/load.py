"""Verify a bundle and load its images.

All content that is read is checked. Content that the target already has is left unchanged and is not read;
`airgap verify` reads everything. The load ends with a signed receipt; a copy is written into `receipts/`
beside the bundle, and goes home with the medium. `-` reads a tar from standard input. Name all volumes of a
bundle together; on a terminal, airgap asks for missing ones.

If a delta's base is not at the target, name the older bundles with it, in any order: those that were accepted
here before give their content, and the names come from the newest. `--back` loads one of them with its names.

Files that the bundle carries besides images go into a registry or a layout as artifacts; `--files-to` writes
them into a folder, and never over a different file without `--on-conflict replace`.

With `--prune`, names that earlier bundles of the stream brought to this target and that this bundle does not
list are removed there, after all images were loaded. Names that were there before, that have moved since, or
that another stream or a container uses are left unchanged.

Example: airgap load /media/stick/edge-stack-0007 --to docker --files-to /srv/edge
"""

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import carried_files, complete, console
from airgap.cli.identities import identities_value, identity_lines
from airgap.cli.load_choices import LoadChoices
from airgap.cli.lost_media import warn_of_lost
from airgap.cli.options import (
    STDIN,
    TO_HELP,
    AcceptJump,
    Bundles,
    Jobs,
    ReceiptCopying,
    RegistryAccess,
    SshAccess,
    TableOutput,
)
from airgap.cli.prune_prompt import PruneChoice, pruned_lines, pruned_value
from airgap.cli.recall_warnings import recalled_loaded
from airgap.cli.tables import Table
from airgap.errors import AirgapError, InterruptError, UsageError, WithheldError

if TYPE_CHECKING:
    from airgap.bundle.volumes import BundleLocation
    from airgap.carry.operator import Operator
    from airgap.carry.receipt_copies import ReceiptCopy
    from airgap.endpoints.ports import Target
    from airgap.oci.digest import Digest
    from airgap.offline.load_bundle import LoadReport
    from airgap.offline.loader import LoadedImage
    from airgap.offline.plan_loads import PlannedLoad

NAME = "load"

LoadTo = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="TARGET",
        help=f"{TO_HELP} files:DIR takes files only.",
        autocompletion=complete.targets,
    ),
]
Pin = Annotated[
    bool | None,
    typer.Option(
        "--pin/--no-pin",
        help="Protect images in containerd from the kubelet's garbage collection; the default in k8s.io.",
    ),
]


def run(
    bundles: Bundles,
    to: LoadTo = None,
    pin: Pin = None,
    accept_jump: AcceptJump = False,
    jobs: Jobs = 4,
    *,
    choices: LoadChoices,
    pruning: PruneChoice,
    receipts: ReceiptCopying,
    registries: RegistryAccess,
    ssh: SshAccess,
    output: TableOutput,
) -> None:
    from airgap.bundle.volumes import group_by_bundle
    from airgap.cli.bundle_choice import take_bundles
    from airgap.cli.endpoints import Endpoints, make_engine_ssh
    from airgap.cli.operator_prompt import make_operator

    choices.check()
    receipts.check()
    to, choices = _with_target(to, choices)
    target = Endpoints(registries, connections=jobs, ssh=make_engine_ssh(ssh, to)).target(to, pin=pin)
    pruning.check(target, back=choices.back)
    options = replace(choices.options(), accept_jump=accept_jump)
    bundles = take_bundles(bundles, NAME, options=f" --to {shlex.quote(to)}")
    operator = make_operator(jobs, output, accept_jump=accept_jump)
    warn_of_lost(operator.site, (path for path in bundles if path != STDIN))
    places = group_by_bundle(bundles)
    loads = _planned(places, operator, back=choices.back)

    def load(planned: "PlannedLoad", medium: "BundleLocation") -> "LoadReport":
        from airgap.offline.load_bundle import load_bundle

        own = replace(options, prune=pruning.confirm()) if planned.is_newest else options
        return load_bundle(
            planned.location, operator.site, target, operator.now, own, jobs=jobs,
            progress=operator.progress, copy_receipt=receipts.copier(medium), bases=planned.bases,
        )  # fmt: skip

    reports, refused = _load_each(loads, operator, load)
    _show(target, reports, refused, output, many=len(places) > 1, recalled=recalled_loaded(operator.site))


def _with_target(to: str | None, choices: LoadChoices) -> tuple[str, LoadChoices]:
    """Return the target, which is the folder for files if no other is named, and the choices besides it.
    Raises `UsageError` if there is neither.
    """
    if to is not None:
        return to, choices
    if choices.files_to is None:
        raise UsageError("missing option '--to'", hint="airgap load --help")
    return f"files:{choices.files_to}", replace(choices, files_to=None)


def _planned(
    places: "Sequence[BundleLocation]", operator: "Operator", *, back: bool
) -> "Sequence[PlannedLoad]":
    """Return what to load. A bundle that is read from a pipe, or volume by volume, is loaded alone."""
    from airgap.bundle.volumes import has_all_volumes
    from airgap.offline.plan_loads import PlannedLoad, plan_loads

    if len(places) == 1 or any(place == (STDIN,) or not has_all_volumes(place) for place in places):
        return [PlannedLoad(place) for place in places]
    return plan_loads(places, operator.site, operator.now, back=back)


Load = Callable[["PlannedLoad", "BundleLocation"], "LoadReport"]
"""Loads a bundle, given its location on the medium that it came on."""


def _show(
    target: "Target",
    reports: "list[tuple[Path, LoadReport]]",
    refused: "list[AirgapError]",
    output: TableOutput,
    *,
    many: bool,
    recalled: list[dict[str, Any]],
) -> None:
    kind, engine = _digest_kind(target), target.describe_engine()
    values = [
        {"bundle": str(path), "target": target.name, "engine": engine or None, **_value(report, kind)}
        for path, report in reports
    ]
    failures = [*refused, *(report.failure for _, report in reports if report.failure)]
    value: dict[str, Any] = {"bundles": values} if many else values[0]
    value["recalled_loaded"] = recalled
    lines = [line for _, report in reports for line in _lines(report, kind)]
    lines += _base_lines([report for _, report in reports])
    lines += [_summary([report for _, report in reports], len(refused))] if many else []
    lines += [f"engine: {engine}"] if engine else []
    console.show_partial_result(value, lines, output, failures)


def _load_each(
    loads: "Sequence[PlannedLoad]", operator: "Operator", load: Load
) -> "tuple[list[tuple[Path, LoadReport]], list[AirgapError]]":
    """Load the bundles until one is refused; the loads before it are reported too."""
    from airgap.bundle.volumes import paths_of

    reports: list[tuple[Path, LoadReport]] = []
    for planned in loads:
        path = paths_of(planned.location)[0]
        try:
            reports.append((path, _load_whole(planned, operator, load)))
        except (AirgapError, KeyboardInterrupt) as error:
            if not reports:
                raise
            if isinstance(error, AirgapError):
                return reports, [error]
            return reports, [InterruptError("interrupted", subject=path)]
    return reports, []


def _load_whole(planned: "PlannedLoad", operator: "Operator", load: Load) -> "LoadReport":
    """Load a bundle with all its volumes: from a pipe, or one after the other if a person can be asked."""
    from airgap.bundle.volumes import has_all_volumes, paths_of
    from airgap.carry.from_stdin import staged
    from airgap.carry.operator import never_ask
    from airgap.carry.receive import discard, gather

    bundle = planned.location
    if paths_of(bundle) == (STDIN,):
        if not sys.stdin:
            raise UsageError("standard input is closed", want="a tar to load")
        with staged(sys.stdin.buffer, operator.site.home, operator.progress) as copy:
            return load(replace(planned, location=copy), bundle)
    if has_all_volumes(bundle) or operator.ask is never_ask:
        return load(planned, bundle)
    together = gather(bundle, operator)
    report = load(replace(planned, location=together), bundle)
    if report.failed:
        operator.progress.note(f"kept until everything is loaded: {', '.join(map(str, together))}")
    else:
        discard(together)
    return report


def _digest_kind(target: "Target") -> str:
    """Return the kind of the target's digests. Graph drivers and podman identify images by their configs."""
    from airgap.endpoints.ports import EngineTarget

    return "image_id" if isinstance(target, EngineTarget) and target.info().ids_are_configs else "manifest"


def _value(report: "LoadReport", kind: str) -> dict[str, Any]:
    return {
        "statement_sha256": report.bundle.statement_sha256,
        "sender_name": report.bundle.sender or None,
        "receipt": str(report.receipt),
        "receipt_copies": [
            {"path": str(copy.path), "error": str(copy.error) if copy.error else None}
            for copy in report.copies
        ],
        **pruned_value(report.pruning),
        "identities": identities_value(report.bundle.statement),
        "content_from": [base.statement.title for base in report.bundle.bases],
        "images": [
            {
                "reference": str(result.image.name),
                "digest": str(result.image.record.digest),
                "verdict": str(result.verdict),
                "moved": result.moved,
                "reason": result.reason,
                "before": str(result.before) if result.before else None,
                "after": str(result.after) if result.after else None,
                "digest_kind": kind,
                "error": str(result.error) if result.error else None,
                "carried_files": carried_files.value(result.image.record.files),
            }
            for result in report.results
        ],
    }


def _lines(report: "LoadReport", kind: str) -> list[str | Table]:
    from airgap.audit.receipt import Verdict

    rows = [(r.image.name, _verdict(r), _before(r, kind), _cell(r.after, kind)) for r in report.results]
    lines: list[str | Table] = [Table(("IMAGE", "VERDICT", "BEFORE", "NOW"), rows)]
    lines += carried_files.lines(item for r in report.results for item in r.image.record.files)
    if kind == "image_id":
        lines.append("image id: the engine's own; `airgap inspect` shows the digests of the bundle")
    reasons = [r for r in report.results if r.reason and r.verdict != Verdict.SKIPPED]
    lines += [f"{result.image.name}: {result.reason}" for result in reasons]
    if len(report.failed) == len(report.results) > 1:  # then stderr has the error of the first only
        own = [r for r in report.failed if not isinstance(r.error, WithheldError)]
        lines += [f"failed: {r.image.name}: {r.error}" for r in own if len(own) > 1]
    if all(result.verdict == Verdict.THERE for result in report.results):
        lines.append("nothing to do: the target had everything already")
    lines += pruned_lines(report.pruning) if report.pruning else []
    lines += identity_lines(report.bundle.statement)
    if report.bundle.sender:
        lines.append(f"sender: {report.bundle.sender}")
    return [*lines, f"receipt: {report.receipt}", *map(_copy_line, report.copies)]


def _summary(reports: "Sequence[LoadReport]", refused: int) -> str:
    """Return one line about all bundles, with the number of images for each verdict in the tables."""
    verdicts = Counter(_verdict(r).partition(":")[0] for report in reports for r in report.results)
    whole = sum(not report.failed for report in reports)
    parts = [f"{whole} loaded", f"{len(reports) - whole} with failures", f"{refused} refused"]
    bundles = ", ".join(part for part in parts if not part.startswith("0 "))
    images = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    return f"bundles: {bundles or 'none'}; images: {images or 'none'}"


def _copy_line(copy: "ReceiptCopy") -> str:
    return f"receipt not copied: {copy.error}" if copy.error else f"receipt copied to: {copy.path}"


def _base_lines(reports: "Sequence[LoadReport]") -> list[str]:
    """Return a line for each bundle whose names were not set, because a newer one has them."""
    loaded = {report.bundle.statement_sha256 for report in reports}
    return [
        f"{base.statement.title}: content only: names come with {report.bundle.statement.title}"
        for report in reports
        for base in report.bundle.bases
        if base.statement_sha256 not in loaded
    ]


def _verdict(result: "LoadedImage") -> str:
    """Return the verdict, with the reason if the reason is complete."""
    from airgap.audit.receipt import Verdict

    match result.verdict:
        case Verdict.SKIPPED if result.reason:
            return f"skipped: {result.reason}"
        case Verdict.FAILED if result.error:
            return f"failed: {result.error.what}"
        case Verdict.LOADED if result.moved:
            return "moved"
        case verdict:
            return f"{verdict}, moved" if result.moved else str(verdict)


def _before(result: "LoadedImage", kind: str) -> str:
    return "the same" if result.before and result.before == result.after else _cell(result.before, kind)


def _cell(digest: "Digest | None", kind: str) -> str:
    return console.marked(digest, kind) if digest else "-"
