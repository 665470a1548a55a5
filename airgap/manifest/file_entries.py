"""The items of `files` in a manifest, as the rest of airgap uses them."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, assert_never
from urllib.parse import unquote, urlsplit

from airgap.errors import FormatError
from airgap.manifest.file_model import FolderEntry, LongFileEntry, PathEntry, UrlEntry
from airgap.manifest.strict_yaml import Document, YamlPath
from airgap.oci.files_artifact import FileMode, check_file_name
from airgap.oci.reference import ImageReference
from airgap.values import dataclass

FILES_HOST = "airgap.internal"
"""The registry in the default name of an artifact. ICANN keeps `.internal` free for private use, so the name
can never be one of the public internet; registries and layouts do not keep it.
"""
_UNFIT = re.compile(r"[^a-z0-9]+")
_UNNAMED = "files"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """One file of this machine."""

    path: Path
    """An absolute path."""


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file of a web server."""

    url: str
    sha256: str
    """In hex."""


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """The files of a folder that match a pattern."""

    folder: Path
    """An absolute path."""
    match: str


FileOrigin: TypeAlias = LocalFile | WebFile | FolderFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesEntry:
    """One item of `files`: an artifact with one file, or with those of a folder."""

    origin: FileOrigin
    artifact: ImageReference
    """The name of the artifact on the offline side."""
    name: str | None
    """The name of the file on the offline side; None if the files of a folder keep theirs."""
    mode: FileMode | None
    """Of all its files; None if each keeps its own."""
    line: int

    def locked_part(self, folder: Path) -> dict[str, Any]:
        """Return what a lock decides of the item. Paths below `folder` are relative to it."""
        match self.origin:
            case LocalFile(path):
                origin = {"path": relative_path(path, folder)}
            case WebFile(url, sha256):
                origin = {"url": url, "sha256": sha256}
            case FolderFiles(path, pattern):
                origin = {"folder": relative_path(path, folder), "match": pattern}
            case _:
                assert_never(self.origin)
        return {**origin, "as": str(self.artifact), "name": self.name, "mode": self.mode}


def relative_path(path: Path, folder: Path) -> str:
    """Return a path as `images_sha256` covers it: relative if it is below `folder`, else absolute."""
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def parse_files(
    items: Sequence[str | LongFileEntry],
    document: Document,
    folder: Path,
    stream: str,
    images: Collection[ImageReference],
) -> tuple[FilesEntry, ...]:
    """Return the items of `files`. Raises `FormatError` for two artifacts of the same name.

    Args:
        items: The checked items.
        document: The manifest, for positions in errors.
        folder: The manifest's folder, from which paths start.
        stream: The manifest's name, for the default names of artifacts.
        images: The names of images, in their normal form.
    """
    taken = set(images)
    entries = []
    for number, item in enumerate(items):
        entry = _entry(item, document, ("files", number), folder, stream)
        if entry.artifact.normal in taken:
            raise FormatError(
                "two artifacts or images would have the same name offline",
                subject=document.at(("files", number)), got=f"'{entry.artifact}'",
                hint="give one of them another name with 'as'",
            )  # fmt: skip
        taken.add(entry.artifact.normal)
        entries.append(entry)
    return tuple(entries)


def _entry(
    item: str | LongFileEntry, document: Document, yaml_path: YamlPath, folder: Path, stream: str
) -> FilesEntry:
    where = document.at(yaml_path)
    if isinstance(item, str):
        item = PathEntry(path=item)
    origin, name = _origin(item, folder, where)
    leaf = name or (origin.folder.name if isinstance(origin, FolderFiles) else "")
    return FilesEntry(
        origin=origin,
        artifact=item.rename or ImageReference(FILES_HOST, f"{stream}/{_slug(leaf)}", "latest"),
        name=name,
        mode=None if item.mode is None else FileMode(item.mode),
        line=document.line(yaml_path),
    )


def _origin(item: LongFileEntry, folder: Path, where: str) -> tuple[FileOrigin, str | None]:
    """Return where the files are, and the offline name of a single one."""
    match item:
        case PathEntry():
            path = folder / item.path
            return LocalFile(path), item.name or _own_name(path.name, where)
        case UrlEntry():
            end = unquote(PurePosixPath(urlsplit(item.url).path).name)
            return WebFile(item.url, item.sha256), item.name or _own_name(end, where)
        case FolderEntry():
            return FolderFiles(folder / item.folder, item.match), None
        case _:
            assert_never(item)


def _own_name(name: str, where: str) -> str:
    try:
        return check_file_name(name, where)
    except FormatError as error:
        error.hint = "write another name for the offline side, as in `name: tool.tar.gz`"
        raise


def _slug(name: str) -> str:
    """Return a repository's part that resembles the name of a file: lower case, with dashes and dots."""
    parts = [_UNFIT.sub("-", part).strip("-") for part in name.rpartition("/")[2].lower().split(".")]
    return ".".join(filter(None, parts)) or _UNNAMED
