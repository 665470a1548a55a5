"""Documents that are made from the program: the command reference, the man pages and the JSON schemas.

`python -m tests.references` writes them; `tests/test_references.py` finds those that are stale.
"""

import json
from pathlib import Path

from tests.references import json_page, man, markdown
from tests.references.commands import all_commands
from tests.references.json_output import OUTPUTS, schema_of

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("docs/man", "airgap/schemas")
"""The folders that hold nothing else."""


def make_references() -> dict[Path, str]:
    """The text of each document, by path."""
    commands = all_commands()
    pages = {"docs/commands.md": markdown.page(commands), "docs/json.md": json_page.page()}
    pages |= {f"docs/man/{name}": text for name, text in man.pages(commands).items()}
    for command in OUTPUTS:
        name = command.replace(" ", "-")
        pages[f"airgap/schemas/{name}.schema.json"] = json.dumps(schema_of(command), indent=1) + "\n"
    return {REPOSITORY / path: text for path, text in pages.items()}
