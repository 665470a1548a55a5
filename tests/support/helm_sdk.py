"""A program with the command line of `helm template`, over Helm's own engine from PyPI.

There is no package of the program itself that the tests could install. `write_helm` makes the program; it is this
file, run as a script.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

from tests.support.parts import require


def write_helm(folder: Path) -> Path:
    """Write the program `helm` into `folder`; a test is skipped where the engine is not installed."""
    require(find_spec("helm_python") is not None, "no helm-python-sdk (the extra `judges`)")
    path = folder / "helm"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__)} "$@"\n')
    path.chmod(0o755)
    return path


def _set(values: dict[str, object], pair: str) -> None:
    path, _, text = pair.partition("=")
    *keys, last = path.split(".")
    for key in keys:
        values = values.setdefault(key, {})  # type: ignore[assignment]
    values[last] = {"true": True, "false": False}.get(text, text)


def main(arguments: list[str]) -> None:
    """Print what `helm template NAME CHART --skip-tests --set=KEY=VALUE` prints."""
    from helm_python import Chart

    command, name, chart, *options = arguments
    assert (command, options[0]) == ("template", "--skip-tests")
    values: dict[str, object] = {}
    for option in options[1:]:
        assert option.startswith("--set=")
        _set(values, option.removeprefix("--set="))
    rendered = Chart.load(chart).render(values, name=name, namespace="default")
    for template, text in sorted(rendered.items()):
        if template.endswith((".yaml", ".yml")) and "/tests/" not in template and text.strip():
            sys.stdout.write(f"---\n# Source: {template}\n{text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
