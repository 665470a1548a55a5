"""Puts tags in the place of the rules for them in a manifest, and reports how the tags have changed."""

from collections.abc import Sequence
from dataclasses import replace

from airgap.endpoints.listing import TagListSource
from airgap.errors import NotFoundError, UsageError
from airgap.limits import METADATA_JOBS
from airgap.manifest import ImageEntry, Lock, TransferManifest
from airgap.online.plan import Failures, OpenSource, sort_out
from airgap.online.relock import names_chart, names_reference
from airgap.values import dataclass
from airgap.workers import run_all


def apply_rules(
    manifest: TransferManifest,
    open_source: OpenSource,
    failures: Failures | None = None,
    *,
    keep: Lock | None = None,
    only: Sequence[str] = (),
) -> TransferManifest:
    """Return the manifest with an item for each tag that a rule selects now. Only lists of tags are fetched.

    Args:
        manifest: The manifest; it is returned as it is if it has no rules.
        open_source: Opens the registries.
        failures: Takes the errors of single items, which are then left out. Without it, the first error is
            raised.
        keep: A lock of this manifest, whose tags stay as they are, except those that `only` names.
        only: Names of repositories as a person writes them.

    Raises:
        EndpointError: A registry did not list its tags.
        NotFoundError: A rule selects no tag.
    """
    rules = [entry for entry in manifest.images if entry.tags is not None]
    if not rules:
        return manifest
    selected: dict[ImageEntry, list[ImageEntry]] = {}

    def select(entry: ImageEntry) -> None:
        is_meant = names_reference if entry.chart is None else names_chart
        named = entry.reference is not None and any(is_meant(name, entry.reference) for name in only)
        tags = _listed(entry, open_source) if keep is None or named else _locked(entry, keep)
        selected[entry] = _with_each(entry, tags)

    errors = run_all(select, rules, METADATA_JOBS)
    failed = {str(e.reference): error for e, error in zip(rules, errors, strict=True) if error is not None}
    sort_out(failed, failures)
    return manifest.with_images(item for entry in manifest.images for item in _items(entry, selected))


def _items(entry: ImageEntry, selected: dict[ImageEntry, list[ImageEntry]]) -> list[ImageEntry]:
    return [entry] if entry.tags is None else selected.get(entry, [])


def _listed(entry: ImageEntry, open_source: OpenSource) -> list[str]:
    """Return the tags at the source. Another source than a registry is refused by the manifest already."""
    source = open_source(entry.source, entry.reference, None)
    if not isinstance(source, TagListSource) or entry.reference is None:
        raise UsageError("the source cannot list tags", subject=source.name, want="a registry")
    return source.tags(entry.reference)


def _locked(entry: ImageEntry, lock: Lock) -> list[str]:
    """Return the tags of the repository that are in the lock; the rule selects from these what it did from
    all tags.
    """
    repository = entry.reference
    same = (image.reference for image in lock.images if image.source == entry.source)
    return [ref.tag for ref in same if ref.tag and replace(ref, tag=None, digest=None) == repository]


def _with_each(entry: ImageEntry, tags: Sequence[str]) -> list[ImageEntry]:
    """Return an item for each of the tags that the rule selects. Raises `NotFoundError` if there are none."""
    if entry.tags is None or entry.reference is None:
        return [entry]
    found = entry.tags.select(tags)
    if not found:
        raise NotFoundError(
            "the rule selects none of the tags", subject=entry.reference, want=entry.tags,
            got=f"{len(tags):,} tags", hint="docs/manifests.md says which tags are versions",
        )  # fmt: skip
    return [
        replace(
            entry, tags=None, reference=replace(entry.reference, tag=tag),
            rename=None if entry.rename is None else replace(entry.rename, tag=tag),
        )
        for tag in found
    ]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """How the tags that the rules for one repository select have changed since the last lock."""

    repository: str
    tags: tuple[str, ...]
    """The tags now, in the order of the manifest."""
    came: tuple[str, ...]
    went: tuple[str, ...]

    def __str__(self) -> str:
        marked = [f"+{tag}" for tag in self.came] + [f"-{tag}" for tag in self.went]
        return f"tags of {self.repository}: {' '.join(marked) or 'the same'}"


def compare_tags(manifest: TransferManifest, before: Lock | None, after: Lock) -> list[RuleChange]:
    """Return the changes of each repository for which the manifest has rules, and of charts with a range.

    Without a lock `before`, all tags came.
    """
    rules = dict.fromkeys(
        [entry.reference for entry in manifest.images if entry.tags is not None]
        + [chart.artifact for chart in manifest.charts if chart.artifact.tag is None]
    )
    changes = []
    for repository in filter(None, rules):
        was, now = ([] if lock is None else _own_tags(lock, str(repository)) for lock in (before, after))
        came, went = ([tag for tag in a if tag not in b] for a, b in ((now, was), (was, now)))
        changes.append(
            RuleChange(repository=str(repository), tags=tuple(now), came=tuple(came), went=tuple(went))
        )
    return changes


def _own_tags(lock: Lock, repository: str) -> list[str]:
    """Return the tags of the images of a repository, without those of attachments."""
    images = (image.reference for image in lock.images if image.subject is None)
    return [ref.tag for ref in images if ref.tag is not None and ref.name == repository]
