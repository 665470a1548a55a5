"""airgap's own wheel, made again from what is installed: the kit carries the very airgap that writes it.

The bytes are the same for the same files, on every machine: sorted, not compressed, with no times.
"""

import base64
import csv
import hashlib
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
"""What pip writes beside the files of a wheel."""
_TIME = (1980, 1, 1, 0, 0, 0)
_AGAIN = "find out why, then install airgap again"
_HINT = "install airgap with pip, out of a wheel or a source tree, and run it from there"


def build_own_wheel(folder: Path) -> Path:
    """Write the wheel into `folder`; its path.

    Every file is compared with what was recorded when it was installed, and none may be missing or have
    been added. Where airgap runs out of a source tree (an editable installation) there is no such record,
    and the files are taken as they are. Raises `UsageError` when airgap was not installed by a Python
    installer at all, is another version than its metadata says, or runs from elsewhere than was
    recorded; `MissingContentError`, `UnlistedContentError` and `DigestMismatchError` for its files.
    """
    found = _distribution()
    files = dict(_recorded(found))
    first = f"{_NAME}/__init__.py"
    if first not in files:
        files |= _source_tree()
    elif not _same_file(found.locate_file(first), airgap.__file__):
        raise UsageError(
            "airgap is installed, but runs from elsewhere",
            subject=Path(airgap.__file__).parent, want=found.locate_file(_NAME), hint=_HINT,
        )  # fmt: skip
    else:
        _refuse_added(files)
    path = folder / f"{_NAME}-{airgap.__version__}-py3-none-any.whl"
    write_wheel(path, files, f"{_NAME}-{airgap.__version__}.dist-info")
    return path


def write_wheel(path: Path, files: Mapping[str, bytes], info: str) -> None:
    """A wheel of these files, and the RECORD of them in the folder `info`."""
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
        found = distribution(_NAME)
    except PackageNotFoundError as error:
        raise UsageError("airgap is not installed, only run", subject=_NAME, hint=_HINT) from error
    if found.version != airgap.__version__ or not found.read_text(_RECORD):
        got = f"metadata of {found.version}" if found.read_text(_RECORD) else "no record of its files"
        raise UsageError(
            "airgap was not installed by a Python installer",
            subject=_NAME, want=f"the record of {airgap.__version__}", got=got, hint=_HINT,
        )  # fmt: skip
    return found


def _recorded(found: Distribution) -> Iterator[tuple[str, bytes]]:
    """The files of the package and of its metadata, each as it was installed.

    Read here from RECORD: from Python 3.12 on, `Distribution.files` leaves out what is not there any more.
    """
    for name, want, *_ in csv.reader((found.read_text(_RECORD) or "").splitlines()):
        top, _, rest = name.partition("/")
        ours = top == _NAME or (top.endswith(".dist-info") and rest not in _INSTALLERS)
        if ours and want:
            yield name, _checked(Path(str(found.locate_file(name))), want)


def _checked(path: Path, want: str) -> bytes:
    if not exists(path):
        raise MissingContentError("airgap itself is not complete: missing file", subject=path, hint=_AGAIN)
    with media_errors("cannot read", path):
        raw = path.read_bytes()
    if want != (got := f"sha256={_record_hash(raw)}"):
        what = "airgap itself was changed after it was installed"
        raise DigestMismatchError(what, subject=path, want=want, got=got, hint=_AGAIN)
    return raw


def _refuse_added(files: Mapping[str, bytes]) -> None:
    """What is imported here and not recorded would be missing where the kit is installed."""
    for name in sorted(_names_in_package() - files.keys()):
        path = Path(airgap.__file__).parents[1] / name
        what = "airgap itself was changed after it was installed: file that was not"
        raise UnlistedContentError(what, subject=path, hint=_AGAIN)


def _same_file(one: object, other: object) -> bool:
    return Path(str(one)).resolve() == Path(str(other)).resolve()


def _names_in_package() -> set[str]:
    package = Path(airgap.__file__).parent
    return {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
    }


def _source_tree() -> dict[str, bytes]:
    above = Path(airgap.__file__).parents[1]
    return {name: (above / name).read_bytes() for name in sorted(_names_in_package())}


def _record_hash(raw: bytes) -> str:
    """SHA-256 as RECORD spells it: base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode("ascii")
