"""Verify a bundle and load its images.

All content that is read is checked. Content that the target already has is left unchanged and is not read;
`airgap verify` reads everything. The load ends with a signed receipt. `-` reads a tar from standard input.
Name all volumes of a bundle together; on a terminal, airgap asks for missing ones.

Example: airgap load /media/stick/edge-stack-0007 --to docker
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli.options import (
    AcceptJump,
    Bundles,
    CaFile,
    Debug,
    Identity,
    Jobs,
    Json,
    KnownHosts,
    Map,
    PassphraseFile,
    PlainHttp,
    Quiet,
    SshConfigFile,
    To,
)
from airgap.errors import AirgapError, InterruptError, UsageError

if TYPE_CHECKING:
    from airgap.bundle.volumes import BundleLocation
    from airgap.carry.operator import Operator
    from airgap.endpoints.ports import Target
    from airgap.oci.digest import Digest
    from airgap.offline.load_bundle import LoadReport
    from airgap.offline.loader import LoadedImage
    from airgap.offline.rename import Renaming

STDIN = Path("-")
NAME = "load"
PANEL = "Offline"

OnConflict = Annotated[
    str,
    typer.Option(metavar="replace|refuse", help="What to do if a name has another image at the target."),
]
AllowUrls = Annotated[
    bool,
    typer.Option(
        "--allow-urls",
        help="Load images with foreign layers, although tools may request the addresses in them.",
    ),
]


def run(
    bundles: Bundles,
    to: To,
    on_conflict: OnConflict = "replace",
    renamings: Map = None,
    pin: Annotated[
        bool | None,
        typer.Option(
            "--pin/--no-pin",
            help="Keep images in containerd from the kubelet's garbage collection; the default in k8s.io.",
        ),
    ] = None,
    allow_urls: AllowUrls = False,
    accept_jump: AcceptJump = False,
    plain_http: PlainHttp = None,
    ca_file: CaFile = None,
    identity: Identity = None,
    passphrase_file: PassphraseFile = None,
    ssh_config: SshConfigFile = None,
    known_hosts: KnownHosts = None,
    jobs: Jobs = 4,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.bundle.volumes import group_by_bundle
    from airgap.carry.verify_recorded import refuse_others
    from airgap.cli.endpoints import Endpoints, ssh_of
    from airgap.cli.operator_prompt import make_operator
    from airgap.offline.rename import parse_renamings

    if on_conflict not in ("replace", "refuse"):
        raise UsageError("unknown --on-conflict", want="replace or refuse", got=on_conflict)
    ssh = ssh_of(to, identity, passphrase_file, ssh_config, known_hosts)
    target = Endpoints(tuple(plain_http or ()), ca_file, connections=jobs, ssh=ssh).target(to, pin=pin)
    order = Order(target, on_conflict, jobs, parse_renamings(renamings or ()), allow_urls)
    refuse_others([path for path in bundles if path != STDIN])
    operator = make_operator(jobs, quiet=quiet, accept_jump=accept_jump)
    places = group_by_bundle(bundles)
    reports, refused = _load_each(places, operator, lambda place: _load(place, order, operator))
    _show(target, reports, refused, many=len(places) > 1, as_json=json, debug=debug)


@dataclass(frozen=True, slots=True)
class Order:
    """The options for loading each bundle."""

    target: "Target"
    on_conflict: str
    jobs: int
    renamings: "tuple[Renaming, ...]"
    allow_urls: bool


def _load(place: "BundleLocation", order: Order, operator: "Operator") -> "LoadReport":
    from airgap.offline.load_bundle import load_bundle
    from airgap.offline.loader import ConflictRule

    return load_bundle(
        place, operator.site, order.target, operator.now,
        on_conflict=ConflictRule(order.on_conflict), jobs=order.jobs, progress=operator.progress,
        renamings=order.renamings, allow_urls=order.allow_urls, accept_jump=operator.accept_jump,
    )  # fmt: skip


def _show(
    target: "Target",
    reports: "list[tuple[Path, LoadReport]]",
    refused: "list[AirgapError]",
    *,
    many: bool,
    as_json: bool,
    debug: bool,
) -> None:
    from airgap.cli import console

    kind, engine = _digest_kind(target), target.describe_engine()
    values = [
        {"bundle": str(path), "target": target.name, "engine": engine or None, **_value(report, kind)}
        for path, report in reports
    ]
    failures = [*refused, *(report.failure for _, report in reports if report.failure)]
    value: dict[str, Any] = {"bundles": values} if many else values[0]
    value["error"] = console.error_value(failures[0]) if failures else None
    lines = [line for _, report in reports for line in _lines(report, kind)]
    lines += [f"engine: {engine}"] if engine else []
    console.show_result(value, lines, as_json=as_json)
    for failure in failures:
        console.show_error(failure, debug=debug)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def _load_each(
    places: "Sequence[BundleLocation]", operator: "Operator", load: "Callable[[BundleLocation], LoadReport]"
) -> "tuple[list[tuple[Path, LoadReport]], list[AirgapError]]":
    """Load the bundles in order until one is refused; the loads before it are reported too."""
    from airgap.bundle.volumes import paths_of

    reports: list[tuple[Path, LoadReport]] = []
    for place in places:
        path = paths_of(place)[0]
        try:
            reports.append((path, _load_whole(place, operator, load)))
        except (AirgapError, KeyboardInterrupt) as error:
            if not reports:
                raise
            if isinstance(error, AirgapError):
                return reports, [error]
            return reports, [InterruptError("interrupted", subject=path)]
    return reports, []


def _load_whole(
    place: "BundleLocation", operator: "Operator", load: "Callable[[BundleLocation], LoadReport]"
) -> "LoadReport":
    """Load a bundle with all its volumes: from a pipe, or gathered one by one if a person can be asked."""
    from airgap.bundle.volumes import has_all_volumes, paths_of
    from airgap.carry.from_stdin import staged
    from airgap.carry.operator import never_ask
    from airgap.carry.receive import discard, gather

    if paths_of(place) == (STDIN,):
        if not sys.stdin:
            raise UsageError("standard input is closed", want="a tar to load")
        with staged(sys.stdin.buffer, operator.site.home, operator.progress) as copy:
            return load(copy)
    if has_all_volumes(place) or operator.ask is never_ask:
        return load(place)
    together = gather(place, operator)
    report = load(together)
    if report.failed:
        operator.progress.note(f"kept until everything is loaded: {', '.join(map(str, together))}")
    else:
        discard(together)
    return report


def _digest_kind(target: "Target") -> str:
    """Return the kind of the target's digests: graph drivers and podman identify images by their configs."""
    from airgap.endpoints.ports import EngineTarget

    return "image_id" if isinstance(target, EngineTarget) and target.info().ids_are_configs else "manifest"


