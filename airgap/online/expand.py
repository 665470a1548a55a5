"""Puts what a manifest stands for in its place: tags for rules, and the images that its charts run."""

from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from functools import partial

from airgap.limits import METADATA_JOBS
from airgap.manifest import ImageEntry, Lock, LockedImage, TransferManifest
from airgap.manifest.chart_entries import ChartEntry, ChartOptions
from airgap.manifest.lock import CHART_SOURCE
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.online.chart_images import ChartImages, entry_of, find_images
from airgap.online.chart_provenance import check_provenance
from airgap.online.plan import Failures, OpenSource, sort_out
from airgap.online.read_chart import ReadChart, read_from_registry, read_from_repository
from airgap.online.relock import names_chart, unchanged_items
from airgap.online.tag_rules import apply_rules
from airgap.values import dataclass
from airgap.workers import run_all


@dataclass(frozen=True, slots=True)
class Signed:
    """A chart whose provenance file was checked."""

    chart: ImageReference
    fingerprint: str
    """Of the key: hex digits."""

    def __str__(self) -> str:
        return f"provenance of {self.chart}: signed by {self.fingerprint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """A manifest with exact tags, and the charts that it lists."""

    manifest: TransferManifest
    """With the images of charts among its images."""
    charts: tuple[LockedImage, ...] = ()
    """Those of repositories over HTTP."""
    found: tuple[ChartImages, ...] = ()
    signed: tuple[Signed, ...] = ()

    @property
    def problems(self) -> list[str]:
        """What could not be read in charts, as lines for people."""
        return [problem for found in self.found for problem in found.problems]


@dataclass(slots=True)
class _Chart:
    """What is known of one chart of the manifest."""

    found: ChartImages = field(default_factory=ChartImages)
    locked: LockedImage | None = None
    signed: Signed | None = None


def expand(
    manifest: TransferManifest,
    open_source: OpenSource,
    failures: Failures | None = None,
    *,
    before: Lock | None = None,
    keep: Lock | None = None,
    only: Sequence[str] = (),
) -> Expanded:
    """Return the manifest with its rules applied, and with the images of its charts. Lists of tags, indexes
    of repositories and charts are fetched.

    Args:
        manifest: The manifest as it is in its file.
        open_source: Opens registries and web servers.
        failures: Takes the errors of single items, which are then left out. Without it, the first error is
            raised.
        before: The lock that is replaced: charts of registries that stay locked are read by their digest.
        keep: A lock of this manifest, of which all charts stay, except those that `only` names.
        only: Names of images and charts as a person writes them.

    Raises:
        AirgapError: An item cannot be resolved.
    """
    manifest = apply_rules(manifest, open_source, failures, keep=keep, only=only)
    pins = _pins(manifest, before)
    run = _Run(manifest, open_source, pins, keep, only)
    items: list[ChartEntry | ImageEntry] = [
        *manifest.charts,
        *(entry for entry in manifest.images if entry.chart is not None),
    ]
    charts = [_Chart() for _ in items]

    def read(number: int) -> None:
        charts[number] = run.read(items[number])

    errors = run_all(read, range(len(items)), METADATA_JOBS)
    failed = {_title(item): error for item, error in zip(items, errors, strict=True) if error is not None}
    sort_out(failed, failures)
    return Expanded(
        manifest=_with_brought(manifest, charts),
        charts=tuple(chart.locked for chart in charts if chart.locked is not None),
        found=tuple(chart.found for chart in charts),
        signed=tuple(chart.signed for chart in charts if chart.signed is not None),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    manifest: TransferManifest
    open_source: OpenSource
    pins: dict[ImageReference, Digest]
    keep: Lock | None
    only: Sequence[str]

    def read(self, item: ChartEntry | ImageEntry) -> _Chart:
        """Return what is known of one chart."""
        if isinstance(item, ImageEntry):
            return self._from_registry(item)
        if self.keep is not None and not self._is_named(item.artifact):
            locked = next((image for image in self.keep.images if _is_chart(image, item)), None)
            if locked is not None:
                found = self._kept_images(self.keep, locked.name, item.line)
                return _Chart(found if item.options.images else ChartImages(), locked)
        chart = read_from_repository(item, self.open_source)
        locked = chart.locked(item)
        return self._checked(chart, locked.name, item.options, item.line, locked)

    def _from_registry(self, item: ImageEntry) -> _Chart:
        name, options = item.name, item.chart
        if name is None or item.reference is None or options is None:
            raise AssertionError("a chart of a registry has a name")
        if self.keep is not None and not self._is_named(name, item.reference):
            return _Chart(self._kept_images(self.keep, name, item.line) if options.images else ChartImages())
        if not options.images and options.keyring is None:
            return _Chart()
        pin = None if self._is_named(name, item.reference) else self.pins.get(item.reference)
        chart = read_from_registry(item, pin, self.open_source)
        return self._checked(chart, name, options, item.line, None)

    def _checked(
        self,
        chart: ReadChart,
        name: ImageReference,
        options: ChartOptions,
        line: int,
        locked: LockedImage | None,
    ) -> _Chart:
        signed = None
        if options.keyring is not None:
            signed = Signed(name, check_provenance(chart, options.keyring))
        found = find_images(chart, name, options, self.manifest, line) if options.images else ChartImages()
        return _Chart(found, locked, signed)

    def _is_named(self, *names: ImageReference) -> bool:
        return any(names_chart(text, name) for text in self.only for name in names)

    def _kept_images(self, lock: Lock, chart: ImageReference, line: int) -> ChartImages:
        """Return the images that the lock has because of a chart."""
        brought = [(i.reference, i.brought) for i in lock.images if i.brought and i.brought.chart == chart]
        make = partial(entry_of, manifest=self.manifest, line=line)
        return ChartImages(tuple(make(reference, origin) for reference, origin in brought))


def _is_chart(image: LockedImage, entry: ChartEntry) -> bool:
    if image.source != CHART_SOURCE:
        return False
    return entry.artifact in (image.name, replace(image.name, tag=None))


def _pins(manifest: TransferManifest, before: Lock | None) -> dict[ImageReference, Digest]:
    """Return the digests of charts of registries that stay locked."""
    if before is None:
        return {}
    groups = unchanged_items(manifest, before)
    entries = [(manifest.images[number], group[0]) for number, group in groups.items()]
    return {
        entry.reference: image.descriptor.digest
        for entry, image in entries
        if entry.chart is not None and entry.reference is not None and image.descriptor is not None
    }


def _with_brought(manifest: TransferManifest, charts: Iterable[_Chart]) -> TransferManifest:
    """Return the manifest with the images of charts that it does not list by their name, each once."""
    brought = [entry for chart in charts for entry in chart.found.entries]
    if not brought:
        return manifest
    own = [name for entry in manifest.images for name in (entry.name, entry.reference) if name is not None]
    taken = {name.normal for name in own}
    added: dict[ImageReference, ImageEntry] = {}
    for entry in brought:
        if entry.reference is not None and entry.reference.normal not in taken:
            added.setdefault(entry.reference.normal, entry)
    return manifest.with_images([*manifest.images, *added.values()])


def _title(item: ChartEntry | ImageEntry) -> str:
    return str(item.artifact if isinstance(item, ChartEntry) else item.name)
