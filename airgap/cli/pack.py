"""Pull images into a signed bundle: those of a manifest, or those that are named.

For named images, a manifest and its lock are written into the current folder. On a terminal where there is no
site yet, airgap offers to set one up.

If you run the command again after an interruption, it resumes; if the bundle is complete, it is checked.

Examples:
  airgap pack stack.yaml --to /media/stick
  airgap pack nginx:1.27 redis:7 --to /media/stick
"""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import carried_files, complete, console, progress_output
from airgap.cli.delta_bases import builds_on_lines, builds_on_value
from airgap.cli.lost_media import warn_of_lost
from airgap.cli.opening import open_site
from airgap.cli.options import (
    BaseChoice,
    Images,
    Jobs,
    MediaWriting,
    PullAccess,
    SigningChoice,
    StreamName,
    TableOutput,
    VolumeSizeText,
)
from airgap.cli.tables import Table
from airgap.errors import PartialError, UsageError

if TYPE_CHECKING:
    from airgap.bundle.statement import Statement
    from airgap.bundle.volume_table import VolumeSize
    from airgap.online.plan import TransferPlan
    from airgap.online.terms import PackedBundle
    from airgap.site_check import CheckedSite
    from airgap.trust.keys import Signer


To = Annotated[
    list[Path],
    typer.Option(
        metavar="DIR",
        help="The medium, or another folder; repeat it to use several media.",
        autocompletion=complete.media,
    ),
]
Days = Annotated[int, typer.Option(metavar="N", min=1, max=3650, help="Days until the bundle expires.")]
Tar = Annotated[bool, typer.Option("--tar", help="Write one tar in one pass instead of a folder.")]
AllowPartial = Annotated[
    bool, typer.Option("--allow-partial", help="Seal without the images that failed (exit code 3).")
]

TransferValues = Annotated[
    list[str] | None,
    typer.Option(
        "--transfer",
        metavar="KEY=VALUE",
        help="State this about the transfer, as in ticket=CHG-7, instead of the manifest; may be repeated.",
    ),
]


def run(
    images: Images,
    to: To,
    days: Days = 90,
    volume_size: VolumeSizeText = None,
    tar: Tar = False,
    allow_partial: AllowPartial = False,
    name: StreamName = None,
    transfer: TransferValues = None,
    jobs: Jobs = 3,
    *,
    base: BaseChoice,
    signing: SigningChoice,
    writing: MediaWriting,
    registries: PullAccess,
    output: TableOutput,
) -> None:
    from airgap.cli.endpoints import Endpoints
    from airgap.cli.first_site import may_set_up, set_up_first
    from airgap.cli.manifest_choice import choose_manifest
    from airgap.cli.manifest_plan import plan_of
    from airgap.manifest import parse_transfer
    from airgap.online.pack import pack
    from airgap.online.pack_tar import pack_tar
    from airgap.online.terms import PackOrder

    size = _size(volume_size, to, tar=tar)
    stated = parse_transfer(transfer or ())
    choice = choose_manifest(images, name)
    opened, signer = (None, None) if may_set_up(output) else _open(signing)
    progress = progress_output.make_progress(quiet=output.quiet)
    sources = Endpoints(registries, connections=jobs)
    plan = plan_of(choice, sources, progress, base, writing=True)
    if opened is None or signer is None:
        _refuse_early(plan, to, size, writing, allow_partial=allow_partial)
        opened, signer = set_up_first(signing)
    order = PackOrder(
        to=to[0], signers=(signer,), now=opened.now, lifetime=timedelta(days=days),
        jobs=jobs, allow_partial=allow_partial, further=tuple(to[1:]), volume_size=size,
        allow_system=writing.allow_system_disk, read_back=writing.read_back,
    )  # fmt: skip
    warn_of_lost(opened.site, to)
    loaded = choice.manifest.with_transfer(stated)
    packed = (pack_tar if tar else pack)(loaded, plan, opened.site, order, progress)
    _show(packed, plan, output)


