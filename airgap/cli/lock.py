"""Pin every tag of a manifest to its digest.

This writes stack.lock.yaml beside stack.yaml. `airgap pack` then takes exactly these images, even if the
tags have moved.

Example: airgap lock stack.yaml
"""

from typing import TYPE_CHECKING, Any

from airgap.cli import console
from airgap.cli.options import Manifest, PullAccess, TableOutput
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from airgap.manifest import LockedImage
    from airgap.online.platforms import Chosen

NAME = "lock"
PANEL = "Online"


def run(
    manifest: Manifest,
    *,
    registries: PullAccess,
    output: TableOutput,
) -> None:
    from airgap.advice import MANIFEST, refuse_other
    from airgap.bundle.files import write_file
    from airgap.cli import platforms
    from airgap.cli.endpoints import Endpoints
    from airgap.cli.manifest_plan import unknown_lines
    from airgap.manifest import TransferManifest, lock_path
    from airgap.online.lock import resolve
    from airgap.online.plan import Failures, refuse_failures, unknown_value

    endpoints = Endpoints(registries)
    failures: Failures = {}
    refuse_other(manifest, MANIFEST)
    loaded = TransferManifest.load(manifest)
    lock = resolve(loaded, endpoints.source, failures)
    refuse_failures(failures, len(loaded.images), hint="no lock was written: a lock must have all images")
    path = lock_path(manifest)
    write_file(path, lock.to_bytes(path.parent))
    images = [_value(image) for image in lock.images]
    unknown = {str(i.reference): i.attachments_unknown for i in lock.images if i.attachments_unknown}
    choices = {str(image.reference): _chosen(image) for image in lock.images}
    left_out = [
        {"source": item.source, "digest": str(item.digest), "reason": item.why} for item in lock.left_out
    ]
    notes = [*platforms.lines(choices), *map(str, lock.left_out), *unknown_lines(unknown)]
    value = {
        "lock": str(path),
        "images": images,
        "left_out": left_out,
        "attachments_unknown": unknown_value(unknown),
    }
    console.show_result(value, [*_lines(images), *notes, f"written: {path}"], output)


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
        "platforms": [str(platform) for platform in image.platforms] or "all",
        **platforms.value(_chosen(image)),
    }


def _lines(images: list[dict[str, Any]]) -> list[str | Table]:
    rows = [(i["reference"], console.marked(i["digest"], i["digest_kind"])) for i in images]
    lines: list[str | Table] = [Table(("IMAGE", "DIGEST"), rows)]
    if any(image["digest_kind"] == "image_id" for image in images):
        lines.append("image id: the source's own; the digest in the bundle is known once it is packed")
    return lines
