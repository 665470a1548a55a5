"""Makes a bundle from a plan: collects the blobs, makes and signs the statement, and writes the envelope last
(FORMAT.md §6).

Running it again is safe. An unfinished bundle is resumed. A finished bundle of the same lock is checked and
repaired, and keeps its statement, so that a serial never has two statements.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from airgap.audit.ledger import Attempt
from airgap.bundle.contents import (
    ENVELOPE_FILE,
    INDEX_FILE,
    STATEMENT_FILE,
    BundleContents,
    DockerView,
    check_names,
    describe_contents,
    read_index,
)
from airgap.bundle.files import Folder
from airgap.bundle.folders import BundleFolders, choose_folders, find_folders
from airgap.bundle.statement import Statement, least_statement_bytes
from airgap.bundle.writer import BundleWriter
from airgap.durable import exists
from airgap.errors import FormatError, IntegrityError, UsageError
from airgap.limits import MAX_ENVELOPE_BYTES, MAX_INDEX_BYTES, MAX_STATEMENT_BYTES
from airgap.manifest import TransferManifest
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.oci.files_artifact import check_file_names, files_record
from airgap.oci.reference import ImageReference
from airgap.online.collect import (
    CollectedImage,
    Collector,
    choices_of,
    planned_images,
    prune,
    refuse_partial,
    take_optional,
    with_upstream,
)
from airgap.online.plan import TransferPlan, space_needed, unknown_value
from airgap.online.terms import (
    PackedBundle,
    PackOrder,
    Terms,
    confirm_unchanged,
    kept_envelopes,
    note_missing_signatures,
)
from airgap.online.upstream import check_upstream
from airgap.progress import Progress
from airgap.site import Site
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from airgap.values import dataclass


def pack(
    manifest: TransferManifest, plan: TransferPlan, site: Site, order: PackOrder, progress: Progress
) -> PackedBundle:
    """Make the bundle of `plan` as a folder, or finish it. The ledger records the beginning and the end.

    Raises:
        UsageError: Another process is making a bundle of this stream, or another bundle is at its path.
        PartialError: Images failed, and `order.allow_partial` is not set. If all failed with the same error,
            that error is raised instead.
        IntegrityError: The medium does not hold what was written, or a source has changed.
        NoSpaceError: The bundle does not fit.
        TrustError: The trust root does not allow the signers to release bundles.
    """
    with site.packing(manifest.name):
        return _pack(manifest, plan, site, order, progress)


def _pack(
    manifest: TransferManifest, plan: TransferPlan, site: Site, order: PackOrder, progress: Progress
) -> PackedBundle:
    terms = Terms.of(manifest, plan, site, order, progress)
    earlier = _find_earlier(terms)
    serial = earlier.statement.serial if earlier else terms.next_serial
    title = terms.title(serial)
    with pack_attempt(terms, serial, order.to / title) as attempt:
        if earlier is None:
            refuse_other_bundle(terms, title)
        refuse_too_large(plan)
        folders = folders_of(plan, order, title)
        with BundleWriter.open(folders, progress.note) as writer:
            return _write(plan, terms, earlier, writer, attempt)


def refuse_too_large(plan: TransferPlan) -> None:
    """Raise `UsageError` for a plan whose statement no reader would accept, before anything is fetched.
    Exports are not counted.
    """
    size = least_statement_bytes((image.record for image in planned_images(plan)), plan.blobs)
    if size > MAX_STATEMENT_BYTES:
        raise UsageError(
            "too many images and blobs for one bundle",
            subject=plan.lock.name,
            want=f"a statement of at most {MAX_STATEMENT_BYTES:,} bytes",
            got=f"{len(plan.images):,} images with {len(plan.blobs):,} blobs, {size:,} bytes",
            hint="divide the images between several manifests; nothing was fetched",
        )


def folders_of(plan: TransferPlan, order: PackOrder, title: str) -> BundleFolders:
    """Return the folder, or the volumes, of the bundle called `title`.

    Raises `NoSpaceError` if it does not fit, and `UsageError` for volumes with exports, whose sizes are known
    only once they are packed. The space for exports is not counted.
    """
    media = (order.to, *order.further)
    if plan.exports and (order.further or order.volume_size):
        raise UsageError(
            "cannot cut an export into volumes: its size is not known in advance",
            subject=plan.exports[0].images[0].reference,
            hint="pack into one folder, then cut it with `airgap repack`",
        )
    return choose_folders(
        space_needed(plan, title), media, order.volume_size, allow_system=order.allow_system
    )


def _write(
    plan: TransferPlan, terms: Terms, earlier: "_Earlier | None", writer: BundleWriter, attempt: Attempt
) -> PackedBundle:
    order, store = terms.order, writer.store
    upstream = check_upstream(plan)
    held = earlier.held if earlier else {}
    collector = Collector(
        store=store, jobs=order.jobs, progress=terms.progress, held=held, before_change=writer.mark_unfinished
    )
    images, failures = collector.collect(plan)
    if collector.engines:
        attempt.add(engines=sorted(collector.engines))
    unknown = {**plan.unknown, **take_optional(failures, plan)}
    collected, unsigned = with_upstream(images, upstream.signatures)
    failures |= unsigned
    if failures and not (order.allow_partial and collected):
        refuse_partial(failures, plan)
    prune(store, collected, plan)
    roots = upstream.roots_of(image.record.upstream_signature for image in collected)
    contents = describe_contents(store.sums, *tables_of(collected), terms.site.roots(), roots)
    statement = (
        confirm_unchanged(earlier.statement, contents) if earlier else terms.state(collected, contents)
    )
    paths = writer.folders.paths
    complete = all(exists(path / ENVELOPE_FILE) for path in paths)
    whole = earlier is not None and store.written == 0 and complete
    sha256 = _seal(writer, contents, statement, terms, attempt)
    note_sealed(attempt, statement, sha256, terms, unknown)
    proof = writer.prove(terms.progress.phase, order.read_back)
    attempt.add(**proof.record())
    return PackedBundle(
        paths=paths,
        statement=statement,
        statement_sha256=sha256,
        fresh=not whole,
        proof=proof,
        failures=failures,
        unknown=unknown,
        choices=choices_of(collected),
    )


@contextlib.contextmanager
def pack_attempt(terms: Terms, serial: int, path: Path) -> Iterator[Attempt]:
    """Record the beginning and the end of making a bundle in the ledger."""
    bundle = {"stream": terms.manifest.name, "serial": serial, "folder": str(path.absolute())}
    transfer = [f"{key}={value}" for key, value in terms.manifest.transfer.items()]
    with terms.site.ledger().attempt("pack", bundle=bundle, transfer=transfer) as attempt:
        yield attempt


def note_sealed(
    attempt: Attempt, statement: Statement, sha256: str, terms: Terms, unknown: Mapping[str, str]
) -> None:
    """Add the sealed bundle, and attachments that are left out, to the end record of the ledger."""
    if unknown:
        attempt.add(attachments_unknown=unknown_value(unknown))
    attempt.add(
        statement_sha256=sha256,
        bytes=statement.total_bytes,
        files=len(statement.subjects),
        images=[
            {
                "reference": str(image.name),
                "digest": str(image.digest),
                "platforms": [platform.platform for platform in image.platforms],
                **({"files": files_record(image.files)} if image.files else {}),
            }
            for image in statement.images
        ],
        keys=[signer.public_key.keyid for signer in terms.order.signers],
    )
    if sites := terms.plan.bases.sites:
        attempt.add(bases=[{"site": base.site, "bases": list(base.names)} for base in sites])


def tables_of(
    images: Sequence[CollectedImage],
) -> tuple[list[tuple[ImageReference, Descriptor]], list[DockerView]]:
    """Return the images for `index.json` and `manifest.json`. Raises if two images have the same name."""
    check_names(((image.record.name, image.record.digest) for image in images), INDEX_FILE)
    check_file_names((item.name for image in images for item in image.record.files), "bundle")
    names = [(image.record.name, image.graph.root) for image in images]
    views = [view for image in images if (view := image.graph.docker_view(image.record.name))]
    return names, views


def refuse_other_bundle(terms: Terms, title: str) -> None:
    """Refuse to overwrite a sealed bundle that is not the last one of this site."""
    for medium in (terms.order.to, *terms.order.further):
        volumes = medium.glob(f"{title}.v*/{ENVELOPE_FILE}")
        for path in (medium / title / ENVELOPE_FILE, medium / f"{title}.tar", *volumes):
            if exists(path):
                raise UsageError(
                    "another bundle is at this path",
                    subject=path,
                    hint="move that bundle away, or use another folder with --to",
                )


@dataclass(frozen=True, slots=True)
class _Earlier:
    """A bundle of the same lock that this site made a statement for earlier, finished or not."""

    statement: Statement
    held: Mapping[ImageReference, Descriptor]
    """The images in its index.json, if that is the signed one."""


def _find_earlier(terms: Terms) -> _Earlier | None:
    mark = terms.sent
    if mark is None:
        return None
    folders = find_folders((terms.order.to, *terms.order.further), terms.title(mark.serial))
    for raw, index in _stated(folders.paths, terms) if folders else ():
        if (statement := terms.parse_earlier(raw)) is not None:
            same_index = Digest.of(index).hex == statement.subjects[INDEX_FILE]
            held = read_index(index) if same_index else {}
            return _Earlier(
                statement,
                {image.locked_name: held[image.name] for image in statement.images if image.name in held},
            )
    return None


def _stated(paths: Sequence[Path], terms: Terms) -> Iterator[tuple[bytes, bytes]]:
    """Yield possible statements of the last bundle, each with its index.json: from the media and, if the
    media have lost it, from the copy that the site keeps.
    """
    index = b""
    for path in paths:
        with Folder(path) as folder:
            index = folder.read(INDEX_FILE, MAX_INDEX_BYTES) if folder.has(INDEX_FILE) else b""
            if folder.has(STATEMENT_FILE):
                yield folder.read(STATEMENT_FILE, MAX_STATEMENT_BYTES), index
    if terms.sent and not any(exists(path / ENVELOPE_FILE) for path in paths):
        kept = terms.site.kept_envelope(terms.manifest.name, terms.sent.serial, terms.sent.epoch)
        with contextlib.suppress(IntegrityError, FormatError), Folder(kept.parent) as folder:
            yield Envelope.parse(folder.read(kept.name, MAX_ENVELOPE_BYTES), str(kept)).payload, index


def _seal(
    writer: BundleWriter, contents: BundleContents, statement: Statement, terms: Terms, attempt: Attempt
) -> str:
    """Sign and seal the bundle, and return the statement's SHA-256. The site records the statement before the
    envelope is written, so that a run that resumes after a crash uses the same statement.
    """
    raw = statement.to_bytes()
    sha256 = Digest.of(raw).hex
    kept = filter(terms.have_signed, kept_envelopes(writer.folders.paths, ENVELOPE_FILE, raw))
    envelope = next(kept, None) or Envelope.sign(STATEMENT_TYPE, raw, terms.order.signers)
    note_missing_signatures(envelope, terms.root, terms.order.now, terms.progress)
    remember = partial(terms.remember, statement, sha256, envelope.to_bytes(), attempt)
    writer.seal(contents, envelope, remember)
    return sha256
