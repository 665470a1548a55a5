"""The keys, types and defaults of a manifest, and its JSON Schema for editors."""

import json
from typing import Annotated, Any, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from airgap.limits import MAX_TEXT_CHARACTERS
from airgap.manifest.chart_entries import CHART_FORMS, AnyChart
from airgap.manifest.fields import (
    DISTINCT,
    LABEL_PATTERN,
    AttachmentChoice,
    AttachmentsText,
    DigestText,
    FilePath,
    Label,
    LineText,
    Name,
    OfflineName,
    Platforms,
    Reference,
    RepositoryName,
    SourceText,
    TagCount,
    TagPattern,
    TagSuffix,
    Version,
    VersionRange,
)
from airgap.manifest.file_model import FILE_FORMS, AnyFileEntry
from airgap.manifest.validate import Lists, Strict


class EntryDocument(Strict):
    """The keys that all long forms have in common."""

    ref: Annotated[
        Reference | None,
        Field(description="Selects one image by name; without it, all of them are carried."),
    ] = None
    digest: Annotated[
        DigestText | None,
        Field(
            description="The digest that the image must have at the source. In an archive or a layout, it "
            "selects one image if there is no ref; an image ID is accepted too."
        ),
    ] = None
    platforms: Annotated[
        Platforms | None,
        Field(description="Platforms of this image, instead of the manifest's; `all` for every platform."),
    ] = None
    rename: Annotated[
        OfflineName | None,
        Field(
            alias="as",
            description="The image's name on the offline side; required if it has no name in its archive "
            "or layout.",
        ),
    ] = None
    cosign_key: Annotated[
        FilePath | None,
        Field(
            alias="cosign-key",
            description="The public key of a cosign signature that must be valid at the source; "
            "a path relative to the manifest's folder.",
        ),
    ] = None

    attachments: Annotated[
        AttachmentsText | None, Field(description="The same key as in the manifest, for this image only.")
    ] = None


class NamedEntry(EntryDocument):
    """An image from a registry or from a Docker engine."""

    model_config = ConfigDict(title="Image by name")

    ref: Annotated[
        Reference, Field(description="The image's name at the source, with a tag, a digest or both.")
    ]
    source: Annotated[
        SourceText,
        Field(
            description="registry (the default), docker (the local engine), "
            "docker:unix:///SOCKET or docker:ssh://[USER@]HOST[:PORT]."
        ),
    ] = "registry"


class ArchiveEntry(EntryDocument):
    """Images from a file made by `docker save`, or from an OCI archive; gzip and zstd are unpacked."""

    model_config = ConfigDict(title="Images from an archive")

    archive: Annotated[FilePath, Field(description="The file; a path from the manifest's folder.")]


class LayoutEntry(EntryDocument):
    """Images from a directory that is an OCI image layout, or in the form of skopeo's `dir:`."""

    model_config = ConfigDict(title="Images from an OCI layout")

    oci: Annotated[FilePath, Field(description="The directory; a path from the manifest's folder.")]


class TagRuleDocument(Strict):
    """Which tags of a repository are carried: by `semver`, by `match`, or by both."""

    model_config = ConfigDict(title="Rule for tags")

    latest: Annotated[TagCount, Field(description="How many of the newest tags are carried at most.")]
    semver: Annotated[
        VersionRange | None,
        Field(description="A range of versions, as npm writes it; only tags that are versions are in it."),
    ] = None
    suffix: Annotated[
        TagSuffix | None, Field(description="What follows the version in these tags, such as -alpine.")
    ] = None
    match: Annotated[
        TagPattern | None, Field(description="A regular expression that the whole tag must match.")
    ] = None


class RuleEntry(Strict):
    """Images of one repository in a registry, with the tags that a rule selects in `airgap lock`."""

    model_config = ConfigDict(title="Images by a rule for their tags")

    ref: Annotated[RepositoryName, Field(description="The repository at the source, without a tag.")]
    tags: Annotated[TagRuleDocument, Field(description="The rule.")]
    platforms: Annotated[
        Platforms | None,
        Field(description="Platforms of these images, instead of the manifest's; `all` for every platform."),
    ] = None
    rename: Annotated[
        RepositoryName | None,
        Field(alias="as", description="The repository on the offline side, without a tag: tags are kept."),
    ] = None
    cosign_key: Annotated[
        FilePath | None,
        Field(
            alias="cosign-key",
            description="The public key of a cosign signature that each image must have at the source; "
            "a path relative to the manifest's folder.",
        ),
    ] = None
    attachments: Annotated[
        AttachmentsText | None, Field(description="The same key as in the manifest, for these images only.")
    ] = None


