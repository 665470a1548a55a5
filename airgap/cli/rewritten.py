"""Writes the copies of deployment files for the other side, and shows where they are."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli.options import Map
from airgap.errors import NotCarriedError, UsageError
from airgap.values import dataclass

if TYPE_CHECKING:
    from airgap.discover.findings import Discovery
    from airgap.discover.offline_names import OfflineNames
    from airgap.discover.rewrite import Copy, Rewriting
    from airgap.oci.files_artifact import CarriedFile
    from airgap.oci.reference import ImageReference

_NAME_FORMS = ("both", "digest", "tag")
_MAX_LISTED = 20
"""Images that an error names."""

Rewrite = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write copies of the files with the images' offline names into DIR."),
]
Lock = Annotated[
    Path | None,
    typer.Option(metavar="LOCK", help="With --rewrite: the lock of the manifest that is carried."),
]
Names = Annotated[
    str,
    typer.Option(
        metavar="FORM",
        help="With --rewrite: `both` for NAME:TAG@DIGEST, `digest` for NAME@DIGEST, or `tag` for NAME:TAG, "
        "which Docker engines with the classic image store need.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriter:
    """How copies are written."""

    rewrite: Rewrite = None
    lock: Lock = None
    names: Names = "both"
    map: Map = None

    def request(self) -> "Request | None":
        """Return what is asked for; None without --rewrite. Raises `UsageError` for options without it."""
        if self.names not in _NAME_FORMS:
            raise UsageError("--names is not a form of names", want=" or ".join(_NAME_FORMS), got=self.names)
        if self.rewrite is None:
            if self.lock or self.map or self.names != _NAME_FORMS[0]:
                raise UsageError("--rewrite is missing", want="--rewrite DIR with --lock, --map and --names")
            return None
        if self.lock is None:
            hint = "run airgap lock on the manifest first, and name its lock: --lock stack.lock.yaml"
            raise UsageError("--lock is missing", subject="--rewrite", hint=hint)
        return Request(folder=self.rewrite, lock=self.lock, names=self.names, map=tuple(self.map or ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The copies that a person asks for."""

    folder: Path
    lock: Path
    names: str
    map: tuple[str, ...]

    def rewritten(self, discovery: "Discovery", paths: Sequence[Path], *, guesses: bool) -> "Rewriting":
        """Return the copies of the files of a discovery.

        Raises:
            UsageError: The folder for the copies is in a folder that is read.
            NotCarriedError: The lock lacks images that the files run.
            FormatError: The lock cannot be read.
        """
        from airgap.discover.rewrite import rewrite

        folders = [path for path in paths if path.is_dir()]
        _refuse_inside(self.folder, folders)
        found = rewrite(discovery, self._names(), folders, guesses=guesses)
        if found.missing:
            raise _not_carried(found.missing, self.lock)
        return found

    def _names(self) -> "OfflineNames":
        from airgap.discover.offline_names import NameForm, OfflineNames
        from airgap.manifest.lock import Lock as LockFile
        from airgap.offline.rename import new_name, parse_renamings

        renamings = parse_renamings(self.map)
        locked = LockFile.load(self.lock).images
        return OfflineNames.of(locked, NameForm(self.names), lambda name: new_name(name, renamings))

    def write(self, copies: "Sequence[Copy]", *, force: bool) -> list[dict[str, Any]]:
        """Write the copies, each whole or not at all, and return them for `--json`.

        Raises:
            UsageError: A different file has the name of a copy, and `force` is not given; nothing is written.
            PolicyError: A link has the name of a copy.
        """
        from airgap.endpoints.files_folder import FilesFolder
        from airgap.oci.files_artifact import FileState, check_file_names

        target = FilesFolder(self.folder)
        carried = [(_carried(copy), copy) for copy in copies]
        check_file_names((file.name for file, _ in carried), str(self.folder))
        _refuse_originals(self.folder, copies)
        for file, _ in carried:
            if target.state_of(file) is FileState.DIFFERENT and not force:
                hint = "choose another folder, or overwrite the copies with --force; nothing was written"
                raise UsageError("a different file exists", subject=self.folder / file.name, hint=hint)
        for file, copy in carried:
            if target.state_of(file) is not FileState.SAME:
                target.put_file(file, io.BytesIO(copy.raw), replace=True)
        return [
            {"file": copy.source.name, "copy": str(self.folder / copy.path), "images": copy.count}
            for copy in copies
        ]


def _carried(copy: "Copy") -> "CarriedFile":
    from airgap.oci.digest import Digest
    from airgap.oci.files_artifact import CarriedFile, FileMode

    return CarriedFile(
        name=copy.path.as_posix(), mode=FileMode.DATA, digest=Digest.of(copy.raw), size=len(copy.raw)
    )


def _not_carried(missing: "Sequence[ImageReference]", lock: Path | None) -> NotCarriedError:
    names = ", ".join(map(str, missing[:_MAX_LISTED]))
    more = f" and {len(missing) - _MAX_LISTED} more" if len(missing) > _MAX_LISTED else ""
    hint = "add them to the manifest and run airgap lock; no copy was written"
    return NotCarriedError(
        "the lock lacks images that the files run", subject=lock, got=f"{names}{more}", hint=hint
    )


def _refuse_inside(folder: Path, read: Iterable[Path]) -> None:
    for path in read:
        if folder.resolve().is_relative_to(path.resolve()):
            want = f"a folder outside of {path}, so that the next run does not read the copies"
            raise UsageError("the copies would be in a folder that is read", subject=folder, want=want)


def _refuse_originals(folder: Path, copies: "Sequence[Copy]") -> None:
    """Raise `UsageError` if a copy would replace the file that it is made from."""
    originals = {copy.source.path.resolve() for copy in copies}
    if twin := next((copy for copy in copies if (folder / copy.path).resolve() in originals), None):
        hint = "choose another folder for the copies"
        raise UsageError("a copy would replace its original", subject=folder / twin.path, hint=hint)
