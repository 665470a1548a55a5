"""Load one bundle, from its medium to the receipt."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from airgap import __version__
from airgap.account import claimed_user, user_name
from airgap.audit.ledger import Attempt
from airgap.audit.receipt import PRESENT, Receipt, ReceiptImage
from airgap.audit.record import Outcome
from airgap.bundle.statement import Statement
from airgap.bundle.volumes import BundleLocation
from airgap.carry.accepted_bundles import AcceptedBundles
from airgap.carry.choose_sender import site_for
from airgap.carry.given import opened_base
from airgap.carry.receipt_copies import RECEIPT_SUFFIX, CopyReceipt, ReceiptCopy
from airgap.carry.receiver import Receiver
from airgap.carry.remote_load import LoadedThere, LoadWay
from airgap.carry.rollback import is_older
from airgap.carry.verify import REPAIR_HINT, VerifiedBundle
from airgap.carry.verify_recorded import keep_mark, keeper, opened, refuse_recalled_since
from airgap.endpoints.ports import EngineTarget, FilesTarget, FileTarget, FolderTarget, Target
from airgap.errors import AirgapError, IntegrityError, MediaError, PartialError, WithheldError
from airgap.ledger_summary import current_checkpoint
from airgap.oci.digest import Digest
from airgap.oci.files_artifact import files_record
from airgap.offline.allowed_names import name_check
from airgap.offline.holdings import Holdings
from airgap.offline.load import load_with_files
from airgap.offline.load_options import DEFAULTS, LoadOptions
from airgap.offline.loader import FAILED, PLACED, ConflictRule, LoadedImage, Loading
from airgap.offline.missing_base import explain_missing_base
from airgap.offline.prune import Pruning, plan_pruning
from airgap.offline.step_back import give_reason, record_step_back, step_back_of
from airgap.progress import Progress
from airgap.site import Site
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The results of a load."""

    bundle: VerifiedBundle
    results: tuple[LoadedImage, ...]
    receipt: Path
    copies: tuple[ReceiptCopy, ...] = ()
    """The copies of the receipt that were to be made."""
    pruning: Pruning | None = None
    """What was removed at the target, and what was left; None if that was not asked for."""

    @property
    def failed(self) -> list[LoadedImage]:
        """The images that could not be loaded."""
        return [result for result in self.results if result.verdict == FAILED]

    @property
    def failure(self) -> AirgapError | None:
        """None if all images were loaded; the first image's error if all failed; else a `PartialError`. For
        damaged content, the hint says how to repair it, because loading again would not help.
        """
        failed = [result for result in self.failed if not isinstance(result.error, WithheldError)]
        reasons = {str(result.image.name): result.error for result in failed if result.error is not None}
        damaged = [error for error in reasons.values() if isinstance(error, IntegrityError)]
        if not failed or len(failed) == len(self.results) or (len(failed) == 1 and len(self.failed) > 1):
            for error in damaged:
                error.hint = error.hint or REPAIR_HINT
            return failed[0].error if failed else None
        withheld = len(failed) < len(self.failed)
        rest = "no name was moved" if withheld else "run the same command again for the rest"
        hint = f"see the reasons above; {rest}"
        if damaged:
            hint = f"{REPAIR_HINT}; then run the same command again{'' if withheld else ' for the rest'}"
        return PartialError("some images were not loaded", reasons, len(self.results), hint=hint)

    def as_remote(self) -> LoadedThere:
        """The same results as those of a load from this machine into the engine of a remote host."""
        images = tuple((str(result.image.name), str(result.verdict)) for result in self.results)
        return LoadedThere(LoadWay.FROM_HERE, images, str(self.receipt), self.failure)


