"""One verification, or one load, from the bundle on its medium to the receipt: what the commands do."""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from airgap import __version__
from airgap.account import claimed_user, user_name
from airgap.advice import BUNDLE, Need, refuse_other
from airgap.audit.chain import check_ledger, checkpoint
from airgap.audit.ledger import Attempt
from airgap.audit.receipt import PRESENT, Receipt, ReceiptImage
from airgap.bundle.files import Files
from airgap.bundle.volumes import Place, open_bundle, paths_of
from airgap.endpoints.ports import FileTarget, FolderTarget, StreamTarget, Target, engine_of
from airgap.errors import AirgapError, IntegrityError, MediaError, PartialError
from airgap.oci.digest import Digest
from airgap.offline.holdings import Holdings
from airgap.offline.keeping import keep_mark, keep_root
from airgap.offline.load import load
from airgap.offline.loading import FAILED, LoadedImage, Loading
from airgap.offline.renaming import Renaming
from airgap.offline.source import BundleSource
from airgap.offline.verify import (
    MEND,
    CheckedBundle,
    Receiver,
    VerifiedBundle,
    verify,
    verify_content,
)
from airgap.progress import Progress
from airgap.recognise import Kind, recognise
from airgap.site import Site
from airgap.trust.envelope import STATEMENT_TYPE, Envelope


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did."""

    bundle: VerifiedBundle
    results: tuple[LoadedImage, ...]
    receipt: Path

    @property
    def failed(self) -> list[LoadedImage]:
        """The images that are not there now."""
        return [result for result in self.results if result.verdict == FAILED]

    @property
    def failure(self) -> AirgapError | None:
        """The error of a load of which not all succeeded: the first image's own when none did. What is
        damaged stays so however often it is loaded: then the hint is how to mend it.
        """
        failed = self.failed
        reasons = {str(result.image.name): result.error for result in failed if result.error is not None}
        damaged = [error for error in reasons.values() if isinstance(error, IntegrityError)]
        if not failed or len(failed) == len(self.results):
            for error in damaged:
                error.hint = error.hint or MEND
            return failed[0].error if failed else None
        hint = "see above why; run the same command again for the rest"
        if damaged:
            hint = f"{MEND}; then run the same command again for the rest"
        return PartialError("some images were not loaded", reasons, len(self.results), hint=hint)


def receiver(site: Site, now: datetime) -> Receiver:
    """What `site` knows that a verification needs; nothing is kept of it."""
    return Receiver(site.name, site.root(), site.received, now)


def keeper(site: Site, now: datetime, *, accept_jump: bool = False) -> Receiver:
    """As `receiver`, for an attempt that is recorded: roots that the bundle brought are kept."""
    return replace(receiver(site, now), accept_jump=accept_jump, keep=partial(keep_root, site))


@contextlib.contextmanager
def opened(
    place: Place, site: Site, event: str, now: datetime, *, who: Receiver | None = None, **details: object
) -> Iterator[tuple[VerifiedBundle, Attempt]]:
    """A bundle that passed steps 1 to 9, in a recorded attempt; roots that it brought are kept."""
    if who is not None and who.accept_jump:
        details["accept_jump"] = True
    with recorded(place, site, event, **details) as attempt, open_bundle(place) as folder:
        bundle = verify_here(folder, site, now, who)
        attempt.add(**bundle_details(bundle))
        yield bundle, attempt


def refuse_others(place: Place, need: Need = BUNDLE) -> None:
    """Raise `UsageError` for a path where nothing is, or something else than is needed: the person who typed
    it made a mistake, and no bundle was looked at. Beside a volume, the reader names those that are missing.
    """
    paths = paths_of(place)
    if any(recognise(path).kind is Kind.VOLUME for path in paths):
        need = replace(need, kinds=need.kinds | {Kind.ABSENT})
    for path in paths:
        refuse_other(path, need)


def recorded(place: Place, site: Site, event: str, **details: object) -> AbstractContextManager[Attempt]:
    """The ledger's begin and end round something that is done with the bundle at `place`; nothing is
    recorded, and `UsageError` raised, where there is none.
    """
    refuse_others(place)
    path = ", ".join(str(path.absolute()) for path in paths_of(place))
    return site.ledger().attempt(event, path=path, **details)


def verify_here(folder: Files, site: Site, now: datetime, who: Receiver | None = None) -> VerifiedBundle:
    """Steps 1 to 9; roots that the bundle brought are kept, also when it is then refused."""
    return verify(folder, who or keeper(site, now))


def verify_bundle(
    place: Place, site: Site, now: datetime, jobs: int, progress: Progress, *, who: Receiver | None = None
) -> VerifiedBundle:
    """All ten steps. Raises the first of what is wrong, after telling of every wrong blob."""
    with opened(place, site, "verify", now, who=who) as (bundle, attempt):
        wrong = verify_content(bundle, progress, jobs)
        attempt.add(wrong=[str(error) for error in wrong[:20]])
        raise_wrong(wrong, bundle.folder.path, progress)
        return bundle


def raise_wrong(wrong: Sequence[IntegrityError], where: Path, progress: Progress) -> None:
    """Raise the error when there is one; of several, tell all, and raise that there are."""
    if len(wrong) > 1:
        for error in wrong:
            progress.note(str(error))
        raise IntegrityError("damaged", subject=where, got=f"{len(wrong)} wrong blobs", hint=MEND)
    if wrong:
        wrong[0].hint = wrong[0].hint or MEND
        raise wrong[0]


@contextlib.contextmanager
def bundle_source(
    place: Place, site: Site, now: datetime, who: Receiver | None = None
) -> Iterator[BundleSource]:
    """A bundle to serve from, after steps 1 to 9; its blobs are checked while they are handed out."""
    with open_bundle(place) as folder:
        yield BundleSource(verify(folder, who or receiver(site, now)))


def load_bundle(
    place: Place,
    site: Site,
    target: Target,
    now: datetime,
    *,
    on_conflict: str,
    jobs: int,
    progress: Progress,
    renamings: tuple[Renaming, ...] = (),
    allow_urls: bool = False,
    accept_jump: bool = False,
) -> LoadReport:
    """Verify, load, remember, and write the receipt. Failed images are in the report."""
    details: dict[str, object] = {"map": [str(renaming) for renaming in renamings]} if renamings else {}
    if allow_urls:
        details["allow_urls"] = True
    who = keeper(site, now, accept_jump=accept_jump)
    with opened(place, site, "load", now, target=target.name, who=who, **details) as (bundle, attempt):
        key = site.key  # nothing is loaded that no receipt could tell of
        _tell_place(bundle, progress)
        if engine := engine_of(target):
            attempt.add(engine=engine)
        holdings = Holdings.of(site.home, target.name)
        remember = partial(keep_mark, bundle, site, attempt)
        loading = Loading(bundle, progress, on_conflict, jobs, remember, holdings, renamings, allow_urls)
        results = tuple(load(target, loading))
        _save(holdings, progress)
        receipt = _receipt(bundle, site, target, results, now)
        raw = Envelope.sign(STATEMENT_TYPE, receipt.to_bytes(), [key]).to_bytes()
        kept = site.keep_receipt(f"{bundle.statement.title}-{attempt.seq}.receipt.json", raw)
        report = LoadReport(bundle, results, kept)
        digest = Digest.of(raw).hex
        attempt.add(effect=[_effect(result) for result in results], receipt=str(kept), receipt_sha256=digest)
        if report.failure is not None:
            attempt.result = "partial" if len(report.failed) < len(results) else "failed"
            attempt.exit_code = report.failure.exit_code
    return report


def _tell_place(bundle: VerifiedBundle, progress: Progress) -> None:
    if bundle.missed:
        progress.note(f"{bundle.missed} bundles of {bundle.statement.stream} before this one never came here")
    if fork := bundle.left_fork:
        progress.note(f"alarm: {fork}")


def _save(holdings: Holdings, progress: Progress) -> None:
    """A load that went well does not fail for the account of it, which only saves later ones work."""
    try:
        holdings.save()
    except MediaError as error:
        progress.note(f"what was loaded could not be written down for later loads: {error}")


def bundle_details(bundle: CheckedBundle) -> dict[str, object]:
    """What a record says of a bundle."""
    statement, verdict = bundle.statement, bundle.verdict
    return {
        "bundle": {
            "stream": statement.stream,
            "serial": statement.serial,
            "epoch": statement.epoch,
            "statement_sha256": bundle.statement_sha256,
        },
        "checks": {
            "keys": list(verdict.keyids),
            "owners": list(verdict.owners),
            "threshold": verdict.threshold,
            "root_version": verdict.root_version,
            **_place_in_stream(bundle),
        },
        "files": len(bundle.sizes),
        "bytes": statement.total_bytes,
        "images": [{"reference": str(i.name), "digest": str(i.record.digest)} for i in bundle.images],
        **_alarms(bundle),
    }


def _place_in_stream(bundle: CheckedBundle) -> dict[str, object]:
    if not isinstance(bundle, VerifiedBundle):
        return {}
    return {"repeat": bundle.repeat, "missed": bundle.missed}


def _alarms(bundle: CheckedBundle) -> dict[str, object]:
    fork = bundle.left_fork if isinstance(bundle, VerifiedBundle) else None
    return {"alarms": [fork]} if fork else {}


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
    # an archive proves no base: no delta can be loaded into what takes archives
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
        result="ok" if not failed else "partial" if present else "failed",
        target=target.name,
        target_version=target.info().version if isinstance(target, StreamTarget) else "",
        target_engine=engine_of(target),
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
        verdict=str(result.verdict),
        target_digest=_text(result.after),
        before=_text(result.before),
        error=_text(result.error),
        reason=result.reason,
    )
