"""The types of text in a manifest or lock, each with its reader and its JSON Schema.

The patterns are for editors, in the syntax that JavaScript, Python and Rust share. They may accept a little
more than the reader does, never less.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from airgap.errors import FormatError
from airgap.limits import MAX_BLOB_BYTES, MAX_FILE_NAME_PARTS, MAX_TAGS_OF_RULE, MAX_TEXT_CHARACTERS
from airgap.manifest.platform_text import ALL, as_list, parse_platform
from airgap.manifest.strict_yaml import describe_value
from airgap.manifest.tag_rule import parse_latest, parse_pattern, parse_range, parse_suffix
from airgap.oci.digest import Digest
from airgap.oci.files_artifact import FileMode, check_file_name
from airgap.oci.platform import Platform
from airgap.oci.reference import PASSING_NAME, ImageReference

_NAME = "[a-z0-9][a-z0-9-]{0,62}"
LABEL_PATTERN = "[a-z0-9][a-z0-9_-]{0,62}"
_DIGEST = "sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"
_UNTAGGED = r"(?:[A-Za-z0-9.:\[\]-]+/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
_TAG = "(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
_PART = "[a-z0-9][a-z0-9._-]*"
_TYPE = "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_ENGINE = (
    "docker:unix:///[^\\s:?#]+"
    # A host or user that begins with a dash would be an option to ssh.
    "|docker:ssh://(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?"
    "(?:[A-Za-z0-9][A-Za-z0-9.-]*|\\[[0-9A-Fa-f:]+\\])(?::[0-9]{1,5})?"
)
_USUAL_PLATFORMS = [
    "linux/amd64", "linux/arm64", "linux/arm/v7", "linux/ppc64le", "linux/riscv64", "linux/s390x",
]  # fmt: skip
# A host or user that begins with a dash could be taken for an option somewhere.
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63}"
_HOST = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}"
_URL = r"https?://[A-Za-z0-9\[][\x21-\x7e]{0,2000}"
_CHART = r"[a-z0-9]+(?:(?:[._]|-+)[a-z0-9]+){0,30}"
_CHART_ADDRESS = r"oci://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:(?:[._]|-+)[a-z0-9]+){0,30}){1,12}"
_SEMVER = r"v?[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}(?:-[0-9A-Za-z.-]{1,40})?(?:\+[0-9A-Za-z.-]{1,40})?"
_V6 = "(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f.]{0,15}(?:%[A-Za-z0-9_.-]+)?"


class AttachmentChoice(StrEnum):
    """Whether the attachments of an image (signatures, SBOMs, attestations) are carried."""

    AUTO = "auto"
    """Those that are available."""
    NONE = "none"
    REQUIRED = "required"
    """All of them: the source must answer."""


def refusal(error: FormatError) -> PydanticCustomError:
    """Return `error` in the form that pydantic collects together with its position."""
    return PydanticCustomError("format", "{error}", {"error": error})


def _reads(parse: Callable[[str], object]) -> PlainValidator:
    def read(value: Any) -> object:
        if not isinstance(value, str) or not value:
            raise refusal(FormatError("wrong type", want="text", got=describe_value(value)))
        try:
            return parse(value)
        except FormatError as error:
            raise refusal(error) from error

    return PlainValidator(read)


def _matches(pattern: str, what: str, want: str) -> Callable[[str], str]:
    grammar = re.compile(pattern, re.ASCII)

    def parse(text: str) -> str:
        if not grammar.fullmatch(text):
            raise FormatError(what, want=want, got=describe_value(text))
        return text

    return parse


def _text_schema(pattern: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$", **more})


def _version(text: str) -> str:
    if text != "1":
        hint = "a newer airgap may read it" if text.isdigit() else None
        raise FormatError("unsupported version", want="1", got=describe_value(text), hint=hint)
    return text


_FILES = {
    "docker-archive": "archive",
    "oci-archive": "archive",
    "archive": "archive",
    "oci": "oci",
    "dir": "oci",
}
"""skopeo's prefixes of an image's file or folder, and the key in a manifest that names it."""


def _reference(text: str) -> ImageReference:
    transport, _, file = text.partition(":")
    if transport in _FILES and (transport != "oci" or file.startswith((".", "/"))):
        raise FormatError(
            "not an image reference (a file or folder)", got=describe_value(text),
            hint=f"write it as {_FILES[transport]}: {file.partition(':')[0]}",
        )  # fmt: skip
    if transport in ("docker-daemon", "containers-storage"):
        raise FormatError(
            "not an image reference (an engine)", got=describe_value(text),
            hint=f"write {{ref: {file}, source: docker}}",
        )  # fmt: skip
    _, scheme, rest = text.partition("://")
    if scheme:
        raise FormatError(
            "not an image reference (scheme)",
            got=describe_value(text),
            hint=f"write it without: {describe_value(rest)}",
        )
    return ImageReference.parse(text)


def _offline_name(text: str) -> ImageReference:
    reference = _reference(text)
    if reference.digest is not None:
        raise FormatError(
            "an offline name must not have a digest",
            want=f"'{reference.with_digest(None)}'",
            got=describe_value(text),
        )
    if reference.is_passing:
        raise FormatError(PASSING_NAME, got=describe_value(text))
    return reference


def _repository(text: str) -> ImageReference:
    reference = _offline_name(text)
    if text.endswith(f":{reference.tag}"):
        raise FormatError(
            "a name beside 'tags' must not have a tag", want=f"'{reference.name}'", got=describe_value(text)
        )
    return replace(reference, tag=None)


def _size(text: str) -> int:
    size = int(text) if re.fullmatch("[0-9]{1,13}", text, re.ASCII) else -1
    if not 0 <= size <= MAX_BLOB_BYTES:
        raise FormatError("not a size", want=f"bytes, at most {MAX_BLOB_BYTES}", got=describe_value(text))
    return size


def _port(text: str) -> int:
    port = int(text) if re.fullmatch("[0-9]{1,5}", text, re.ASCII) else 0
    if not 0 < port < 65536:
        raise FormatError("not a port", want="1 to 65535", got=describe_value(text))
    return port


def _address(text: str) -> str:
    match = re.fullmatch(rf"(?:{_USER}@)?(?:{_HOST}|\[{_V6}\])(?::([0-9]{{1,5}}))?", text, re.ASCII)
    if match is None or (match[1] and not 0 < int(match[1]) < 65536):
        raise FormatError("not a host", want="[USER@]HOST[:PORT] or a mapping", got=describe_value(text))
    return text


def parse_line(text: str) -> str:
    """Return a line of free text as it is. Raises `FormatError` if it is too long or not printable."""
    if len(text) > MAX_TEXT_CHARACTERS or not text.isprintable():
        raise FormatError(
            "not a plain line of text", want=f"at most {MAX_TEXT_CHARACTERS} printable characters",
            got=describe_value(text),
        )  # fmt: skip
    return text


def _pattern(text: str) -> str:
    parts = text.split("/")
    if not all(parts) or ".." in parts or len(parts) > MAX_FILE_NAME_PARTS:
        want = "a pattern of names in the folder, such as **/*.yaml"
        raise FormatError("not a pattern", want=want, got=describe_value(text))
    return text


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise FormatError("not true or false", got=describe_value(text))
    return text == "true"


def _platforms(value: Any) -> Any:
    try:
        return as_list(value)
    except FormatError as error:
        raise refusal(error) from error


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise refusal(FormatError("listed twice", got=f"'{value}'"))
        seen.add(value)
    return values


DISTINCT = AfterValidator(_distinct)

Version = Annotated[str, _reads(_version), WithJsonSchema({"enum": [1, "1"]})]
Name = Annotated[
    str,
    _reads(_matches(_NAME, "not a name", "lower-case letters, digits and dashes, at most 63")),
    _text_schema(_NAME),
]
Reference = Annotated[
    ImageReference,
    _reads(_reference),
    _text_schema(f"{_UNTAGGED}{_TAG}(?:@(?:{_DIGEST}))?", examples=["nginx:1.27", "ghcr.io/acme/api:2.3"]),
]
OfflineName = Annotated[ImageReference, _reads(_offline_name), _text_schema(f"{_UNTAGGED}{_TAG}")]
RepositoryName = Annotated[
    ImageReference, _reads(_repository), _text_schema(_UNTAGGED, examples=["nginx", "ghcr.io/acme/api"])
]
VersionRange = Annotated[
    str,
    _reads(parse_range),
    WithJsonSchema({"type": ["string", "number"], "examples": [">=1.26 <2", "^1.26"]}),
]
TagPattern = Annotated[str, _reads(parse_pattern), WithJsonSchema({"type": "string", "minLength": 1})]
TagSuffix = Annotated[str, _reads(parse_suffix), _text_schema("[A-Za-z0-9_.-]{1,123}", examples=["-alpine"])]
TagCount = Annotated[
    int,
    _reads(parse_latest),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_TAGS_OF_RULE}),
]
DigestText = Annotated[Digest, _reads(Digest.parse), _text_schema(_DIGEST)]
_PLATFORM_SCHEMA: dict[str, Any] = {
    "type": "string",
    "anyOf": [{"enum": _USUAL_PLATFORMS}, {"pattern": f"^{_PART}/{_PART}(?:/{_PART})?$"}],
}
PlatformText = Annotated[Platform, _reads(parse_platform), WithJsonSchema(_PLATFORM_SCHEMA)]
Platforms = Annotated[
    tuple[PlatformText, ...],
    DISTINCT,
    BeforeValidator(_platforms),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": ALL},
                _PLATFORM_SCHEMA,
                {"type": "array", "items": _PLATFORM_SCHEMA, "uniqueItems": True},
            ]
        }
    ),
]
"""Empty means all."""
SourceText = Annotated[
    str,
    _reads(
        _matches(
            f"registry|docker|{_ENGINE}",
            "not a source",
            "registry, docker, docker:unix:///SOCKET or docker:ssh://[USER@]HOST[:PORT]",
        )
    ),
    WithJsonSchema(
        {"type": "string", "anyOf": [{"enum": ["registry", "docker"]}, {"pattern": f"^(?:{_ENGINE})$"}]}
    ),
]
AttachmentsText = Annotated[
    str,
    _reads(_matches("|".join(AttachmentChoice), "not a choice", "auto, none or required")),
    WithJsonSchema({"enum": list(map(str, AttachmentChoice))}),
]
FilePath = Annotated[str, _reads(str), WithJsonSchema({"type": "string", "minLength": 1})]
FileName = Annotated[
    str, _reads(lambda text: check_file_name(text, None)), WithJsonSchema({"type": "string", "minLength": 1})
]
FileModeText = Annotated[
    str,
    _reads(_matches("|".join(FileMode), "not a mode", '"0644" or "0755"')),
    WithJsonSchema({"enum": list(map(str, FileMode))}),
]
WebAddress = Annotated[
    str, _reads(_matches(_URL, "not an address", "https://HOST/PATH, in ASCII")), _text_schema(_URL)
]
Sha256Text = Annotated[
    str,
    _reads(_matches("[0-9a-f]{64}", "not a SHA-256", "64 lower-case hex digits")),
    _text_schema("[0-9a-f]{64}"),
]
ChartConfig = Annotated[str, _reads(str)]
ChartName = Annotated[
    str,
    _reads(_matches(_CHART, "not the name of a chart", "lower-case letters, digits and dashes")),
    _text_schema(_CHART),
]
ChartAddress = Annotated[
    str,
    _reads(_matches(_CHART_ADDRESS, "not the address of a chart", "oci://HOST/PATH/NAME")),
    _text_schema(_CHART_ADDRESS),
]
ChartVersion = Annotated[
    str,
    _reads(_matches(_SEMVER, "not an exact version", "three numbers, as in 4.11.3")),
    _text_schema(_SEMVER),
]
Pattern = Annotated[str, _reads(_pattern), WithJsonSchema({"type": "string", "minLength": 1})]
parse_label = _matches(
    LABEL_PATTERN, "not a key", "lower-case letters, digits, dashes and underscores, at most 63"
)
Label = Annotated[str, _reads(parse_label)]
LineText = Annotated[str, _reads(parse_line)]

# Types of a lock only: airgap writes it, so it needs no schema.
LockedSource = Annotated[
    str,
    _reads(
        _matches(f"registry|docker|archive|oci|{_ENGINE}", "not a source", "registry, docker, archive, oci")
    ),
]
Sha256 = Annotated[str, _reads(_matches("[0-9a-f]{64}", "not a SHA-256", "64 lower-case hex digits"))]
MediaType = Annotated[str, _reads(_matches(rf"{_TYPE}/{_TYPE}", "not a media type", "type/subtype"))]
Size = Annotated[int, _reads(_size)]
Flag = Annotated[bool, _reads(_flag)]

# Types of an inventory only.
HostAddress = Annotated[str, _reads(_address)]
HostName = Annotated[str, _reads(_matches(f"{_HOST}|{_V6}", "not a host", "a name or an address"))]
User = Annotated[str, _reads(_matches(_USER, "not a user", "the name of a login"))]
Port = Annotated[int, _reads(_port)]
