"""Load one bundle, from its medium to the receipt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from airgap import __version__
from airgap.account import claimed_user, user_name
from airgap.audit.chain import check_ledger, checkpoint
from airgap.audit.receipt import PRESENT, Receipt, ReceiptImage
from airgap.audit.record import Outcome
from airgap.bundle.volumes import BundleLocation
from airgap.carry.remote_load import LoadedThere, LoadWay
from airgap.carry.verify import REPAIR_HINT, VerifiedBundle
from airgap.carry.verify_recorded import keep_mark, keeper, opened
from airgap.endpoints.ports import EngineTarget, FileTarget, FolderTarget, Target
from airgap.errors import AirgapError, IntegrityError, MediaError, PartialError
from airgap.oci.digest import Digest
from airgap.offline.holdings import Holdings
from airgap.offline.load import load
from airgap.offline.loader import FAILED, ConflictRule, LoadedImage, Loading
from airgap.offline.rename import Renaming
from airgap.progress import Progress
from airgap.site import Site
from airgap.trust.envelope import STATEMENT_TYPE, Envelope


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The results of a load."""

    bundle: VerifiedBundle
    results: tuple[LoadedImage, ...]
    receipt: Path

    @property
    def failed(self) -> list[LoadedImage]:
        """The images that could not be loaded."""
        return [result for result in self.results if result.verdict == FAILED]

    @property
    def failure(self) -> AirgapError | None:
        """None if all images were loaded; the first image's error if all failed; else a `PartialError`. For
        damaged content, the hint says how to repair it, because loading again would not help.
        """
        failed = self.failed
        reasons = {str(result.image.name): result.error for result in failed if result.error is not None}
        damaged = [error for error in reasons.values() if isinstance(error, IntegrityError)]
        if not failed or len(failed) == len(self.results):
            for error in damaged:
                error.hint = error.hint or REPAIR_HINT
            return failed[0].error if failed else None
        hint = "see the reasons above; run the same command again for the rest"
        if damaged:
            hint = f"{REPAIR_HINT}; then run the same command again for the rest"
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
    *,
    jobs: int,
    progress: Progress,
    on_conflict: ConflictRule = ConflictRule.REPLACE,
    renamings: tuple[Renaming, ...] = (),
    allow_urls: bool = False,
    accept_jump: bool = False,
) -> LoadReport:
    """Verify and load the bundle, record it in the ledger, and write the receipt. Failed images are in the
    report.
    """
    details: dict[str, object] = {"map": [str(renaming) for renaming in renamings]} if renamings else {}
    if allow_urls:
        details["allow_urls"] = True
    who = keeper(site, now, accept_jump=accept_jump)
    with opened(place, site, "load", now, target=target.name, who=who, **details) as (bundle, attempt):
        key = site.key  # fail before loading if no receipt could be signed
        _note_place_in_stream(bundle, progress)
        if engine := target.describe_engine():
            attempt.add(engine=engine)
        holdings = Holdings.of(site.home, target.name)
        loading = Loading(
            bundle, progress, on_conflict=on_conflict, jobs=jobs, holdings=holdings, renamings=renamings,
            before_names_move=partial(keep_mark, bundle, site, attempt), allow_urls=allow_urls,
        )  # fmt: skip
        results = tuple(load(target, loading))
        _save(holdings, progress)
        receipt = _receipt(bundle, site, target, results, now)
        raw = Envelope.sign(STATEMENT_TYPE, receipt.to_bytes(), [key]).to_bytes()
        kept = site.keep_receipt(f"{bundle.statement.title}-{attempt.seq}.receipt.json", raw)
        report = LoadReport(bundle, results, kept)
        digest = Digest.of(raw).hex
        attempt.add(effect=[_effect(result) for result in results], receipt=str(kept), receipt_sha256=digest)
        if report.failure is not None:
            attempt.result = Outcome.PARTIAL if len(report.failed) < len(results) else Outcome.FAILED
            attempt.exit_code = report.failure.exit_code
    return report


def _note_place_in_stream(bundle: VerifiedBundle, progress: Progress) -> None:
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
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _receipt(
    bundle: VerifiedBundle, site: Site, target: Target, results: Sequence[LoadedImage], now: datetime
) -> Receipt:
    present = [result for result in results if result.verdict in PRESENT]
    # an archive does not prove a base: deltas cannot be loaded into archives
    held = [] if isinstance(target, FileTarget | FolderTarget) else present
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
        checkpoint=checkpoint(check_ledger(site.ledger_path)),
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
