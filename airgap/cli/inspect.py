"""Show what a bundle contains and who signed it.

The signatures are checked. The files are not read: `airgap verify` reads them. Without a trust root of its
sender, the bundle's own words are shown, for which nobody vouches, and the exit code is 13.

`--sbom` writes what the bundle contains as CycloneDX. SBOMs that come with images are referred to by their
paths in the bundle. Only manifests are read for this. It needs a library: pip install 'airgap[sbom]'.

Examples:
  airgap inspect /media/stick/edge-stack-0007
  airgap inspect /media/stick/edge-stack-0007 --sbom edge-stack-0007.cdx.json
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import carried_files, console
from airgap.cli.bundle_page import signer_lines, statement_lines, total_line
from airgap.cli.delta_bases import builds_on_value
from airgap.cli.options import Bundles, TableOutput

if TYPE_CHECKING:
    from airgap.bundle.files import Files
    from airgap.bundle.statement import Statement
    from airgap.carry.receiver import Receiver
    from airgap.carry.unvouched import Claims
    from airgap.carry.verify import Authenticated
    from airgap.cli.tables import Table
    from airgap.errors import TrustError
    from airgap.site import Site
    from airgap.site_check import CheckedSite
    from airgap.trust.recall import Recall

NAME = "inspect"


Sbom = Annotated[
    Path | None,
    typer.Option("--sbom", metavar="FILE", help="Write the contents as CycloneDX into this file."),
]


def run(bundle: Bundles, sbom: Sbom = None, *, output: TableOutput) -> None:
    from airgap.bundle.volumes import VolumeSet, open_bundle, refuse_several
    from airgap.cli.bundle_choice import take_bundles

    bundle = take_bundles(bundle, NAME)
    refuse_several(bundle)
    opened = _this_site()
    with open_bundle(bundle, alone=True) as folder:
        volumes, present, place = 1, [], ""
        if isinstance(folder, VolumeSet):
            volumes, present = folder.table.cut.of, sorted(folder.folders)
            place = f" on {volumes} volumes; here: volume {', '.join(map(str, present))}"
        value, lines, error = _read(folder, opened, place, sbom)
    value = {"bundle": str(bundle[0])} | value | {"volumes": volumes, "volumes_here": present}
    value["sbom"] = str(sbom) if sbom and not error else None
    console.show_partial_result(value, lines, output, [error] if error else [])


def _this_site() -> "CheckedSite | None":
    """Return this site; None if it has no trust root yet."""
    from airgap.cli.opening import open_site
    from airgap.durable import exists
    from airgap.site import default_home

    if not exists(default_home() / "site.json", follow=False):
        return None
    opened = open_site(recording=False)
    return opened if opened.site.roots() else None


def _read(
    folder: "Files", opened: "CheckedSite | None", place: str, sbom: Path | None
) -> "tuple[dict[str, Any], list[str | Table], TrustError | None]":
    """Return the JSON, the lines, and the error if nobody vouches for the bundle; then no SBOM is written."""
    from airgap.carry.choose_sender import site_of
    from airgap.carry.verify import authenticate
    from airgap.carry.verify_recorded import receiver
    from airgap.errors import NoTrustRootError, ThresholdError, UnknownKeyError

    if opened is None:
        nobody = NoTrustRootError("no trust root is installed here")
        return _unvouched(folder, nobody, place, "--site NAME")
    site = site_of(folder, opened.site)
    this_site = receiver(site, opened.now)
    try:
        authenticated = authenticate(folder, this_site)
    except ThresholdError:  # a further signer needs to see it
        authenticated = authenticate(folder, replace(this_site, partly=True))
    except UnknownKeyError as error:
        return _unvouched(folder, error, place, "--sender NAME --names PATTERN")
    refusal = _refusal(authenticated, this_site) or _name_refusal(authenticated, site)
    lines = _lines(authenticated, refusal, place)
    if sbom is not None:
        _write_sbom(sbom, folder, authenticated)
        lines.append(f"written: {sbom}")
    return _value(authenticated, refusal), lines, None


def _write_sbom(path: Path, folder: "Files", authenticated: "Authenticated") -> None:
    from airgap.bundle.files import write_file
    from airgap.carry.attached_sboms import attached_sboms
    from airgap.errors import UsageError

    try:
        from airgap.carry.sbom import sbom_of
    except ModuleNotFoundError as error:
        raise UsageError(
            "--sbom needs a library that is not installed", want="cyclonedx-python-lib", got=error.name,
            hint="pip install 'airgap[sbom]'",
        ) from error  # fmt: skip
    statement = authenticated.statement
    write_file(path, sbom_of(statement, authenticated.sha256, attached_sboms(folder, statement)))


def _unvouched(
    folder: "Files", error: "TrustError", place: str, options: str
) -> "tuple[dict[str, Any], list[str | Table], TrustError]":
    from airgap.carry.unvouched import read_claims

    claims = read_claims(folder)
    error.hint = (
        "if you know who sent it, ask that side for its fingerprint (`airgap trust show` there) and run "
        f"`airgap trust install {folder.path} {options}`"
    )
    return _unvouched_value(claims, error), _unvouched_lines(claims, place), error


def _refusal(authenticated: "Authenticated", this_site: "Receiver") -> str | None:
    """Return why `airgap load` would refuse the bundle here now, as far as the statement shows; else None."""
    from airgap.carry.receiver import check_receiver
    from airgap.errors import AirgapError
    from airgap.trust.policy import check_revocations, lacks

    if (wanted := lacks(authenticated.verdict, authenticated.root)) is not None:
        return f"too few signatures ({wanted} needed): `airgap sign` adds one"
    statement, sha256, root = authenticated.statement, authenticated.sha256, authenticated.root
    try:
        check_receiver(statement, sha256, root, this_site, this_site.mark(statement.stream))
        check_revocations(authenticated.verdict, root, statement.serial, sha256)
    except AirgapError as error:
        return str(error)
    return None


def _name_refusal(authenticated: "Authenticated", site: "Site") -> str | None:
    """Return which names its sender may not set at any target; else None."""
    names = [image.name for image in authenticated.statement.images]
    refused = site.refused_names(authenticated.sender, names)
    if not refused:
        return None
    more = f" and {len(refused) - 1} more" if refused[1:] else ""
    return f"without --map, no rule allows {site.sender_name} to set {refused[0]}{more}"


def _value(authenticated: "Authenticated", refusal: str | None) -> dict[str, Any]:
    verdict = authenticated.verdict
    return {
        "vouched": True,
        **_statement_value(authenticated.statement),
        "statement_sha256": authenticated.sha256,
        "owners": list(verdict.owners),
        "keys": list(verdict.keyids),
        "threshold": verdict.threshold,
        "root_version": verdict.root_version,
        "sender_name": authenticated.sender or None,
        "refusal": refusal,
        "recalled": recall.reason if (recall := _recall(authenticated)) else None,
    }


def _recall(authenticated: "Authenticated") -> "Recall | None":
    return authenticated.root.recall_of(authenticated.sha256)


def _unvouched_value(claims: "Claims", error: "TrustError") -> dict[str, Any]:
    return {
        "vouched": False,
        **_statement_value(claims.statement),
        "statement_sha256": claims.sha256,
        "owners": [],
        "keys": [],
        "threshold": 0,
        "root_version": 0,
        "sender_name": None,
        "refusal": str(error),
        "recalled": None,
    }


def _statement_value(statement: "Statement") -> dict[str, Any]:
    from airgap.times import format_time

    return {
        "stream": statement.stream,
        "serial": statement.serial,
        "epoch": statement.epoch,
        "created": format_time(statement.created),
        "expires": format_time(statement.expires),
        "destinations": list(statement.destinations),
        "transfer": statement.transfer,
        "sender": statement.sender.site if statement.sender else None,
        "tool_version": statement.tool_version,
        "bytes": statement.total_bytes,
        "files": len(statement.subjects),
        "requires": console.requires_value(statement),
        "builds_on": builds_on_value(statement.bases),
        "images": [
            {
                "reference": str(image.reference),
                "as": str(image.name),
                "kind": image.kind,
                "digest": str(image.digest),
                "platforms": [record.platform for record in image.platforms],
                "source": image.source,
                "carried_files": carried_files.value(image.files),
            }
            for image in statement.images
        ],
    }


def _lines(authenticated: "Authenticated", refusal: str | None, place: str) -> "list[str | Table]":
    statement = authenticated.statement
    total = f"{total_line(statement)}{place}; not read: `airgap verify` reads them"
    recall = _recall(authenticated)
    return [
        *([f"RECALLED: it must not be used: {recall.words}"] if recall else []),
        *statement_lines(statement, signer_lines(authenticated.verdict, authenticated.root), total),
        f"statement sha256 {authenticated.sha256}",
        *([f"verified as a bundle of {authenticated.sender}"] if authenticated.sender else []),
        *([f"this site would refuse it: {refusal}"] if refusal else []),
    ]


def _unvouched_lines(claims: "Claims", place: str) -> "list[str | Table]":
    signers = [f"it names key {keyid}, which is not known here" for keyid in claims.keyids]
    return [
        "NOBODY VOUCHES FOR THIS BUNDLE. Anybody can have written what it says of itself:",
        "",
        *statement_lines(claims.statement, signers, f"{total_line(claims.statement)}{place}; not read"),
        f"statement sha256 {claims.sha256}",
    ]
