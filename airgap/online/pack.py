"""Making a bundle of a plan: collect, state, sign, and the envelope last (FORMAT.md §6).

Running it again is always right. An unfinished bundle is gone on with; a finished one of the same
lock is checked, mended where it is damaged, and keeps its statement, so that one place in a stream
never has two.
"""

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from airgap import __version__
from airgap.audit.chain import check_ledger
from airgap.bundle.files import Folder, media_errors
from airgap.bundle.seal import (
    ENVELOPE_FILE,
    SET_ASIDE,
    STATEMENT_FILE,
    Contents,
    commit,
    unseal,
    write_contents,
    write_statement,
)
from airgap.bundle.statement import (
    MAX_STATEMENT,
    Checkpoint,
    ImageRecord,
    Previous,
    Requirement,
    Sender,
    Statement,
)
from airgap.bundle.store import BlobStore
from airgap.bundle.views import INDEX_FILE, MAX_INDEX, read_index
from airgap.errors import AirgapError, ExpiredError, IntegrityError, NoSpaceError, UnknownKeyError, UsageError
from airgap.manifest import LockedImage, TransferManifest
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from airgap.online.collect import CollectedImage, Collector
from airgap.online.plan import TransferPlan, spared
from airgap.progress import Progress
from airgap.site import Mark, Site
from airgap.times import format_time
from airgap.trust.envelope import MAX_ENVELOPE, STATEMENT_TYPE, Envelope, pae
from airgap.trust.keys import Signer
from airgap.trust.root import TrustRoot

CLOCK_SKEW = timedelta(days=1)
"""How far a receiver's clock may be behind the sender's before a new bundle is "not valid yet"."""

DEFAULT_LIFETIME = timedelta(days=90)
_MARGIN = 4 << 20
"""Bytes left free beside the blobs, for the small files and the file system's own."""


@dataclass(frozen=True, slots=True)
class Order:
    """How a bundle is to be made."""

    to: Path
    """The folder in which the bundle's own folder is made."""
    signers: tuple[Signer, ...]
    now: datetime
    lifetime: timedelta = DEFAULT_LIFETIME
    jobs: int = 4


@dataclass(frozen=True, slots=True)
class PackedBundle:
    """A sealed bundle on disk."""

    folder: Path
    statement: Statement
    statement_sha256: str
    fresh: bool
    """False when it was there already, whole, and nothing had to be done."""


def pack(
    manifest: TransferManifest, plan: TransferPlan, site: Site, order: Order, progress: Progress
) -> PackedBundle:
    """Make the bundle of `plan`, or finish it. The ledger brackets everything."""
    root = _releasing_root(site, order, progress)
    earlier = _find_earlier(manifest, plan, site, root, order)
    previous = site.sent(manifest.name)
    serial = earlier.statement.serial if earlier else _next_serial(previous, root.epoch)
    folder = order.to / f"{manifest.name}-{serial:04d}"
    bundle = {"stream": manifest.name, "serial": serial, "folder": str(folder)}
    transfer = [f"{key}={value}" for key, value in manifest.transfer.items()]
    with site.ledger().attempt("pack", bundle=bundle, transfer=transfer) as attempt:
        if earlier is None:
            _refuse_strange(folder)
        _check_space(plan, folder)
        store = BlobStore(folder)
        held = earlier.held if earlier else {}
        collected = Collector(store, order.jobs, progress, held, lambda: unseal(folder)).collect(plan)
        images = [(image.record.name, image.graph.root) for image in collected]
        views = [view for image in collected if (view := image.graph.docker_view(image.record.name))]
        contents = write_contents(folder, store, images, views, site.roots())
        if earlier:
            statement = earlier.confirmed(contents)
        else:
            statement = _state(
                manifest, collected, contents, root,
                site=site, order=order, place=(serial, previous), held=plan.held,
            )  # fmt: skip
        whole = earlier is not None and store.written == 0 and (folder / ENVELOPE_FILE).exists()
        sha256 = _seal(folder, statement, order.signers, site)
        attempt.add(
            statement_sha256=sha256,
            bytes=contents.total_bytes,
            files=len(contents.subjects),
            images=[{"reference": str(i.name), "digest": str(i.digest)} for i in statement.images],
            keys=[signer.public_key.keyid for signer in order.signers],
        )
    return PackedBundle(folder, statement, sha256, fresh=not whole)


