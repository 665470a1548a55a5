"""Join a bundle from its volumes, or copy it from its medium.

The bundle is verified for this site, and every byte is checked while it is copied. On a terminal, airgap asks
for missing volumes. Otherwise run the command again with the next volumes: it resumes.

An older bundle that was accepted here before is received if a newer one needs its content.

Example: airgap receive /media/stick/edge-stack-0007.v1 --into /srv/bundles
"""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from airgap.cli import console
from airgap.cli.lost_media import warn_of_lost
from airgap.cli.options import AcceptJump, Bundles, Jobs, MediaWriting, Output

NAME = "receive"


def run(
    bundles: Bundles,
    into: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder in which the bundle's folder is made.")
    ],
    accept_jump: AcceptJump = False,
    jobs: Jobs = 2,
    *,
    media: MediaWriting,
    output: Output,
) -> None:
    from airgap.bundle.volumes import group_by_bundle
    from airgap.carry.given import examine_all
    from airgap.carry.receive import receive
    from airgap.cli.bundle_choice import take_bundles
    from airgap.cli.operator_prompt import make_operator, received_lines, received_value

    bundles = take_bundles(bundles, NAME, options=f" --into {shlex.quote(str(into))}")
    operator = make_operator(jobs, output, media, accept_jump=accept_jump)
    warn_of_lost(operator.site, (*bundles, into))
    places = group_by_bundle(bundles, alone=True)
    given = examine_all(places, operator.site, operator.now) if len(places) > 1 else ()
    newer = [bundle for bundle in given if bundle is not None]
    copies = [receive(place, into, operator, newer) for place in places]
    value = {"bundles": [received_value(received) for received in copies]}
    console.show_result(value, [line for received in copies for line in received_lines(received)], output)
