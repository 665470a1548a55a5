"""Compares a site's files with its ledger, at the start of every command that decides or reports.

The ledger records which trust roots were installed and which bundles were accepted and sealed. Files that
record less were rolled back, or lost. Marks are in the ledger in full, so they are restored from it, with an
alarm. Of trust roots the ledger has only the digests, so a person must bring them back. Each comparison is a
function in `_COMPARISONS`.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from airgap.audit.facts import OVERRIDE, LedgerFacts, read_facts
from airgap.audit.record import NOTE
from airgap.bundle.files import media_errors, write_file
from airgap.durable import exists
from airgap.errors import AirgapError, KeyFileError, LedgerError, NoTrustRootError, TrustError, UsageError
from airgap.limits import MAX_LEDGER_SUMMARY_BYTES
from airgap.owned import read_owned, refuse_shared_folder
from airgap.site import Mark, MarkKind, Site
from airgap.times import format_time
from airgap.trust.envelope import Envelope

TRUSTED_FOLDERS = ("keys", "trust", "sent", "received", "receipts")
"""The folders of the home whose content decides what is trusted."""
_RAISES = {MarkKind.RECEIVED: {"load", "serve"}, MarkKind.SENT: {"pack"}}
"""The events of the commands that raise a mark of each kind."""
SUMMARY = "ledger.summary.json"
_SUMMARY_TYPE = "application/vnd.airgap.ledger-summary.v1+json"
_SUMMARY_LINES = 256
"""A summary is written only after this number of new lines."""
_BEHIND = timedelta(minutes=5)
"""How far the clock may be behind the ledger without an alarm, because clocks are corrected."""
SETTLE = "airgap audit settle"


class Authority(StrEnum):
    """What a person can declare to be right where files, clock and ledger disagree."""

    CLOCK = "clock"
    FILES = "files"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class CheckedSite:
    """A site whose files agree with its ledger."""

    site: Site
    now: datetime
    """The clock's time, or the latest time in the ledger if that is later."""
    alarms: tuple[str, ...]
    """The facts that a person must investigate."""


@dataclass(frozen=True, slots=True)
class _Check:
    site: Site
    facts: LedgerFacts
    recording: bool
    """Whether wrong marks may be restored."""


def check_site(
    home: Path, clock: datetime, *, recording: bool = True, reporting: bool = False, roots: bool = True
) -> CheckedSite:
    """Compare the files at `home` with the ledger there.

    Args:
        home: The site's folder.
        clock: The time of this machine's clock.
        recording: Restore marks that are behind the ledger, and record alarms; otherwise no file is changed.
        reporting: Return an error as one of the alarms.
        roots: Also compare the trust roots.

    Raises:
        UsageError: There is no site.
        LedgerError: The ledger was cut or changed.
        TrustError: A trust root is missing or different, or others can change a file.
    """
    refuse_shared_folder(home, home=True)
    for name in TRUSTED_FOLDERS:
        refuse_shared_folder(home / name, home=False)
    site = Site(home)
    if recording:
        site.ledger().check_writable()
    summary = _read_summary(site)
    read = summary.number if summary else 0
    facts = read_facts(site.ledger_path, summary)
    check = _Check(site, facts, recording)
    alarms: list[str] = []
    for compare in _COMPARISONS:
        if roots or compare not in (_compare_roots, _compare_key):
            try:
                alarms += compare(check)
            except AirgapError as error:
                alarms.append(str(error))
                if not reporting:
                    _record(check, alarms)
                    raise
    now = max(clock, facts.latest_time or clock)
    alarms += _compare_clock(clock, now)
    _record(check, alarms)
    if recording and facts.number - read >= _SUMMARY_LINES:
        _write_summary(site, facts)
    return CheckedSite(site, now, tuple(alarms))


def _record(check: _Check, alarms: list[str]) -> None:
    """Record the alarms under the name in the ledger, because the name in site.json may be wrong."""
    if check.recording and alarms:
        check.site.ledger(check.facts.site).append("alarm", NOTE, result="alarm", alarms=alarms)


# -- comparisons


def _compare_clock(clock: datetime, now: datetime) -> Iterator[str]:
    if now - clock > _BEHIND:
        yield (
            f"this machine's clock shows {format_time(clock)}, but the ledger has records of "
            f"{format_time(now)}, which counts: set the clock; if it is right, run `{SETTLE} clock`"
        )


def _compare_name(check: _Check) -> Iterator[str]:
    if check.facts.site not in ("", check.site.name):
        raise TrustError(
            "the site's name differs from its ledger", subject=check.site.home / "site.json",
            want=check.facts.site, got=check.site.name,
            hint="the name decides which bundles are for this site: find out who changed it; "
            f"run `{SETTLE} ledger` to restore the name",
        )  # fmt: skip
    yield from ()


