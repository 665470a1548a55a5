"""Pin every tag of a manifest to its digest.

stack.lock.yaml is written beside stack.yaml; `airgap pack` then takes exactly these images, whatever
the tags mean by then.

Example: airgap lock stack.yaml
"""

from typing import TYPE_CHECKING

from airgap.cli.options import CaFile, Debug, Json, Manifest, Mirror, PlainHttp, Quiet

if TYPE_CHECKING:
    from airgap.manifest import LockedImage

NAME = "lock"
PANEL = "Online"


def run(
    manifest: Manifest,
    plain_http: PlainHttp = None,
    ca_file: CaFile = None,
    mirror: Mirror = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.bundle.files import write_file
    from airgap.cli import console
    from airgap.cli.endpoints import Endpoints
    from airgap.cli.planning import unknown_lines
    from airgap.manifest import TransferManifest, lock_path
    from airgap.online.lock import resolve
    from airgap.online.plan import unknown_value
    from airgap.online.sources import Failures, refuse_failures

    endpoints = Endpoints(tuple(plain_http or ()), ca_file, tuple(mirror or ()))
    failures: Failures = {}
    loaded = TransferManifest.load(manifest)
    lock = resolve(loaded, endpoints.source, failures)
    refuse_failures(failures, len(loaded.images), hint="nothing is written: a lock has all images")
    path = lock_path(manifest)
    write_file(path, lock.to_bytes(path.parent))
    images = [_value(image) for image in lock.images]
    unknown = {str(i.reference): i.attachments_unknown for i in lock.images if i.attachments_unknown}
    lines = [*_lines(images), *unknown_lines(unknown), f"written: {path}"]
    value = {"lock": str(path), "images": images, "attachments_unknown": unknown_value(unknown)}
    console.show_result(value, lines, as_json=json)


def _value(image: "LockedImage") -> dict[str, str]:
    """Engines and archives hand out an image by its ID, registries and OCI folders by its manifest."""
    kind, digest = ("manifest", image.descriptor.digest) if image.descriptor else ("image_id", image.image_id)
    return {"reference": str(image.reference), "digest": str(digest), "digest_kind": kind}


def _lines(images: list[dict[str, str]]) -> list[str]:
    from airgap.cli import console

    rows = [(i["reference"], console.marked(i["digest"], i["digest_kind"])) for i in images]
    lines = console.table(("IMAGE", "DIGEST"), rows)
    if any(image["digest_kind"] == "image_id" for image in images):
        lines.append("image id: as its source calls it; the digest in a bundle is known when it is packed")
    return lines
