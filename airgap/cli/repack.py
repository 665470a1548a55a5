"""Cut a bundle into volumes, into volumes of another size, or join it into one folder.

The statement and its signatures stay the same. This site needs only the trust root, so that the sending
side can do it too.

Example: airgap repack bundles/edge-stack-0007 --to /media/a --to /media/b
"""

from pathlib import Path
from typing import Annotated

import typer

from airgap.cli.options import (
    AllowSystemDisk,
    Bundles,
    Debug,
    Jobs,
    Json,
    Quiet,
    ReadBackChoice,
    VolumeSizeText,
)

NAME = "repack"
PANEL = "Both sides"


def run(
    bundle: Bundles,
    to: Annotated[
        list[Path],
        typer.Option(metavar="DIR", help="The folder to write to; repeat it to use several media."),
    ],
    volume_size: VolumeSizeText = None,
    allow_system_disk: AllowSystemDisk = False,
    read_back: ReadBackChoice = None,
    jobs: Jobs = 2,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.bundle.volumes import refuse_several
    from airgap.carry.receive import repack
    from airgap.carry.verify_recorded import refuse_others
    from airgap.cli import console
    from airgap.cli.operator_prompt import make_operator, received_lines, received_value
    from airgap.cli.sizes import parse_volume_size

    refuse_others(bundle)
    refuse_several(bundle)
    size = parse_volume_size(volume_size) if volume_size else None
    operator = make_operator(jobs, quiet=quiet, allow_system=allow_system_disk, read_back=read_back)
    found = repack(bundle, to, size, operator)
    lines = received_lines(found)
    if not found.written and len(found.paths) > 1:
        lines.append(
            "these volumes were there and are small enough: to cut again, remove them or use other folders"
        )
    console.show_result(received_value(found), lines, as_json=json)
