"""Locks the files of a manifest: each with its size and SHA-256."""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

from airgap.endpoints.web import WebSource
from airgap.errors import AirgapError, EndpointError
from airgap.manifest import LockedFile, LockedImage, TransferManifest
from airgap.manifest.file_entries import FilesEntry, FolderFiles, LocalFile, WebFile
from airgap.oci.digest import Digest
from airgap.oci.files_artifact import CarriedFile, FileMode, check_file_names
from airgap.online.local_files import find_files, read_local
from airgap.online.plan import Failures, OpenSource, sort_out
from airgap.progress import Progress, Silent

SILENT = Silent()


def lock_files(
    manifest: TransferManifest,
    open_source: OpenSource,
    failures: Failures | None = None,
    progress: Progress = SILENT,
) -> list[LockedImage]:
    """Return an artifact for each item of `files`. Local files are read; of others, the server is asked for
    the size.

    Raises the first item's error or, with `failures`, puts it there if it affects only that item. Raises
    `AmbiguousError` for two files that could not be in one folder.
    """
    locked: list[LockedImage] = []
    failed: Failures = {}
    for entry in manifest.files:
        try:
            locked.append(LockedImage.of_files(entry.artifact, list(_lock(entry, open_source, progress))))
        except AirgapError as error:
            failed[str(entry.artifact)] = error
    sort_out(failed, failures)
    names = (item.carried.name for image in locked for item in image.files)
    check_file_names(names, f"{manifest.path}: files")
    return locked


def _lock(entry: FilesEntry, open_source: OpenSource, progress: Progress) -> Iterator[LockedFile]:
    match entry.origin:
        case LocalFile(path):
            yield _local(entry, entry.name or path.name, path, progress)
        case WebFile():
            yield _from_web(entry, entry.origin, open_source)
        case FolderFiles(folder, pattern):
            for name, path in find_files(folder, pattern).items():
                yield _local(entry, name, path, progress)
        case _:
            assert_never(entry.origin)


def _local(entry: FilesEntry, name: str, path: Path, progress: Progress) -> LockedFile:
    found = read_local(path, progress)
    carried = CarriedFile(name=name, mode=entry.mode or found.mode, digest=found.digest, size=found.size)
    return LockedFile(carried=carried, path=path, url=None)


def _from_web(entry: FilesEntry, origin: WebFile, open_source: OpenSource) -> LockedFile:
    source = open_source(origin.url, None, None)
    if not isinstance(source, WebSource):
        raise EndpointError("not a web server", subject=origin.url)
    carried = CarriedFile(
        name=entry.name or "",
        mode=entry.mode or FileMode.DATA,
        digest=Digest("sha256", origin.sha256),
        size=source.measure(),
    )
    return LockedFile(carried=carried, path=None, url=origin.url)
