"""The help of airgap itself, from the table of commands: the parser and the commands are not imported."""

import shutil
import textwrap
from collections.abc import Iterator, Mapping

from airgap.cli.commands import COMMANDS

TITLE = "Carry container images across an air gap in signed, checksummed, audited bundles."
EXAMPLES = """
Online, once and then for each transfer:
  airgap init --owner alice --site hq
  airgap pack stack.yaml --to /media/stick

Offline, once and then for each transfer:
  airgap trust install /media/stick --site plant-7
  airgap load /media/stick/stack-0001 --to docker
"""
HELP_OPTIONS = ["-h", "--help"]
VERSION_HELP = "Print the version."
VERBOSE_HELP = "Log to standard error what airgap does; -vv also logs details and what its libraries do."
OPTIONS = {
    "--version": VERSION_HELP,
    "-v, --verbose": VERBOSE_HELP,
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Show completion for the current shell, to copy it or customize the installation.",
    ", ".join(HELP_OPTIONS): "Show this message and exit.",
}
_WIDEST = 78
"""Characters of a line where the terminal is wider."""
_NARROWEST = 48


def overview() -> str:
    """Return the help of airgap itself, as wide as the terminal but not wider than usual text."""
    width = max(min(shutil.get_terminal_size().columns - 2, _WIDEST), _NARROWEST)
    return "\n".join(
        [
            "Usage: airgap [OPTIONS] COMMAND [ARGS]...",
            "",
            textwrap.fill(TITLE, width, initial_indent="  ", subsequent_indent="  "),
            "",
            "Options:",
            *_columns(OPTIONS, width),
            "",
            "Commands:",
            *_columns({name: listed.summary for name, listed in COMMANDS.items()}, width),
            "",
            textwrap.indent(EXAMPLES.strip(), "  "),
        ]
    )


def _columns(texts: Mapping[str, str], width: int) -> Iterator[str]:
    """Yield lines with the names on the left and their texts on the right."""
    widest = max(map(len, texts))
    indent = " " * (widest + 4)
    for name, text in texts.items():
        yield textwrap.fill(text, width, initial_indent=f"  {name:{widest}}  ", subsequent_indent=indent)
