"""The items of `charts` in a manifest: Helm charts from repositories over HTTP and from OCI registries."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, Tag

from airgap.errors import FormatError
from airgap.manifest.fields import ChartAddress, ChartName, ChartVersion, OfflineName, WebAddress
from airgap.manifest.file_entries import FILES_HOST
from airgap.manifest.strict_yaml import Document
from airgap.manifest.validate import Forms, Strict
from airgap.oci.reference import ImageReference


class ChartDocument(Strict):
    """The keys that all charts have in common."""

    version: Annotated[ChartVersion, Field(description="The exact version, as in 4.11.3.")]
    rename: Annotated[
        OfflineName | None,
        Field(
            alias="as",
            description="The chart's name in registries of the offline side. Helm wants its last part to be "
            "the chart's name, and its tag to be the version.",
        ),
    ] = None


class RepositoryChart(ChartDocument):
    """A chart from a repository over HTTP, which has an index.yaml."""

    model_config = ConfigDict(title="Chart from a repository")

    repo: Annotated[WebAddress, Field(description="The address of the repository, as for `helm repo add`.")]
    chart: Annotated[ChartName, Field(description="The chart's name.")]


class OciChart(ChartDocument):
    """A chart from an OCI registry."""

    model_config = ConfigDict(title="Chart from a registry")

    chart: Annotated[
        ChartAddress, Field(description="Its address: oci://HOST/PATH/NAME, without the version.")
    ]


LongChart: TypeAlias = RepositoryChart | OciChart
CHART_FORMS: Forms = {"repo": RepositoryChart, "oci": OciChart}


def _form(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    return "repo" if "repo" in value or not str(value.get("chart")).startswith("oci:") else "oci"


AnyChart = Annotated[
    Annotated[RepositoryChart, Tag("repo")] | Annotated[OciChart, Tag("oci")], Discriminator(_form)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartEntry:
    """A chart from a repository over HTTP."""

    repo: str
    """The address of the repository, with a slash at the end."""
    chart: str
    version: str
    artifact: ImageReference
    """The name of the artifact on the offline side."""
    line: int

    def locked_part(self) -> dict[str, str]:
        """Return what a lock decides of the item."""
        return {"repo": self.repo, "chart": self.chart, "version": self.version, "as": str(self.artifact)}


def reference_of(item: OciChart) -> ImageReference:
    """Return the name of a chart in its registry. A tag has `_` for the `+` of a version, as in Helm."""
    return ImageReference.parse(f"{item.chart.removeprefix('oci://')}:{chart_tag(item.version)}")


def chart_tag(version: str) -> str:
    """Return the tag of a version."""
    return version.replace("+", "_")


def parse_charts(
    items: Sequence[LongChart], document: Document, names: Collection[ImageReference]
) -> tuple[ChartEntry, ...]:
    """Return the charts of repositories over HTTP; those of registries are images. Raises `FormatError` for
    two artifacts of the same name. `names` has those of images and files, in their normal form.
    """
    taken = set(names)
    entries = []
    for number, item in enumerate(items):
        if not isinstance(item, RepositoryChart):
            continue
        entry = ChartEntry(
            repo=f"{item.repo.rstrip('/')}/",
            chart=item.chart,
            version=item.version,
            artifact=item.rename
            or ImageReference(FILES_HOST, f"charts/{item.chart}", chart_tag(item.version)),
            line=document.line(("charts", number)),
        )
        if entry.artifact.normal in taken:
            raise FormatError(
                "two artifacts or images would have the same name offline",
                subject=document.at(("charts", number)), got=f"'{entry.artifact}'",
                hint="give one of them another name with 'as'",
            )  # fmt: skip
        taken.add(entry.artifact.normal)
        entries.append(entry)
    return tuple(entries)
