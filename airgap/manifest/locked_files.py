"""The files of an artifact in a lock: each with the name, size and SHA-256 that `pack` must find."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from airgap.errors import FormatError
from airgap.manifest.fields import (
    ChartConfig,
    FileModeText,
    FileName,
    FilePath,
    Reference,
    Sha256,
    Size,
    WebAddress,
)
from airgap.manifest.strict_yaml import Document, YamlPath
from airgap.manifest.validate import Strict
from airgap.oci.digest import Digest
from airgap.oci.files_artifact import CarriedFile, FileMode, check_file_names
from airgap.values import dataclass


class LockedFileDocument(Strict):
    """One file in a lock."""

    name: FileName
    path: FilePath | None = None
    url: WebAddress | None = None
    mode: FileModeText
    sha256: Sha256
    size: Size


class LockedFilesDocument(Strict):
    """One artifact in a lock."""

    rename: Annotated[Reference, Field(alias="as")]
    files: Annotated[tuple[LockedFileDocument, ...], Field(min_length=1)]


class LockedChartDocument(LockedFilesDocument):
    """One chart in a lock; its archive is the only file."""

    config: ChartConfig
    files: Annotated[tuple[LockedFileDocument, ...], Field(min_length=1, max_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedFile:
    """One file, as the bundle will have it, and where it is now: at a path or at an address."""

    carried: CarriedFile
    path: Path | None
    """An absolute path."""
    url: str | None


def parse_locked_files(
    item: LockedFilesDocument, document: Document, yaml_path: YamlPath, folder: Path
) -> tuple[LockedFile, ...]:
    """Return the files of one artifact. Raises `FormatError`. Paths are relative to `folder`."""
    where = document.at(yaml_path)
    check_file_names((locked.name for locked in item.files), where)
    if any((locked.path is None) == (locked.url is None) for locked in item.files):
        raise FormatError("a locked file needs one origin", subject=where, want="'path' or 'url'")
    return tuple(
        LockedFile(
            carried=CarriedFile(
                name=locked.name,
                mode=FileMode(locked.mode),
                digest=Digest("sha256", locked.sha256),
                size=locked.size,
            ),
            path=None if locked.path is None else folder / locked.path,
            url=locked.url,
        )
        for locked in item.files
    )


def locked_files_yaml(files: Sequence[LockedFile], folder: Path | None) -> list[dict[str, Any]]:
    """Return the files of one artifact for a lock file. Paths at or below `folder` are written relative."""
    return [
        {
            "name": locked.carried.name,
            **({"url": locked.url} if locked.path is None else {"path": written_path(locked.path, folder)}),
            "mode": str(locked.carried.mode),
            "sha256": locked.carried.digest.hex,
            "size": locked.carried.size,
        }
        for locked in files
    ]


def written_path(path: Path, folder: Path | None) -> str:
    """Return a path as a lock file has it: relative if it is at or below `folder`, else absolute."""
    path = path.absolute()
    if folder is not None and path.is_relative_to(folder.absolute()):
        path = path.relative_to(folder.absolute())
    return path.as_posix()