def _releasing_root(site: Site, order: Order, progress: Progress) -> TrustRoot:
    """The trust root, when it lets these signers release bundles now."""
    root = site.root().root
    if order.now >= root.expires:
        want, got = f"before {format_time(root.expires)}", format_time(order.now)
        raise ExpiredError("the trust root has expired", subject=root.name, want=want, got=got)
    role = root.roles["release"]
    for signer in order.signers:
        if signer.public_key.keyid not in role.keyids:
            raise UnknownKeyError(
                "this key may not sign bundles",
                subject=signer.public_key.keyid,
                want="a key of the role release in the trust root",
            )
    if len(order.signers) < role.threshold:
        progress.note(
            f"{len(order.signers)} of {role.threshold} signatures: others must sign before it loads"
        )
    return root


def _next_serial(sent: Mark | None, epoch: int) -> int:
    return sent.serial + 1 if sent and sent.epoch == epoch else 1


@dataclass(frozen=True, slots=True)
class _Earlier:
    """A bundle of the same lock that this site has stated before, finished or not."""

    statement: Statement
    held: Mapping[ImageReference, Descriptor]

    def confirmed(self, contents: Contents) -> Statement:
        """The earlier statement, when the files are still the ones it names."""
        if contents.subjects != self.statement.subjects:
            raise IntegrityError(
                "a source no longer gives the bytes that were signed",
                subject=self.statement.title,
                hint="move the bundle's folder away and run the same command again: it gets a new serial",
            )
        return self.statement


def _find_earlier(
    manifest: TransferManifest, plan: TransferPlan, site: Site, root: TrustRoot, order: Order
) -> _Earlier | None:
    mark = site.sent(manifest.name)
    if mark is None:
        return None
    path = order.to / f"{manifest.name}-{mark.serial:04d}"
    if not (path / STATEMENT_FILE).is_file():
        return None
    with Folder(path) as folder:
        raw = folder.read(STATEMENT_FILE, MAX_STATEMENT)
        if Digest.of(raw).hex != mark.statement_sha256:
            return None
        statement = Statement.parse(raw)
        if not _is_same(statement, manifest, plan, root) or order.now >= statement.expires:
            return None
        index = folder.read(INDEX_FILE, MAX_INDEX) if folder.has(INDEX_FILE) else b""
    same_index = Digest.of(index).hex == statement.subjects[INDEX_FILE]
    return _Earlier(statement, read_index(index) if same_index else {})


def _is_same(statement: Statement, manifest: TransferManifest, plan: TransferPlan, root: TrustRoot) -> bool:
    """Whether packing this plan now would state the same."""
    records = {record.name: record for record in statement.images}
    left_out = {digest for image in plan.images for digest in spared(image.graph, plan.held)}
    if not plan.exports and {item.digest for item in statement.requires} != left_out:
        return False
    same_terms = (statement.manifest_sha256, statement.root_version, statement.tool_version) == (
        manifest.sha256,
        root.version,
        __version__,
    )
    return (
        same_terms
        and set(records) == {image.name for image in plan.lock.images}
        and all(_is_locked(records[image.name], image) for image in plan.lock.images)
    )


def _is_locked(record: ImageRecord, locked: LockedImage) -> bool:
    if locked.descriptor is not None:
        return record.digest == locked.descriptor.digest
    configs = {platform.config_digest for platform in record.platforms}
    return locked.image_id in {record.digest} | configs


def _refuse_strange(folder: Path) -> None:
    """A sealed bundle that this site does not remember as its last: somebody else's, or history."""
    if (folder / ENVELOPE_FILE).exists():
        raise UsageError(
            "another bundle is in the way",
            subject=folder,
            hint="move it away, or choose another folder with --to",
        )


