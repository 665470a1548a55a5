"""Show what a bundle claims to be and who signed it; the files are not read.

Example: airgap inspect /media/stick/edge-stack-0007
"""

from airgap.cli.options import Bundle, Debug, Json, Quiet

NAME = "inspect"
PANEL = "Offline"


def run(bundle: Bundle, json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    from airgap.bundle.files import Folder
    from airgap.cli import console
    from airgap.errors import AirgapError
    from airgap.oci.strict_json import format_time
    from airgap.offline.session import receiver
    from airgap.offline.verify import authenticate, judge
    from airgap.site import Site, default_home, now

    site = Site(default_home())
    who = receiver(site, now())
    with Folder(bundle) as folder:
        found = authenticate(folder, who)
    statement, verdict = found.statement, found.verdict
    try:
        judge(found, who, who.mark(statement.stream))
        fit = None
    except AirgapError as error:
        fit = str(error)
    value = {
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
        "signed_by": [{"owner": owner} for owner in verdict.owners],
        "keys": list(verdict.keyids),
        "threshold": verdict.threshold,
        "root_version": verdict.root_version,
        "bytes": statement.total_bytes,
        "files": len(statement.subjects),
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
        "refusal": fit,
    }
    rows = [
        (image.name, ", ".join(record.platform for record in image.platforms), image.digest, image.source)
        for image in statement.images
    ]
    maker = f"airgap {statement.tool_version}" + (f" at {statement.sender.site}" if statement.sender else "")
    total = f"{len(statement.subjects)} files, {console.size(statement.total_bytes)}"
    signers = ", ".join(verdict.owners)
    lines = [
        f"{statement.title} (epoch {statement.epoch}), made {value['created']} by {maker}",
        f"signed by {signers}: {len(verdict.keyids)} of {verdict.threshold}, root {verdict.root_version}",
        *(f"  key {keyid}" for keyid in verdict.keyids),
        f"for {', '.join(statement.destinations) or 'any site'}, until {value['expires']}",
        *(f"{key}: {text}" for key, text in statement.transfer.items()),
        *console.table(("IMAGE", "PLATFORMS", "DIGEST", "SOURCE"), rows),
        f"{total}; not read: `airgap verify` reads them",
        f"statement sha256 {found.sha256}",
    ]
    if fit:
        lines.append(f"it would be refused here: {fit}")
    console.show_result(value, lines, as_json=json)
