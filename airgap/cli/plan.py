"""Tell what a manifest would carry, to the byte, without fetching more than metadata.

Example: airgap plan stack.yaml --to /media/stick
"""

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from airgap.cli.options import CaFile, Debug, Json, Manifest, PlainHttp, Quiet

NAME = "plan"
PANEL = "Online"


def run(
    manifest: Manifest,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where it would go: tells whether it fits.")
    ] = None,
    plain_http: PlainHttp = None,
    ca_file: CaFile = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.cli import console
    from airgap.cli.endpoints import Endpoints
    from airgap.cli.planning import plan_of

    progress = console.make_progress(quiet=quiet)
    _, plan = plan_of(manifest, Endpoints(tuple(plain_http or ()), ca_file), progress)
    images: list[dict[str, Any]] = [
        {
            "reference": str(image.locked.reference),
            "as": str(image.locked.name),
            "digest": str(image.graph.root.digest),
            "platforms": [record.platform for record in image.graph.records],
            "blobs": len(image.graph.contents),
            "bytes": sum(blob.size for blob in image.graph.contents.values()),
        }
        for image in plan.images
    ]
    exports = [str(image.reference) for export in plan.exports for image in export.images]
    free = shutil.disk_usage(to).free if to is not None and to.exists() else None
    value = {
        "name": plan.lock.name,
        "images": images,
        "exports": exports,
        "blobs": len(plan.blobs),
        "bytes": plan.total_bytes,
        "free": free,
    }
    rows = [(i["reference"], ", ".join(i["platforms"]), i["blobs"], console.size(i["bytes"])) for i in images]
    rows += [(reference, "", "", "known when packed") for reference in exports]
    naive = sum(i["bytes"] for i in images)
    total = f"{len(plan.blobs)} blobs, {console.size(plan.total_bytes)} ({plan.total_bytes:,} bytes)"
    lines = [
        *console.table(("IMAGE", "PLATFORMS", "BLOBS", "SIZE"), rows),
        f"{total}; shared between images: {console.size(naive - plan.total_bytes)}",
    ]
    if free is not None:
        lines.append(
            f"free at {to}: {console.size(free)}: "
            + ("it fits" if free > plan.total_bytes else "IT DOES NOT FIT")
        )
    console.show_result(value, lines, as_json=json)