def load_bundle(
    place: BundleLocation,
    site: Site,
    target: Target,
    now: datetime,
    options: LoadOptions = DEFAULTS,
    *,
    jobs: int,
    progress: Progress,
    copy_receipt: CopyReceipt | None = None,
    bases: Sequence[BundleLocation] = (),
) -> LoadReport:
    """Verify and load the bundle, record it in the ledger, and write the receipt. What failed is reported.

    `bases` are older bundles of the stream, for content that this one leaves out.
    """
    site = site_for(place, site)
    who = keeper(site, now, accept_jump=options.accept_jump, older=options.older_rule)
    with _opened(place, bases, site, who, target=target.name, **options.record) as (bundle, attempt):
        key = site.key  # fail before loading when no receipt could be signed
        _note_beginning(bundle, target, attempt, progress)
        pruning = plan_pruning(options.prune, target, bundle, site, options.renamings)
        holdings = Holdings.of(site.home, target.name)
        loading = Loading(
            bundle, progress, jobs=jobs, holdings=holdings, renamings=options.renamings,
            on_conflict=options.on_conflict or ConflictRule.REPLACE,
            files_conflict=options.on_conflict or ConflictRule.REFUSE,
            allow_urls=options.allow_urls, all_or_nothing=options.all_or_nothing,
            before_names_move=_acceptance(bundle, site, target, attempt, options.back),
            only_for=() if options.back is not None else _only_for(bundle, site),
            check_names=name_check(site, target),
        )  # fmt: skip
        with explain_missing_base(bundle.statement, site, target.name):
            results = tuple(load_with_files(target, options.files_to, loading))
        _save(holdings, progress)
        give_reason(results, step_back := step_back_of(bundle, options.back), bundle.statement.stream)
        pruned = pruning.run(results, attempt)
        receipt = replace(_receipt(bundle, site, target, results, now), step_back=step_back, pruned=pruned)
        raw = Envelope.sign(STATEMENT_TYPE, receipt.to_bytes(), [key]).to_bytes()
        report = LoadReport(bundle, results, _keep_receipt(raw, bundle, site, attempt), pruning=pruning)
        return _recorded(report, attempt, copy_receipt(report.receipt.name, raw) if copy_receipt else ())


@contextmanager
def _opened(
    place: BundleLocation, bases: Sequence[BundleLocation], site: Site, who: Receiver, **details: object
) -> Iterator[tuple[VerifiedBundle, Attempt]]:
    """Yield a verified bundle with its verified bases, in a recorded attempt. Alone, an older bundle is taken
    only if an accepted one needs it.
    """
    with ExitStack() as stack:
        opened_bases = [stack.enter_context(opened_base(base, site, who)) for base in bases]
        who = replace(who, needed=lambda statement: bool(AcceptedBundles(site).needing(statement)))
        bundle, attempt = stack.enter_context(opened(place, site, "load", who.now, who=who, **details))
        if opened_bases:
            attempt.add(bases=[base.statement.title for base in opened_bases])
        yield bundle.with_bases(opened_bases), attempt


def _acceptance(
    bundle: VerifiedBundle, site: Site, target: Target, attempt: Attempt, back: str | None
) -> Callable[[], None]:
    """Return what is called before names move: it raises the high-water mark, or records a step back. For an
    older bundle that is loaded for its content only, it checks once more that the bundle is not recalled.
    """
    if back is not None:
        return partial(record_step_back, bundle, site, target.name, back)
    return (
        partial(refuse_recalled_since, bundle, site)
        if is_older(bundle.statement, bundle.mark)
        else partial(keep_mark, bundle, site, attempt)
    )


def _only_for(bundle: VerifiedBundle, site: Site) -> tuple[Statement, ...]:
    """Return the newer accepted bundles that need content of this one, if it is older than the mark."""
    older = is_older(bundle.statement, bundle.mark)
    return AcceptedBundles(site).needing(bundle.statement) if older else ()


