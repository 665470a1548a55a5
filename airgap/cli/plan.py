"""Show what `pack` would carry. Only metadata is fetched.

Example: airgap plan stack.yaml --to /media/stick
"""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import carried_files, console, progress_output
from airgap.cli.delta_bases import builds_on_lines, builds_on_value
from airgap.cli.opening import compare_site
from airgap.cli.options import (
    AllowSystemDisk,
    BaseChoice,
    Images,
    PullAccess,
    StreamName,
    TableOutput,
    VolumeSizeText,
)
from airgap.cli.tables import Table
from airgap.errors import MediaError, NoSpaceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airgap.bundle.volume_table import VolumeSize
    from airgap.oci.files_artifact import CarriedFile
    from airgap.online.name_changes import LastSealed
    from airgap.online.plan import TransferPlan


def run(
    images: Images,
    to: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Where the bundle would go, to check whether it fits."),
    ] = None,
    volume_size: VolumeSizeText = None,
    allow_system_disk: AllowSystemDisk = False,
    name: StreamName = None,
    *,
    base: BaseChoice,
    registries: PullAccess,
    output: TableOutput,
) -> None:
    from airgap.cli import platforms
    from airgap.cli.endpoints import Endpoints
    from airgap.cli.manifest_choice import choose_manifest
    from airgap.cli.manifest_plan import plan_of, unknown_lines
    from airgap.cli.sizes import parse_volume_size
    from airgap.online.collect import refuse_partial

    compare_site(recording=False)
    progress = progress_output.make_progress(quiet=output.quiet)
    endpoints = Endpoints(registries)
    plan = plan_of(choose_manifest(images, name), endpoints, progress, base)
    refuse_partial(
        plan.failures, plan, hint="the reasons are above; `airgap pack --allow-partial` can seal the others"
    )
    size = parse_volume_size(volume_size) if volume_size else None
    volumes, refused = _volumes(plan, to or [], size, allow_system_disk)
    value = _value(plan) | _media(plan, to or []) | {"volumes": volumes}
    lines = _lines(value, [item for image in plan.images for item in image.graph.files])
    lines += platforms.lines({str(i.locked.reference): i.chosen for i in plan.images})
    lines += builds_on_lines(plan.bases.stated if value["builds_on"] else ())
    lines += unknown_lines(plan.unknown)
    lines += _media_lines(value, [path for path in to or [] if not path.exists()], refused)
    console.show_partial_result(value, lines, output, [refused] if refused else [])


def _volumes(
    plan: "TransferPlan", folders: list[Path], size: "VolumeSize | None", allow_system: bool
) -> tuple[int | None, MediaError | None]:
    """Return the number of volumes, or why `pack` would refuse these folders, which is a result too."""
    from airgap.bundle.folders import count_volumes
    from airgap.online.plan import space_needed

    try:
        needed = space_needed(plan, plan.lock.name)
        return count_volumes(needed, folders, size, allow_system=allow_system), None
    except MediaError as error:
        return None, error


def _media(plan: "TransferPlan", folders: list[Path]) -> dict[str, Any]:
    """Return the JSON of the media that exist."""
    from airgap.bundle.medium import Medium, room_for

    media = [(path, Medium.of(path)) for path in folders if path.exists()]
    values = [
        {
            "path": str(path),
            "free": medium.free,
            "fits": room_for(medium.free) >= plan.total_bytes,
            **medium.record(),
        }
        for path, medium in media
    ]
    return {"free": values[0]["free"] if values else None, "media": values}


def _media_lines(value: dict[str, Any], absent: list[Path], refused: MediaError | None) -> list[str]:
    fits = "" if refused else ": it fits"
    if isinstance(refused, NoSpaceError):
        fits = ": IT DOES NOT FIT"
    several = len(value["media"]) + len(absent) > 1
    lines = [
        f"free at {medium['path']}: {console.size(medium['free'])}" + ("" if several else fits)
        for medium in value["media"]
    ]
    if value["volumes"] and (value["volumes"] > 1 or several):
        lines.append(f"volumes: {value['volumes']}")
    return lines + [
        f"this folder does not exist yet, so its free space is unknown: {path}" for path in absent
    ]


