"""Show the help of airgap or of a command.

Example: airgap help trust add
"""

from typing import Annotated

import typer


def run(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="The command, for example trust add.")
    ] = None,
) -> None:
    context.find_root().command(
        args=[*(command or ()), "--help"], prog_name=context.find_root().info_name, standalone_mode=False
    )
