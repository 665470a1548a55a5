"""The statement: lists every file of a bundle by digest, and describes the bundle (FORMAT.md §3)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from airgap.bundle.contents import check_names
from airgap.bundle.delta_bases import DeltaBase, parse_bases
from airgap.bundle.stream_name import parse_stream
from airgap.bundle.upstream import Upstream, check_trusted_roots, parse_upstream, upstream_json
from airgap.errors import FormatError
from airgap.limits import MAX_STATEMENT_BYTES
from airgap.oci.digest import Digest
from airgap.oci.files_artifact import CarriedFile, check_file_names
from airgap.oci.in_toto import StatementFields, json_lines, sha256_in, statement_bytes
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import Fields, dump
from airgap.times import format_time
from airgap.values import dataclass

BUNDLE_PREDICATE_TYPE = "urn:airgap:bundle:v1"

FILE_GRAMMAR = re.compile(
    r"oci-layout|index\.json|manifest\.json|SHA256SUMS|VERIFY\.txt"
    r"|trust/[1-9][0-9]{0,8}\.root\.json|trust/[0-9a-f]{64}\.trusted_root\.json"
    r"|blobs/sha256/[0-9a-f]{64}|blobs/sha512/[0-9a-f]{128}",
    re.ASCII,
)
REPACKED = ", repacked"
"""The end of `source` if the manifest, and so the image's digest, was made here."""


class ImageKind(StrEnum):
    """What an image of the bundle is."""

    IMAGE = "image"
    """An engine could run it."""
    ARTIFACT = "artifact"
    """Other content, such as a signature or an SBOM."""
    FILES = "files"
    """Files (FORMAT.md §4.1)."""


@dataclass(frozen=True, slots=True)
class Previous:
    """The bundle before this one in its stream."""

    serial: int
    statement_sha256: str


@dataclass(frozen=True, slots=True)
class PlatformRecord:
    """One carried manifest of an image."""

    platform: str
    digest: Digest
    config_digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One image of the bundle."""

    reference: ImageReference
    name: ImageReference
    """`as`: the name on the offline side."""
    kind: ImageKind
    digest: Digest
    platforms: tuple[PlatformRecord, ...]
    source: str
    upstream_signature: Upstream | None = None
    files: tuple[CarriedFile, ...] = ()
    """The files of an image of kind `FILES`; none of any other."""

    @property
    def locked_name(self) -> ImageReference:
        """Its name in the lock. Repacking changes the digest, and so a name without a tag."""
        repacked = self.name.tag is None and self.source.endswith(REPACKED)
        return self.reference if repacked else self.name


@dataclass(frozen=True, slots=True)
class Requirement:
    """A blob that the images need and the bundle leaves out."""

    digest: Digest
    size: int
    needed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LedgerCheckpoint:
    """The state of a ledger: its site, the number of lines, and their RFC 6962 root in hex."""

    origin: str
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class SendingSite:
    """The site that made the bundle, and the state of its ledger at that time."""

    site: str
    checkpoint: LedgerCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The signed content. `subjects` maps each file's name to its SHA-256 in hex."""

    subjects: dict[str, str] = field(hash=False)
    stream: str
    serial: int
    epoch: int
    previous: Previous | None
    created: datetime
    not_before: datetime
    expires: datetime
    destinations: tuple[str, ...]
    images: tuple[ImageRecord, ...]
    requires: tuple[Requirement, ...]
    total_bytes: int
    manifest_sha256: str
    root_version: int
    sender: SendingSite | None
    transfer: dict[str, str] = field(hash=False)
    tool_version: str
    bases: tuple[DeltaBase, ...] = ()
    """What a delta builds on. Omitted from the statement if there are none: in a full bundle, and in deltas
    of older versions."""

    @property
    def title(self) -> str:
        """The name of the bundle's folder: stream and serial."""
        return f"{self.stream}-{self.serial:04d}"

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of FORMAT.md §3."""
        predicate: dict[str, bytes] = {
            "stream": dump(self.stream),
            "serial": dump(self.serial),
            "epoch": dump(self.epoch),
            "previous": dump(_previous_json(self.previous)),
            "created": dump(format_time(self.created)),
            "not_before": dump(format_time(self.not_before)),
            "expires": dump(format_time(self.expires)),
            "destinations": dump(list(self.destinations)),
            "images": json_lines([_image_json(image) for image in self.images]),
            "requires": json_lines([_requirement_json(item) for item in self.requires]),
            **({"bases": json_lines([base.value for base in self.bases])} if self.bases else {}),
            "total_bytes": dump(self.total_bytes),
            "manifest_sha256": dump(self.manifest_sha256),
            "root_version": dump(self.root_version),
            "sender": dump(_sender_json(self.sender)),
            "transfer": dump(dict(sorted(self.transfer.items()))),
            "tool": dump({"name": "airgap", "version": self.tool_version}),
        }
        return statement_bytes(subjects_json(self.subjects), BUNDLE_PREDICATE_TYPE, predicate)

    @classmethod
    def parse(cls, raw: bytes, where: str = "statement.json") -> Self:
        """Read authenticated bytes. Raises `FormatError`, including for bytes that are not canonical."""
        statement = StatementFields.of(raw, where, BUNDLE_PREDICATE_TYPE, "bundle", MAX_STATEMENT_BYTES)
        subjects = parse_subjects(statement.top, FILE_GRAMMAR, "bundle")
        parsed = cls._from_predicate(subjects, statement.predicate, statement.version)
        statement.end(parsed.to_bytes())
        return parsed

    @classmethod
    def _from_predicate(cls, subjects: dict[str, str], fields: Fields, version: str) -> Self:
        destinations = fields.texts("destinations")
        statement = cls(
            subjects=subjects,
            stream=parse_stream(fields),
            serial=fields.integer("serial"),
            epoch=fields.integer("epoch"),
            previous=_parse_previous(fields),
            created=fields.time("created"),
            not_before=fields.time("not_before"),
            expires=fields.time("expires"),
            destinations=destinations,
            images=tuple(_parse_image(image) for image in fields.children("images")),
            requires=tuple(_parse_requirement(item) for item in fields.children("requires")),
            total_bytes=fields.integer("total_bytes"),
            manifest_sha256=sha256_in(fields, "manifest_sha256"),
            root_version=fields.integer("root_version"),
            sender=_parse_sender(fields),
            transfer=fields.string_map("transfer"),
            tool_version=version,
            bases=parse_bases(fields, destinations),
        )
        check_names(((image.name, image.digest) for image in statement.images), fields.where)
        check_file_names((item.name for image in statement.images for item in image.files), fields.where)
        upstreams = (image.upstream_signature for image in statement.images)
        check_trusted_roots(upstreams, subjects, fields.where)
        if statement.serial < 1:
            raise FormatError("the serial is below 1", subject=fields.where, got=statement.serial)
        if statement.bases and not statement.requires:
            raise FormatError("a full bundle has no bases", subject=fields.where)
        return statement


def subjects_json(subjects: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the files of a statement, sorted by name."""
    return [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in sorted(subjects.items())]


