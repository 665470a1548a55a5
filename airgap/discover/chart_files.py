"""Reads the files of a Helm chart, from a folder or a packed archive, without unpacking it on disk."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from airgap.bundle.compression import Unpacked
from airgap.bundle.tar_entries import read_entries
from airgap.discover.context import Context
from airgap.discover.findings import Place
from airgap.discover.limits import MAX_CHART_ARCHIVE_BYTES, MAX_CHART_BYTES, MAX_CHART_DEPTH, MAX_CHART_FILES
from airgap.discover.sources import SourceFile, decode
from airgap.errors import AirgapError, FormatError
from airgap.limits import MAX_DEPLOYMENT_FILE_BYTES
from airgap.oci.digest import read_up_to

_TOP_FILES = {"Chart.yaml", "values.yaml", "requirements.yaml", "Images.lock", "images.lock"}
_TEMPLATE_ENDINGS = {".yaml", ".yml", ".tpl", ".json"}


def is_chart_archive(path: Path) -> bool:
    """Return whether the name of a file is that of a packed chart."""
    return path.name.endswith((".tgz", ".tar.gz"))


@dataclass(slots=True)
class _Budget:
    """How many bytes the archives of one chart may still unpack to."""

    left: int = MAX_CHART_BYTES

    def take(self, size: int, path: Path) -> None:
        self.left -= size
        if self.left < 0:
            raise FormatError("too large", subject=path, want=f"at most {MAX_CHART_BYTES:,} bytes unpacked")


def read_chart_files(path: Path, context: Context) -> dict[str, SourceFile]:
    """Return the files that say which images a chart has, by their paths in the chart.

    Those of subcharts begin with `charts/NAME/`, also where the subchart is packed. A file that cannot be
    read is a problem; an archive that Helm and others could read differently is refused as a whole.

    Raises:
        FormatError: The archive is not a chart, or too large.
        PolicyError: The path, or a link in the folder, leads out of the given folders.
        MediaError: The disk fails.
    """
    if path.is_dir():
        return dict(_folder_files(path, context))
    real = context.sources.check(path)
    raw = context.sources.read_bytes(real, path, MAX_CHART_ARCHIVE_BYTES)
    return read_archive(raw, path, context)


def read_archive(raw: bytes, path: Path, context: Context) -> dict[str, SourceFile]:
    """Return the same of an archive in memory; `path` is its name. Raises `FormatError`."""
    return _archive_files(raw, path, context, _Budget())


def _folder_files(folder: Path, context: Context) -> Iterator[tuple[str, SourceFile]]:
    count = 0
    budget = _Budget()
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted((*folders, *names)):
            path = Path(parent) / name
            if path.is_symlink():  # Helm follows it
                context.sources.check(path)
        for name in sorted(names):
            path = Path(parent) / name
            inner = path.relative_to(folder).as_posix()
            count += 1
            if count > MAX_CHART_FILES:
                raise FormatError("too many files", subject=folder, want=f"at most {MAX_CHART_FILES:,}")
            if is_chart_archive(path) and PurePosixPath(inner).parent.name == "charts":
                yield from _packed_subchart(path, inner, context, budget)
            elif is_read(inner) and (file := context.read(path)):
                yield inner, file


def _packed_subchart(
    path: Path, inner: str, context: Context, budget: _Budget
) -> Iterator[tuple[str, SourceFile]]:
    try:
        real = context.sources.check(path)
        raw = context.sources.read_bytes(real, path, MAX_CHART_ARCHIVE_BYTES)
        files = _archive_files(raw, path, context, budget, depth=1)
    except AirgapError as error:
        context.findings.add_problem(Place(file=str(path), line=0), str(error), hint=error.hint)
        return
    folder = PurePosixPath(inner).with_suffix("").as_posix()
    yield from ((f"{folder}/{name}", file) for name, file in files.items())


def is_read(inner: str) -> bool:
    """Return whether the file at the path `inner` of a chart can say which images it has."""
    path = PurePosixPath(inner)
    parts = path.parts
    while len(parts) > 2 and parts[0] == "charts":
        parts = parts[2:]
    if len(parts) == 1:
        return parts[0] in _TOP_FILES
    return parts[0] == "templates" and path.suffix in _TEMPLATE_ENDINGS


def _archive_files(
    raw: bytes, path: Path, context: Context, budget: _Budget, depth: int = 0
) -> dict[str, SourceFile]:
    """Return the files in an archive, whose one top folder is the chart."""
    files: dict[str, SourceFile] = {}
    for entry, data in read_entries(Unpacked(io.BytesIO(raw), "gzip", path), max_entries=MAX_CHART_FILES):
        if entry.kind in {"symlink", "hardlink"}:
            raise FormatError("a link in a chart's archive", subject=f"{path}: {entry.name}")
        budget.take(entry.size, path)
        inner = entry.name.partition("/")[2]
        name = Path(f"{path}/{entry.name}")
        is_packed = is_chart_archive(Path(inner)) and PurePosixPath(inner).parent.name == "charts"
        if entry.kind != "file" or not (is_packed or is_read(inner)):
            continue
        if entry.size > MAX_DEPLOYMENT_FILE_BYTES or (is_packed and depth >= MAX_CHART_DEPTH):
            raise FormatError("a file of a chart is too large, or too deep", subject=name)
        content = read_up_to(data, entry.size)
        if is_packed:
            packed = _archive_files(content, name, context, budget, depth=depth + 1)
            folder = PurePosixPath(inner).with_suffix("").as_posix()
            files.update({f"{folder}/{sub}": file for sub, file in packed.items()})
        else:
            files[inner] = SourceFile(path=name, text=decode(content, name))
            context.sources.add(files[inner])
    return files
