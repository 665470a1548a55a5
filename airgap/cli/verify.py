"""Check a bundle's signatures, policy and every byte.

No image is loaded, and no network is used. Name all volumes of a bundle together; on a terminal, airgap asks
for missing ones. With --media, the destination is not checked, so that the sending side can check what it
wrote.

Example: airgap verify /media/stick/edge-stack-0007
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli.options import AcceptJump, Bundles, Debug, Jobs, Json, Quiet
from airgap.errors import UsageError

if TYPE_CHECKING:
    from airgap.bundle.volumes import BundleLocation
    from airgap.carry.operator import Operator
    from airgap.carry.verify import VerifiedBundle

_HOLLOW = "the bundle has the image index but none of its images: there is nothing to load"
NAME = "verify"
PANEL = "Offline"


def run(
    bundles: Bundles,
    media: Annotated[
        bool,
        typer.Option(
            "--media",
            help="Re-read the media to check what was written. Volumes can be checked one at a time.",
        ),
    ] = False,
    accept_jump: AcceptJump = False,
    jobs: Jobs = 2,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.bundle.volumes import group_by_bundle
    from airgap.carry.verify_recorded import refuse_others
    from airgap.cli import console
    from airgap.cli.operator_prompt import make_operator

    if (pipe := Path("-")) in bundles and not pipe.exists():
        raise UsageError(
            "verify cannot read from a pipe",
            want="a folder or a tar",
            hint="write it to a file and verify the file; `airgap load -` verifies its input before it loads",
        )
    refuse_others(bundles)
    operator = make_operator(jobs, quiet=quiet, accept_jump=accept_jump)
    if media:
        _check_media(bundles, operator, json)
        return
    values, lines = [], []
    for place in group_by_bundle(bundles):
        bundle = _verify(place, operator)
        values.append(_value(place, bundle))
        lines += [
            _line(bundle),
            *(f"  {name}: {_HOLLOW}" for name in _hollow(bundle)),
        ]
    console.show_result({"bundles": values}, lines, as_json=json)


def _check_media(bundles: list[Path], operator: "Operator", as_json: bool) -> None:
    from airgap.bundle.volumes import group_by_bundle, paths_of
    from airgap.carry.verify_medium import check_media
    from airgap.cli import console

    values, lines = [], []
    for place in group_by_bundle(bundles, alone=True):
        report = check_media(place, operator)
        title = report.bundle.statement.title
        volumes = f", volume {', '.join(map(str, report.volumes))} of {report.of}" if report.volumes else ""
        lines += [f"on the medium: {title}{volumes}", *console.proof_lines(report.proof)]
        values.append(
            {
                "bundle": str(paths_of(place)[0]),
                "statement_sha256": report.bundle.statement_sha256,
                "volumes_read": list(report.volumes),
                "volumes": report.of,
                **console.proof_value(report.proof),
            }
        )
    console.show_result({"bundles": values}, lines, as_json=as_json)


def _verify(place: "BundleLocation", operator: "Operator") -> "VerifiedBundle":
    from airgap.bundle.volumes import has_all_volumes
    from airgap.carry.verify_one_volume_at_a_time import verify_in_turn
    from airgap.carry.verify_recorded import keeper, verify_whole_bundle

    if has_all_volumes(place):
        who = keeper(operator.site, operator.now, accept_jump=operator.accept_jump)
        return verify_whole_bundle(
            place, operator.site, operator.now, operator.jobs, operator.progress, who=who
        )
    return verify_in_turn(place, operator)


def _value(place: "BundleLocation", bundle: "VerifiedBundle") -> dict[str, Any]:
    from airgap.bundle.volumes import paths_of
    from airgap.cli.requires import requires_value

    verdict = bundle.verdict
    return {
        "bundle": str(paths_of(place)[0]),
        "volumes": [str(path) for path in paths_of(place)],
        "statement_sha256": bundle.statement_sha256,
        "owners": list(verdict.owners),
        "keys": list(verdict.keyids),
        "threshold": verdict.threshold,
        "files": len(bundle.sizes),
        "bytes": bundle.statement.total_bytes,
        "requires": requires_value(bundle.statement),
        "repeat": bundle.repeat,
        "missed": bundle.missed,
        "hollow": _hollow(bundle),
    }


def _hollow(bundle: "VerifiedBundle") -> list[str]:
    return [str(image.name) for image in bundle.images if image.graph.is_hollow]


def _missed(bundle: "VerifiedBundle") -> str:
    """Return the titles of the bundles between the last one accepted here and this one."""
    stream, serial = bundle.statement.stream, bundle.statement.serial
    first, last = f"{stream}-{serial - bundle.missed:04d}", f"{stream}-{serial - 1:04d}"
    return first if first == last else f"{first} to {last}"


def _line(bundle: "VerifiedBundle") -> str:
    from airgap.cli import console
    from airgap.cli.requires import requires_text

    needs = requires_text(bundle.statement)
    return (
        f"good: {bundle.statement.title}, signed by {', '.join(bundle.verdict.owners)}, "
        f"{len(bundle.sizes)} files, {console.size(bundle.statement.total_bytes)}, "
        f"keys: {', '.join(bundle.verdict.signers)}"
        + (", accepted here before" if bundle.repeat else "")
        + (f", {_missed(bundle)} never arrived here" if bundle.missed else "")
        + (f"; {needs}" if needs else "")
    )