def _recorded(report: LoadReport, attempt: Attempt, copies: tuple[ReceiptCopy, ...]) -> LoadReport:
    """Add the results to the record that ends the attempt; return the report with the receipt's copies."""
    if copies:
        attempt.add(receipt_copies=[str(copy.path) for copy in copies if copy.error is None])
    attempt.add(effect=[_effect(result) for result in report.results])
    if report.failure is not None:
        attempt.result = Outcome.PARTIAL if len(report.failed) < len(report.results) else Outcome.FAILED
        attempt.exit_code = report.failure.exit_code
    return replace(report, copies=copies)


def _keep_receipt(raw: bytes, bundle: VerifiedBundle, site: Site, attempt: Attempt) -> Path:
    kept = site.keep_receipt(f"{site.name}-{bundle.statement.title}-{attempt.seq}{RECEIPT_SUFFIX}", raw)
    attempt.add(receipt=str(kept), receipt_sha256=Digest.of(raw).hex)
    return kept


def _note_beginning(bundle: VerifiedBundle, target: Target, attempt: Attempt, progress: Progress) -> None:
    """Record the engine, and report missed bundles and a fork of the stream."""
    if engine := target.describe_engine():
        attempt.add(engine=engine)
    if bundle.missed:
        progress.note(_missed_text(bundle))
    if fork := bundle.left_fork:
        progress.note(f"alarm: {fork}")


def _missed_text(bundle: VerifiedBundle) -> str:
    stream, last = bundle.statement.stream, bundle.statement.serial - 1
    if bundle.missed == 1:
        return f"{stream}-{last:04d} never arrived here"
    return f"{stream}-{last - bundle.missed + 1:04d} to {stream}-{last:04d} never arrived here"


def _save(holdings: Holdings, progress: Progress) -> None:
    """Save the holdings. A failure is only reported, because they only save work in later loads."""
    try:
        holdings.save()
    except MediaError as error:
        progress.note(f"the record of loaded images, which speeds up later loads, was not saved: {error}")


def _effect(result: LoadedImage) -> dict[str, object]:
    return {
        "reference": str(result.image.name),
        "verdict": str(result.verdict),
        "before": _text(result.before),
        "after": _text(result.after),
        "error": _text(result.error),
        **({"reason": result.reason} if result.reason else {}),
        **({"files": files_record(files)} if (files := result.image.record.files) else {}),
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _receipt(
    bundle: VerifiedBundle, site: Site, target: Target, results: Sequence[LoadedImage], now: datetime
) -> Receipt:
    present = [result for result in results if result.verdict in PRESENT]
    # an archive or a folder does not prove a base: deltas cannot be loaded into archives, and files move
    no_base = isinstance(target, FileTarget | FolderTarget | FilesTarget)
    held = [] if no_base else [result for result in present if result.verdict != PLACED]
    failed = sum(result.verdict == FAILED for result in results)
    statement = bundle.statement
    return Receipt(
        site=site.name,
        bundle_stream=statement.stream,
        serial=statement.serial,
        epoch=statement.epoch,
        statement_sha256=bundle.statement_sha256,
        time=now,
        result=Outcome.OK if not failed else Outcome.PARTIAL if present else Outcome.FAILED,
        target=target.name,
        target_version=target.info().version if isinstance(target, EngineTarget) else "",
        target_engine=target.describe_engine(),
        images=tuple(_receipt_image(result) for result in results),
        keyids=bundle.verdict.keyids,
        threshold=bundle.verdict.threshold,
        root_version=bundle.verdict.root_version,
        checkpoint=current_checkpoint(site.home, site.ledger_path),
        holds=tuple(sorted({str(d) for result in held for d in result.image.graph.contents})),
        operator=user_name(),
        claimed_operator=claimed_user(),
        tool_version=__version__,
    )


def _receipt_image(result: LoadedImage) -> ReceiptImage:
    return ReceiptImage(
        reference=str(result.image.name),
        digest=str(result.image.record.digest),
        verdict=result.verdict,
        target_digest=_text(result.after),
        before=_text(result.before),
        error=_text(result.error),
        reason=result.reason,
    )
