"""Check a bundle's signatures, policy and every byte.

Nothing is loaded, and no network is used.

Example: airgap verify /media/stick/edge-stack-0007
"""

from pathlib import Path
from typing import Annotated

import typer

from airgap.cli.options import Debug, Jobs, Json, Quiet

NAME = "verify"
PANEL = "Offline"


def run(
    bundles: Annotated[list[Path], typer.Argument(metavar="BUNDLE", help="The bundles' folders.")],
    jobs: Jobs = 2,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.cli import console
    from airgap.offline.session import verify_bundle
    from airgap.site import Site, default_home, now

    site = Site(default_home())
    progress = console.make_progress(quiet=quiet)
    values, lines = [], []
    for path in bundles:
        bundle = verify_bundle(path, site, now(), jobs, progress)
        verdict = bundle.verdict
        values.append(
            {
                "bundle": str(path),
                "statement_sha256": bundle.statement_sha256,
                "owners": list(verdict.owners),
                "keys": list(verdict.keyids),
                "threshold": verdict.threshold,
                "files": len(bundle.sizes),
                "bytes": bundle.statement.total_bytes,
                "repeat": bundle.repeat,
                "missed": bundle.missed,
            }
        )
        lines.append(
            f"good: {bundle.statement.title}, signed by {', '.join(verdict.owners)}, "
            f"{len(bundle.sizes)} files, {console.size(bundle.statement.total_bytes)}"
            + (", accepted here before" if bundle.repeat else "")
            + (f", {bundle.missed} bundles before it never came here" if bundle.missed else "")
        )
    console.show_result({"bundles": values}, lines, as_json=json)