def _value(plan: "TransferPlan") -> dict[str, Any]:
    from airgap.cli import platforms
    from airgap.online.plan import unknown_value

    last = _last_sealed(plan.lock.name)
    images = [
        {
            "reference": str(image.locked.reference),
            "as": str(image.locked.name),
            "digest": str(image.graph.root.digest),
            "platforms": [record.platform for record in image.graph.records],
            "change": str(last.change(image.locked.name, image.graph.root.digest)),
            "blobs": len(image.graph.contents),
            "bytes": sum(blob.size for blob in image.graph.contents.values()),
            "carried_files": carried_files.value(image.graph.files),
            **platforms.value(image.chosen),
        }
        for image in plan.images
    ]
    return {
        "name": plan.lock.name,
        "compared_bundle": last.title,
        "images": images,
        "exports": [str(image.reference) for export in plan.exports for image in export.images],
        "blobs": len(plan.blobs),
        "bytes": plan.total_bytes,
        "spared_bytes": plan.left_out_bytes,
        "site_bases": [
            {
                "site": base.site,
                "bases": list(base.names),
                "spared_bytes": plan.left_out_bytes_with(base.held) if base.names else 0,
                "saved_without": _saved_without(plan, base.site),
            }
            for base in plan.bases.sites
        ],
        "builds_on": builds_on_value(plan.bases.stated if plan.left_out_bytes else ()),
        "attachments_unknown": unknown_value(plan.unknown),
    }


def _last_sealed(stream: str) -> "LastSealed":
    """Return the last bundle of the stream; an empty one if there is no site yet."""
    from airgap.online.name_changes import LastSealed, last_sealed
    from airgap.site import Site, default_home

    with contextlib.suppress(UsageError):
        return last_sealed(Site(default_home()), stream)
    return LastSealed()


def _saved_without(plan: "TransferPlan", site: str) -> int:
    spared = plan.left_out_bytes_with(plan.bases.held_without(site))
    return max(spared - plan.left_out_bytes, 0)


def _lines(value: dict[str, Any], files: "Sequence[CarriedFile]") -> list[str | Table]:
    images, total = value["images"], value["bytes"]
    last = value["compared_bundle"]
    rows = [
        (
            i["reference"],
            carried_files.contents_of(i["platforms"], i["carried_files"]),
            i["blobs"],
            console.size(i["bytes"]),
            *((i["change"],) if last else ()),
        )
        for i in images
    ]
    rows += [
        (reference, "", "", "known when packed", *(("",) if last else ())) for reference in value["exports"]
    ]
    shared = sum(i["bytes"] for i in images) - total - value["spared_bytes"]
    spared = value["spared_bytes"]
    base = f"; {console.size(spared)} left out: the other side has it" if spared else ""
    sums = f"{value['blobs']} blobs, {console.size(total)} ({total:,} bytes)"
    return [
        Table(("IMAGE", "PLATFORMS", "BLOBS", "SIZE", *((f"SINCE {last}",) if last else ())), rows),
        *carried_files.lines(files),
        f"{sums}; shared between images: {console.size(shared)}{base}",
        *_site_lines(value["site_bases"]),
    ]


def _site_lines(sites: list[dict[str, Any]]) -> list[str | Table]:
    """Return what each site spares, and what the bundle would spare without the site."""
    rows = [
        (
            base["site"],
            console.size(base["spared_bytes"]) if base["bases"] else "no base",
            console.size(base["saved_without"]) if base["saved_without"] else "-",
            ", ".join(Path(name).name for name in base["bases"]) or "-",
        )
        for base in sites
    ]
    return [Table(("SITE", "SPARES", "MORE WITHOUT IT", "BASE"), rows)] if rows else []