def _compare_roots(check: _Check) -> Iterator[str]:
    """Compare the trust roots. A root that is not in the ledger, but follows one that is, was installed just
    before a power failure: it is signed, so it is recorded now. For the first root, the ledger has the begin
    record of the installation.
    """
    installed, known = check.site.roots(), check.facts.roots
    for version, fingerprint in sorted(known.items()):
        got = sha256(installed[version]).hexdigest() if version in installed else "no such file"
        if got != fingerprint:
            path = check.site.home / "trust" / f"{version}.root.json"
            raise TrustError(
                "the trust root is not the one that was installed", subject=path, want=fingerprint, got=got,
                hint=f"the sending side has it, and every later bundle has it as trust/{version}.root.json: "
                f"run `airgap trust install` to bring it back",
            )  # fmt: skip
    begun = set(check.facts.begun.values())
    first = "init" in begun or any(sha256(raw).hexdigest() in begun for raw in installed.values())
    if installed and not known and not first:
        raise LedgerError(
            "the ledger has no record of any trust root", subject=check.site.ledger_path,
            want=f"a record of trust root {max(installed)}, which is in trust/",
            got=f"{check.facts.number} lines",
            hint="it was cut or replaced: restore it from a backup, or run "
            f"`{SETTLE} files`, which accepts and records the files as they are",
        )  # fmt: skip
    unknown = sorted(installed.keys() - known.keys())
    if unknown:
        check.site.root()  # raises unless each follows the one before
    for version in unknown if check.recording else ():
        record_root(check.site, version, installed[version], "found after an interruption")
    yield from ()


def _compare_key(check: _Check) -> Iterator[str]:
    """Warn if the trust root has another key for this site, because the sender would refuse its receipts."""
    try:
        keyid, root = check.site.key.public_key.keyid, check.site.root().root
    except NoTrustRootError:
        return
    except KeyFileError as error:
        yield f"this site cannot sign receipts: {error}"
        return
    named = root.sites.get(check.site.name)
    if named is not None and keyid not in named.receipt_keyids:
        yield (
            f"site.key is not this site's key in {root.name}: its receipts will be refused "
            f"(want {', '.join(named.receipt_keyids)}, got {keyid})"
        )


def _compare_marks(check: _Check) -> Iterator[str]:
    for kind in MarkKind:
        known: dict[str, Mark] = getattr(check.facts, kind)
        for stream in sorted({*known, *check.site.marked(kind)}):
            yield from _compare_mark(check, kind, stream, known.get(stream))


def _compare_mark(check: _Check, kind: MarkKind, stream: str, recorded: Mark | None) -> Iterator[str]:
    """Compare one mark. A mark ahead of the ledger is left unchanged, because it can only refuse more.
    There is no alarm while a command that raises such marks is running, or if it was killed before it
    recorded the mark.
    """
    mark, problem = _mark(check.site, kind, stream)
    state = str(problem) if problem else _describe_file(kind, stream, mark)
    if recorded is None or (
        mark is not None and (mark.epoch, mark.serial) > (recorded.epoch, recorded.serial)
    ):
        if problem is not None:
            problem.hint = f"run `{SETTLE} ledger` to remove it: the ledger has no record of this stream"
            raise problem
        if not _RAISES[kind] & set(check.facts.begun.values()):
            known = f"only records {_describe_mark(recorded)}" if recorded else "has no record of it"
            yield (
                f"{state}, but the ledger {known}: the file was changed, or the ledger was cut; "
                f"run `{SETTLE} ledger` or `{SETTLE} files` to settle it"
            )
    elif mark != recorded:
        if not check.recording:
            yield f"{state}, but the ledger records {_describe_mark(recorded)}"
        elif put_right(check.site, kind, stream, recorded):
            yield f"{state}; it was restored from the ledger, which records {_describe_mark(recorded)}"


_COMPARISONS: tuple[Callable[[_Check], Iterator[str]], ...] = (
    _compare_name, _compare_roots, _compare_key, _compare_marks,
)  # fmt: skip


# -- restoring marks


def put_right(site: Site, kind: MarkKind, stream: str, want: Mark) -> bool:
    """Restore a mark that is behind `want`. Return False if another process has raised it, or is about to."""
    if kind is MarkKind.RECEIVED:
        with site.receiving():
            return _put_right(site, kind, stream, want)
    try:
        with site.packing(stream):
            return _put_right(site, kind, stream, want)
    except UsageError:
        return False


def _put_right(site: Site, kind: MarkKind, stream: str, want: Mark) -> bool:
    mark, problem = _mark(site, kind, stream)
    if mark is not None and (mark == want or (mark.epoch, mark.serial) > (want.epoch, want.serial)):
        return False
    if problem is not None:  # write_file leaves a file of equal content unchanged, of any mode
        _remove(site.home / kind / f"{stream}.json")
    site.set_mark(kind, stream, want)
    return True


