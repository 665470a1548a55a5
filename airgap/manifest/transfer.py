"""The manifest as the rest of airgap uses it: with parsed names, defaults and resolved paths."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Self

from airgap.errors import FormatError, UsageError
from airgap.manifest import strict_yaml
from airgap.manifest.chart_entries import (
    ChartEntry,
    ChartOptions,
    OciChart,
    offline_name_of,
    options_of,
    parse_charts,
    range_of,
    reference_of,
)
from airgap.manifest.cosign_identity import IDENTITY_KEY, CosignIdentity, parse_identity
from airgap.manifest.fields import AttachmentChoice, parse_label, parse_line
from airgap.manifest.file_entries import FilesEntry, parse_files
from airgap.manifest.model import (
    LISTS,
    ArchiveEntry,
    LayoutEntry,
    LongEntry,
    ManifestDocument,
    NamedEntry,
    RuleEntry,
    TagRuleDocument,
)
from airgap.manifest.strict_yaml import Document, YamlPath
from airgap.manifest.tag_rule import TagRule
from airgap.manifest.validate import KEY_EXAMPLES, validate
from airgap.oci.digest import Digest
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import dump
from airgap.values import dataclass


def offline_name(reference: ImageReference) -> ImageReference:
    """Return the offline name of an image that is not renamed: without the digest, if it has a tag."""
    return reference.kept


@dataclass(frozen=True, slots=True)
class BroughtByChart:
    """Why an image is carried that the manifest does not list."""

    chart: ImageReference
    """The offline name of the chart that runs it."""
    certainty: str
    """How sure that is: `sure`, `derived` (docs/discovery.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEntry:
    """One item of `images`.

    Without a `reference` (archives and layouts only), the item names every image inside. `rename` and
    `digest` then need a single image, which the code that opens the archive must check.
    """

    reference: ImageReference | None
    """The name at the source, as written: its own digest, if any, is also `digest`. With `tags`, it and
    `rename` have neither a tag nor a digest."""
    digest: Digest | None
    platforms: tuple[Platform, ...] | None
    """Its own, else the manifest's. Empty means all; None means that neither names any."""
    rename: ImageReference | None
    source: str
    """`registry`, `docker`, `docker:unix://…`, `docker:ssh://…`, `archive` or `oci`."""
    archive: Path | None
    """The archive or OCI layout, an absolute path."""
    cosign_key: Path | None
    line: int
    cosign_identity: CosignIdentity | None = None
    attachments: AttachmentChoice = AttachmentChoice.AUTO
    """With the manifest's default filled in."""
    tags: TagRule | None = None
    """Selects tags of the repository; the item then stands for an image with each of them."""
    chart: ChartOptions | None = None
    """Set if it is a chart of a registry."""
    brought: BroughtByChart | None = None
    """Set if it is not in the file, but was added for a chart."""

    @property
    def name(self) -> ImageReference | None:
        """The name on the offline side; None if the archive or the tags at the source decide it."""
        if self.tags is not None:
            return None
        if self.rename is not None or self.reference is None:
            return self.rename
        return offline_name(self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferManifest:
    """The images that a user wants to carry. No two have the same offline name, as far as names are known."""

    name: str
    destinations: tuple[str, ...]
    """The sites that may load the bundle; empty means every site."""
    platforms: tuple[Platform, ...] | None
    images: tuple[ImageEntry, ...]
    raw: bytes
    path: Path
    transfer: Mapping[str, str] = field(default_factory=dict, hash=False)
    files: tuple[FilesEntry, ...] = ()
    charts: tuple[ChartEntry, ...] = ()
    """Charts of repositories over HTTP; those of registries are among the images."""
    attachments: AttachmentChoice = AttachmentChoice.AUTO
    listed: tuple[ImageEntry, ...] | None = None
    """The items as the file lists them, if `images` has other ones (see `with_images`)."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file at `path`. Raises `FormatError` with `FILE:LINE:COLUMN` and the expected value.

        It does not check that the images, archives and keys exist.
        """
        return cls.parse(strict_yaml.read_yaml_file(path), path)

    @classmethod
    def parse(cls, raw: bytes, path: Path) -> Self:
        """Return the manifest in `raw`; its paths are relative to the folder of `path`."""
        document = strict_yaml.parse_yaml(raw, str(path))
        checked = validate(ManifestDocument, document, LISTS)
        _refuse_nothing(checked, document)
        folder = path.absolute().parent
        images = _images(checked, document, folder)
        names = {entry.name.normal for entry in images if entry.name is not None}
        files = parse_files(checked.files, document, folder, checked.name, names)
        names |= {entry.artifact.normal for entry in files}
        return cls(
            name=checked.name,
            destinations=checked.destinations,
            platforms=checked.platforms,
            images=images,
            files=files,
            charts=parse_charts(checked.charts, document, folder, names),
            attachments=AttachmentChoice(checked.attachments),
            raw=raw,
            path=path,
            transfer=checked.transfer,
        )

    def with_images(self, images: Iterable[ImageEntry]) -> Self:
        """Return the manifest with `images`: with tags in the place of rules, or with those of charts."""
        listed = self.images if self.listed is None else self.listed
        return replace(self, images=tuple(images), listed=listed)

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's bytes, in hex."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def images_sha256(self) -> str:
        """SHA-256 of what a lock decides, in hex: the name, images, files and charts. Comments, `transfer`
        and `destinations` do not change it, and neither does another folder for the same files.
        """
        folder = self.path.absolute().parent
        listed = self.images if self.listed is None else self.listed
        images = [_locked_part(entry, folder) for entry in listed]
        decided: dict[str, Any] = {"name": self.name, "images": images}
        if self.files:
            decided["files"] = [entry.locked_part(folder) for entry in self.files]
        if self.charts:
            decided["charts"] = [chart.locked_part(folder) for chart in self.charts]
        return hashlib.sha256(dump(decided)).hexdigest()

    @property
    def count(self) -> int:
        """The number of its items."""
        return len(self.images) + len(self.files) + len(self.charts)

    def with_transfer(self, values: Mapping[str, str]) -> Self:
        """Return the manifest with these values of `transfer`, which replace its own of the same key."""
        return replace(self, transfer={**self.transfer, **values})


def _images(checked: ManifestDocument, document: Document, folder: Path) -> tuple[ImageEntry, ...]:
    """Return the images, followed by the charts of registries, which are carried as images are."""
    entries: dict[YamlPath, ImageEntry] = {}
    for number, item in enumerate(checked.images):
        entries["images", number] = _entry(item, document, ("images", number), checked, folder)
    for number, chart in enumerate(checked.charts):
        if isinstance(chart, OciChart):
            entries["charts", number] = _chart(chart, document, ("charts", number), checked, folder)
    return _without_twins(entries, document)


def _chart(
    item: OciChart, document: Document, yaml_path: YamlPath, defaults: ManifestDocument, folder: Path
) -> ImageEntry:
    where, rule = document.at(yaml_path), range_of(item)
    long = NamedEntry.model_construct(
        ref=reference_of(item), rename=offline_name_of(item, where), platforms=()
    )
    entry = _entry(long, document, yaml_path, defaults, folder)
    return replace(entry, tags=rule, chart=options_of(item, where, folder))


def _refuse_nothing(checked: ManifestDocument, document: Document) -> None:
    """Raise `FormatError` for a manifest of nothing."""
    if checked.images or checked.files or checked.charts:
        return
    if ("images",) in document.values:
        raise FormatError("wrong type", subject=document.at(("images",)), want="at least one", got="a list")
    raise FormatError(
        "missing key", subject=document.at(()), want="'images'", hint=f"write {KEY_EXAMPLES['images']}"
    )


def parse_transfer(texts: Iterable[str]) -> dict[str, str]:
    """Return the values of `transfer` that `KEY=VALUE` texts state. Raises `UsageError` for another text, and
    for a key that is named twice.
    """
    values: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise UsageError("not a transfer value", subject=text, want="KEY=VALUE, as in ticket=CHG-7")
        try:
            parse_label(key), parse_line(value)
        except FormatError as error:
            raise UsageError(error.what, subject=text, want=error.want, got=error.got) from error
        if values.setdefault(key, value) != value:
            raise UsageError("the transfer value is stated twice", subject=key, got=f"{values[key]}, {value}")
    return values


def _locked_part(entry: ImageEntry, folder: Path) -> dict[str, Any]:
    """Return what a lock decides of one item, for `images_sha256`."""

    def path(value: Path | None) -> str | None:
        if value is None:
            return None
        return (value.relative_to(folder) if value.is_relative_to(folder) else value).as_posix()

    return {
        "ref": None if entry.reference is None else str(entry.reference),
        "digest": None if entry.digest is None else str(entry.digest),
        "platforms": None if entry.platforms is None else [str(platform) for platform in entry.platforms],
        "as": None if entry.rename is None else str(entry.rename),
        "source": entry.source,
        "archive": path(entry.archive),
        "cosign-key": path(entry.cosign_key),
        "attachments": str(entry.attachments),
        **({"cosign-identity": identity.to_yaml(folder)} if (identity := entry.cosign_identity) else {}),
        **({"tags": entry.tags.to_json()} if entry.tags is not None else {}),
        **({} if entry.chart is None else entry.chart.locked_part(folder)),
    }


def _entry(
    item: ImageReference | LongEntry,
    document: Document,
    yaml_path: YamlPath,
    defaults: ManifestDocument,
    folder: Path,
) -> ImageEntry:
    line, platforms = document.line(yaml_path), defaults.platforms
    if isinstance(item, ImageReference):
        return ImageEntry(
            reference=item,
            digest=item.digest,
            platforms=platforms,
            rename=None,
            source="registry",
            archive=None,
            cosign_key=None,
            line=line,
            attachments=AttachmentChoice(defaults.attachments),
        )
    source, archive = _origin(item)
    tags = _tag_rule(item.tags, document, (*yaml_path, "tags")) if isinstance(item, RuleEntry) else None
    return ImageEntry(
        reference=item.ref,
        digest=None if isinstance(item, RuleEntry) else _pin(item, document, yaml_path),
        platforms=platforms if item.platforms is None else item.platforms,
        rename=item.rename,
        source=source,
        archive=None if archive is None else folder / archive,
        cosign_key=None if item.cosign_key is None else folder / item.cosign_key,
        cosign_identity=parse_identity(item, document, yaml_path, folder),
        line=line,
        attachments=_attachments(item, AttachmentChoice(defaults.attachments), document, yaml_path),
        tags=tags,
    )


def _tag_rule(item: TagRuleDocument, document: Document, yaml_path: YamlPath) -> TagRule:
    """Return the rule. Raises `FormatError` for keys that do not make one."""
    if item.semver is None and (item.match is None or item.suffix is not None):
        what = "a suffix needs a range of versions" if item.suffix else "the rule selects every tag"
        want = "'semver'" if item.suffix else "'semver' or 'match'"
        raise FormatError(what, subject=document.at(yaml_path), want=want)
    return TagRule(latest=item.latest, semver=item.semver, suffix=item.suffix or "", match=item.match)


def _attachments(
    item: LongEntry, default: AttachmentChoice, document: Document, yaml_path: YamlPath
) -> AttachmentChoice:
    """Return how attachments are carried. A signature needs them, even if the default is `none`."""
    signature = item.cosign_key or item.cosign_identity
    if signature is not None and item.attachments == AttachmentChoice.NONE:
        raise FormatError(
            f"a {'cosign-key' if item.cosign_key is not None else IDENTITY_KEY} needs attachments",
            subject=document.at((*yaml_path, "attachments")),
            want="auto or required",
            got="'none'",
        )
    chosen = AttachmentChoice(item.attachments or default)
    if signature is not None and chosen is AttachmentChoice.NONE:
        return AttachmentChoice.AUTO
    return chosen


def _origin(item: LongEntry) -> tuple[str, str | None]:
    if isinstance(item, ArchiveEntry):
        return "archive", item.archive
    if isinstance(item, LayoutEntry):
        return "oci", item.oci
    return ("registry" if isinstance(item, RuleEntry) else item.source), None


def _pin(
    item: NamedEntry | ArchiveEntry | LayoutEntry, document: Document, yaml_path: YamlPath
) -> Digest | None:
    named = item.ref.digest if item.ref is not None else None
    if item.digest is not None and named is not None and item.digest != named:
        raise FormatError(
            "the digest differs from the one in 'ref'",
            subject=document.at((*yaml_path, "digest")),
            want=named,
            got=item.digest,
            hint="leave out 'digest'",
        )
    return item.digest or named


def _without_twins(entries: Mapping[YamlPath, ImageEntry], document: Document) -> tuple[ImageEntry, ...]:
    """Return `entries` without repetitions. Raises `FormatError` if different ones have the same name."""
    kept: dict[ImageEntry, ImageEntry] = {}
    names: dict[ImageReference, ImageEntry] = {}
    for yaml_path, entry in entries.items():
        if kept.setdefault(replace(entry, line=0), entry) is not entry or entry.name is None:
            continue
        first = names.setdefault(entry.name.normal, entry)
        if first is not entry:
            raise FormatError(
                "two images would have the same name offline",
                subject=document.at(yaml_path),
                got=f"'{entry.name}', as on line {first.line}",
                hint="give one of them another name with 'as'",
            )
    return tuple(kept.values())
