"""Kubernetes objects that install Helm charts: of Flux, Argo CD and k3s. The charts are not in the files."""

from collections.abc import Iterator

from airgap.discover.findings import Certainty
from airgap.discover.image_groups import find_groups
from airgap.discover.placed_findings import PlacedFindings
from airgap.manifest.yaml_nodes import Mapping, Scalar, iterate_nodes, parse_nodes

_HINT = (
    "render the chart with these values, and give the output to discover: helm template … | airgap discover -"
)
_TEXTS = ("valuesContent", "values")
"""Keys whose text is a document with values for the chart."""


def add_chart_object(node: Mapping, group: str, user: str, placed: PlacedFindings) -> None:
    """Add the images in values that are a text, and a problem for each chart that an object installs.

    Args:
        node: The object.
        group: The group of its API.
        user: Its kind and name.
        placed: Where the images are added.
    """
    for chart in _charts(node.text("kind"), group, node.mapping("spec")):
        placed.add_problem(chart, f"the chart {chart.text[:200]} is not read, only values here", _HINT, user)
        for below in iterate_nodes(node.mapping("spec")):
            if isinstance(below, Mapping):
                _add_values(below, user, placed)
        return


def _charts(kind: str, group: str, specification: Mapping) -> Iterator[Scalar]:
    """Yield the name of the chart that an object installs."""
    if (kind, group) == ("HelmRelease", "helm.toolkit.fluxcd.io"):
        named = specification.mapping("chart").mapping("spec").scalar("chart")
        named = named or specification.mapping("chartRef").scalar("name")
    elif (kind, group) == ("HelmChart", "helm.cattle.io"):
        named = specification.scalar("chart")
    elif (kind, group) == ("Application", "argoproj.io"):
        sources = (specification.mapping("source"), *specification.items("sources"))
        found = (source for source in sources if isinstance(source, Mapping))
        named = next((source.scalar("chart") for source in found if source.scalar("chart")), None)
    else:
        return
    if named:
        yield named


def _add_values(node: Mapping, user: str, placed: PlacedFindings) -> None:
    for key in _TEXTS:
        text = node.scalar(key)
        for document in parse_nodes(text.text).documents if text else ():
            for image in find_groups(document):
                certainty = Certainty.DERIVED if image.is_clear and not image.disabled_by else Certainty.GUESS
                label = f"{user}, {key} {'.'.join(image.path)}"
                placed.add_image(text, label, certainty, name=image.name)  # type: ignore[arg-type]
