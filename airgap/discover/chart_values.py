"""Reads the images of a chart from its values, templates and metadata, where Helm does not render it.

Only templates decide how a name is put together, so no image is `sure`. Those that values name, and that
nothing turns off, are `derived`; the others are guesses.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from airgap.discover.chart import EMPTY, Chart
from airgap.discover.context import Context, place_of
from airgap.discover.findings import Certainty, Place
from airgap.discover.image_groups import GroupDefaults, ImageGroup, find_groups
from airgap.discover.image_text import is_template, plausible_reference, tokens, unmistakable_reference
from airgap.discover.kustomize_patches import merge
from airgap.discover.limits import MAX_CHART_USES
from airgap.discover.sources import SourceFile
from airgap.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence, parse_nodes

_LITERAL = re.compile(r"""^\s*(?:- )?["']?image["']?:\s*["']?([^\s"'{}#]+)["']?\s*(?:#.*)?$""")
_RESOURCE_DEFINITION = re.compile(r"^kind:\s*CustomResourceDefinition", re.MULTILINE)
_WRAPPER = "_internal_defaults_do_not_set"
"""Where Istio's charts keep their values."""
_LISTS = ("images", "artifacthub.io/images", "helm.sh/images")
"""Annotations in Chart.yaml that list the images."""


@dataclass(slots=True, kw_only=True)
class ChartValues:
    """Reads charts with their subcharts."""

    context: Context
    is_rendered: bool
    """Whether Helm rendered the chart: then what is found here is a guess, for other values."""
    _uses: int = 0
    _read: set[str] = field(default_factory=set)
    """The charts whose templates were read: a chart can be used several times, with other values."""

    def add(self, chart: Chart, values: Mapping = EMPTY, disabled_by: str = "", inherited: str = "") -> None:
        """Add the images of `chart` and its subcharts.

        Args:
            chart: The chart.
            values: The values that replace its own.
            disabled_by: Why the chart is not used by default.
            inherited: The registry in the global values of the charts around it.
        """
        self._uses += 1
        if self._uses > MAX_CHART_USES:
            place = Place(file=chart.metadata_file.name, line=0)
            what = f"too many subcharts, want at most {MAX_CHART_USES}"
            self.context.findings.add_problem(place, what)
            return
        merged = _merged(_merged(chart.values, chart.values.mapping(_WRAPPER)), values)
        registry = _global_registry(merged) or inherited
        defaults = GroupDefaults(
            registry=registry or merged.text("imageRegistry") or merged.text("defaultImageRegistry"),
            namespace=merged.text("imageNamespace") or merged.text("defaultImageRepository"),
            tag=_global_tag(merged) or chart.app_version,
        )
        dependencies = chart.dependencies
        names = {dependency.name for dependency in dependencies} | chart.subcharts.keys()
        own = Mapping(
            pairs={
                key: node for key, node in merged.pairs.items()
                if key != _WRAPPER and (key not in names or not isinstance(node, Mapping))
            },
            key_lines={}, line=merged.line,
        )  # fmt: skip
        for group in find_groups(own, defaults, disabled_by=disabled_by):
            self._add_group(group, chart)
        if chart.folder not in self._read:
            self._read.add(chart.folder)
            for file in chart.templates:
                self._add_template(file, chart)
            self._add_lists(chart)
        self._add_subcharts(chart, merged, disabled_by, registry)

    def _add_subcharts(self, chart: Chart, merged: Mapping, disabled_by: str, registry: str) -> None:
        dependencies = {dependency.name: dependency for dependency in chart.dependencies}
        for name, dependency in dependencies.items():
            subchart = chart.subchart(dependency.chart)
            off = disabled_by or _turned_off(dependency.condition, merged)
            if subchart:
                self.add(subchart, merged.mapping(name), off, registry)
            elif not self.is_rendered:
                what = f"chart {chart.name}: the subchart {dependency.chart} is not in its folder charts/"
                place = place_of(chart.metadata_file, dependency.node)
                self.context.findings.add_problem(place, what, hint="run `helm dependency build` first")
        used = {dependency.chart for dependency in dependencies.values()}
        for name, subchart in chart.subcharts.items():
            if subchart.name not in used and name not in used:
                self.add(subchart, merged.mapping(subchart.name), disabled_by, registry)

    def _add_group(self, group: ImageGroup, chart: Chart) -> None:
        is_likely = group.is_clear and not group.disabled_by
        optional = f"{group.disabled_by} is false" if group.disabled_by else None
        user = f"chart {chart.name}, value {'.'.join(group.path) or 'image'}"
        self._add(group.name, self._place(group, chart), user, is_likely=is_likely, optional=optional)

    def _place(self, group: ImageGroup, chart: Chart) -> Place:
        given = (self.context.read(path) for path in self.context.choices.values_files)
        for file in (chart.values_file, *given):
            if file and file.text[group.at.start : group.at.end].strip("\"'") == group.at.text:
                place = place_of(file, group.at)
                return place if group.is_whole else Place(file=place.file, line=place.line)
        return Place(file="--set", line=0)

    def _add(
        self, name: str, place: Place, user: str, *, is_likely: bool, optional: str | None = None
    ) -> None:
        certainty = Certainty.DERIVED if is_likely and not self.is_rendered else Certainty.GUESS
        if self.is_rendered and optional is None:
            optional = "Helm does not render it with these values"
        self.context.findings.add_image(name, place, certainty=certainty, user=user, optional=optional)

    def _add_template(self, file: SourceFile, chart: Chart) -> None:
        """Add the images that stand literally in a template."""
        if _RESOURCE_DEFINITION.search(file.text) or file.path.suffix == ".tpl" or self.is_rendered:
            return
        text = "".join(_without_actions(file.text))
        is_test = (
            "/tests/" in file.name or 'helm.sh/hook": test' in file.text or "helm.sh/hook: test" in file.text
        )
        user = f"chart {chart.name}, {file.path.name}"
        for number, line in enumerate(text.splitlines(), 1):
            for name, is_literal in _names_in_line(line):
                place = Place(file=file.name, line=number)
                optional = "a test of the chart" if is_test else None
                self._add(name, place, user, is_likely=is_literal and not is_test, optional=optional)

    def _add_lists(self, chart: Chart) -> None:
        annotations = chart.metadata.mapping("annotations")
        for key in _LISTS:
            if listed := annotations.scalar(key):
                for node in parse_nodes(listed.text).documents:
                    place = place_of(chart.metadata_file, listed)
                    for name in _listed(node):
                        self._add(name, place, f"chart {chart.name}, annotation {key}", is_likely=False)


def _without_actions(text: str) -> Iterator[str]:
    """Yield the text of a template with `{{}}` for each action and comment, and all line ends."""
    start = 0
    while (begin := text.find("{{", start)) >= 0:
        is_comment = text[begin + 2 : begin + 10].lstrip("- \n").startswith("/*")
        inner_end = text.find("*/", begin) if is_comment else begin
        end = text.find("}}", inner_end) if inner_end >= 0 else -1
        if end < 0:  # nothing behind it can end either, and it is not looked for again
            yield text[start:begin]
            return
        yield text[start:begin] + "{{}}" + "\n" * text.count("\n", begin, end)
        start = end + 2
    yield text[start:]


def _listed(node: Node) -> Iterator[str]:
    for item in node.items if isinstance(node, Sequence) else ():
        text = (
            item.text if isinstance(item, Scalar) else item.text("image") if isinstance(item, Mapping) else ""
        )
        if text and not is_template(text) and plausible_reference(text):
            yield text


def _names_in_line(line: str) -> Iterator[tuple[str, bool]]:
    if line.lstrip().startswith("#"):
        return
    literal = _LITERAL.match(line)
    if literal:
        if plausible_reference(literal[1]) and not is_template(literal[1]) and literal[1] != "auto":
            yield literal[1], True
        return
    for word in tokens(line):
        if not is_template(word) and unmistakable_reference(word):
            yield word, False


def _merged(values: Mapping, changes: Mapping) -> Mapping:
    merged = merge(values, changes) if changes.pairs else values
    return merged if isinstance(merged, Mapping) else EMPTY


def _global_registry(values: Mapping) -> str:
    common = values.mapping("global")
    texts = (common.text("imageRegistry"), common.mapping("image").text("registry"), common.text("registry"))
    return next(filter(None, texts), common.text("hub"))


def _global_tag(values: Mapping) -> str:
    common = values.mapping("global")
    tag = common.text("imageTag") or common.mapping("image").text("tag") or common.text("tag")
    return tag or values.text("defaultImageTag") or values.text("version")


def _turned_off(condition: str, values: Mapping) -> str:
    """Return the first value of a dependency's condition if it is false; empty if the subchart is used."""
    for path in condition.split(","):
        node: Node | None = values
        for key in path.strip().split("."):
            node = node.pairs.get(key) if isinstance(node, Mapping) else None
        if isinstance(node, Scalar):
            return path.strip() if node.text.lower() == "false" else ""
    return ""
