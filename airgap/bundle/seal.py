"""Closing a bundle: the small files, the sums, and at last the envelope (FORMAT.md §6)."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from airgap.bundle.files import holds, media_errors, write_file
from airgap.bundle.views import (
    INDEX_FILE,
    MANIFEST_FILE,
    OCI_LAYOUT,
    OCI_LAYOUT_FILE,
    DockerView,
    index_json,
    manifest_json,
    sha256sums,
)
from airgap.durable import exists, sync_folder
from airgap.errors import FormatError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference

ENVELOPE_FILE = "bundle.dsse.json"
STATEMENT_FILE = "statement.json"
SUMS_FILE = "SHA256SUMS"
VERIFY_FILE = "VERIFY.txt"
FOLDERS = ("blobs", "blobs/sha256", "blobs/sha512", "sig", "trust")
SET_ASIDE = ENVELOPE_FILE + ".part"

_KEYID = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that a statement says of files, and the small files themselves."""

    small: dict[str, bytes] = field(hash=False)
    """The bytes of all files but blobs, statement, signatures and envelope, by name."""
    subjects: dict[str, str] = field(hash=False)
    """SHA-256 in hex of all files that the statement lists, by name."""
    total_bytes: int


def describe(
    blobs: Mapping[Digest, tuple[str, int]],
    images: Sequence[tuple[ImageReference, Descriptor]],
    views: Sequence[DockerView],
    roots: Mapping[int, bytes],
) -> Contents:
    """The contents of a bundle with these blobs (SHA-256 in hex and size, by digest)."""
    small = {
        OCI_LAYOUT_FILE: OCI_LAYOUT,
        INDEX_FILE: index_json(images),
        MANIFEST_FILE: manifest_json(views),
        VERIFY_FILE: resources.files("airgap.bundle").joinpath(VERIFY_FILE).read_bytes(),
        **{f"trust/{version}.root.json": raw for version, raw in roots.items()},
    }
    sums = {name: Digest.of(raw).hex for name, raw in small.items()}
    sums |= {digest.path: sha256 for digest, (sha256, _) in blobs.items()}
    small[SUMS_FILE] = sha256sums(sums)
    sums[SUMS_FILE] = Digest.of(small[SUMS_FILE]).hex
    total = sum(size for _, size in blobs.values()) + sum(map(len, small.values()))
    return Contents(small, sums, total)


def write_small(folder: Path, contents: Contents) -> None:
    """Write all files but blobs, statement, signatures and envelope."""
    for name, raw in contents.small.items():
        write_file(folder / name, raw)
    remove_stale(folder / "trust", {Path(name).name for name in contents.small if name.startswith("trust/")})


def commit(
    folder: Path,
    envelope: bytes,
    signatures: Mapping[str, bytes],
    name: str = ENVELOPE_FILE,
    folders: Collection[str] = FOLDERS,
) -> None:
    """Write the raw signatures by key id, and the envelope, called `name`, as the very last. `folders` are
    those of the bundle.
    """
    names = {signature_file(keyid): raw for keyid, raw in signatures.items()}
    for file, raw in names.items():
        write_file(folder / file, raw)
    remove_stale(folder / "sig", {Path(file).name for file in names})
    _sync_names(folder, folders)
    write_file(folder / name, envelope)


def _sync_names(folder: Path, folders: Collection[str]) -> None:
    """Make all names durable that an earlier attempt may have given and not synced."""
    for path in (*(folder / name for name in folders), folder, folder.parent):
        with media_errors("cannot write", path):
            if path.is_dir():
                sync_folder(path)


def signature_file(keyid: str, envelope: str = ENVELOPE_FILE) -> str:
    """Where the raw bytes of the signature by this key are. An envelope says what it likes of who signed it:
    raises `FormatError` for what does not look like a key id, such as a way to another folder.
    """
    if not _KEYID.fullmatch(keyid):
        want, got = "64 lower-case hex digits", repr(keyid[:80])
        raise FormatError("not a key id", subject=envelope, want=want, got=got)
    return f"sig/{keyid[:16]}.sig"


def unseal(folder: Path, envelope: str = ENVELOPE_FILE) -> None:
    """Make a bundle unfinished before its content changes, so that no half state looks complete.

    The envelope is set aside, not lost: it may hold other people's signatures.
    """
    path = folder / envelope
    with media_errors("cannot rename", path):
        if exists(path):
            path.replace(path.with_name(f"{envelope}.part"))
            sync_folder(folder)


def unseal_unless(folder: Path, there: Mapping[str, bytes], envelope: str = ENVELOPE_FILE) -> None:
    """Make a bundle unfinished before a small file of it changes."""
    with media_errors("cannot read", folder):
        same = all(holds(folder / name, raw) for name, raw in there.items())
    if not same:
        unseal(folder, envelope)


def remove_stale(folder: Path, wanted: set[str]) -> None:
    """Remove files of an earlier attempt from a folder that is ours alone."""
    with media_errors("cannot remove", folder):
        for path in folder.glob("*"):
            if path.name not in wanted:
                path.unlink()