LongEntry: TypeAlias = NamedEntry | ArchiveEntry | LayoutEntry | RuleEntry
RULE = "rule"
"""The form of an item with `tags:`."""
LISTS: Lists = {
    "images": {
        "named": NamedEntry,
        "archive": ArchiveEntry,
        "oci": LayoutEntry,
        RULE: RuleEntry,
        "tags": TagRuleDocument,
    },
    "files": FILE_FORMS,
    "charts": CHART_FORMS,
}
"""The forms of the items of each list, and of the mapping in `tags:`."""


def _form(value: Any) -> str | None:
    if isinstance(value, str):
        return "short"
    if not isinstance(value, dict):
        return None
    if "tags" in value and not {"archive", "oci"} & value.keys():
        return RULE
    return next((form for form in ("archive", "oci") if form in value), "named")


AnyEntry = Annotated[
    Annotated[Reference, Tag("short")]
    | Annotated[NamedEntry, Tag("named")]
    | Annotated[ArchiveEntry, Tag("archive")]
    | Annotated[LayoutEntry, Tag("oci")]
    | Annotated[RuleEntry, Tag(RULE)],
    Discriminator(_form),
]

TransferLabels = Annotated[
    dict[Label, LineText],
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": f"^{LABEL_PATTERN}$"},
            "additionalProperties": {
                "type": ["string", "number", "boolean"],
                "maxLength": MAX_TEXT_CHARACTERS,
            },
        }
    ),
]


class ManifestDocument(Strict):
    """Which container images and files `airgap` carries across the gap, and to which sites."""

    model_config = ConfigDict(
        title="airgap manifest",
        json_schema_extra={"anyOf": [{"required": [key]} for key in ("images", "files", "charts")]},
    )

    version: Annotated[Version, Field(description="The version of this format.")]
    name: Annotated[
        Name, Field(description="The stream: bundles of the same name are a series, numbered 1, 2, 3, …")
    ]
    destinations: Annotated[
        tuple[Name, ...],
        Field(
            min_length=1,
            description="The sites that may load the bundle; without it, every site may.",
            json_schema_extra={"uniqueItems": True},
        ),
        DISTINCT,
    ] = ()
    platforms: Annotated[
        Platforms | None,
        Field(
            description="The platforms of all images without `platforms` of their own; `all` for every one. "
            "Without this key, the platform that `docker pull` would use on this machine."
        ),
    ] = None
    attachments: Annotated[
        AttachmentsText,
        Field(
            description="Signatures, SBOMs and attestations at the source: auto (the default) carries what "
            "is found, none does not request them, required fails if a registry does not answer."
        ),
    ] = AttachmentChoice.AUTO
    transfer: Annotated[
        TransferLabels,
        Field(description="What you state about the transfer (ticket, approver, classification, …)."),
    ] = Field(default_factory=dict)
    images: Annotated[
        tuple[AnyEntry, ...], Field(description="The images to carry; may be left out if there are files.")
    ] = ()
    files: Annotated[
        tuple[AnyFileEntry, ...],
        Field(description="Other files to carry: paths, addresses and folders."),
    ] = ()
    charts: Annotated[
        tuple[AnyChart, ...], Field(description="Helm charts to carry, in the form of `helm push`.")
    ] = ()


class _EditorSchema(GenerateJsonSchema):
    """pydantic's schema without what applies only inside Python: null, defaults, derived titles."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        return {"anyOf": super().tagged_union_schema(schema)["oneOf"]}


def json_schema() -> str:
    """Return the JSON Schema (draft 2020-12) of a manifest, as in `manifests/manifest.schema.json`."""
    schema = ManifestDocument.model_json_schema(schema_generator=_EditorSchema)
    top = {"$schema": _EditorSchema.schema_dialect, "title": schema.pop("title")}
    return json.dumps(top | schema, indent=2, ensure_ascii=False) + "\n"
