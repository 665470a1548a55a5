"""Finds receipts in the files and folders that a person names, such as a medium that came back."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from airgap.bundle.files import media_errors
from airgap.carry.receipt_copies import RECEIPT_SUFFIX, RECEIPTS_FOLDER
from airgap.errors import UsageError
from airgap.limits import MAX_IMPORTED_RECEIPTS, MAX_RECEIPT_FOLDER_NAMES


def receipt_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files in `paths`. Of a folder, these are the files with a receipt's name that are in it, and
    those in its folder `receipts/`; links are not followed there.

    Raises:
        UsageError: A folder has no receipts, or there are more than one command imports.
    """
    files: dict[Path, None] = {}
    for path in paths:
        files |= dict.fromkeys(_in_folder(path) if path.is_dir() else [path])
        if len(files) > MAX_IMPORTED_RECEIPTS:
            raise UsageError(
                "too many receipts for one command", subject=path, want=f"at most {MAX_IMPORTED_RECEIPTS:,}",
                hint="name some of the files",
            )  # fmt: skip
    return list(files)


def _in_folder(folder: Path) -> list[Path]:
    below = folder / RECEIPTS_FOLDER
    folders = [folder, below] if below.is_dir() and not below.is_symlink() else [folder]
    files = sorted(path for each in folders for path in _named_files(each))
    if not files:
        raise UsageError(
            "no receipts in this folder", subject=folder, want=f"files named *{RECEIPT_SUFFIX}",
            hint="`airgap load` writes them into receipts/ beside the bundle; name other files one by one",
        )  # fmt: skip
    return files


def _named_files(folder: Path) -> Iterator[Path]:
    with media_errors("cannot read", folder), os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count == MAX_RECEIPT_FOLDER_NAMES:
                raise UsageError(
                    "too many files in this folder", subject=folder,
                    want=f"at most {MAX_RECEIPT_FOLDER_NAMES:,}", hint="name the receipts themselves",
                )  # fmt: skip
            if entry.name.endswith(RECEIPT_SUFFIX) and entry.is_file(follow_symlinks=False):
                yield folder / entry.name
