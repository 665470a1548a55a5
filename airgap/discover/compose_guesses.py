"""Finds images that services of Compose files may start by themselves: their environment and commands name
them (`SANDBOX_IMAGE: acme/sandbox:2`).
"""

from collections.abc import Iterator

from airgap.discover.compose_merge import Part, Service
from airgap.discover.context import Context
from airgap.discover.findings import Certainty
from airgap.discover.operands import names_in
from airgap.manifest.yaml_nodes import Scalar

_COMMANDS = ("command", "entrypoint")


def add_guesses(service: Service, user: str, optional: str | None, context: Context) -> None:
    """Add what looks like an image in the environment and the commands of a service, as guesses.

    Args:
        service: The service.
        user: What uses the images.
        optional: Why the service does not run by default.
        context: Gets the images.
    """
    for key, text, part in [*_environment(service), *_arguments(service)]:
        for name in names_in(key, text):
            context.findings.add_image(
                name, part.place, certainty=Certainty.GUESS, user=f"{user}, {key or 'argument'}",
                written=part.node.text if isinstance(part.node, Scalar) else name, optional=optional,
            )  # fmt: skip


def _environment(service: Service) -> Iterator[tuple[str, str, Part]]:
    """Yield the name, the value and the place of each variable: `NAME: value`, or `- NAME=value`."""
    for part in service.get("environment", ()):
        for name, value in part.pairs():
            yield name, value.value().text, value
        for item in part.items():
            name, _, text = item.value().text.partition("=")
            yield name, text, item


def _arguments(service: Service) -> Iterator[tuple[str, str, Part]]:
    """Yield the option before it, or its own, with each argument."""
    for part in (part for key in _COMMANDS for part in service.get(key, ())):
        option = ""
        for item in part.items():
            name, equals, text = item.value().text.partition("=")
            is_option = name.startswith("-") and " " not in name
            if is_option and equals:
                yield name, text, item
            elif not is_option:
                yield option, item.value().text, item
            option = name if is_option and not equals else ""
