"""Repair a damaged copy of a bundle from another copy. Only damaged files are written.

On the sending side, running `airgap pack` again does the same from the registries.

Example: airgap repair /media/stick/edge-stack-0007 --from /srv/bundles/edge-stack-0007
"""

from pathlib import Path
from typing import Annotated

import typer

from airgap.cli import console
from airgap.cli.options import BundlePaths, Jobs, MediaWriting, Output

NAME = "repair"


def run(
    bundle: BundlePaths,
    source: Annotated[
        list[Path],
        typer.Option(
            "--from", metavar="COPY", readable=False, help="The other copy: folder, tar or all volumes."
        ),
    ],
    jobs: Jobs = 2,
    *,
    media: MediaWriting,
    output: Output,
) -> None:
    from airgap.bundle.volumes import refuse_several
    from airgap.carry.receive import repair
    from airgap.cli.bundle_choice import take_bundles, take_lost_or_found
    from airgap.cli.operator_prompt import make_operator, received_lines, received_value

    bundle = take_lost_or_found(bundle, NAME)  # a lost volume is written again
    source = take_bundles(source, f"{NAME} {' '.join(map(str, bundle))} --from", any_site=True)
    refuse_several(source)
    operator = make_operator(jobs, output, media)
    received = repair(bundle, source, operator)
    console.show_result(received_value(received), received_lines(received), output)
