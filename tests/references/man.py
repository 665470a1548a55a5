"""The man pages: airgap.1 and airgap-COMMAND.1, in the man macros of roff."""

import re
from collections.abc import Iterator, Sequence

from airgap import __version__
from tests.references.commands import Documented, Parameter, exit_codes

ENVIRONMENT = {
    "AIRGAP_HOME": "The folder of this site: its keys, ledger and trust root (default: ~/.local/share/airgap).",
    "AIRGAP_PASSPHRASE": "The passphrase of the signing key, where there is no terminal and no --passphrase-file.",
    "DOCKER_HOST, DOCKER_CONFIG": "The Docker engine, and the folder of its settings and logins.",
    "CONTAINERD_ADDRESS": "The socket of containerd.",
    "HTTP_PROXY, HTTPS_PROXY, NO_PROXY": "The proxies for registries.",
}


def pages(commands: Sequence[Documented]) -> dict[str, str]:
    """The text of each page, by file name."""
    return {f"{_page_name(command)}.1": "\n".join(_page(command)) + "\n" for command in commands}


def _page_name(command: Documented) -> str:
    return command.title.replace(" ", "-")


def _page(command: Documented) -> Iterator[str]:
    name = _page_name(command)
    yield f'.TH "{_text(name.upper())}" 1 "" "airgap {__version__}" "airgap manual"'
    yield from (".SH NAME", rf"{_text(name)} \- {_text(_lowered(command.summary.rstrip('.')))}")
    yield from (
        ".SH SYNOPSIS",
        f".B {_text(command.title)}",
        _text(command.usage.removeprefix(command.title).strip()),
    )
    yield ".SH DESCRIPTION"
    for number, paragraph in enumerate(command.paragraphs):
        yield from ([".PP"] if number else [])
        yield _text(paragraph)
    if command.subcommands:
        yield ".SH COMMANDS"
        for inner in command.subcommands:
            yield from (".TP", rf".BR {_text(_page_name(inner))} (1)", _text(inner.summary))
    if command.arguments:
        yield from (".SH ARGUMENTS", *_items(command.arguments))
    own = [("-h, --help", "Show a help text.")]
    if not command.name:
        own += [
            ("--install-completion", "Set up completion in the current shell."),
            ("--show-completion", "Print the script for completion."),
        ]
    further = [Parameter(text, explanation, required=False, default="") for text, explanation in own]
    yield from (".SH OPTIONS", *_items((*command.options, *further)))
    if command.examples:
        yield from (".SH EXAMPLES", ".nf", *map(_text, command.examples), ".fi")
    yield ".SH EXIT STATUS"
    for code, meaning in exit_codes():
        yield from (".TP", f".B {code}", _text(f"{meaning[:1].upper()}{meaning[1:]}."))
    if not command.name:
        yield ".SH ENVIRONMENT"
        for variable, meaning in ENVIRONMENT.items():
            yield from (".TP", f".B {_text(variable)}", _text(meaning))
    else:
        above = command.title.rpartition(" ")[0].replace(" ", "-")
        yield from (".SH SEE ALSO", rf".BR {_text(above)} (1)")


def _items(parameters: Sequence[Parameter]) -> Iterator[str]:
    for item in parameters:
        notes = [" Required."] if item.required else []
        notes += [f" The default is {item.default}."] if item.default else []
        yield from (".TP", f".B {_text(item.text)}", _text((item.help or "") + "".join(notes)))


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _text(text: str) -> str:
    """Text that roff shows as it is."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    escaped = escaped.replace("~", r"\(ti").replace("^", r"\(ha").replace("…", r"\&...")
    return re.sub(r"^(?=\.)", r"\\&", escaped)