def _value(report: "LoadReport", kind: str) -> dict[str, Any]:
    return {
        "statement_sha256": report.bundle.statement_sha256,
        "receipt": str(report.receipt),
        "images": [
            {
                "reference": str(result.image.name),
                "digest": str(result.image.record.digest),
                "verdict": str(result.verdict),
                "reason": result.reason,
                "before": str(result.before) if result.before else None,
                "after": str(result.after) if result.after else None,
                "digest_kind": kind,
                "error": str(result.error) if result.error else None,
            }
            for result in report.results
        ],
    }


def _lines(report: "LoadReport", kind: str) -> list[str]:
    from airgap.cli import console

    rows = [(r.image.name, _verdict(r), _before(r, kind), _cell(r.after, kind)) for r in report.results]
    lines = console.table(("IMAGE", "VERDICT", "BEFORE", "NOW"), rows)
    if kind == "image_id":
        lines.append("image id: the engine's own; `airgap inspect` shows the digests of the bundle")
    lines += [f"{r.image.name}: {r.reason}" for r in report.results if r.reason and r.verdict != "skipped"]
    if len(report.failed) == len(report.results) > 1:  # then stderr has the error of the first only
        lines += [f"failed: {r.image.name}: {r.error}" for r in report.failed]
    if all(result.verdict == "already there" for result in report.results):
        lines.append("nothing to do: the target had everything already")
    return [*lines, f"receipt: {report.receipt}"]


def _verdict(result: "LoadedImage") -> str:
    """Return the verdict, with the reason if the reason is complete."""
    if result.verdict == "skipped" and result.reason:
        return f"skipped: {result.reason}"
    if result.verdict == "failed" and result.error:
        return f"failed: {result.error.what}"
    return str(result.verdict)


def _before(result: "LoadedImage", kind: str) -> str:
    return "the same" if result.before and result.before == result.after else _cell(result.before, kind)


def _cell(digest: "Digest | None", kind: str) -> str:
    from airgap.cli import console

    return console.marked(digest, kind) if digest else "-"
