"""airgap's own wheel, made again from what is installed: the kit carries the very airgap that writes it.

The bytes are the same for the same files, on every machine: sorted, not compressed, with no times.
"""

import base64
import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path

import airgap
from airgap.bundle.files import media_errors
from airgap.errors import DigestMismatchError, UsageError

_NAME = "airgap"
_INSTALLERS = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}
"""What pip writes beside the files of a wheel."""
_TIME = (1980, 1, 1, 0, 0, 0)
_HINT = "install airgap with pip, out of a wheel or a source tree, and run it from there"


def build_own_wheel(folder: Path) -> Path:
    """Write the wheel into `folder`; its path.

    Every file is compared with what was recorded when it was installed. Where airgap runs out of a source
    tree (an editable installation) there is no such record, and the files are taken as they are.
    Raises `UsageError` when airgap was not installed by a Python installer at all, or is another
    version than its metadata says, and `DigestMismatchError`.
    """
    found = _distribution()
    files = dict(_recorded(found))
    if f"{_NAME}/__init__.py" not in files:
        files |= _source_tree()
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
    if found.version != airgap.__version__ or not found.files:
        got = f"metadata of {found.version}" if found.files else "no record of its files"
        raise UsageError(
            "airgap was not installed by a Python installer",
            subject=_NAME, want=f"the record of {airgap.__version__}", got=got, hint=_HINT,
        )  # fmt: skip
    return found


def _recorded(found: Distribution) -> Iterator[tuple[str, bytes]]:
    """The files of the package and of its metadata, each as it was installed."""
    for each in found.files or ():
        ours = each.parts[0] == _NAME or (
            each.parts[0].endswith(".dist-info") and each.name not in _INSTALLERS
        )
        if ours and each.hash is not None:
            yield each.as_posix(), _checked(each)


def _checked(each: PackagePath) -> bytes:
    path = Path(str(each.locate()))
    with media_errors("cannot read", path):
        raw = path.read_bytes()
    want, got = each.hash.value if each.hash else "", _record_hash(raw)
    if want != got:
        raise DigestMismatchError(
            "airgap itself was changed after it was installed",
            subject=path, want=f"sha256={want}", got=f"sha256={got}",
            hint="find out why, then install airgap again",
        )  # fmt: skip
    return raw


def _source_tree() -> dict[str, bytes]:
    package = Path(airgap.__file__).parent
    return {
        f"{_NAME}/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
    }


def _record_hash(raw: bytes) -> str:
    """SHA-256 as RECORD spells it: base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode("ascii")
