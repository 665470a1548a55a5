"""Pin every tag of a manifest to its digest.

stack.lock.yaml is written beside stack.yaml; `airgap pack` then takes exactly these images, whatever
the tags mean by then.

Example: airgap lock stack.yaml
"""

from airgap.cli.options import CaFile, Debug, Json, Manifest, Mirror, PlainHttp, Quiet

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
    rows = [
        (image.reference, image.descriptor.digest if image.descriptor else image.image_id)
        for image in lock.images
    ]
    value = {
        "lock": str(path),
        "images": [{"reference": str(reference), "digest": str(digest)} for reference, digest in rows],
    }
    console.show_result(value, [*console.table(("IMAGE", "DIGEST"), rows), f"written: {path}"], as_json=json)
