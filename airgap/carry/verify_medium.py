"""Check, after a medium was plugged in again on either side, that it still holds the bundle or volumes that
were written to it. No image is loaded, and the bundle may be for another site.
"""

from collections.abc import Iterator
from pathlib import Path

from airgap.bundle.bundle_tar import TarFolder
from airgap.bundle.check_written import OnMedia, prove
from airgap.bundle.contents import ENVELOPE_FILE, STATEMENT_FILE, signature_file
from airgap.bundle.files import Files
from airgap.bundle.read_back import Written
from airgap.bundle.volume_table import VOLUME_FILE
from airgap.bundle.volumes import BundleLocation, VolumeSet, open_bundle
from airgap.carry.choose_sender import operator_for
from airgap.carry.operator import Operator
from airgap.carry.verify import CheckedBundle, check
from airgap.carry.verify_recorded import bundle_attempt, bundle_details, keeper
from airgap.oci.digest import Digest
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class MediumReport:
    """The result of checking a medium."""

    bundle: CheckedBundle
    proof: OnMedia
    volumes: tuple[int, ...]
    """The volumes that were read; empty for a bundle that is not cut."""
    of: int


def check_media(location: BundleLocation, operator: Operator) -> MediumReport:
    """Do steps 1 to 6, 8 and 9, and read every byte of the inserted media. Raises the first error.

    Parts of a blob are compared with the digests in `volume.json`, which is not signed: only verifying all
    volumes proves the blob.
    """
    operator = operator_for(location, operator)
    with (
        bundle_attempt(location, operator.site, "media-verify") as attempt,
        open_bundle(location, alone=True) as folder,
    ):
        bundle = check(folder, keeper(operator.site, operator.now))
        attempt.add(**bundle_details(bundle))
        proof = prove(_groups(folder, bundle), operator.progress.phase, wanted=True)
        volumes: tuple[int, ...] = ()
        of = 1
        if isinstance(folder, VolumeSet):
            volumes, of = tuple(sorted(folder.folders)), folder.table.cut.of
        attempt.add(**proof.record(), volumes=list(volumes))
        return MediumReport(bundle, proof, volumes, of)


def _groups(folder: Files, bundle: CheckedBundle) -> dict[Path, list[Written]]:
    if isinstance(folder, VolumeSet):
        return {
            volume.path: list(_on_volume(folder, number, bundle)) for number, volume in folder.folders.items()
        }
    if isinstance(folder, TarFolder):
        return {folder.path.parent: list(_in_tar(folder, bundle))}
    return {folder.path: [Written(folder.path / name, sha256, size) for name, sha256, size in _files(bundle)]}


def _files(bundle: CheckedBundle) -> Iterator[tuple[str, str, int]]:
    """Yield names, SHA-256 and sizes of all files of a bundle that is not cut."""
    for name, sha256 in bundle.statement.subjects.items():
        yield name, sha256, bundle.sizes[name]
    yield from _sealed(bundle)


def _sealed(bundle: CheckedBundle) -> Iterator[tuple[str, str, int]]:
    raw = {STATEMENT_FILE: bundle.envelope.payload, ENVELOPE_FILE: bundle.envelope.to_bytes()}
    raw |= {signature_file(signature.keyid): signature.sig for signature in bundle.envelope.signatures}
    for name, data in raw.items():
        yield name, Digest.of(data).hex, len(data)


def _on_volume(volumes: VolumeSet, number: int, bundle: CheckedBundle) -> Iterator[Written]:
    path = volumes.folders[number].path
    cut = {digest.path for digest in volumes.table.cut.parts}
    for name, sha256, size in _files(bundle):
        if name not in cut:
            yield Written(path / name, sha256, size)
    for name, (_, part) in volumes.parts.items():
        if part.volume == number:
            yield Written(path / name, part.sha256, part.size)
    table = volumes.table.on(number).to_bytes()
    yield Written(path / VOLUME_FILE, Digest.of(table).hex, len(table))


def _in_tar(folder: TarFolder, bundle: CheckedBundle) -> Iterator[Written]:
    for name, sha256, size in _files(bundle):
        yield Written(folder.path, sha256, size, folder.open(name).start)
