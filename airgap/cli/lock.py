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
    from airgap.manifest import TransferManifest, lock_path
    from airgap.online.lock import resolve

    endpoints = Endpoints(tuple(plain_http or ()), ca_file, tuple(mirror or ()))
    lock = resolve(TransferManifest.load(manifest), endpoints.source)
    path = lock_path(manifest)
    write_file(path, lock.to_bytes(path.parent))
    images = [_value(image) for image in lock.images]
    left_out = [
        {"source": item.source, "digest": str(item.digest), "reason": item.why} for item in lock.left_out
    ]
    lines = [*_lines(images), *map(str, lock.left_out), f"written: {path}"]
    console.show_result({"lock": str(path), "images": images, "left_out": left_out}, lines, as_json=json)


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
