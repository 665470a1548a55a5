"""Tell what would be carried, fetching only metadata.

Example: airgap plan stack.yaml --to /media/stick
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli.options import CaFile, Debug, Json, Manifest, Mirror, PlainHttp, Quiet, Since, VolumeSizeText

if TYPE_CHECKING:
    from airgap.bundle.cut import VolumeSize
    from airgap.online.plan import TransferPlan

NAME = "plan"
PANEL = "Online"


def run(
    manifest: Manifest,
    to: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Where it would go: tells whether it fits.")
    ] = None,
    volume_size: VolumeSizeText = None,
    since: Since = None,
    plain_http: PlainHttp = None,
    ca_file: CaFile = None,
    mirror: Mirror = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.cli import console
    from airgap.cli.endpoints import Endpoints
    from airgap.cli.planning import plan_of
    from airgap.cli.sizes import parse_volume_size
    from airgap.online.collect import refuse_partial

    progress = console.make_progress(quiet=quiet)
    _, plan = plan_of(
        manifest, Endpoints(tuple(plain_http or ()), ca_file, tuple(mirror or ())), progress, since or ()
    )
    refuse_partial(
        plan.failures, plan, hint="see above why; `airgap pack --allow-partial` can seal the others"
    )
    value = _value(plan) | _media(plan, to or [], parse_volume_size(volume_size) if volume_size else None)
    lines = _lines(value)
    lines += _media_lines(value, [path for path in to or [] if not path.exists()])
    console.show_result(value, lines, as_json=json)


def _media(plan: "TransferPlan", places: list[Path], size: "VolumeSize | None") -> dict[str, Any]:
    """The media that exist, and how many volumes there would be."""
    from airgap.bundle.medium import Medium, room_for
    from airgap.bundle.placing import count_volumes
    from airgap.online.placing import load_of

    media = [(path, Medium.of(path)) for path in places if path.exists()]
    found = [
        {
            "path": str(path),
            "free": medium.free,
            "fits": room_for(medium.free) >= plan.total_bytes,
            **medium.record(),
        }
        for path, medium in media
    ]
    volumes = 1
    if size is not None or len(places) > 1:
        volumes = count_volumes(load_of(plan, plan.lock.name), places or [Path()], size)
    return {"free": found[0]["free"] if found else None, "media": found, "volumes": volumes}


def _media_lines(value: dict[str, Any], absent: list[Path]) -> list[str]:
    from airgap.cli import console

    lines = []
    for each in value["media"]:
        fits = "it fits" if each["fits"] else "IT DOES NOT FIT"
        alone = len(value["media"]) + len(absent) == 1
        lines.append(f"free at {each['path']}: {console.size(each['free'])}" + (f": {fits}" if alone else ""))
    if value["volumes"] > 1 or len(value["media"]) + len(absent) > 1:
        lines.append(f"volumes: {value['volumes']}")
    return lines + [f"no such folder yet, so its free space is not known: {path}" for path in absent]


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