def _size(text: str | None, to: list[Path], *, tar: bool) -> "VolumeSize | None":
    """Return the size of a volume, if there is one. Raises `UsageError` for several parts of a tar."""
    from airgap.cli.sizes import parse_volume_size

    if tar and (len(to) > 1 or text):
        raise UsageError("--tar writes one file", want="one --to and no --volume-size with --tar")
    return parse_volume_size(text) if text else None


def _refuse_early(
    plan: "TransferPlan",
    to: list[Path],
    size: "VolumeSize | None",
    writing: MediaWriting,
    *,
    allow_partial: bool,
) -> None:
    """Raise what would fail later in any case, before a person sets up a site for it."""
    from airgap.bundle.folders import count_volumes
    from airgap.online.collect import refuse_partial
    from airgap.online.plan import space_needed

    if plan.failures and not allow_partial:
        refuse_partial(plan.failures, plan)
    count_volumes(space_needed(plan, plan.lock.name), to, size, allow_system=writing.allow_system_disk)


def _open(signing: SigningChoice) -> "tuple[CheckedSite, Signer]":
    opened = open_site()
    return opened, signing.signer(opened.site)


def _show(packed: "PackedBundle", plan: "TransferPlan", output: TableOutput) -> None:
    failed = PartialError("some images are not in the bundle", packed.failures, plan.total_images)
    failures = [failed] if packed.failures else []
    console.show_partial_result(_value(packed), _lines(packed), output, failures)


def _value(packed: "PackedBundle") -> dict[str, Any]:
    from airgap.cli import platforms
    from airgap.online.plan import unknown_value

    statement = packed.statement
    return {
        "bundle": str(packed.path),
        "volumes": [str(path) for path in packed.paths],
        "stream": statement.stream,
        "serial": statement.serial,
        "statement_sha256": packed.statement_sha256,
        "bytes": statement.total_bytes,
        "files": len(statement.subjects),
        "requires": console.requires_value(statement),
        "builds_on": builds_on_value(statement.bases),
        "images": [
            {
                "reference": str(image.name),
                "digest": str(image.digest),
                "platforms": [record.platform for record in image.platforms],
                "carried_files": carried_files.value(image.files),
                **platforms.value(packed.choices[str(image.name)]),
            }
            for image in statement.images
        ],
        "fresh": packed.fresh,
        "attachments_unknown": unknown_value(packed.unknown),
        **packed.proof.record(),
    }


def _lines(packed: "PackedBundle") -> list[str | Table]:
    from airgap.cli import platforms
    from airgap.cli.manifest_plan import unknown_lines

    statement = packed.statement
    rows = [(i.name, i.digest, i.source) for i in statement.images]
    verb = "sealed" if packed.fresh else "already sealed, and checked completely"
    total = f"{console.size(statement.total_bytes)}, {len(statement.subjects)} files"
    return [
        Table(("IMAGE", "DIGEST", "SOURCE"), rows),
        *carried_files.lines(item for image in statement.images for item in image.files),
        *platforms.lines(packed.choices),
        *console.bundle_lines(verb, statement.title, packed.paths, total),
        *_repacked_lines(statement),
        *console.requires_lines(statement),
        *builds_on_lines(statement.bases),
        *unknown_lines(packed.unknown),
        f"statement sha256 {packed.statement_sha256}",
        *console.proof_lines(packed.proof),
    ]


def _repacked_lines(statement: "Statement") -> list[str]:
    """Return a line for each pinned image that an engine unpacked, because its digest cannot be checked."""
    return [
        f"{image.name}: repacked, so its digest is not the pinned {image.reference.digest}; "
        "only the engine says that it is that image"
        for image in statement.images
        if image.source.endswith(", repacked")
        and image.reference.digest not in (None, image.digest, *(p.config_digest for p in image.platforms))
    ]
