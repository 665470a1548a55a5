"""Reads the images that programs start by themselves: arguments, environment variables and ConfigMaps name
them.

Each of these is a guess, with one exception: `RELATED_IMAGE_…` is the convention of operators for such
images.
"""

import re
from collections.abc import Iterable, Iterator

from airgap.discover.findings import Certainty
from airgap.discover.image_text import (
    is_template,
    names_image,
    plausible_reference,
    tokens,
    unmistakable_reference,
)
from airgap.discover.placed_findings import PlacedFindings
from airgap.manifest.yaml_nodes import Mapping, Node, Scalar

_RELATED = "RELATED_IMAGE"
_IMAGE_LINE = re.compile(
    r"""^[ \t]*(?:- )?["']?[\w.-]*image["']?[ \t]*[:=][ \t]*["']?([^\s"',#]+)["']?,?[ \t]*(?:#.*)?$""",
    re.IGNORECASE | re.MULTILINE,
)
"""A line of a configuration or a pod in a text: `image: busybox`, `"image": "busybox",`, `sandbox_image =
"x"`.
"""
_OUTPUTS = ("destination", "cache-repo", "cache-to", "cache-from", "push", "tag", "output")
"""Options whose value is where a build writes its image."""
_EXAMPLES = ("_example",)
"""Keys of a ConfigMap whose value nothing reads."""


def add_environment(env: Iterable[Node], user: str, placed: PlacedFindings) -> None:
    """Add the images in the environment variables `env` of a container."""
    for variable in env:
        value = variable.scalar("value") if isinstance(variable, Mapping) else None
        if isinstance(variable, Mapping) and value:
            name = variable.text("name")
            certainty = Certainty.DERIVED if name.startswith(_RELATED) else Certainty.GUESS
            _add_value(name, value, f"{user}, variable {name}", certainty, placed)


def add_arguments(arguments: Iterable[Node], user: str, placed: PlacedFindings) -> None:
    """Add the images in the command line `arguments` of a container: `--x-image=REF`, or two words."""
    option = ""
    for argument in arguments:
        if not isinstance(argument, Scalar):
            continue
        name, equals, text = argument.text.partition("=")
        is_option = name.startswith("-") and not re.search(r"\s", name)
        if is_option and equals:
            _add_argument(name, text, argument, user, placed)
        elif not is_option:
            _add_argument(option, argument.text, argument, user, placed)
        option = name if is_option and not equals else ""


def _add_argument(option: str, text: str, at: Scalar, user: str, placed: PlacedFindings) -> None:
    name = option.lstrip("-")
    if any(output in name for output in _OUTPUTS):
        return
    for found in names_in(name.replace("-win", ""), text):
        user_of = f"{user}, argument {option}" if option else f"{user}, argument"
        placed.add_image(at, user_of, Certainty.GUESS, name=found)


def add_configuration(node: Mapping, user: str, placed: PlacedFindings) -> None:
    """Add the images in the values of a ConfigMap or a Secret."""
    for section in ("data", "stringData"):
        for key, value in node.mapping(section).pairs.items():
            if isinstance(value, Scalar) and key not in _EXAMPLES:
                _add_value(key, value, f"{user}, key {key}", Certainty.GUESS, placed)


def add_text(key: str, at: Scalar, text: str, user: str, placed: PlacedFindings) -> None:
    """Add the images that `text`, a part of the value `at`, names as the value of `key`."""
    for name in names_in(key, text):
        placed.add_image(at, user, Certainty.GUESS, name=name)


def _add_value(key: str, value: Scalar, user: str, certainty: Certainty, placed: PlacedFindings) -> None:
    for name in names_in(key, value.text):
        placed.add_image(value, user, certainty, name=name)


def names_in(key: str, text: str) -> Iterator[str]:
    """Yield the names of images in the value of `key`, each once."""
    whole = text.strip()
    if names_image(key) and not re.search(r"[\s,=]", whole):
        if not is_template(whole) and plausible_reference(whole):
            yield whole
        return
    found = [word for word in tokens(text) if not is_template(word) and unmistakable_reference(word)]
    if "\n" in text:
        lines = (match[1] for match in _IMAGE_LINE.finditer(text))
        found += [name for name in lines if not is_template(name) and _is_line_name(name)]
    yield from dict.fromkeys(found)


def _is_line_name(name: str) -> bool:
    return plausible_reference(name) is not None and name not in {"null", "none", "string", "object"}
