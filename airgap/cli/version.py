"""Show the version of airgap.

Example: airgap version --json
"""

import platform

from airgap import __version__
from airgap.cli import console
from airgap.cli.options import Output

JSON_VERSION = 1
"""The version of the schemas of `--json`: docs/json.md has the rule."""


def run(*, output: Output) -> None:
    value = {"version": __version__, "json_version": JSON_VERSION, "python": platform.python_version()}
    console.show_result(value, [f"airgap {__version__}"], output)
