"""Show what a bundle contains and who signed it.

The signatures are checked. The files are not read: `airgap verify` reads them.

Example: airgap inspect /media/stick/edge-stack-0007
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airgap.cli import console
from airgap.cli.options import Bundles, TableOutput
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from airgap.carry.verify import Authenticated, Receiver

NAME = "inspect"
PANEL = "Offline"


def run(bundle: Bundles, *, output: TableOutput) -> None:
    from airgap.bundle.volumes import VolumeSet, open_bundle, refuse_several
    from airgap.carry.verify import authenticate
    from airgap.carry.verify_recorded import receiver
    from airgap.cli.bundle_choice import take_bundles
    from airgap.cli.opening import open_site
    from airgap.errors import ThresholdError

    bundle = take_bundles(bundle, NAME)
    refuse_several(bundle)
    opened = open_site(recording=False)
    this_site = receiver(opened.site, opened.now)
    present: list[int] = []
    with open_bundle(bundle, alone=True) as folder:
        try:
            authenticated = authenticate(folder, this_site)
        except ThresholdError:  # a further signer needs to see it
            authenticated = authenticate(folder, replace(this_site, partly=True))
        volumes = folder.table.cut.of if isinstance(folder, VolumeSet) else 1
        if isinstance(folder, VolumeSet):
            present = sorted(folder.folders)
    refusal = _refusal(authenticated, this_site)
    value = _value(authenticated, bundle[0], refusal) | {"volumes": volumes, "volumes_here": present}
    console.show_result(value, _lines(authenticated, refusal, volumes, present), output)


def _refusal(authenticated: "Authenticated", this_site: "Receiver") -> str | None:
    """Return why `airgap load` would refuse the bundle here now, as far as the statement shows; else None."""
    from airgap.carry.verify import check_receiver
    from airgap.errors import AirgapError
    from airgap.trust.policy import check_revocations, lacks

    if (wanted := lacks(authenticated.verdict, authenticated.root)) is not None:
        return f"too few signatures ({wanted} needed): `airgap sign` adds one"
    try:
        check_receiver(authenticated, this_site, this_site.mark(authenticated.statement.stream))
        check_revocations(
            authenticated.verdict, authenticated.root, authenticated.statement.serial, authenticated.sha256
        )
    except AirgapError as error:
        return str(error)
    return None


def _value(authenticated: "Authenticated", bundle: Path, refusal: str | None) -> dict[str, Any]:
    from airgap.times import format_time

    statement, verdict = authenticated.statement, authenticated.verdict
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
        "statement_sha256": authenticated.sha256,
        "owners": list(verdict.owners),
        "keys": list(verdict.keyids),
        "threshold": verdict.threshold,
        "root_version": verdict.root_version,
        "bytes": statement.total_bytes,
        "files": len(statement.subjects),
        "requires": console.requires_value(statement),
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


def _lines(
    authenticated: "Authenticated", refusal: str | None, volumes: int, present: list[int]
) -> list[str | Table]:
    from airgap.times import format_time

    statement, verdict = authenticated.statement, authenticated.verdict
    rows = [
        (image.name, ", ".join(record.platform for record in image.platforms), image.digest, image.source)
        for image in statement.images
    ]
    maker = f"airgap {statement.tool_version}" + (f" at {statement.sender.site}" if statement.sender else "")
    total = f"{len(statement.subjects)} files, {console.size(statement.total_bytes)}"
    if volumes > 1:
        total += f" on {volumes} volumes; here: volume {', '.join(map(str, present))}"
    signers = ", ".join(verdict.owners)
    return [
        f"{statement.title} (epoch {statement.epoch}), made {format_time(statement.created)} by {maker}",
        f"signed by {signers}: {len(verdict.keyids)} of {verdict.threshold}, root {verdict.root_version}",
        *(f"  key {keyid} of {authenticated.root.keys[keyid].owner}" for keyid in verdict.keyids),
        f"for {', '.join(statement.destinations) or 'any site'}, until {format_time(statement.expires)}",
        *(f"{key}: {text}" for key, text in statement.transfer.items()),
        Table(("IMAGE", "PLATFORMS", "DIGEST", "SOURCE"), rows),
        f"{total}; not read: `airgap verify` reads them",
        *console.requires_lines(statement),
        f"statement sha256 {authenticated.sha256}",
        *([f"this site would refuse it: {refusal}"] if refusal else []),
    ]