def _remove(path: Path) -> None:
    with media_errors("cannot remove", path):
        path.unlink(missing_ok=True)


def record_root(site: Site, version: int, raw: bytes, why: str) -> None:
    """Record an installed root, and `why`, in the ledger. The caller or a person has checked it."""
    fingerprint = sha256(raw).hexdigest()
    site.ledger().append("trust-change", NOTE, change=why, root_version=version, fingerprint=fingerprint)


def _mark(site: Site, kind: MarkKind, stream: str) -> tuple[Mark | None, AirgapError | None]:
    """Return the mark in its file, or the error that occurred while reading it."""
    try:
        return site.mark(kind, stream), None
    except AirgapError as error:
        return None, error


def _describe_mark(mark: Mark) -> str:
    return f"serial {mark.serial} in epoch {mark.epoch}, statement sha256:{mark.statement_sha256}"


def _describe_file(kind: MarkKind, stream: str, mark: Mark | None) -> str:
    return f"{kind}/{stream}.json " + (f"records {_describe_mark(mark)}" if mark else "is missing")


# -- the summary


def _read_summary(site: Site) -> LedgerFacts | None:
    """Return the summary of this site; None if there is none, or if this site's key has not signed it. The
    summary only saves work.
    """
    path = site.home / SUMMARY
    with contextlib.suppress(AirgapError):
        if exists(path, follow=False):
            envelope = Envelope.parse(read_owned(path, 2 * MAX_LEDGER_SUMMARY_BYTES), str(path))
            key = site.key.public_key
            signed = any(key.verify(envelope.message, signature.sig) for signature in envelope.signatures)
            if signed and envelope.payload_type == _SUMMARY_TYPE:
                return LedgerFacts.parse(envelope.payload)
    return None


def _write_summary(site: Site, facts: LedgerFacts) -> None:
    payload = facts.to_bytes()
    if len(payload) <= MAX_LEDGER_SUMMARY_BYTES:
        raw = Envelope.sign(_SUMMARY_TYPE, payload, [site.key]).to_bytes()
        with contextlib.suppress(AirgapError):  # a full disk is reported by the writes that matter
            write_file(site.home / SUMMARY, raw)


# -- decisions of a person


def settle(home: Path, what: Authority) -> list[str]:
    """Accept the `ledger`, the `files` or the `clock` as right where they disagree; return what was changed.
    The ledger's chain must be intact; the decision is recorded in it.
    """
    refuse_shared_folder(home, home=True)
    site = Site(home)
    facts = read_facts(site.ledger_path)
    done: list[str] = []
    if what is Authority.LEDGER and facts.site not in ("", site.name):
        site.put_name_back(facts.site)
        done.append(f"the site's name is {facts.site} again")
    with site.ledger().attempt(OVERRIDE, change=str(what)) as attempt:
        _remove(home / SUMMARY)
        if what is Authority.LEDGER:
            done += [text for kind in MarkKind for text in _marks_by_ledger(site, facts, kind)]
        elif what is Authority.FILES:
            done += _record_files(site, facts)
        elif facts.latest:
            done.append(f"records up to {facts.latest} no longer override the clock")
        attempt.add(changes=done)
    return done


def _marks_by_ledger(site: Site, facts: LedgerFacts, kind: MarkKind) -> Iterator[str]:
    known: dict[str, Mark] = getattr(facts, kind)
    for stream in sorted({*known, *site.marked(kind)}):
        mark, problem = _mark(site, kind, stream)
        path = site.home / kind / f"{stream}.json"
        if stream not in known:
            _remove(path)
            yield f"{kind}/{stream}.json removed: {problem or _describe_file(kind, stream, mark)}"
        elif mark != (want := known[stream]):
            site.set_mark(kind, stream, want)
            yield f"{problem or _describe_file(kind, stream, mark)}; now it records {_describe_mark(want)}"


def _record_files(site: Site, facts: LedgerFacts) -> Iterator[str]:
    roots = site.roots()
    if roots:
        site.root()  # raises unless each follows the one before
    for version, raw in roots.items():
        if facts.roots.get(version) != sha256(raw).hexdigest():
            record_root(site, version, raw, "settled")
            yield f"trust root {version} recorded"
    for kind, name in zip(MarkKind, ("accepted", "sealed"), strict=True):
        for stream in site.marked(kind):
            mark = site.mark(kind, stream)
            recorded = getattr(facts, kind).get(stream)
            if mark is not None and recorded != mark:
                site.ledger().append(
                    OVERRIDE, NOTE, change="files", **{name: {"stream": stream, **mark.value}}
                )
                yield f"{_describe_file(kind, stream, mark)}: recorded"
