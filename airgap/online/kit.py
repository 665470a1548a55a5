"""Making a kit: fetch the wheels, lay them out, state, sign, and the envelope last (airgap.kit has the form).

Running it again is always right: the same wheels make the same kit, and other people's signatures on it stay.
"""

import contextlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path

from airgap import __version__
from airgap.bundle.files import Folder, media_errors, sync_folder, write_file
from airgap.bundle.seal import STATEMENT_FILE, SUMS_FILE, VERIFY_FILE, signature_file
from airgap.bundle.views import sha256sums
from airgap.errors import AirgapError, IntegrityError
from airgap.kit.statement import ENVELOPE_FILE, FOLDERS, KitStatement, Target
from airgap.oci.digest import Digest
from airgap.online.own_wheel import build_own_wheel
from airgap.online.stating import releasing_root
from airgap.online.wheels import Wheel, fetch
from airgap.progress import Progress
from airgap.site import Site
from airgap.trust.envelope import MAX_ENVELOPE, STATEMENT_TYPE, Envelope
from airgap.trust.keys import Signer

_STREAM = "airgap-kit"
_INSTALLER = ("install.py", "install.sh", VERIFY_FILE)


@dataclass(frozen=True, slots=True)
class KitOrder:
    """How a kit is to be made."""

    to: Path
    """The folder in which the kit's own folder is made."""
    targets: tuple[Target, ...]
    signer: Signer
    now: datetime
    wheels: Path | None = None
    """A folder of wheels to use in place of the index."""


@dataclass(frozen=True, slots=True)
class MadeKit:
    """A sealed kit on disk."""

    path: Path
    statement: KitStatement
    statement_sha256: str
    signers: tuple[str, ...]
    """Key ids."""


def make_kit(site: Site, order: KitOrder, progress: Progress) -> MadeKit:
    """Make the kit, or make it again. The ledger brackets everything."""
    path = order.to / f"{_STREAM}-{__version__}"
    targets = [str(target) for target in order.targets]
    with (
        site.packing(_STREAM),
        site.ledger().attempt("kit", folder=str(path), targets=targets) as attempt,
        tempfile.TemporaryDirectory(prefix="airgap-kit-") as work,
    ):
        releasing_root(site, [order.signer], order.now, progress)
        files = contents(collect(order, Path(work), progress))
        statement = state(files, order.targets, site.name)
        made = _write(path, files, statement, order.signer)
        attempt.add(
            statement_sha256=made.statement_sha256,
            bytes=statement.total_bytes,
            files=len(statement.subjects),
            keys=list(made.signers),
        )
        return made


def collect(order: KitOrder, work: Path, progress: Progress) -> dict[Target, list[Wheel]]:
    """The wheels of each target; the first has pip too, in a version that runs on all of them."""
    own = build_own_wheel(work)
    found: dict[Target, list[Wheel]] = {}
    for target in sorted(order.targets, key=lambda target: target.minor):
        progress.note(f"fetching wheels for {target}")
        folder = work / str(target)
        folder.mkdir()
        wanted = [str(own)] if found else [str(own), "pip"]
        found[target] = fetch(target, wanted, order.wheels, folder)
    return found


def contents(wheels: Mapping[Target, Sequence[Wheel]]) -> dict[str, bytes]:
    """All files of the kit but statement, signatures and envelope, by name.

    Raises `IntegrityError` when two targets got different wheels of one name.
    """
    files = {name: resources.files("airgap.kit").joinpath(name).read_bytes() for name in _INSTALLER}
    for target, found in wheels.items():
        for wheel in found:
            name = f"wheels/{wheel.path.name}"
            with media_errors("cannot read", wheel.path):
                raw = wheel.path.read_bytes()
            if files.setdefault(name, raw) != raw or Digest.of(raw).hex != wheel.sha256:
                raise IntegrityError(
                    "two different wheels of one name", subject=wheel.path.name, got=f"another for {target}"
                )
        files[target.requirements_file] = requirements(target, found)
    files[SUMS_FILE] = sha256sums({name: Digest.of(raw).hex for name, raw in files.items()})
    return files


def requirements(target: Target, wheels: Iterable[Wheel]) -> bytes:
    """What pip is to install there, each with its hash; pip itself only runs, and is not installed."""
    lines = sorted(wheel.requirement for wheel in wheels if wheel.project != "pip")
    return "\n".join([f"# airgap {__version__} on {target}", *lines, ""]).encode("ascii")


def state(files: Mapping[str, bytes], targets: tuple[Target, ...], site: str) -> KitStatement:
    """The statement over these files."""
    sums = {name: Digest.of(raw).hex for name, raw in files.items()}
    return KitStatement(sums, targets, sum(map(len, files.values())), site, __version__)


def _write(path: Path, files: Mapping[str, bytes], statement: KitStatement, signer: Signer) -> MadeKit:
    raw = statement.to_bytes()
    envelope = _envelope(path, raw, signer)
    _unseal(path, envelope.to_bytes())
    for name, content in files.items():
        write_file(path / name, content)
    write_file(path / STATEMENT_FILE, raw)
    signatures = {signature_file(each.keyid): each.sig for each in envelope.signatures}
    for name, content in signatures.items():
        write_file(path / name, content)
    _remove_stale(path, {*files, *signatures})
    write_file(path / ENVELOPE_FILE, envelope.to_bytes())
    keyids = tuple(each.keyid for each in envelope.signatures)
    return MadeKit(path, statement, Digest.of(raw).hex, keyids)


def _envelope(path: Path, payload: bytes, signer: Signer) -> Envelope:
    """The statement, signed; signatures that hold on to the very same statement are kept."""
    kept = None
    with contextlib.suppress(AirgapError), Folder(path) as folder:  # none there, or one that is damaged
        kept = Envelope.parse(folder.read(ENVELOPE_FILE, MAX_ENVELOPE), ENVELOPE_FILE)
    if kept is None or (kept.payload_type, kept.payload) != (STATEMENT_TYPE, payload):
        return Envelope.sign(STATEMENT_TYPE, payload, [signer])
    if any(signer.public_key.verify(kept.message, each.sig) for each in kept.signatures):
        return kept
    return kept.with_signature(signer)


def _unseal(path: Path, envelope: bytes) -> None:
    """Make an earlier kit unfinished before its files change."""
    there = path / ENVELOPE_FILE
    with media_errors("cannot remove", there):
        if there.exists() and there.read_bytes() != envelope:
            there.unlink()
            sync_folder(path)


def _remove_stale(path: Path, wanted: set[str]) -> None:
    """Remove what an earlier kit had in the folders that are ours alone."""
    with media_errors("cannot remove", path):
        for folder in FOLDERS:
            for file in (path / folder).glob("*"):
                if f"{folder}/{file.name}" not in wanted:
                    file.unlink()
