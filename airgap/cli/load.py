"""Verify a bundle and load its images; ends in a signed receipt.

Example: airgap load /media/stick/edge-stack-0007 --to docker
"""

from typing import Annotated

import typer

from airgap.cli.options import Bundle, CaFile, Debug, Jobs, Json, PlainHttp, Quiet

NAME = "load"
PANEL = "Offline"


def run(
    bundle: Bundle,
    to: Annotated[
        str,
        typer.Option(
            metavar="TARGET", help="docker[:unix://…], registry:HOST[/PREFIX], oci:DIR or archive:FILE."
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
    from airgap.errors import UsageError
    from airgap.offline.session import load_bundle
    from airgap.site import Site, default_home, now

    if on_conflict not in ("replace", "refuse"):
        raise UsageError("unknown --on-conflict", want="replace or refuse", got=on_conflict)
    target = Endpoints(tuple(plain_http or ()), ca_file).target(to)
    progress = console.make_progress(quiet=quiet)
    report = load_bundle(
        bundle, Site(default_home()), target, now(), on_conflict=on_conflict, jobs=jobs, progress=progress
    )
    value = {
        "bundle": str(bundle),
        "target": target.name,
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
    rows = [(r.image.name, r.verdict, r.before or "-", r.after or "-") for r in report.results]
    lines = console.table(("IMAGE", "VERDICT", "BEFORE", "NOW"), rows)
    lines += [f"failed: {r.image.name}: {r.error}" for r in report.failed]
    if all(result.verdict == "already there" for result in report.results):
        lines.append("nothing to do: all of it was there already")
    console.show_result(value, [*lines, f"receipt: {report.receipt}"], as_json=json)
    report.raise_failure()
