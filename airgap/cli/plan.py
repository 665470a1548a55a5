"""Tell what would be carried, fetching only metadata.

Example: airgap plan stack.yaml --to /media/stick
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli.options import CaFile, Debug, Json, Manifest, Mirror, PlainHttp, Quiet, Since

if TYPE_CHECKING:
    from airgap.online.plan import TransferPlan

NAME = "plan"
PANEL = "Online"


def run(
    manifest: Manifest,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where it would go: tells whether it fits.")
    ] = None,
    since: Since = None,
    plain_http: PlainHttp = None,
    ca_file: CaFile = None,
    mirror: Mirror = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.bundle.medium import Medium, room_for
    from airgap.cli import console
    from airgap.cli.endpoints import Endpoints
    from airgap.cli.planning import plan_of
    from airgap.online.collect import refuse_partial

    progress = console.make_progress(quiet=quiet)
    _, plan = plan_of(
        manifest, Endpoints(tuple(plain_http or ()), ca_file, tuple(mirror or ())), progress, since or ()
    )
    refuse_partial(plan.failures, plan)
    medium = Medium.of(to) if to is not None and to.exists() else None
    free = medium.free if medium else None
    value = _value(plan) | {"free": free}
    lines = _lines(value)
    if free is not None:
        fits = "it fits" if room_for(free) >= plan.total_bytes else "IT DOES NOT FIT"
        lines.append(f"free at {to}: {console.size(free)}: {fits}")
    elif to is not None:
        lines.append(f"no such folder yet, so its free space is not known: {to}")
    console.show_result(value, lines, as_json=json)


def _value(plan: "TransferPlan") -> dict[str, Any]:
    images = [
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
    return {
        "name": plan.lock.name,
        "images": images,
        "exports": [str(image.reference) for export in plan.exports for image in export.images],
        "blobs": len(plan.blobs),
        "bytes": plan.total_bytes,
        "spared_bytes": plan.spared_bytes,
    }


def _lines(value: dict[str, Any]) -> list[str]:
    from airgap.cli import console

    images, total = value["images"], value["bytes"]
    rows = [(i["reference"], ", ".join(i["platforms"]), i["blobs"], console.size(i["bytes"])) for i in images]
    rows += [(reference, "", "", "known when packed") for reference in value["exports"]]
    shared = sum(i["bytes"] for i in images) - total - value["spared_bytes"]
    base = f"; the base spares {console.size(value['spared_bytes'])}" if value["spared_bytes"] else ""
    sums = f"{value['blobs']} blobs, {console.size(total)} ({total:,} bytes)"
    return [
        *console.table(("IMAGE", "PLATFORMS", "BLOBS", "SIZE"), rows),
        f"{sums}; shared between images: {console.size(shared)}{base}",
    ]
