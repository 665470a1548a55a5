"""Compares a site's files with its ledger, at the start of every command that decides or reports.

The ledger records which trust roots were installed and which bundles were accepted and sealed. Files that
record less were rolled back, or lost. Marks are in the ledger in full, so they are restored from it, with an
alarm. Of trust roots the ledger has only the digests, so a person must bring them back. Each comparison is a
function in `_COMPARISONS`.
"""

import itertools
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from airgap.audit.facts import LedgerFacts, SenderFacts, read_facts
from airgap.audit.record import NOTE
from airgap.bundle.files import media_errors
from airgap.durable import exists
from airgap.errors import AirgapError, KeyFileError, LedgerError, NoTrustRootError, TrustError, UsageError
from airgap.ledger_summary import read_summary, write_summary
from airgap.limits import MAX_SITE_FILE_BYTES
from airgap.owned import read_owned, refuse_shared_folder
from airgap.sender_state import SENDER_FILE, SENDERS
from airgap.site import Mark, MarkKind, Site
from airgap.times import format_time
from airgap.values import dataclass

TRUSTED_FOLDERS = ("keys", "trust", "sent", "received", "receipts", SENDERS)
"""The folders of the home whose content decides what is trusted."""
_RAISES = {MarkKind.RECEIVED: {"load", "serve"}, MarkKind.SENT: {"pack"}}
"""The events of the commands that raise a mark of each kind."""
CHANGE_SENDER = "change sender"
"""The change of trust by which the settings of a sender are written."""
_SUMMARY_LINES = 256
"""A summary is written only after this number of new lines."""
_BEHIND = timedelta(minutes=5)
"""How far the clock may be behind the ledger without an alarm, because clocks are corrected."""
SETTLE = "airgap audit settle"


@dataclass(frozen=True, slots=True)
class CheckedSite:
    """A site whose files agree with its ledger."""

    site: Site
    now: datetime
    """The clock's time, or the latest time in the ledger if that is later."""
    alarms: tuple[str, ...]
    """The facts that a person must investigate."""


@dataclass(frozen=True, slots=True)
class SenderCheck:
    """The files of one sender, and what the ledger says about them."""

    site: Site
    facts: SenderFacts
    ledger: LedgerFacts
    recording: bool
    """Whether wrong marks may be restored."""

    @property
    def begun(self) -> set[str]:
        """What was begun in attempts that have no end record."""
        return set(self.ledger.begun.values())

    def known(self, kind: MarkKind) -> dict[str, Mark]:
        """Return the marks in the ledger. What was sealed here belongs to the first sender."""
        if kind is MarkKind.RECEIVED:
            return self.facts.received
        return {} if self.site.sender else self.ledger.sent

    def streams(self, kind: MarkKind) -> list[str]:
        """Return the streams that have a mark of `kind` in the ledger or in a file."""
        if kind is MarkKind.SENT and self.site.sender:
            return []
        return sorted({*self.known(kind), *self.site.marked(kind)})


def sender_checks(site: Site, facts: LedgerFacts, *, recording: bool) -> list[SenderCheck]:
    """Return a check for each sender, whether it is known from the folder or from the ledger."""
    in_ledger = {name for name, known in facts.senders.items() if known.roots and not known.removed}
    names = ["", *sorted({*in_ledger, *site.other_senders()})]
    return [SenderCheck(site.from_sender(name), facts.of(name), facts, recording) for name in names]


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
    _refuse_shared_folders(site)
    if recording:
        site.ledger().check_writable()
    summary = read_summary(site.home)
    read = summary.number if summary else 0
    facts = read_facts(site.ledger_path, summary)
    checks = sender_checks(site, facts, recording=recording)
    alarms: list[str] = []
    for compare, check in itertools.product(_COMPARISONS, checks):
        if roots or compare not in (_compare_settings, _compare_roots, _compare_key):
            try:
                alarms += compare(check)
            except AirgapError as error:
                alarms.append(str(error))
                if not reporting:
                    _record(checks[0], alarms)
                    raise
    now = max(clock, facts.latest_time or clock)
    alarms += _compare_clock(clock, now)
    _record(checks[0], alarms)
    is_older = facts.tree is None
    if recording and (is_older or facts.number - read >= _SUMMARY_LINES):
        write_summary(site.home, read_facts(site.ledger_path) if is_older else facts)
    return CheckedSite(site, now, tuple(alarms))


