"""The images that a chart runs, as items of the manifest; guesses are only listed."""

from collections.abc import Iterable

from airgap.discover.charts import discover_packed
from airgap.discover.context import Choices
from airgap.discover.findings import Certainty, DiscoveredImage, Discovery
from airgap.discover.manifest_text import carried, describe_place
from airgap.errors import FormatError
from airgap.manifest import BroughtByChart, ImageEntry, TransferManifest
from airgap.manifest.chart_entries import ChartOptions
from airgap.oci.reference import ImageReference
from airgap.online.read_chart import ReadChart
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class ChartGuess:
    """An image that a chart may run; it is not carried."""

    chart: ImageReference
    """The offline name of the chart."""
    reference: ImageReference
    place: str
    """Where it stands, and why it is a guess."""


@dataclass(frozen=True, slots=True)
class ChartImages:
    """What was found in one chart."""

    entries: tuple[ImageEntry, ...] = ()
    guesses: tuple[ChartGuess, ...] = ()
    problems: tuple[str, ...] = ()


def find_images(
    chart: ReadChart, name: ImageReference, options: ChartOptions, manifest: TransferManifest, line: int
) -> ChartImages:
    """Return the images that a chart runs with the values in the manifest.

    Args:
        chart: The chart.
        name: Its offline name.
        options: Its values.
        manifest: Has the platforms and attachments of these images.
        line: The line of the chart in the manifest.

    Raises:
        FormatError: The archive or a file with values cannot be read.
    """
    for path in options.values_files:
        if not path.is_file():
            raise FormatError("no such file", subject=path)
    choices = Choices(values_files=options.values_files, values=options.values)
    found = discover_packed(chart.archive, chart.file_name, choices)
    certainties = {image.reference: image.certainty for image in found.images}
    entries = [
        entry_of(reference, BroughtByChart(name, str(certainties[reference])), manifest, line)
        for reference in carried(found)
    ]
    problems = tuple(f"{problem.severity}: {problem}" for problem in found.problems)
    return ChartImages(tuple(entries), tuple(_guesses(found, name)), problems)


def entry_of(
    reference: ImageReference, brought: BroughtByChart, manifest: TransferManifest, line: int
) -> ImageEntry:
    """Return the item of an image of a chart."""
    return ImageEntry(
        reference=reference,
        digest=reference.digest,
        platforms=manifest.platforms,
        rename=None,
        source="registry",
        archive=None,
        cosign_key=None,
        line=line,
        attachments=manifest.attachments,
        brought=brought,
    )


def _guesses(found: Discovery, name: ImageReference) -> Iterable[ChartGuess]:
    taken = {reference.normal for reference in carried(found)}
    return [
        ChartGuess(name, image.reference, describe_place(image.places[0]))
        for image in found.images
        if _is_guess(image) and image.reference.normal not in taken
    ]


def _is_guess(image: DiscoveredImage) -> bool:
    return image.certainty is Certainty.GUESS or image.optional is not None
