"""The terms in a bundle's statement: sender, destinations, serial in the stream, and required blobs."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from pathlib import Path

from airgap import __version__
from airgap.audit.ledger import Attempt
from airgap.bundle.check_written import OnMedia
from airgap.bundle.contents import BundleContents, signature_file
from airgap.bundle.files import Folder
from airgap.bundle.statement import (
    ImageRecord,
    LedgerCheckpoint,
    Previous,
    Requirement,
    SendingSite,
    Statement,
)
from airgap.bundle.volume_table import VolumeSize
from airgap.errors import AirgapError, ExpiredError, IntegrityError, UnknownKeyError
from airgap.ledger_summary import current_checkpoint
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.manifest import LockedImage, TransferManifest
from airgap.oci.digest import Digest
from airgap.online.collect import CollectedImage
from airgap.online.plan import Failures, TransferPlan
from airgap.online.platforms import Chosen
from airgap.progress import Progress
from airgap.site import Mark, Site
from airgap.times import format_time
from airgap.trust.change import expiry_warning
from airgap.trust.envelope import STATEMENT_TYPE, Envelope, pae
from airgap.trust.keys import Signer
from airgap.trust.policy import counted_keys
from airgap.trust.root import TrustRoot
from airgap.values import dataclass

CLOCK_SKEW = timedelta(days=1)
"""The time by which a receiver's clock may be behind the sender's before a new bundle is "not valid yet"."""

DEFAULT_LIFETIME = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOrder:
    """The options for making a bundle."""

    to: Path
    """The folder in which the bundle's own folder, or its tar, is made."""
    signers: tuple[Signer, ...]
    now: datetime
    lifetime: timedelta = DEFAULT_LIFETIME
    jobs: int = 4
    allow_partial: bool = False
    """Seal the other images if some failed."""
    further: tuple[Path, ...] = ()
    """More media, one for each volume, if the bundle does not fit on `to` alone."""
    volume_size: VolumeSize | None = None
    allow_system: bool = False
    """Also write where no medium is mounted, and into system folders."""
    read_back: bool | None = None
    """Read everything back from the medium at the end; None: only if it is not the system disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedBundle:
    """A sealed bundle on disk."""

    paths: tuple[Path, ...]
    """Its folder, its tar, or the folders of its volumes in order."""
    statement: Statement
    statement_sha256: str
    fresh: bool
    """False if the bundle was already complete, and no blob had to be written."""
    proof: OnMedia
    failures: Failures = field(default_factory=dict, hash=False)
    """The images that failed and are not in it (`allow_partial`)."""
    unknown: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The entries of `TransferPlan.unknown`, and the attachments that could not be fetched."""
    choices: Mapping[str, Chosen] = field(default_factory=dict, hash=False)
    """The part of each image that was carried, by its offline name."""

    @property
    def path(self) -> Path:
        """The first path."""
        return self.paths[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Everything that decides a statement, except the files."""

    manifest: TransferManifest
    plan: TransferPlan
    site: Site
    order: PackOrder
    root: TrustRoot
    progress: Progress

    @classmethod
    def of(
        cls, manifest: TransferManifest, plan: TransferPlan, site: Site, order: PackOrder, progress: Progress
    ) -> "Terms":
        """Return the terms with the site's trust root, if it allows the signers to release bundles."""
        root = releasing_root(site, order.signers, order.now, progress)
        return cls(manifest=manifest, plan=plan, site=site, order=order, root=root, progress=progress)

    @property
    def sent(self) -> Mark | None:
        """The last bundle of the stream that this site made a statement for."""
        return self.site.sent(self.manifest.name)

    @property
    def next_serial(self) -> int:
        """The serial of a new bundle."""
        sent = self.sent
        return sent.serial + 1 if sent and sent.epoch == self.root.epoch else 1

    def title(self, serial: int) -> str:
        """The name of the bundle's folder."""
        return f"{self.manifest.name}-{serial:04d}"

    def parse_earlier(self, raw: bytes) -> Statement | None:
        """Return this site's last statement if it states the same terms, has not expired and is not recalled;
        else None.
        """
        mark, sha256 = self.sent, Digest.of(raw).hex
        if mark is None or sha256 != mark.statement_sha256 or self.root.recall_of(sha256) is not None:
            return None
        statement = Statement.parse(raw)
        return statement if self._is_same(statement) and self.order.now < statement.expires else None

    def _is_same(self, statement: Statement) -> bool:
        plan = self.plan
        records = {record.locked_name: record for record in statement.images}
        if not plan.exports and {item.digest for item in statement.requires} != plan.left_out_layers():
            return False
        if statement.requires and statement.bases != plan.bases.stated:
            return False
        same_terms = (statement.manifest_sha256, statement.root_version, statement.tool_version) == (
            self.manifest.sha256,
            self.root.version,
            __version__,
        )
        return (
            same_terms
            and statement.transfer == dict(self.manifest.transfer)
            and set(records) == {image.name for image in plan.lock.images}
            and all(matches_lock(records[image.name], image) for image in plan.lock.images)
            and all(records[image.locked.name].platforms == image.graph.records for image in plan.images)
        )

    def state(self, images: Sequence[CollectedImage], contents: BundleContents) -> Statement:
        """Return the statement of a new bundle."""
        previous, order = self.sent, self.order
        ledger = current_checkpoint(self.site.home, self.site.ledger_path)
        requires = _requirements(images, self.plan)
        return Statement(
            subjects=contents.subjects,
            stream=self.manifest.name,
            serial=self.next_serial,
            epoch=self.root.epoch,
            previous=Previous(previous.serial, previous.statement_sha256) if previous else None,
            created=order.now,
            not_before=order.now - CLOCK_SKEW,
            expires=order.now + order.lifetime,
            destinations=self.manifest.destinations,
            images=tuple(image.record for image in images),
            requires=requires,
            total_bytes=contents.total_bytes,
            manifest_sha256=self.manifest.sha256,
            root_version=self.root.version,
            sender=SendingSite(
                self.site.name, LedgerCheckpoint(self.site.name, ledger["size"], ledger["root"])
            ),
            transfer=dict(self.manifest.transfer),
            tool_version=__version__,
            bases=self.plan.bases.stated if requires else (),
        )

    def remember(self, statement: Statement, sha256: str, envelope: bytes, attempt: Attempt) -> None:
        """Record the statement at the site before the bundle is sealed, so that a serial never gets two
        statements. The `attempt` records it too, whether or not it succeeds.
        """
        mark = Mark(statement.epoch, statement.serial, sha256)
        self.site.set_sent(statement.stream, mark)
        attempt.add(sealed={"stream": statement.stream, **mark.value})
        self.site.keep_envelope(statement.stream, statement.serial, statement.epoch, envelope)

    def have_signed(self, envelope: Envelope) -> bool:
        """Return whether all signers have signed the envelope. It may have other people's signatures too."""
        message = pae(envelope.payload_type, envelope.payload)
        return all(
            any(signer.public_key.verify(message, signature.sig) for signature in envelope.signatures)
            for signer in self.order.signers
        )


def releasing_root(site: Site, signers: Sequence[Signer], now: datetime, progress: Progress) -> TrustRoot:
    """Return the site's trust root if it allows the signers to release something now.

    Raises `ExpiredError` and `UnknownKeyError`.
    """
    root = site.root().root
    if now >= root.expires:
        want, got = f"before {format_time(root.expires)}", format_time(now)
        raise ExpiredError("the trust root has expired", subject=root.name, want=want, got=got)
    role = root.roles["release"]
    for signer in signers:
        if signer.public_key.keyid not in role.keyids:
            raise UnknownKeyError(
                "this key may not sign bundles",
                subject=signer.public_key.keyid,
                want="a key with the role release in the trust root",
            )
    if warning := expiry_warning(root, now):
        progress.note(f"warning: {warning}")
    return root


def note_missing_signatures(envelope: Envelope, root: TrustRoot, now: datetime, progress: Progress) -> None:
    """Note that others must sign too, unless they have: a bundle that is packed again keeps signatures."""
    role = root.roles["release"]
    keyids = counted_keys(envelope, root, "release", now)
    count = len(root.owners(keyids)) if role.distinct_owners else len(keyids)
    if count < role.threshold:
        have = f"{count} of {role.threshold} signatures"
        progress.note(f"{have}: others must sign it with `airgap sign` before it loads")


def kept_envelopes(folders: Sequence[Path], name: str, payload: bytes) -> Iterator[Envelope]:
    """Yield envelopes of an earlier run around the same statement, sealed or set aside: they may have other
    people's signatures. Other files with these names are ignored.
    """
    for folder in folders:
        for file in (name, f"{name}.part"):
            with contextlib.suppress(AirgapError):
                envelope = _read_envelope(folder, file)
                if (envelope.payload_type, envelope.payload) == (STATEMENT_TYPE, payload):
                    yield envelope


def _read_envelope(folder: Path, name: str) -> Envelope:
    """Read an envelope. Raises `FormatError`, including when its signatures could not be written as files."""
    with Folder(folder) as opened:
        envelope = Envelope.parse(opened.read(name, MAX_ENVELOPE_BYTES), name)
    for signature in envelope.signatures:
        signature_file(signature.keyid, name)
    return envelope


def confirm_unchanged(statement: Statement, contents: BundleContents) -> Statement:
    """Return an earlier statement if its files are unchanged. Raises `IntegrityError` otherwise."""
    if contents.subjects != statement.subjects:
        raise IntegrityError(
            "a source no longer returns the bytes that were signed",
            subject=statement.title,
            hint="move the bundle away and run the same command again: it makes one with a new serial",
        )
    return statement


def matches_lock(record: ImageRecord, locked: LockedImage) -> bool:
    """Return whether a bundle's image is the one in the lock."""
    if locked.descriptor is not None:
        return record.digest == locked.descriptor.digest
    configs = {platform.config_digest for platform in record.platforms}
    return locked.image_id in {record.digest} | configs


def _requirements(images: Sequence[CollectedImage], plan: TransferPlan) -> tuple[Requirement, ...]:
    """Return the layers that are left out, each with the images that need it."""
    needed: dict[Digest, tuple[int, list[str]]] = {}
    left_out = plan.left_out_layers(image.graph for image in images)
    for image in images:
        for digest, layer in image.graph.blobs.items():
            if digest in left_out:
                needed.setdefault(digest, (layer.size, []))[1].append(str(image.record.name))
    return tuple(
        Requirement(digest, size, tuple(sorted(names))) for digest, (size, names) in sorted(needed.items())
    )
