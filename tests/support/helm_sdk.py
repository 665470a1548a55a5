"""A program with a part of helm's command line, over Helm's own engine from PyPI.

There is no package of the program itself that the tests could install. `write_helm` makes the program, and `run_helm`
runs it; it is this file, run as a script. The engine brings the runtime of Go, so no process of the tests loads it.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

from tests.support.parts import require, run


def write_helm(folder: Path) -> Path:
    """Write the program `helm` into `folder`; a test is skipped where the engine is not installed."""
    require(find_spec("helm_python") is not None, "no helm-python-sdk (the extra `judges`)")
    path = folder / "helm"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__)} "$@"\n')
    path.chmod(0o755)
    return path


def run_helm(*words: object) -> str:
    """Run the program, and return what it prints; a test is skipped where the engine is not installed."""
    require(find_spec("helm_python") is not None, "no helm-python-sdk (the extra `judges`)")
    return run(sys.executable, Path(__file__), *words).stdout.decode()


def _set(values: dict[str, object], pair: str) -> None:
    path, _, text = pair.partition("=")
    *keys, last = path.split(".")
    for key in keys:
        values = values.setdefault(key, {})  # type: ignore[assignment]
    values[last] = {"true": True, "false": False}.get(text, text)


def main(arguments: list[str]) -> None:
    """Do what `helm template NAME CHART --skip-tests --set=KEY=VALUE`, `helm package CHART FOLDER`,
    `helm pull ADDRESS VERSION FOLDER` and `helm push ARCHIVE ADDRESS` do, and print the tags of `tags ADDRESS`;
    registries speak HTTP.
    """
    command, *words = arguments
    if command == "template":
        _template(*words)
    elif command == "package":
        from helm_python.chart import package

        package(Path(words[0]), destination=Path(words[1]))
    else:
        _ask_registry(command, words)


def _ask_registry(command: str, words: list[str]) -> None:
    from helm_python.registry import RegistryClient, pull, push

    with RegistryClient(plain_http=True) as client:
        if command == "tags":
            sys.stdout.write("\n".join(client.tags(words[0])))
        elif command == "pull":
            folder = Path(words[2])
            pull(words[0], client=client, version=words[1], destination=folder, plain_http=True)
        else:
            push(Path(words[0]), words[1], client=client, plain_http=True)


def _template(name: str, chart: str, *options: str) -> None:
    from helm_python import Chart

    assert options[0] == "--skip-tests"
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
