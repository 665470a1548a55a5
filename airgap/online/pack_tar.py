"""Makes a bundle as one tar, in one pass. All digests are known from the manifests, so the statement is
signed first, and the blobs are fetched into the tar after it.
"""

import contextlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from airgap.audit.ledger import Attempt
from airgap.bundle.check_written import OnMedia, announce, prove_sealed
from airgap.bundle.contents import (
    ENVELOPE_FILE,
    STATEMENT_FILE,
    BundleContents,
    describe_contents,
    signature_file,
)
from airgap.bundle.files import Folder, make_folder, media_errors, read_small
from airgap.bundle.max_file_size import largest_file
from airgap.bundle.medium import Medium, refuse_unfit
from airgap.bundle.statement import Statement
from airgap.bundle.tar_entries import read_entries
from airgap.bundle.tar_writer import TarStore
from airgap.durable import exists
from airgap.errors import AirgapError, NoSpaceError, UsageError
from airgap.limits import MAX_ENVELOPE_BYTES, MAX_STATEMENT_BYTES
from airgap.manifest import TransferManifest
from airgap.oci.digest import Digest
from airgap.online.collect import (
    CollectedImage,
    choices_of,
    fetch_blobs,
    planned_images,
    refuse_partial,
    with_upstream,
)
from airgap.online.pack import note_sealed, pack_attempt, refuse_other_bundle, tables_of
from airgap.online.plan import TransferPlan
from airgap.online.terms import PackedBundle, PackOrder, Terms, confirm_unchanged
from airgap.online.upstream import UpstreamChecks, check_upstream
from airgap.progress import Progress
from airgap.site import Site
from airgap.trust.envelope import STATEMENT_TYPE, Envelope


def pack_tar(
    manifest: TransferManifest, plan: TransferPlan, site: Site, order: PackOrder, progress: Progress
) -> PackedBundle:
    """Make the bundle of `plan` as `STREAM-SERIAL.tar`, or finish it, in a recorded attempt."""
    with site.packing(manifest.name):
        return _pack_tar(manifest, plan, site, order, progress)


def _pack_tar(
    manifest: TransferManifest, plan: TransferPlan, site: Site, order: PackOrder, progress: Progress
) -> PackedBundle:
    _refuse_unknown_sizes(plan)
    terms = Terms.of(manifest, plan, site, order, progress)
    _refuse_too_few_signers(terms)
    earlier = _find_earlier(terms)
    serial = earlier[0].serial if earlier else terms.next_serial
    path = order.to / f"{terms.title(serial)}.tar"
    with pack_attempt(terms, serial, path) as attempt:
        if earlier is None:
            refuse_other_bundle(terms, terms.title(serial))
        if plan.failures and not order.allow_partial:
            refuse_partial(plan.failures, plan)
        upstream = check_upstream(plan)
        images, _ = with_upstream(planned_images(plan), upstream.signatures)
        sizes = {digest: blob.size for digest, (blob, _) in plan.blobs.items()}
        contents = _contents(images, sizes, site, upstream)
        statement = confirm_unchanged(earlier[0], contents) if earlier else terms.state(images, contents)
        envelope = earlier[1] if earlier else None
        if envelope is None or not terms.have_signed(envelope):
            envelope = Envelope.sign(STATEMENT_TYPE, statement.to_bytes(), order.signers)
        store = TarStore(path, _small_files(envelope, contents), sizes)
        _refuse_unfit(store, order)
        complete = exists(path)
        proof = _write(plan, terms, store=store, statement=statement, envelope=envelope, attempt=attempt)
    return PackedBundle(
        paths=(path,),
        statement=statement,
        statement_sha256=Digest.of(envelope.payload).hex,
        fresh=not complete or store.written > 0,
        proof=proof,
        failures=plan.failures,
        unknown=plan.unknown,
        choices=choices_of(images),
    )


def _write(
    plan: TransferPlan,
    terms: Terms,
    *,
    store: TarStore,
    statement: Statement,
    envelope: Envelope,
    attempt: Attempt,
) -> OnMedia:
    """Write the tar: the signed head first, then the blobs. The tar gets its name last (FORMAT.md §6)."""
    order, progress, sha256 = terms.order, terms.progress, Digest.of(envelope.payload).hex
    announce([order.to], progress.note)
    with contextlib.closing(store):
        store.open()
        terms.remember(statement, sha256, envelope.to_bytes(), attempt)
        refuse_partial(fetch_blobs(plan, store, order.jobs, progress, lambda: None), plan)
        store.commit()
    note_sealed(attempt, statement, sha256, terms, plan.unknown)
    written, undo = {store.path.parent: store.written_files()}, partial(mark_tar_unfinished, store.path)
    proof = prove_sealed(written, progress.phase, order.read_back, undo, folders=None)
    attempt.add(**proof.record())
    return proof


