"""Pin every tag to its digest.

This writes stack.lock.yaml beside stack.yaml. `airgap pack` then takes exactly these images, even if the
tags have moved. Run again, it keeps what it has locked, and resolves images that are new or were changed in
the manifest. Rules for tags are applied to the registry's list each time: tags that they select now come, and
others go. `--update all` resolves all tags again, and `--only` those of single images.

Examples:
  airgap lock stack.yaml
  airgap lock stack.yaml --only nginx:1.27
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import carried_files, console, progress_output
from airgap.cli.options import Images, PullAccess, StreamName, TableOutput
from airgap.cli.tables import Table
from airgap.errors import FormatError, UsageError

if TYPE_CHECKING:
    from airgap.cli.manifest_choice import ManifestChoice
    from airgap.manifest import Lock, LockedImage, TransferManifest
    from airgap.online.expand import Expanded
    from airgap.online.platforms import Chosen
    from airgap.online.relock import KeptImages, Relocked


Only = Annotated[
    list[str] | None,
    typer.Option(metavar="IMAGE", help="Resolve only this image again; may be repeated."),
]
Update = Annotated[
    str | None, typer.Option(metavar="all", help="Resolve all tags again, also those that are locked.")
]


def run(
    images: Images,
    only: Only = None,
    update: Update = None,
    name: StreamName = None,
    *,
    registries: PullAccess,
    output: TableOutput,
) -> None:
    from airgap.cli.endpoints import Endpoints
    from airgap.cli.manifest_choice import choose_manifest
    from airgap.online.expand import expand
    from airgap.online.lock import resolve
    from airgap.online.plan import Failures, refuse_failures

    if update not in (None, "all") or (update and only):
        raise UsageError("--update resolves everything", want="--update all, or --only IMAGE", got=update)
    choice = choose_manifest(images, name)
    before = _lock_before(choice, needed=update is None)
    endpoints = Endpoints(registries)
    failures: Failures = {}
    keep = before if only and before is not None and before.fits(choice.manifest) else None
    known = before if update is None else None
    expanded = expand(choice.manifest, endpoints.source, failures, before=known, keep=keep, only=only or ())
    total = expanded.manifest.count + len(failures)
    kept = _kept(choice, expanded.manifest, before, only) if update is None else {}
    lock = resolve(
        expanded.manifest,
        endpoints.source,
        failures,
        kept=kept,
        charts=expanded.charts,
        progress=progress_output.make_progress(quiet=output.quiet),
    )
    refuse_failures(failures, total, hint="no lock was written: a lock must have all images")
    _show(choice, lock, before, expanded, output)


def _lock_before(choice: "ManifestChoice", *, needed: bool) -> "Lock | None":
    """Return the lock that will be replaced. One that cannot be read is an error only if it is needed."""
    from airgap.manifest import Lock

    if not choice.lock_file.exists():
        return None
    try:
        return Lock.load(choice.lock_file)
    except FormatError as error:
        if not needed:
            return None
        error.hint = "`airgap lock --update all` writes it again"
        raise


def _kept(
    choice: "ManifestChoice", manifest: "TransferManifest", before: "Lock | None", only: list[str] | None
) -> "KeptImages":
    from airgap.online.relock import all_items_but, unchanged_items

    if before is None:
        if only:
            want = "a lock, which has the other images"
            raise UsageError("--only needs a lock", subject=choice.lock_file, want=want, got="no such file")
        return {}
    if only:
        return all_items_but(only, manifest, before)
    return unchanged_items(manifest, before)


def _show(
    choice: "ManifestChoice", lock: "Lock", before: "Lock | None", expanded: "Expanded", output: TableOutput
) -> None:
    from airgap.cli import platforms
    from airgap.cli.chart_results import chart_lines, charts_value
    from airgap.cli.manifest_plan import unknown_lines
    from airgap.online.plan import unknown_value
    from airgap.online.relock import compare_locks
    from airgap.online.tag_rules import compare_tags

    written = choice.write(lock)
    rules = compare_tags(choice.manifest, before, lock)
    images = [_value(image) for image in lock.images]
    unknown = {str(i.reference): i.attachments_unknown for i in lock.images if i.attachments_unknown}
    choices = {str(image.reference): _chosen(image) for image in lock.images}
    left_out = [
        {"source": item.source, "digest": str(item.digest), "reason": item.why} for item in lock.left_out
    ]
    changes = compare_locks(before, lock) if before else []
    notes = [*platforms.lines(choices), *map(str, lock.left_out), *unknown_lines(unknown)]
    value = {
        "lock": str(written[-1]),
        "images": images,
        "relocked": [
            {"reference": str(c.name), "was": c.was and str(c.was), "now": c.now and str(c.now)}
            for c in changes
            if c.was != c.now
        ],
        "tags": [
            {"repository": r.repository, "tags": [*r.tags], "came": [*r.came], "went": [*r.went]}
            for r in rules
        ],
        "left_out": left_out,
        "attachments_unknown": unknown_value(unknown),
        **charts_value(expanded),
    }
    rows = _changes(changes) or _lines(images)
    rows += carried_files.lines(locked.carried for image in lock.images for locked in image.files)
    if before and not any(change.was != change.now for change in changes):
        rows.append("nothing changed")
    rows += map(str, rules if before else ())
    rows += chart_lines(lock, expanded)
    console.show_result(value, [*rows, *notes, *(f"written: {path}" for path in written)], output)


def _changes(changes: "list[Relocked]") -> list[str | Table]:
    """Return a table of what every image was and is now; nothing if nothing changed."""
    rows = [(c.name, c.was or "-", _now(c)) for c in changes]
    moved = sum(c.was != c.now for c in changes)
    if not moved:
        return []
    return [Table(("IMAGE", "WAS", "NOW"), rows), f"{moved} of {len(changes)} images changed"]


def _now(change: "Relocked") -> str:
    if change.now is None:
        return "removed"
    return "the same" if change.was == change.now else str(change.now)


def _chosen(image: "LockedImage") -> "Chosen":
    from airgap.online.platforms import Chosen

    return Chosen(
        wanted=image.platforms,
        by_default=image.by_default,
        keep=None,
        left_out=image.left_out,
        notes=image.notes,
    )


def _value(image: "LockedImage") -> dict[str, Any]:
    """Return the JSON of an image. Engines and archives identify it by its ID, registries by its manifest."""
    from airgap.cli import platforms

    kind, digest = ("manifest", image.descriptor.digest) if image.descriptor else ("image_id", image.image_id)
    return {
        "reference": str(image.reference),
        "digest": str(digest),
        "digest_kind": kind,
        "chart": None if image.brought is None else str(image.brought.chart),
        "certainty": None if image.brought is None else image.brought.certainty,
        "platforms": [str(platform) for platform in image.platforms] or "all",
        "carried_files": carried_files.value(locked.carried for locked in image.files),
        **platforms.value(_chosen(image)),
    }


def _lines(images: list[dict[str, Any]]) -> list[str | Table]:
    rows = [(i["reference"], console.marked(i["digest"], i["digest_kind"])) for i in images]
    lines: list[str | Table] = [Table(("IMAGE", "DIGEST"), rows)]
    if any(image["digest_kind"] == "image_id" for image in images):
        lines.append("image id: the source's own; the digest in the bundle is known once it is packed")
    return lines
