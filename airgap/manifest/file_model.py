"""The keys of the items of `files` in a manifest."""

from typing import Annotated, Any, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, Tag

from airgap.manifest.fields import (
    FileModeText,
    FileName,
    FilePath,
    OfflineName,
    Pattern,
    Sha256Text,
    WebAddress,
)
from airgap.manifest.validate import Forms, Strict


class FileEntryDocument(Strict):
    """The keys that all long forms have in common."""

    rename: Annotated[
        OfflineName | None,
        Field(
            alias="as",
            description="The name of the artifact with the files, in registries of the offline side; without "
            "it, airgap.internal/STREAM/NAME:latest.",
        ),
    ] = None
    mode: Annotated[
        FileModeText | None,
        Field(
            description='"0755" for programs or "0644"; without it, as the file is here; of a url, "0644".'
        ),
    ] = None


class PathEntry(FileEntryDocument):
    """One file of this machine."""

    model_config = ConfigDict(title="File")

    path: Annotated[FilePath, Field(description="The file; a path from the manifest's folder.")]
    name: Annotated[
        FileName | None,
        Field(description="The file's name on the offline side, with / for folders; its own without it."),
    ] = None


class UrlEntry(FileEntryDocument):
    """One file from a web server."""

    model_config = ConfigDict(title="File from an address")

    url: Annotated[WebAddress, Field(description="Its address: https, or http with --plain-http HOST.")]
    sha256: Annotated[Sha256Text, Field(description="The SHA-256 that the file must have, in hex.")]
    name: Annotated[
        FileName | None,
        Field(description="The file's name on the offline side; the end of the address without it."),
    ] = None


class FolderEntry(FileEntryDocument):
    """All files of a folder that match a pattern, in one artifact."""

    model_config = ConfigDict(title="Files in a folder")

    folder: Annotated[FilePath, Field(description="The folder; a path from the manifest's folder.")]
    match: Annotated[
        Pattern,
        Field(description="Which files: *.yaml, or **/*.yaml with folders below; without it, * ."),
    ] = "*"


LongFileEntry: TypeAlias = PathEntry | UrlEntry | FolderEntry
FILE_FORMS: Forms = {"path": PathEntry, "url": UrlEntry, "folder": FolderEntry}


def _form(value: Any) -> str | None:
    if isinstance(value, str):
        return "short"
    if not isinstance(value, dict):
        return None
    return next((form for form in ("url", "folder") if form in value), "path")


AnyFileEntry = Annotated[
    Annotated[FilePath, Tag("short")]
    | Annotated[PathEntry, Tag("path")]
    | Annotated[UrlEntry, Tag("url")]
    | Annotated[FolderEntry, Tag("folder")],
    Discriminator(_form),
]
