"""The command reference: docs/commands.md."""

from collections.abc import Iterator, Sequence

from tests.references.commands import Documented, Parameter

HEAD = """# Commands

Every command has `-h` and `--help`; `airgap help COMMAND` shows the same. `airgap -v COMMAND` logs to standard error what airgap
does, and `-vv` also what the libraries do that it uses; logins are masked. Results go to standard output, everything else to
standard error. [json.md](json.md) describes `--json`, and [exit-codes.md](exit-codes.md) the exit codes.

`airgap --install-completion` sets up completion for bash, zsh, fish or PowerShell: of commands, options, targets (`--to`),
mounted media and key owners. `airgap --show-completion` prints the script instead.

The man pages have the same text: `man airgap`, `man airgap-pack`.
"""


def page(commands: Sequence[Documented]) -> str:
    """The page with all commands."""
    lines = [HEAD]
    for side in ("Online", "Offline", "Both sides"):
        lines += [f"| {side.lower()} | |", "|---|---|"]
        for command in commands[1:]:
            if command.side == side or (" " in command.name and _group_side(command, commands) == side):
                anchor = command.title.replace(" ", "-")
                lines.append(f"| [{command.title}](#{anchor}) | {_cell(command.summary)} |")
        lines.append("")
    for command in commands:
        lines += [*_section(command), ""]
    lines += [
        "## Exit codes",
        "",
        "[exit-codes.md](exit-codes.md) has the table; it is the same for all commands.",
    ]
    return "\n".join(lines) + "\n"


def _group_side(command: Documented, commands: Sequence[Documented]) -> str:
    group = command.name.partition(" ")[0]
    return next(other.side for other in commands if other.name == group)


def _section(command: Documented) -> Iterator[str]:
    yield f"## {command.title}"
    yield from ("", "```text", command.usage, "```")
    for paragraph in command.paragraphs:
        yield from ("", _escaped(paragraph))
    if command.examples:
        yield from ("", "```sh", *command.examples, "```")
    parameters = (*command.arguments, *command.options)
    if parameters:
        yield from ("", "| argument or option | |", "|---|---|")
        yield from (f"| `{_cell(item.text)}` | {_cell(_explained(item))} |" for item in parameters)


def _explained(item: Parameter) -> str:
    text = _escaped(item.help or "")
    notes = (["required"] if item.required else []) + ([f"default: {item.default}"] if item.default else [])
    return f"{text} ({'; '.join(notes)})" if notes else text


def _escaped(text: str) -> str:
    return text.replace("<", r"\<").replace("*", r"\*")


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