def _refuse_shared_folders(site: Site) -> None:
    for sender in site.other_senders():
        for folder in ("", "trust", "received"):
            refuse_shared_folder(site.home / SENDERS / sender / folder, home=False)


def _record(check: SenderCheck, alarms: list[str]) -> None:
    """Record the alarms under the name in the ledger, because the name in site.json may be wrong."""
    if check.recording and alarms:
        check.site.ledger(check.ledger.site).append("alarm", NOTE, result="alarm", alarms=alarms)


# -- comparisons


def _compare_clock(clock: datetime, now: datetime) -> Iterator[str]:
    if now - clock > _BEHIND:
        yield (
            f"this machine's clock shows {format_time(clock)}, but the ledger has records of "
            f"{format_time(now)}, which counts: set the clock; if it is right, run `{SETTLE} clock`"
        )


def _compare_name(check: SenderCheck) -> Iterator[str]:
    if check.ledger.site not in ("", check.site.name):
        raise TrustError(
            "the site's name differs from its ledger", subject=check.site.home / "site.json",
            want=check.ledger.site, got=check.site.name,
            hint="the name decides which bundles are for this site: find out who changed it; "
            f"run `{SETTLE} ledger` to restore the name",
        )  # fmt: skip
    yield from ()


def _option(site: Site) -> str:
    return f" --sender {site.sender}" if site.sender else ""


def _way_back(check: SenderCheck) -> str:
    name = check.site.sender or "default"
    if check.facts.removed or not check.site.roots():
        return (
            f"`airgap trust install BUNDLE --sender {name} --names PATTERN` brings the sender back; "
            f"`airgap trust remove-sender {name}` removes it for good"
        )
    return f"find out who changed the file; `airgap trust allow {name} --names PATTERN` writes it again"


def _compare_settings(check: SenderCheck) -> Iterator[str]:
    """Compare the rules about a sender's names, which decide what may be loaded. A file that is not in the
    ledger yet was written just before a power failure; it is recorded now.
    """
    path = check.site.folder / SENDER_FILE
    raw = read_owned(path, MAX_SITE_FILE_BYTES) if exists(path, follow=False) else b""
    want, got = check.facts.settings, raw.decode(errors="replace").rstrip("\n")
    if got == want:
        return
    sums = {sha256(root).hexdigest() for root in check.site.roots().values()}
    if not raw or not check.begun & {CHANGE_SENDER, *sums}:
        raise TrustError(
            "the rules about a sender are not those in the ledger", subject=path,
            want=want or "no such file", got=got or "no such file", hint=_way_back(check),
        )  # fmt: skip
    if check.recording:
        record_settings(check.site, "found after an interruption")
    yield from ()


def _compare_roots(check: SenderCheck) -> Iterator[str]:
    """Compare the trust roots. A root that is not in the ledger, but follows one that is, was installed just
    before a power failure: it is signed, so it is recorded now. For the first root, the ledger has the begin
    record of the installation.
    """
    installed = check.site.roots()
    known = {} if check.facts.removed else check.facts.roots
    for version, fingerprint in sorted(known.items()):
        got = sha256(installed[version]).hexdigest() if version in installed else "no such file"
        if got != fingerprint:
            path = check.site.folder / "trust" / f"{version}.root.json"
            raise TrustError(
                "the trust root is not the one that was installed", subject=path, want=fingerprint, got=got,
                hint=f"the sending side has it, and every later bundle has it as trust/{version}.root.json: "
                f"run `airgap trust install{_option(check.site)}` to bring it back",
            )  # fmt: skip
    begun = check.begun
    first = "init" in begun or any(sha256(raw).hexdigest() in begun for raw in installed.values())
    if installed and not known and not first:
        raise LedgerError(
            "the ledger has no record of any trust root", subject=check.site.ledger_path,
            want=f"a record of trust root {max(installed)}, which is in {check.site.folder / 'trust'}",
            got=f"{check.ledger.number} lines",
            hint="it was cut or replaced: restore it from a backup, or run "
            f"`{SETTLE} files`, which accepts and records the files as they are",
        )  # fmt: skip
    unknown = sorted(installed.keys() - known.keys())
    if unknown:
        check.site.root()  # raises unless each follows the one before
    for version in unknown if check.recording else ():
        record_root(check.site, version, installed[version], "found after an interruption")
    yield from ()


