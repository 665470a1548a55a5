"""Cut a bundle into volumes, into volumes of another size, or join it into one folder.

The statement and its signatures stay the same. The bundle may be for another site, so that the sending side
can repack it too.

Example: airgap repack bundles/edge-stack-0007 --to /media/a --to /media/b
"""

from pathlib import Path
from typing import Annotated

import typer

from airgap.cli import console
from airgap.cli.lost_media import warn_of_lost
from airgap.cli.options import Bundles, Jobs, MediaWriting, Output, VolumeSizeText

NAME = "repack"


def run(
    bundle: Bundles,
    to: Annotated[
        list[Path],
        typer.Option(metavar="DIR", help="The folder to write to; repeat it to use several media."),
    ],
    volume_size: VolumeSizeText = None,
    jobs: Jobs = 2,
    *,
    media: MediaWriting,
    output: Output,
) -> None:
    from airgap.bundle.volumes import refuse_several
    from airgap.carry.receive import repack
    from airgap.cli.bundle_choice import take_bundles
    from airgap.cli.operator_prompt import make_operator, received_lines, received_value
    from airgap.cli.sizes import parse_volume_size

    bundle = take_bundles(bundle, NAME, options=" --to DIR", any_site=True)
    refuse_several(bundle)
    size = parse_volume_size(volume_size) if volume_size else None
    operator = make_operator(jobs, output, media)
    warn_of_lost(operator.site, (*bundle, *to))
    received = repack(bundle, to, size, operator)
    lines = received_lines(received)
    if not received.written and len(received.paths) > 1:
        lines.append(
            "these volumes were there and are small enough: to cut again, remove them or use other folders"
        )
    console.show_result(received_value(received), lines, output)