def _refuse_unfit(store: TarStore, order: PackOrder) -> None:
    """Refuse, before the first byte, a tar that does not fit or is larger than the medium's largest file."""
    need = store.total - _taken(store.path) - _taken(store.part)
    refuse_unfit(Medium.of(store.path), order.to, max(need, 0), allow_system=order.allow_system)
    _refuse_too_large(order.to, store.total)


def _refuse_too_large(folder: Path, size: int) -> None:
    with media_errors("cannot create", folder):
        make_folder(folder)
    if (limit := largest_file(folder, size)) is not None:
        raise NoSpaceError(
            "the tar is larger than the medium's file size limit",
            subject=folder,
            want=f"a file of {size:,} bytes",
            got=f"at most {limit:,}",
            hint="leave out --tar: a folder is cut into volumes if necessary",
        )


def mark_tar_unfinished(path: Path) -> None:
    """Rename a tar to its unfinished name, so that the next run checks it in place."""
    with media_errors("cannot rename", path):
        path.replace(path.with_name(path.name + ".part"))


def _refuse_unknown_sizes(plan: TransferPlan) -> None:
    hint = "leave out --tar; `tar -C BUNDLE -cf bundle.tar .` makes a tar of the folder"
    if plan.exports:
        name = plan.exports[0].images[0].reference
        what = "--tar cannot carry an export: a tar is signed before its content is known"
        raise UsageError(what, subject=name, hint=hint)
    for digest, (_, image) in plan.blobs.items():
        if digest.algorithm != "sha256":
            what = "--tar needs SHA-256 digests"
            raise UsageError(what, subject=image.locked.reference, got=digest.algorithm, hint=hint)


def _contents(
    images: list[CollectedImage], sizes: Mapping[Digest, int], site: Site, upstream: UpstreamChecks
) -> BundleContents:
    blobs = {digest: (digest.hex, size) for digest, size in sizes.items()}
    roots = upstream.roots_of(image.record.upstream_signature for image in images)
    return describe_contents(blobs, *tables_of(images), site.roots(), roots)


def _small_files(envelope: Envelope, contents: BundleContents) -> dict[str, bytes]:
    """Return the files before the blobs, in this order, so that a reader can check signatures first."""
    signatures = {signature_file(item.keyid): item.sig for item in envelope.signatures}
    return {
        ENVELOPE_FILE: envelope.to_bytes(),
        STATEMENT_FILE: envelope.payload,
        **dict(sorted(signatures.items())),
        **dict(sorted(contents.small.items())),
    }


def _find_earlier(terms: Terms) -> tuple[Statement, Envelope | None] | None:
    """Return the statement and the envelope at the start of a tar that an earlier run made or began."""
    mark = terms.sent
    if mark is None:
        return None
    path = terms.order.to / f"{terms.title(mark.serial)}.tar"
    for name in (path.name, f"{path.name}.part"):
        # StopIteration: after a power cut the file may be all zeros, which is an empty tar
        unusable = contextlib.suppress(AirgapError, StopIteration)
        with unusable, Folder(path.parent) as folder, folder.open(name) as stream:
            entries = read_entries(stream)
            _, head = next(entries)
            envelope = Envelope.parse(read_small(head, name, MAX_ENVELOPE_BYTES), name)
            _, body = next(entries)
            statement = terms.parse_earlier(read_small(body, name, MAX_STATEMENT_BYTES))
            if statement is not None:
                return statement, envelope if envelope.payload == statement.to_bytes() else None
    return None


def _taken(path: Path) -> int:
    """Return the bytes on the medium that a file uses: an unfinished tar is mostly sparse."""
    return path.stat().st_blocks * 512 if path.is_file() else 0


def _refuse_too_few_signers(terms: Terms) -> None:
    if (threshold := terms.root.roles["release"].threshold) > len(terms.order.signers):
        raise UsageError(
            "a tar cannot be signed later, and the trust root requires more signatures",
            want=f"{threshold} signatures",
            got=len(terms.order.signers),
            hint="pack into a folder, and let the others run `airgap sign` on it",
        )
