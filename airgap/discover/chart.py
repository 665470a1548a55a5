"""A Helm chart as far as it is read without Helm: its metadata, values, templates and subcharts."""

import re
from collections.abc import Mapping as AnyMapping
from dataclasses import field
from typing import Self

from airgap.discover.context import Context
from airgap.discover.limits import MAX_CHART_DEPTH
from airgap.discover.sources import SourceFile
from airgap.manifest.yaml_nodes import Mapping, Node
from airgap.values import dataclass

EMPTY = Mapping(pairs={}, key_lines={}, line=0)
_ADDED_V = re.compile(
    r"""v(?:%s)?["']\s+\$?\.?(?:\w+\.)*Chart\.AppVersion|v\{\{-?\s*\$?\.Chart\.AppVersion"""
)
"""How templates put a `v` before the version of the application, which has none."""
_IN_IMAGE = re.compile(r"image|tag|repository|version", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """An entry of `dependencies` in Chart.yaml."""

    name: str
    """The alias, if there is one: the key of its values."""
    chart: str
    """The name of the chart itself."""
    condition: str
    """The value that turns it on."""
    node: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with its subcharts."""

    folder: str
    """The path in the outermost chart, with a slash at its end; empty for that chart."""
    metadata: Mapping
    metadata_file: SourceFile
    values: Mapping
    values_file: SourceFile | None
    templates: tuple[SourceFile, ...]
    subcharts: "dict[str, Chart]" = field(default_factory=dict)
    """By the folder in `charts/`."""

    @property
    def name(self) -> str:
        """The name in Chart.yaml."""
        return self.metadata.text("name")

    @property
    def app_version(self) -> str:
        """The version of the application as the templates use it for a tag: with a `v`, if they add it."""
        version = self.metadata.text("appVersion")
        if not version or version.startswith("v"):
            return version
        lines = (line for file in self.templates for line in file.text.splitlines())
        adds_v = any(_ADDED_V.search(line) and _IN_IMAGE.search(line) for line in lines)
        return f"v{version}" if adds_v else version

    @property
    def dependencies(self) -> list[Dependency]:
        """The subcharts that Chart.yaml names."""
        return [
            Dependency(
                name=entry.text("alias") or entry.text("name"), chart=entry.text("name"),
                condition=entry.text("condition"), node=entry.pairs["name"],
            )
            for entry in self.metadata.items("dependencies")
            if isinstance(entry, Mapping) and entry.text("name")
        ]  # fmt: skip

    @classmethod
    def of_files(cls, files: AnyMapping[str, SourceFile], context: Context, folder: str = "") -> Self | None:
        """Return the chart whose files have paths that begin with `folder`; None without a Chart.yaml."""
        metadata_file = files.get(f"{folder}Chart.yaml")
        if metadata_file is None or folder.count("charts/") > MAX_CHART_DEPTH:
            return None
        values_file = files.get(f"{folder}values.yaml")
        names = sorted(
            {name[len(folder) :].split("/")[1] for name in files if name.startswith(f"{folder}charts/")}
        )
        found = {name: cls.of_files(files, context, f"{folder}charts/{name}/") for name in names}
        return cls(
            folder=folder,
            metadata=_mapping_in(metadata_file, context),
            metadata_file=metadata_file,
            values=_mapping_in(values_file, context) if values_file else EMPTY,
            values_file=values_file,
            templates=tuple(file for name, file in files.items() if name.startswith(f"{folder}templates/")),
            subcharts={name: chart for name, chart in found.items() if chart},
        )

    def subchart(self, name: str) -> "Chart | None":
        """Return the subchart with a name in its Chart.yaml, or in a folder of that name."""
        named = (chart for chart in self.subcharts.values() if chart.name == name)
        return next(named, self.subcharts.get(name))


def _mapping_in(file: SourceFile, context: Context) -> Mapping:
    document = next(iter(context.documents(file)), None)
    return document if isinstance(document, Mapping) else EMPTY
