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
PANEL = "Both sides"


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
    from airgap.carry.verify_recorded import refuse_others
    from airgap.cli.operator_prompt import make_operator, received_lines, received_value
    from airgap.durable import exists

    refuse_others([*filter(exists, bundle), *source])  # a lost volume is written again
    refuse_several(source)
    operator = make_operator(jobs, output, media)
    received = repair(bundle, source, operator)
    console.show_result(received_value(received), received_lines(received), output)
