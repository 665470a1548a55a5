"""The items of `charts` in a manifest: Helm charts from repositories over HTTP and from OCI registries."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, Tag

from airgap.errors import FormatError
from airgap.manifest.chart_versions import is_exact
from airgap.manifest.fields import (
    ChartAddress,
    ChartName,
    ChartValue,
    ChartVersion,
    FilePath,
    FlagText,
    OfflineName,
    WebAddress,
)
from airgap.manifest.file_entries import FILES_HOST, relative_path
from airgap.manifest.strict_yaml import Document
from airgap.manifest.tag_rule import TagRule
from airgap.manifest.validate import Forms, Strict
from airgap.oci.reference import ImageReference
from airgap.values import dataclass

DEFAULT_TAG = "latest"


class ChartDocument(Strict):
    """The keys that all charts have in common."""

    version: Annotated[
        ChartVersion,
        Field(description="The version, as in 4.11.3, or a range, whose newest version `airgap lock` takes."),
    ]
    rename: Annotated[
        OfflineName | None,
        Field(
            alias="as",
            description="The chart's name in registries of the offline side. Helm wants its last part to be "
            "the chart's name, and its tag to be the version; beside a range it has no tag.",
        ),
    ] = None
    images: Annotated[
        FlagText, Field(description="Whether the images that the chart runs are carried too.")
    ] = False
    values: Annotated[
        tuple[FilePath, ...],
        Field(description="Files with values, for `images`; paths from the manifest's folder."),
    ] = ()
    set: Annotated[
        tuple[ChartValue, ...], Field(description="Values for `images`, as `helm --set` takes them.")
    ] = ()
    keyring: Annotated[
        FilePath | None,
        Field(
            description="Public OpenPGP keys, as `gpg --export` writes them; one of them must have signed "
            "the chart's provenance file. A path from the manifest's folder."
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
class ChartOptions:
    """What is done with a chart besides carrying it."""

    images: bool = False
    """Whether the images that it runs are carried too."""
    values_files: tuple[Path, ...] = ()
    """Absolute paths."""
    values: tuple[str, ...] = ()
    """As `helm --set` takes them."""
    keyring: Path | None = None
    """The keys of which one must have signed its provenance file; an absolute path."""

    def locked_part(self, folder: Path) -> dict[str, Any]:
        """Return what a lock decides. Paths below `folder` are relative to it."""
        part = {
            "images": self.images,
            "values": [relative_path(path, folder) for path in self.values_files],
            "set": list(self.values),
            "keyring": None if self.keyring is None else relative_path(self.keyring, folder),
        }
        return {key: value for key, value in part.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartEntry:
    """A chart from a repository over HTTP."""

    repo: str
    """The address of the repository, with a slash at the end."""
    chart: str
    version: str
    """An exact version or a range."""
    artifact: ImageReference
    """The name of the artifact on the offline side; without a tag if the version is a range."""
    line: int
    options: ChartOptions = ChartOptions()

    def locked_part(self, folder: Path) -> dict[str, Any]:
        """Return what a lock decides of the item. Paths below `folder` are relative to it."""
        own = {"repo": self.repo, "chart": self.chart, "version": self.version, "as": str(self.artifact)}
        return own | self.options.locked_part(folder)

    def artifact_of(self, version: str) -> ImageReference:
        """Return the name of the artifact with an exact version."""
        return self.artifact if self.artifact.tag else replace(self.artifact, tag=chart_tag(version))


def range_of(item: OciChart) -> TagRule | None:
    """Return the rule for the tags of a chart in a registry; None for an exact version."""
    return None if is_exact(item.version) else TagRule(latest=1, semver=item.version)


def reference_of(item: OciChart) -> ImageReference:
    """Return the name of a chart in its registry, without a tag if its version is a range. A tag has `_` for
    the `+` of a version, as in Helm.
    """
    reference = ImageReference.parse(item.chart.removeprefix("oci://"))
    return replace(reference, tag=chart_tag(item.version) if is_exact(item.version) else None)


def chart_tag(version: str) -> str:
    """Return the tag of a version."""
    return version.replace("+", "_")


def options_of(item: LongChart, where: str, folder: Path) -> ChartOptions:
    """Return the options of a chart. Raises `FormatError` for values that nothing would use."""
    if (item.values or item.set) and not item.images:
        what = "the values of a chart are only for its images"
        raise FormatError(what, subject=where, want="`images: true`")
    return ChartOptions(
        images=item.images,
        values_files=tuple(folder / path for path in item.values),
        values=item.set,
        keyring=None if item.keyring is None else folder / item.keyring,
    )


def offline_name_of(item: LongChart, where: str) -> ImageReference | None:
    """Return the name in `as`: without a tag beside a range. Raises `FormatError` if it has one."""
    if item.rename is None or is_exact(item.version):
        return item.rename
    if item.rename.tag != DEFAULT_TAG:
        what, want = "a name beside a range of versions must not have a tag", f"'{item.rename.name}'"
        raise FormatError(what, subject=where, want=want, got=f"'{item.rename}'")
    return replace(item.rename, tag=None)


def parse_charts(
    items: Sequence[LongChart], document: Document, folder: Path, names: Collection[ImageReference]
) -> tuple[ChartEntry, ...]:
    """Return the charts of repositories over HTTP; those of registries are images.

    Args:
        items: The checked items.
        document: The manifest, for positions in errors.
        folder: The manifest's folder, from which paths start.
        names: The names of images and files, in their normal form.

    Raises:
        FormatError: Two artifacts have the same name, or the keys of an item contradict each other.
    """
    taken = set(names)
    entries = []
    for number, item in enumerate(items):
        if not isinstance(item, RepositoryChart):
            continue
        where = document.at(("charts", number))
        entry = _entry(item, where, folder, document.line(("charts", number)))
        if entry.artifact.normal in taken:
            raise FormatError(
                "two artifacts or images would have the same name offline",
                subject=where, got=f"'{entry.artifact}'",
                hint="give one of them another name with 'as'",
            )  # fmt: skip
        taken.add(entry.artifact.normal)
        entries.append(entry)
    return tuple(entries)


def _entry(item: RepositoryChart, where: str, folder: Path, line: int) -> ChartEntry:
    tag = chart_tag(item.version) if is_exact(item.version) else None
    return ChartEntry(
        repo=f"{item.repo.rstrip('/')}/",
        chart=item.chart,
        version=item.version,
        artifact=offline_name_of(item, where) or ImageReference(FILES_HOST, f"charts/{item.chart}", tag),
        line=line,
        options=options_of(item, where, folder),
    )