def _check_space(plan: TransferPlan, folder: Path) -> None:
    """Refuse before the first download what cannot fit. Exports have no size yet, and are not counted."""
    need = _MARGIN
    for blob, _ in plan.blobs.values():
        path = folder / blob.digest.path
        need += blob.size - min(blob.size, max(_size(path), _size(path.with_name(path.name + ".part"))))
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with media_errors("cannot read", place):
        free = shutil.disk_usage(place).free
    if need > free:
        raise NoSpaceError(
            "the bundle does not fit",
            subject=place,
            want=f"{need:,} bytes free",
            got=f"{free:,}",
            hint="free some space or choose another medium with --to; nothing was fetched",
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _state(
    manifest: TransferManifest,
    images: Sequence[CollectedImage],
    contents: Contents,
    root: TrustRoot,
    *,
    site: Site,
    order: Order,
    place: tuple[int, Mark | None],
    held: frozenset[Digest],
) -> Statement:
    serial, previous = place
    ledger = check_ledger(site.ledger_path)
    return Statement(
        subjects=contents.subjects,
        stream=manifest.name,
        serial=serial,
        epoch=root.epoch,
        previous=Previous(previous.serial, previous.statement_sha256) if previous else None,
        created=order.now,
        not_before=order.now - CLOCK_SKEW,
        expires=order.now + order.lifetime,
        destinations=manifest.destinations,
        images=tuple(image.record for image in images),
        requires=_requirements(images, held),
        total_bytes=contents.total_bytes,
        manifest_sha256=manifest.sha256,
        root_version=root.version,
        sender=Sender(site.name, Checkpoint(site.name, ledger.size, ledger.root)),
        transfer=dict(manifest.transfer),
        tool_version=__version__,
    )


def _requirements(images: Sequence[CollectedImage], held: frozenset[Digest]) -> tuple[Requirement, ...]:
    """The layers that stay behind, and who needs them."""
    needed: dict[Digest, tuple[int, list[str]]] = {}
    for image in images:
        for digest, layer in spared(image.graph, held).items():
            needed.setdefault(digest, (layer.size, []))[1].append(str(image.record.name))
    return tuple(
        Requirement(digest, size, tuple(sorted(names))) for digest, (size, names) in sorted(needed.items())
    )


def _seal(folder: Path, statement: Statement, signers: Sequence[Signer], site: Site) -> str:
    """Statement, memory of it, envelope: in this order, so that a crash between any two of them
    is gone on from with the same statement.
    """
    raw = statement.to_bytes()
    sha256 = Digest.of(raw).hex
    envelope = _kept_envelope(folder, raw, signers) or Envelope.sign(STATEMENT_TYPE, raw, signers)
    write_statement(folder, raw)
    site.set_sent(statement.stream, Mark(statement.epoch, statement.serial, sha256))
    site.keep_envelope(statement.stream, statement.serial, envelope.to_bytes())
    commit(folder, envelope.to_bytes(), {signature.keyid: signature.sig for signature in envelope.signatures})
    return sha256


def _kept_envelope(folder: Path, payload: bytes, signers: Sequence[Signer]) -> Envelope | None:
    """An earlier envelope over the same bytes, when all of `signers` have signed it: it may
    hold other people's signatures too.
    """
    with Folder(folder) as found:
        for name in (ENVELOPE_FILE, SET_ASIDE):
            with contextlib.suppress(AirgapError):
                envelope = Envelope.parse(found.read(name, MAX_ENVELOPE), name)
                if envelope.payload == payload and all(_has_signed(envelope, signer) for signer in signers):
                    return envelope
    return None


def _has_signed(envelope: Envelope, signer: Signer) -> bool:
    message = pae(envelope.payload_type, envelope.payload)
    return any(signer.public_key.verify(message, signature.sig) for signature in envelope.signatures)
