"""Builds airgap's own wheel from the installed files, so that a kit contains the airgap that wrote it.

The same files give the same bytes on every machine: they are sorted, not compressed, and have no times.
"""

import base64
import csv
import hashlib
import re
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import airgap
from airgap.bundle.files import media_errors
from airgap.durable import exists
from airgap.errors import DigestMismatchError, MissingContentError, UnlistedContentError, UsageError

_NAME = "airgap"
_RECORD = "RECORD"
_INSTALLERS = {"INSTALLER", "REQUESTED", _RECORD, "direct_url.json"}
"""The files that pip adds to those of a wheel."""
_MAN_PAGE = re.compile(r"(?:\.\./)*((?:local/)?share/man/man1/airgap[a-z-]*\.1)", re.ASCII)
_DATA = f"{_NAME}-{airgap.__version__}.data/data"
"""The folder in a wheel whose files are installed beside `bin`."""
_TIME = (1980, 1, 1, 0, 0, 0)
_AGAIN = "find out why, then install airgap again"
_HINT = "install airgap with pip, from a wheel or a source tree, and run the installed program"


def build_own_wheel(folder: Path) -> Path:
    """Write the wheel into `folder`, and return its path.

    Every file is compared with what was recorded when it was installed, and none may be missing or have
    been added. If airgap runs from a source tree (an editable installation), there is no such record, and
    the files are used as they are. Raises `UsageError` if airgap was not installed by a Python installer, if
    its version is not the one in its metadata, or if it does not run from the recorded folder. Raises
    `MissingContentError`, `UnlistedContentError` and `DigestMismatchError` for its files.
    """
    installed = _distribution()
    files = dict(_recorded(installed))
    first = f"{_NAME}/__init__.py"
    if first not in files:
        files |= _source_tree()
    elif Path(str(installed.locate_file(first))).resolve() != Path(airgap.__file__).resolve():
        raise UsageError(
            "airgap is installed, but runs from elsewhere",
            subject=Path(airgap.__file__).parent, want=installed.locate_file(_NAME), hint=_HINT,
        )  # fmt: skip
    else:
        _refuse_added(files)
    path = folder / f"{_NAME}-{airgap.__version__}-py3-none-any.whl"
    write_wheel(path, files, f"{_NAME}-{airgap.__version__}.dist-info")
    return path


def write_wheel(path: Path, files: Mapping[str, bytes], info: str) -> None:
    """Write a wheel with these files and their RECORD in the folder `info`."""
    lines = [f"{name},sha256={_record_hash(raw)},{len(raw)}\n" for name, raw in sorted(files.items())]
    record = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    with media_errors("cannot write", path), zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as wheel:
        for name, raw in [*sorted(files.items()), (f"{info}/RECORD", record)]:
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            wheel.writestr(entry, raw)


def _distribution() -> Distribution:
    try:
        installed = distribution(_NAME)
    except PackageNotFoundError as error:
        raise UsageError("airgap is not installed", subject=_NAME, hint=_HINT) from error
    if installed.version != airgap.__version__ or not installed.read_text(_RECORD):
        got = f"metadata of {installed.version}" if installed.read_text(_RECORD) else "no record of its files"
        raise UsageError(
            "airgap was not installed by a Python installer",
            subject=_NAME, want=f"the record of {airgap.__version__}", got=got, hint=_HINT,
        )  # fmt: skip
    return installed


def _recorded(installed: Distribution) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the package, its metadata and its man pages, compared with RECORD.

    RECORD is read directly: from Python 3.12 on, `Distribution.files` omits files that no longer exist.
    """
    for name, want, *_ in csv.reader((installed.read_text(_RECORD) or "").splitlines()):
        top, _, rest = name.partition("/")
        ours = top == _NAME or (top.endswith(".dist-info") and rest not in _INSTALLERS)
        page = _MAN_PAGE.fullmatch(name)
        if (ours or page) and want:
            path = Path(str(installed.locate_file(name)))
            yield (f"{_DATA}/{page[1].removeprefix('local/')}" if page else name), _checked(path, want)


def _checked(path: Path, want: str) -> bytes:
    if not exists(path):
        raise MissingContentError(
            "airgap's own installation is incomplete: missing file", subject=path, hint=_AGAIN
        )
    with media_errors("cannot read", path):
        raw = path.read_bytes()
    if want != (got := f"sha256={_record_hash(raw)}"):
        what = "airgap's own installation was changed: other content"
        raise DigestMismatchError(what, subject=path, want=want, got=got, hint=_AGAIN)
    return raw


def _refuse_added(files: Mapping[str, bytes]) -> None:
    """Refuse files that RECORD does not list: they would be missing where the kit is installed."""
    for name in sorted(_names_in_package() - files.keys()):
        path = Path(airgap.__file__).parents[1] / name
        what = "airgap's own installation was changed: additional file"
        raise UnlistedContentError(what, subject=path, hint=_AGAIN)


def _names_in_package() -> set[str]:
    package = Path(airgap.__file__).parent
    return {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
    }


def _source_tree() -> dict[str, bytes]:
    above = Path(airgap.__file__).parents[1]
    pages = {f"{_DATA}/share/man/man1/{page.name}": page for page in (above / "docs" / "man").glob("*.1")}
    files = {name: above / name for name in _names_in_package()} | pages
    return {name: path.read_bytes() for name, path in sorted(files.items())}


def _record_hash(raw: bytes) -> str:
    """Return the SHA-256 in the form of RECORD: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode("ascii")
