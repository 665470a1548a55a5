"""Makes a kit: fetches the wheels, writes and signs the statement, and writes the envelope last.

`airgap.kit` describes the format. Running it again is safe: the same wheels make the same kit, and other
people's signatures are kept.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path

from airgap import __version__
from airgap.bundle.blob_files import size_of
from airgap.bundle.check_written import OnMedia
from airgap.bundle.contents import STATEMENT_FILE, SUMS_FILE, VERIFY_FILE, BundleContents, sha256sums
from airgap.bundle.files import media_errors
from airgap.bundle.folders import BundleFolders, prepare
from airgap.bundle.medium import Medium, refuse_unfit
from airgap.bundle.writer import BundleWriter, Form
from airgap.errors import IntegrityError
from airgap.kit.install import FOLDERS
from airgap.kit.statement import KIT_ENVELOPE_FILE, KitStatement, KitTarget
from airgap.oci.digest import Digest
from airgap.online.own_wheel import build_own_wheel
from airgap.online.terms import kept_envelopes, note_missing_signatures, releasing_root
from airgap.online.wheels import Wheel, fetch_wheels
from airgap.progress import Progress
from airgap.site import Site
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from airgap.trust.keys import Signer
from airgap.values import dataclass

KIT_FORM = Form(KIT_ENVELOPE_FILE, FOLDERS, small_folders=("wheels", "requirements"))
_STREAM = "airgap-kit"
_INSTALLER = ("install.py", "install.sh", VERIFY_FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class KitOrder:
    """The options for making a kit."""

    to: Path
    """The folder in which the kit's own folder is made."""
    targets: tuple[KitTarget, ...]
    signer: Signer
    now: datetime
    wheels: Path | None = None
    """A folder of wheels to use instead of the index."""
    allow_system: bool = False
    """Also write where no medium is mounted, and into system folders."""
    read_back: bool | None = None
    """Read everything back from the medium at the end; None: only if it is not the system disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKit:
    """A sealed kit on disk."""

    path: Path
    statement: KitStatement
    statement_sha256: str
    envelope: Envelope
    proof: OnMedia

    @property
    def signers(self) -> tuple[str, ...]:
        """The ids of the keys that signed it."""
        return tuple(signature.keyid for signature in self.envelope.signatures)


def make_kit(site: Site, order: KitOrder, progress: Progress) -> MadeKit:
    """Make the kit, or make it again. The ledger records the beginning and the end."""
    path = order.to / f"{_STREAM}-{__version__}"
    targets = [str(target) for target in order.targets]
    with (
        site.packing(_STREAM),
        site.ledger().attempt("kit", folder=str(path), targets=targets) as attempt,
        tempfile.TemporaryDirectory(prefix="airgap-kit-") as work,
    ):
        root = releasing_root(site, [order.signer], order.now, progress)
        refuse_unfit(Medium.of(order.to), order.to, None, allow_system=order.allow_system)
        files = contents(collect(order, Path(work), progress))
        statement = state(files, order.targets, site.name)
        made = _write(path, files, statement, order, progress)
        note_missing_signatures(made.envelope, root, order.now, progress)
        attempt.add(
            statement_sha256=made.statement_sha256,
            bytes=statement.total_bytes,
            files=len(statement.subjects),
            keys=list(made.signers),
            **made.proof.record(),
        )
        return made


def collect(order: KitOrder, work: Path, progress: Progress) -> dict[KitTarget, list[Wheel]]:
    """Fetch the wheels for each target. Those for the oldest Python include pip, which then runs on all."""
    own = build_own_wheel(work)
    wheels: dict[KitTarget, list[Wheel]] = {}
    for target in sorted(order.targets, key=lambda target: target.minor):
        progress.note(f"fetching wheels for {target}")
        folder = work / str(target)
        folder.mkdir()
        wanted = [str(own)] if wheels else [str(own), "pip"]
        wheels[target] = fetch_wheels(target, wanted, order.wheels, folder)
    return wheels


def contents(wheels: Mapping[KitTarget, Sequence[Wheel]]) -> dict[str, bytes]:
    """Return all files of the kit by name, except the statement, the signatures and the envelope.

    Raises `IntegrityError` if two targets got different wheels with the same name.
    """
    files = {name: resources.files("airgap.kit").joinpath(name).read_bytes() for name in _INSTALLER}
    for target, target_wheels in wheels.items():
        for wheel in target_wheels:
            name = f"wheels/{wheel.path.name}"
            with media_errors("cannot read", wheel.path):
                raw = wheel.path.read_bytes()
            if files.setdefault(name, raw) != raw or Digest.of(raw).hex != wheel.sha256:
                raise IntegrityError(
                    "two different wheels have the same name",
                    subject=wheel.path.name,
                    got=f"another for {target}",
                )
        files[target.requirements_file] = requirements(target, target_wheels)
    files[SUMS_FILE] = sha256sums({name: Digest.of(raw).hex for name, raw in files.items()})
    return files


def requirements(target: KitTarget, wheels: Iterable[Wheel]) -> bytes:
    """Return the requirements file for pip, with hashes. It omits pip, which is run but not installed."""
    lines = sorted(wheel.requirement for wheel in wheels if wheel.project != "pip")
    return "\n".join([f"# airgap {__version__} on {target}", *lines, ""]).encode("ascii")


def state(files: Mapping[str, bytes], targets: tuple[KitTarget, ...], site: str) -> KitStatement:
    """Return the statement about these files."""
    sums = {name: Digest.of(raw).hex for name, raw in files.items()}
    return KitStatement(
        subjects=sums,
        targets=targets,
        total_bytes=sum(map(len, files.values())),
        site=site,
        version=__version__,
    )


def _write(
    path: Path, files: Mapping[str, bytes], statement: KitStatement, order: KitOrder, progress: Progress
) -> MadeKit:
    """Write the kit to `path` and read it back, as `airgap pack` does with a bundle."""
    raw = statement.to_bytes()
    envelope = _envelope(path, raw, order.signer)
    _preflight(path, {**files, STATEMENT_FILE: raw}, order)
    contents = BundleContents(dict(files), statement.subjects, statement.total_bytes)
    with BundleWriter.open(BundleFolders((path,)), progress.note, form=KIT_FORM) as writer:
        writer.seal(contents, envelope)
        proof = writer.prove(progress.phase, order.read_back)
    return MadeKit(
        path=path, statement=statement, statement_sha256=Digest.of(raw).hex, envelope=envelope, proof=proof
    )


def _preflight(path: Path, content: Mapping[str, bytes], order: KitOrder) -> None:
    """Refuse a kit that does not fit, before anything is written. Existing files are not counted."""
    need = sum(len(raw) for name, raw in content.items() if size_of(path / name) != len(raw))
    medium = Medium.of(order.to)
    refuse_unfit(medium, order.to, need, allow_system=order.allow_system, what="the kit")
    prepare(order.to, allow_system=order.allow_system)


def _envelope(path: Path, payload: bytes, signer: Signer) -> Envelope:
    """Sign the statement. Valid signatures on the same statement are kept."""
    kept = next(kept_envelopes([path], KIT_ENVELOPE_FILE, payload), None)
    if kept is None:
        return Envelope.sign(STATEMENT_TYPE, payload, [signer])
    if any(signer.public_key.verify(kept.message, signature.sig) for signature in kept.signatures):
        return kept
    return kept.with_signature(signer)