def _compare_key(check: SenderCheck) -> Iterator[str]:
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


def _compare_marks(check: SenderCheck) -> Iterator[str]:
    for kind in MarkKind:
        for stream in check.streams(kind):
            yield from _compare_mark(check, kind, stream, check.known(kind).get(stream))


def _compare_mark(check: SenderCheck, kind: MarkKind, stream: str, recorded: Mark | None) -> Iterator[str]:
    """Compare one mark. A mark ahead of the ledger is left unchanged, because it can only refuse more.
    There is no alarm while a command that raises such marks is running, or if it was killed before it
    recorded the mark.
    """
    mark, problem = read_mark(check.site, kind, stream)
    state = str(problem) if problem else describe_mark_file(check.site, kind, stream, mark)
    if recorded is None or (
        mark is not None and (mark.epoch, mark.serial) > (recorded.epoch, recorded.serial)
    ):
        if problem is not None:
            problem.hint = f"run `{SETTLE} ledger` to remove it: the ledger has no record of this stream"
            raise problem
        if not _RAISES[kind] & check.begun:
            known = f"only records {describe_mark(recorded)}" if recorded else "has no record of it"
            yield (
                f"{state}, but the ledger {known}: the file was changed, or the ledger was cut; "
                f"run `{SETTLE} ledger` or `{SETTLE} files` to settle it"
            )
    elif mark != recorded:
        if not check.recording:
            yield f"{state}, but the ledger records {describe_mark(recorded)}"
        elif put_right(check.site, kind, stream, recorded):
            yield f"{state}; it was restored from the ledger, which records {describe_mark(recorded)}"


_COMPARISONS: tuple[Callable[[SenderCheck], Iterator[str]], ...] = (
    _compare_name, _compare_settings, _compare_roots, _compare_key, _compare_marks,
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
    mark, problem = read_mark(site, kind, stream)
    if mark is not None and (mark == want or (mark.epoch, mark.serial) > (want.epoch, want.serial)):
        return False
    if problem is not None:  # write_file leaves a file of equal content unchanged, of any mode
        remove_file(site.place(kind) / f"{stream}.json")
    site.set_mark(kind, stream, want)
    return True


def remove_file(path: Path) -> None:
    """Remove a file of the home, if it is there."""
    with media_errors("cannot remove", path):
        path.unlink(missing_ok=True)


def record_root(site: Site, version: int, raw: bytes, why: str) -> None:
    """Record an installed root, and `why`, in the ledger. The caller or a person has checked it."""
    fingerprint = sha256(raw).hexdigest()
    site.ledger().append("trust-change", NOTE, change=why, root_version=version, fingerprint=fingerprint)


def record_settings(site: Site, why: str) -> None:
    """Record what a person decided about a sender, and `why`, in the ledger."""
    site.ledger().append("trust-change", NOTE, change=why, settings=site.settings.value)


def read_mark(site: Site, kind: MarkKind, stream: str) -> tuple[Mark | None, AirgapError | None]:
    """Return the mark in its file, or the error that occurred while reading it."""
    try:
        return site.mark(kind, stream), None
    except AirgapError as error:
        return None, error


def mark_file_name(site: Site, kind: MarkKind, stream: str) -> str:
    """Return the path of a mark's file, relative to the home."""
    return str((site.place(kind) / f"{stream}.json").relative_to(site.home))


def describe_mark(mark: Mark) -> str:
    """Return a mark for people."""
    return f"serial {mark.serial} in epoch {mark.epoch}, statement sha256:{mark.statement_sha256}"


def describe_mark_file(site: Site, kind: MarkKind, stream: str, mark: Mark | None) -> str:
    """Return what is in the file of a mark, for people."""
    return f"{mark_file_name(site, kind, stream)} " + (
        f"records {describe_mark(mark)}" if mark else "is missing"
    )
