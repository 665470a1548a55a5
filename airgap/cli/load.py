"""Verify a bundle and load its images.

What is there already is left alone. It ends in a signed receipt. `-` reads a tar from standard input.

Example: airgap load /media/stick/edge-stack-0007 --to docker
"""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli.options import Bundle, CaFile, Debug, Jobs, Json, PlainHttp, Quiet
from airgap.errors import UsageError

if TYPE_CHECKING:
    from airgap.offline.loading import LoadedImage
    from airgap.offline.session import LoadReport

STDIN = Path("-")
NAME = "load"
PANEL = "Offline"


def run(
    bundle: Bundle,
    to: Annotated[
        str,
        typer.Option(
            metavar="TARGET", help="docker, registry:HOST[:PORT][/PREFIX], oci:DIR or archive:FILE."
        ),
    ],
    on_conflict: Annotated[
        str, typer.Option(metavar="replace|refuse", help="When a name means another image there.")
    ] = "replace",
    plain_http: PlainHttp = None,
    ca_file: CaFile = None,
    jobs: Jobs = 4,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.cli import console
    from airgap.cli.endpoints import Endpoints
    from airgap.offline.session import load_bundle
    from airgap.offline.staging import staged
    from airgap.site import Site, default_home, now

    if on_conflict not in ("replace", "refuse"):
        raise UsageError("unknown --on-conflict", want="replace or refuse", got=on_conflict)
    target = Endpoints(tuple(plain_http or ()), ca_file, connections=jobs).target(to)
    progress = console.make_progress(quiet=quiet)
    site = Site(default_home())
    with contextlib.ExitStack() as stack:
        if bundle == STDIN:
            bundle = stack.enter_context(staged(sys.stdin.buffer, site.home, progress))
        report = load_bundle(
            bundle, site, target, now(), on_conflict=on_conflict, jobs=jobs, progress=progress
        )
    failure = report.failure
    value = {"bundle": str(bundle), "target": target.name, **_value(report)}
    value["error"] = console.error_value(failure) if failure else None
    console.show_result(value, _lines(report), as_json=json)
    if failure:
        console.show_error(failure, debug=debug)
        raise typer.Exit(failure.exit_code)


def _value(report: "LoadReport") -> dict[str, Any]:
    return {
        "statement_sha256": report.bundle.statement_sha256,
        "receipt": str(report.receipt),
        "images": [
            {
                "reference": str(result.image.name),
                "digest": str(result.image.record.digest),
                "verdict": result.verdict,
                "before": str(result.before) if result.before else None,
                "after": str(result.after) if result.after else None,
                "error": str(result.error) if result.error else None,
            }
            for result in report.results
        ],
    }


def _lines(report: "LoadReport") -> list[str]:
    from airgap.cli import console

    rows = [(r.image.name, r.verdict, _before(r), r.after or "-") for r in report.results]
    lines = console.table(("IMAGE", "VERDICT", "BEFORE", "NOW"), rows)
    if len(report.failed) == len(report.results) > 1:  # then the error on stderr is that of the first
        lines += [f"failed: {r.image.name}: {r.error}" for r in report.failed]
    if all(result.verdict == "already there" for result in report.results):
        lines.append("nothing to do: all of it was there already")
    return [*lines, f"receipt: {report.receipt}"]


def _before(result: "LoadedImage") -> str:
    return "the same" if result.before and result.before == result.after else str(result.before or "-")
