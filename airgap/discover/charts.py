"""Reads Helm charts: rendered by Helm where it is installed, else from their values and templates."""

import re
import tempfile
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from airgap.discover.chart import Chart
from airgap.discover.chart_files import read_archive, read_chart_files
from airgap.discover.chart_settings import settings
from airgap.discover.chart_values import ChartValues
from airgap.discover.context import Choices, Context
from airgap.discover.findings import Discovery, Place
from airgap.discover.helm_program import HelmProgram, find_helm
from airgap.discover.kubernetes import read_kubernetes
from airgap.discover.placed_findings import PlacedFindings
from airgap.discover.sources import SourceFile, Sources
from airgap.errors import AirgapError
from airgap.manifest.yaml_nodes import Node, parse_nodes

_SOURCE = re.compile(r"^# Source: ([^\n]+)$", re.MULTILINE)


def read_chart(path: Path, context: Context, helm: HelmProgram | None = None) -> None:
    """Add the images of the chart in a folder or an archive.

    With Helm, the images that it renders are `derived`, and those of other values are guesses. Without it,
    the values and templates are read.

    Args:
        path: The folder, or the packed chart.
        context: Gets the images; its choices have the values.
        helm: The program; by default the one on PATH.
    """
    try:
        files = read_chart_files(path, context)
    except AirgapError as error:
        context.findings.add_problem(Place(file=str(path), line=0), str(error), hint=error.hint)
        return
    _add(files, path, path, context, helm)


def discover_packed(raw: bytes, name: str, choices: Choices, helm: HelmProgram | None = None) -> Discovery:
    """Return the images of a chart's archive in memory, as `read_chart` finds them.

    Args:
        raw: The archive.
        name: Its name, NAME-VERSION.tgz, which the places begin with.
        choices: The values; their files may be anywhere.
        helm: The program; by default the one on PATH.

    Raises:
        FormatError: The archive is not one of a chart, or too large.
    """
    context = Context(sources=Sources(list(choices.values_files)), choices=choices)
    files = read_archive(raw, Path(name), context)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "chart.tgz"
        archive.write_bytes(raw)
        _add(files, Path(name), archive, context, helm)
    return context.findings.discovery(context.sources.files)


def _add(
    files: Mapping[str, SourceFile], name: Path, path: Path, context: Context, helm: HelmProgram | None
) -> None:
    """Add the images of the chart with these files, which is called `name` and is at `path`."""
    place = Place(file=str(name), line=0)
    chart = Chart.of_files(files, context)
    if chart is None:
        context.findings.add_problem(place, "not a Helm chart: there is no Chart.yaml")
        return
    if helm is None and (program := find_helm()):
        helm = HelmProgram(path=program)
    is_rendered = helm is not None and _render(chart, name, path, context, helm)
    if helm is None:
        what = f"chart {chart.name}: read without Helm, which would show exactly what it runs"
        context.findings.add_warning(
            place, what, hint="install helm, or run: helm template CHART | airgap discover -"
        )
    ChartValues(context=context, is_rendered=is_rendered).add(chart, settings(context))


def _render(chart: Chart, name: Path, path: Path, context: Context, helm: HelmProgram) -> bool:
    """Add the images of the rendered chart; return whether Helm could render it."""
    try:
        text = helm.render(path, context.choices.values_files, context.choices.values)
    except AirgapError as error:
        if error.subject == path:
            error.subject = name
        context.findings.add_problem(
            Place(file=str(name), line=0), str(error), hint="the values were read instead"
        )
        return False
    read_rendered(text, f"{name}: ", chart.name, context)
    return True


def read_rendered(text: str, prefix: str, chart: str, context: Context) -> None:
    """Add the images in the output of `helm template`, with the templates as their places.

    Args:
        text: The output.
        prefix: What stands before the name of a template in a place.
        chart: The name of the chart.
        context: Gets the images.
    """
    stream = parse_nodes(text)
    for problem in stream.problems:
        place = Place(file=f"{prefix}output of helm", line=problem.line)
        context.findings.add_problem(place, f"chart {chart}: {problem.what}, got {problem.got}")
    sources = _Sources(text)
    for document in stream.documents:
        name = f"{prefix}{sources.template_of(document)}"
        placed = PlacedFindings(
            findings=context.findings, file=SourceFile(path=Path(name), text=""), is_rendered=True
        )
        read_kubernetes((document,), placed)


class _Sources:
    """The templates that the parts of Helm's output come from."""

    def __init__(self, text: str) -> None:
        starts = [0, *accumulate(len(line) for line in text.splitlines(keepends=True))]
        found = list(_SOURCE.finditer(text))
        self._lines = [bisect_right(starts, match.start()) for match in found]
        self._names: Sequence[str] = [match[1].strip() for match in found]

    def template_of(self, node: Node) -> str:
        number = bisect_right(self._lines, node.line)
        return self._names[number - 1] if number else "output of helm"
