"""Finds the trust root that fits a fingerprint, on a medium, in a bundle, in a folder or in a file.

Everything there is hostile: files are only hashed until one fits what a person was told, or what the ledger
recorded. The versions after it count by their signatures.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path

from airgap.bundle.files import Files, Folder, media_errors
from airgap.bundle.volumes import open_bundle
from airgap.errors import AirgapError, UsageError
from airgap.limits import MAX_RECOGNISED_BELOW, MAX_ROOT_BYTES, MAX_ROOT_STEPS, MAX_ROOTS_BYTES
from airgap.trust.root import SignedRoot, walk_roots
from airgap.values import dataclass

_FULL = 64


@dataclass(frozen=True, slots=True)
class FoundRoots:
    """The roots to install, each a successor of the one before, and the bundles beside them."""

    roots: tuple[SignedRoot, ...]
    bundles: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """A bundle or a folder that has root files."""

    path: Path
    raws: Mapping[int, bytes] = field(hash=False)
    """The files by the version that their names state."""


def normal_fingerprint(text: str, subject: object) -> str:
    """Return a fingerprint as people write it in 64 hex digits. Raises `UsageError`."""
    given = "".join(text.lower().split()).replace(":", "")
    if len(given) != _FULL:
        raise UsageError("not a fingerprint", subject=subject, want="64 hex digits", got=f"{len(given)}")
    return given


def read_root(path: Path) -> SignedRoot:
    """Read a root from a file. Its own signature is checked, which does not make it trusted."""
    with Folder(path.absolute().parent) as folder:
        return SignedRoot.parse(folder.read(path.name, MAX_ROOT_BYTES), str(path))


def find_roots(path: Path, fingerprint: str | None, recorded: Mapping[int, str]) -> FoundRoots:
    """Find the root that a person means, and those that follow it; if none fits, any other one, which
    `install_root` refuses.

    Args:
        path: A root file, or a bundle, a medium with bundles, or a folder with root files. A file that fits
            is taken alone; otherwise the one that fits may be beside it.
        fingerprint: What the sending side told; None if the ledger must know the root, or one before it.
        recorded: The fingerprints of the roots that were installed here, by version.

    Raises:
        UsageError: There is no root at `path`, or `fingerprint` is not one.
    """
    wanted = None if fingerprint is None else normal_fingerprint(fingerprint, path)
    if not path.is_dir() and not (path.is_file() and _is_tar(path)):
        named = read_root(path)
        if wanted in (None, named.fingerprint):
            return FoundRoots((named,), ())
        places = [_place(path.absolute().parent, "")]
    else:
        named, places = None, [place for place in _places(path) if place.raws]
        if not places:
            raise UsageError("no trust root there", subject=path, want="a bundle, or files like 1.root.json")
    if chains := [chain for place in places if (chain := _chain(place, wanted, recorded))]:
        return FoundRoots(max(chains, key=lambda chain: chain[-1].root.version), _bundles(places))
    if named is None:
        version, raw = next(iter(places[0].raws.items()))
        named = SignedRoot.parse(raw, f"{places[0].path}: trust root {version}")
    return FoundRoots((named,), ())


def _is_tar(path: Path) -> bool:
    with media_errors("cannot read", path), path.open("rb") as file:
        return file.read(262)[257:] == b"ustar"


def _chain(place: _Place, wanted: str | None, recorded: Mapping[int, str]) -> tuple[SignedRoot, ...]:
    """Return the roots from the first one that was recorded, or else the wanted one; none without it."""
    sums = {version: hashlib.sha256(raw).hexdigest() for version, raw in place.raws.items()}
    if wanted is not None and wanted not in sums.values():
        return ()
    known = [version for version, sha256 in sums.items() if recorded.get(version) == sha256]
    told = [version for version, sha256 in sums.items() if sha256 == wanted]
    for version in (*known[:1], *told):
        first = SignedRoot.parse(place.raws[version], f"{place.path}: trust root {version}")
        chain = (first, *walk_roots(first, place.raws))
        if wanted is None or any(signed.fingerprint == wanted for signed in chain):
            return chain
    return ()


def _bundles(places: list[_Place]) -> tuple[Path, ...]:
    return tuple(place.path for place in places if not place.path.is_dir() or (place.path / "trust").is_dir())


def _places(path: Path) -> Iterator[_Place]:
    """Yield the roots of `path`, and of the bundles below. What cannot be read below counts as absent."""
    if not path.is_dir():
        yield _bundle(path)
        return
    yield _place(path, "")
    if (path / "trust").is_dir():
        yield _bundle(path)
        return
    with media_errors("cannot read", path), os.scandir(path) as entries:
        names = sorted(entry.name for entry, _ in zip(entries, range(MAX_RECOGNISED_BELOW), strict=False))
    for name in names:
        below = path / name
        if name == "trust" or (below / "trust").is_dir() or (below.suffix == ".tar" and below.is_file()):
            with contextlib.suppress(AirgapError):
                yield _bundle(below)


def _bundle(path: Path) -> _Place:
    with open_bundle(path, alone=True) as files:
        return _Place(path, _read(files, "trust/"))


def _place(path: Path, prefix: str) -> _Place:
    with Folder(path) as files:
        return _Place(path, _read(files, prefix))


def _read(files: Files, prefix: str) -> dict[int, bytes]:
    raws: dict[int, bytes] = {}
    left = MAX_ROOTS_BYTES
    for version in range(1, MAX_ROOT_STEPS + 1):
        if files.has(name := f"{prefix}{version}.root.json"):
            raws[version] = raw = files.read(name, min(left, MAX_ROOT_BYTES))
            left -= len(raw)
    return raws
