"""Check a bundle's signatures, policy and every byte.

No image is loaded, and no network is used. Name all volumes of a bundle together; on a terminal, airgap asks
for missing ones. With --media, the destination is not checked, so that the sending side can check what it
wrote.

Example: airgap verify /media/stick/edge-stack-0007
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import console
from airgap.cli.identities import identities_value, identity_lines
from airgap.cli.lost_media import warn_of_lost
from airgap.cli.options import AcceptJump, Bundles, Jobs, Output
from airgap.cli.recall_warnings import recalled_loaded
from airgap.errors import UsageError

if TYPE_CHECKING:
    from airgap.bundle.volumes import BundleLocation
    from airgap.carry.operator import Operator
    from airgap.carry.verify import VerifiedBundle
    from airgap.site import Site

_HOLLOW = "the bundle has the image index but none of its images: there is nothing to load"
_NO_RULE = "`airgap load` would refuse this name without --map: no rule allows {} to set it"
NAME = "verify"


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
    *,
    output: Output,
) -> None:
    from airgap.bundle.volumes import group_by_bundle
    from airgap.cli.bundle_choice import take_bundles
    from airgap.cli.operator_prompt import make_operator

    if (pipe := Path("-")) in bundles and not pipe.exists():
        raise UsageError(
            "verify cannot read from a pipe",
            want="a folder or a tar",
            hint="write it to a file and verify the file; `airgap load -` verifies its input before it loads",
        )
    bundles = take_bundles(bundles, NAME, any_site=media)
    operator = make_operator(jobs, output, accept_jump=accept_jump)
    warn_of_lost(operator.site, bundles)
    if media:
        _check_media(bundles, operator, output)
        return
    values, lines = [], []
    for folders in group_by_bundle(bundles):
        bundle = _verify(folders, operator)
        refused = _refused_names(operator.site, bundle)
        values.append(_value(folders, bundle) | {"refused_names": refused})
        lines += [
            _line(bundle),
            *(f"  {name}: {_HOLLOW}" for name in _hollow(bundle)),
            *(f"  {name}: {_NO_RULE.format(bundle.sender or 'its sender')}" for name in refused),
            *identity_lines(bundle.statement),
        ]
    value = {"bundles": values, "recalled_loaded": recalled_loaded(operator.site)}
    console.show_result(value, lines, output)


def _check_media(bundles: list[Path], operator: "Operator", output: Output) -> None:
    from airgap.bundle.volumes import group_by_bundle, paths_of
    from airgap.carry.verify_medium import check_media

    values, lines = [], []
    for folders in group_by_bundle(bundles, alone=True):
        report = check_media(folders, operator)
        title = report.bundle.statement.title
        volumes = f", volume {', '.join(map(str, report.volumes))} of {report.of}" if report.volumes else ""
        lines += [f"on the medium: {title}{volumes}", *console.proof_lines(report.proof)]
        values.append(
            {
                "bundle": str(paths_of(folders)[0]),
                "statement_sha256": report.bundle.statement_sha256,
                "volumes_read": list(report.volumes),
                "volumes": report.of,
                **report.proof.record(),
            }
        )
    value = {"bundles": values, "recalled_loaded": recalled_loaded(operator.site)}
    console.show_result(value, lines, output)


def _verify(folders: "BundleLocation", operator: "Operator") -> "VerifiedBundle":
    from airgap.bundle.volumes import has_all_volumes
    from airgap.carry.choose_sender import operator_for
    from airgap.carry.verify_recorded import keeper, verify_whole_bundle

    if has_all_volumes(folders):
        operator = operator_for(folders, operator)
        who = keeper(operator.site, operator.now, accept_jump=operator.accept_jump)
        return verify_whole_bundle(
            folders, operator.site, operator.now, operator.jobs, operator.progress, who=who
        )
    from airgap.carry.verify_one_volume_at_a_time import verify_in_turn

    return verify_in_turn(folders, operator)


def _value(folders: "BundleLocation", bundle: "VerifiedBundle") -> dict[str, Any]:
    from airgap.bundle.volumes import paths_of

    verdict = bundle.verdict
    return {
        "bundle": str(paths_of(folders)[0]),
        "volumes": [str(path) for path in paths_of(folders)],
        "statement_sha256": bundle.statement_sha256,
        "sender_name": bundle.sender or None,
        "owners": list(verdict.owners),
        "keys": list(verdict.keyids),
        "threshold": verdict.threshold,
        "files": len(bundle.sizes),
        "bytes": bundle.statement.total_bytes,
        "requires": console.requires_value(bundle.statement),
        "repeat": bundle.repeat,
        "missed": bundle.missed,
        "hollow": _hollow(bundle),
        "identities": identities_value(bundle.statement),
    }


def _hollow(bundle: "VerifiedBundle") -> list[str]:
    return [str(image.name) for image in bundle.images if image.graph.is_hollow]


def _refused_names(site: "Site", bundle: "VerifiedBundle") -> list[str]:
    names = (image.name for image in bundle.images)
    return list(map(str, site.refused_names(bundle.sender, names)))


def _missed(bundle: "VerifiedBundle") -> str:
    """Return the titles of the bundles between the last one accepted here and this one."""
    stream, serial = bundle.statement.stream, bundle.statement.serial
    first, last = f"{stream}-{serial - bundle.missed:04d}", f"{stream}-{serial - 1:04d}"
    return first if first == last else f"{first} to {last}"


def _line(bundle: "VerifiedBundle") -> str:
    return (
        f"good: {bundle.statement.title}{console.of_sender(bundle.sender)}, "
        f"signed by {', '.join(bundle.verdict.owners)}, "
        f"{len(bundle.sizes)} files, {console.size(bundle.statement.total_bytes)}, "
        f"keys: {', '.join(bundle.verdict.signers)}"
        + (", accepted here before" if bundle.repeat else "")
        + (f", {_missed(bundle)} never arrived here" if bundle.missed else "")
        + "".join(f"; {needs}" for needs in console.requires_lines(bundle.statement))
    )