def least_statement_bytes(images: Iterable[ImageRecord], blobs: Iterable[Digest]) -> int:
    """Return the size in bytes of what a statement says about these images and blobs; it says more."""
    subjects = {digest.path: "0" * 64 for digest in blobs}
    return len(json_lines(subjects_json(subjects))) + len(json_lines([_image_json(i) for i in images]))


def parse_subjects(top: Fields, grammar: re.Pattern[str], what: str) -> dict[str, str]:
    """Return the SHA-256 in hex of the files that a statement lists, by name. Raises `FormatError`, including
    for a name that no file of a `what` may have.
    """
    subjects: dict[str, str] = {}
    for subject in top.children("subject"):
        name = subject.text("name")
        if not grammar.fullmatch(name):
            raise FormatError(f"not a file of a {what}", subject=subject.where, got=repr(name[:200]))
        if name in subjects:
            raise FormatError("the file is listed twice", subject=subject.where, got=name)
        digest = subject.child("digest")
        subjects[name] = sha256_in(digest, "sha256")
        digest.end()
        subject.end()
    return subjects


def _image_json(image: ImageRecord) -> dict[str, Any]:
    return {
        "reference": str(image.reference),
        "as": str(image.name),
        "kind": image.kind,
        "digest": str(image.digest),
        "platforms": [
            {"platform": p.platform, "digest": str(p.digest), "config_digest": str(p.config_digest)}
            for p in image.platforms
        ],
        "source": image.source,
        "upstream_signature": upstream_json(image.upstream_signature),
        **({"files": [item.to_json() for item in image.files]} if image.kind is ImageKind.FILES else {}),
    }


def _parse_image(fields: Fields) -> ImageRecord:
    platforms = []
    for item in fields.children("platforms"):
        platforms.append(
            PlatformRecord(
                item.text("platform"),
                Digest.parse(item.text("digest"), item.where),
                Digest.parse(item.text("config_digest"), item.where),
            )
        )
        item.end()
    kind = _parse_kind(fields)
    image = ImageRecord(
        reference=ImageReference.parse(fields.text("reference"), fields.where),
        name=ImageReference.parse(fields.text("as"), fields.where),
        kind=kind,
        digest=Digest.parse(fields.text("digest"), fields.where),
        platforms=tuple(platforms),
        source=fields.text("source"),
        upstream_signature=parse_upstream(fields),
        files=tuple(map(CarriedFile.from_json, fields.children("files"))) if kind is ImageKind.FILES else (),
    )
    fields.end()
    return image


def _parse_kind(fields: Fields) -> ImageKind:
    kind = fields.text("kind")
    if kind not in tuple(ImageKind):
        raise FormatError("unknown kind", subject=fields.where, want=" or ".join(ImageKind), got=repr(kind))
    return ImageKind(kind)


def _requirement_json(item: Requirement) -> dict[str, Any]:
    return {"digest": str(item.digest), "size": item.size, "needed_by": list(item.needed_by)}


def _parse_requirement(fields: Fields) -> Requirement:
    requirement = Requirement(
        Digest.parse(fields.text("digest"), fields.where), fields.integer("size"), fields.texts("needed_by")
    )
    fields.end()
    return requirement


def _previous_json(previous: Previous | None) -> dict[str, Any] | None:
    if previous is None:
        return None
    return {"serial": previous.serial, "statement_sha256": previous.statement_sha256}


def _parse_previous(fields: Fields) -> Previous | None:
    if fields.take("previous") is None:
        return None
    item = fields.child("previous")
    previous = Previous(item.integer("serial"), sha256_in(item, "statement_sha256"))
    item.end()
    return previous


def _sender_json(sender: SendingSite | None) -> dict[str, Any] | None:
    if sender is None:
        return None
    point = sender.checkpoint
    return {
        "site": sender.site,
        "checkpoint": {"origin": point.origin, "size": point.size, "root": point.root},
    }


def _parse_sender(fields: Fields) -> SendingSite | None:
    if fields.take("sender") is None:
        return None
    item = fields.child("sender")
    point = item.child("checkpoint")
    sender = SendingSite(
        item.text("site"),
        LedgerCheckpoint(point.text("origin"), point.integer("size"), sha256_in(point, "root")),
    )
    point.end()
    item.end()
    return sender
