"""Show what a bundle is and who signed it.

The signatures are checked and the files are not read: `airgap verify` reads them.

Example: airgap inspect /media/stick/edge-stack-0007
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airgap.cli.options import Bundles, Debug, Json, Quiet

if TYPE_CHECKING:
    from airgap.carry.verify import Authenticated, Receiver

NAME = "inspect"
PANEL = "Offline"


def run(bundle: Bundles, json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    from airgap.bundle.volumes import VolumeSet, open_bundle, refuse_several
    from airgap.carry.verify import authenticate
    from airgap.carry.verify_recorded import receiver, refuse_others
    from airgap.cli import console
    from airgap.cli.opening import open_site
    from airgap.errors import ThresholdError

    refuse_others(bundle)
    refuse_several(bundle)
    opened = open_site(recording=False)
    who = receiver(opened.site, opened.now)
    here: list[int] = []
    with open_bundle(bundle, alone=True) as folder:
        try:
            found = authenticate(folder, who)
        except ThresholdError:  # who is to sign it too wants to see it
            found = authenticate(folder, replace(who, partly=True))
        volumes = folder.table.cut.of if isinstance(folder, VolumeSet) else 1
        if isinstance(folder, VolumeSet):
            here = sorted(folder.folders)
    refusal = _refusal(found, who)
    value = _value(found, bundle[0], refusal) | {"volumes": volumes, "volumes_here": here}
    console.show_result(value, _lines(found, refusal, volumes, here), as_json=json)


def _refusal(found: "Authenticated", who: "Receiver") -> str | None:
    """Why `airgap load` would refuse it here and now, as far as the statement tells."""
    from airgap.carry.verify import check_receiver
    from airgap.errors import AirgapError
    from airgap.trust.policy import check_revocations, lacks

    if (wanted := lacks(found.verdict, found.root)) is not None:
        return f"too few signatures, want {wanted}: `airgap sign` adds one"
    try:
        check_receiver(found, who, who.mark(found.statement.stream))
        check_revocations(found.verdict, found.root, found.statement.serial, found.sha256)
    except AirgapError as error:
        return str(error)
    return None


def _value(found: "Authenticated", bundle: Path, refusal: str | None) -> dict[str, Any]:
    from airgap.cli.requires import requires_value
    from airgap.times import format_time

    statement, verdict = found.statement, found.verdict
    return {
        "bundle": str(bundle),
        "stream": statement.stream,
        "serial": statement.serial,
        "epoch": statement.epoch,
        "created": format_time(statement.created),
        "expires": format_time(statement.expires),
        "destinations": list(statement.destinations),
        "transfer": statement.transfer,
        "sender": statement.sender.site if statement.sender else None,
        "tool_version": statement.tool_version,
        "statement_sha256": found.sha256,
        "owners": list(verdict.owners),
        "keys": list(verdict.keyids),
        "threshold": verdict.threshold,
        "root_version": verdict.root_version,
        "bytes": statement.total_bytes,
        "files": len(statement.subjects),
        "requires": requires_value(statement),
        "images": [
            {
                "reference": str(image.reference),
                "as": str(image.name),
                "kind": image.kind,
                "digest": str(image.digest),
                "platforms": [record.platform for record in image.platforms],
                "source": image.source,
            }
            for image in statement.images
        ],
        "refusal": refusal,
    }


def _lines(found: "Authenticated", refusal: str | None, volumes: int, here: list[int]) -> list[str]:
    from airgap.cli import console
    from airgap.cli.requires import requires_text
    from airgap.times import format_time

    statement, verdict = found.statement, found.verdict
    rows = [
        (image.name, ", ".join(record.platform for record in image.platforms), image.digest, image.source)
        for image in statement.images
    ]
    maker = f"airgap {statement.tool_version}" + (f" at {statement.sender.site}" if statement.sender else "")
    total = f"{len(statement.subjects)} files, {console.size(statement.total_bytes)}"
    if volumes > 1:
        total += f" on {volumes} volumes; here: volume {', '.join(map(str, here))}"
    signers, needs = ", ".join(verdict.owners), requires_text(statement)
    return [
        f"{statement.title} (epoch {statement.epoch}), made {format_time(statement.created)} by {maker}",
        f"signed by {signers}: {len(verdict.keyids)} of {verdict.threshold}, root {verdict.root_version}",
        *(f"  key {keyid} of {found.root.keys[keyid].owner}" for keyid in verdict.keyids),
        f"for {', '.join(statement.destinations) or 'any site'}, until {format_time(statement.expires)}",
        *(f"{key}: {text}" for key, text in statement.transfer.items()),
        *console.table(("IMAGE", "PLATFORMS", "DIGEST", "SOURCE"), rows),
        f"{total}; not read: `airgap verify` reads them",
        *([needs] if needs else []),
        f"statement sha256 {found.sha256}",
        *([f"it would be refused here: {refusal}"] if refusal else []),
    ]
