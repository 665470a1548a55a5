"""Verify a bundle and load its images.

All that is read is checked. What is there already is left alone, and not read: `airgap verify` reads all.
It ends in a signed receipt. `-` reads a tar from standard input.
The volumes of a bundle are named together; on a terminal, those that are missing are asked for.

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
    from airgap.bundle.volumes import Place
    from airgap.carry.operator import Operator
    from airgap.endpoints.ports import Target
    from airgap.oci.digest import Digest
    from airgap.offline.load_bundle import LoadReport
    from airgap.offline.loader import LoadedImage
    from airgap.offline.rename import Renaming

STDIN = Path("-")
NAME = "load"
PANEL = "Offline"


def run(
    bundles: Bundles,
    to: To,
    on_conflict: Annotated[
        str, typer.Option(metavar="replace|refuse", help="When a name means another image there.")
    ] = "replace",
    renamings: Map = None,
    pin: Annotated[
        bool | None,
        typer.Option(
            "--pin/--no-pin",
            help="Keep images in containerd from the kubelet's garbage collection; the default in k8s.io.",
        ),
    ] = None,
    allow_urls: Annotated[
        bool, typer.Option("--allow-urls", help="Load foreign layers where tools ask their addresses.")
    ] = False,
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
    from airgap.bundle.volumes import grouped
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
    here = make_operator(jobs, quiet=quiet, accept_jump=accept_jump)
    places = grouped(bundles)
    reports, refused = _load_each(places, here, lambda place: _load(place, order, here))
    _show(target, reports, refused, many=len(places) > 1, as_json=json, debug=debug)


@dataclass(frozen=True, slots=True)
class Order:
    """What is done with each bundle."""

    target: "Target"
    on_conflict: str
    jobs: int
    renamings: "tuple[Renaming, ...]"
    allow_urls: bool


def _load(place: "Place", order: Order, here: "Operator") -> "LoadReport":
    from airgap.offline.load_bundle import load_bundle

    return load_bundle(
        place, here.site, order.target, here.now,
        on_conflict=order.on_conflict, jobs=order.jobs, progress=here.progress, renamings=order.renamings,
        allow_urls=order.allow_urls, accept_jump=here.accept_jump,
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
    from airgap.endpoints.ports import engine_of

    kind, engine = _digest_kind(target), engine_of(target)
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
    places: "Sequence[Place]", here: "Operator", load: "Callable[[Place], LoadReport]"
) -> "tuple[list[tuple[Path, LoadReport]], list[AirgapError]]":
    """Load one bundle after the other, up to the first that is refused: what was loaded before it is told."""
    from airgap.bundle.volumes import paths_of

    reports: list[tuple[Path, LoadReport]] = []
    for place in places:
        path = paths_of(place)[0]
        try:
            reports.append((path, _load_whole(place, here, load)))
        except (AirgapError, KeyboardInterrupt) as error:
            if not reports:
                raise
            if isinstance(error, AirgapError):
                return reports, [error]
            return reports, [InterruptError("interrupted", subject=path)]
    return reports, []


def _load_whole(place: "Place", here: "Operator", load: "Callable[[Place], LoadReport]") -> "LoadReport":
    """Load the bundle with all its volumes: out of a pipe, or put together when a person can be asked."""
    from airgap.bundle.volumes import is_whole, paths_of
    from airgap.carry.from_stdin import staged
    from airgap.carry.operator import never_ask
    from airgap.carry.receive import discard, gather

    if paths_of(place) == (STDIN,):
        if not sys.stdin:
            raise UsageError("standard input is closed", want="a tar to load")
        with staged(sys.stdin.buffer, here.site.home, here.progress) as copy:
            return load(copy)
    if is_whole(place) or here.ask is never_ask:
        return load(place)
    together = gather(place, here)
    report = load(together)
    if report.failed:
        here.progress.note(f"kept until all of it is loaded: {', '.join(map(str, together))}")
    else:
        discard(together)
    return report


def _digest_kind(target: "Target") -> str:
    """What the names at the target stand for: graph drivers and podman know images by their configs."""
    from airgap.endpoints.ports import StreamTarget

    return "image_id" if isinstance(target, StreamTarget) and target.info().ids_are_configs else "manifest"


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
        lines.append("image id: as the engine calls it; `airgap inspect` shows the digests of the bundle")
    lines += [f"{r.image.name}: {r.reason}" for r in report.results if r.reason and r.verdict != "skipped"]
    if len(report.failed) == len(report.results) > 1:  # then the error on stderr is that of the first
        lines += [f"failed: {r.image.name}: {r.error}" for r in report.failed]
    if all(result.verdict == "already there" for result in report.results):
        lines.append("nothing to do: all of it was there already")
    return [*lines, f"receipt: {report.receipt}"]


def _verdict(result: "LoadedImage") -> str:
    """With the reason where that says everything."""
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
