"""Put a bundle together from its volumes, or copy it off its medium.

It is verified for this site, and every byte is checked on its way. Run again, with the next volumes, it
goes on; on a terminal, volumes that are missing are asked for.

Example: airgap receive /media/stick/edge-stack-0007.v1 --into /srv/bundles
"""

from pathlib import Path
from typing import Annotated

import typer

from airgap.cli.options import AcceptJump, AllowSystemDisk, Bundles, Debug, Jobs, Json, Quiet, ReadBackChoice

NAME = "receive"
PANEL = "Offline"


def run(
    bundles: Bundles,
    into: Annotated[Path, typer.Option(metavar="DIR", help="The folder in which the bundle's own is made.")],
    allow_system_disk: AllowSystemDisk = False,
    read_back: ReadBackChoice = None,
    accept_jump: AcceptJump = False,
    jobs: Jobs = 2,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.bundle.volumes import grouped
    from airgap.carry.receive import receive
    from airgap.carry.verify_recorded import refuse_others
    from airgap.cli import console
    from airgap.cli.operator_prompt import make_operator, received_lines, received_value

    refuse_others(bundles)
    here = make_operator(
        jobs, quiet=quiet, allow_system=allow_system_disk, read_back=read_back, accept_jump=accept_jump
    )
    found = [receive(place, into, here) for place in grouped(bundles, alone=True)]
    value = {"bundles": [received_value(each) for each in found]}
    console.show_result(value, [line for each in found for line in received_lines(each)], as_json=json)
