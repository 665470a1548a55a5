"""A site's files against its own ledger, at the start of every command that decides or reports.

The ledger knows which trust roots were installed and which bundles were accepted and sealed. Files that
say less were rolled back, or lost. What the ledger has in full is put right from it, with an alarm: marks.
What it knows by its digest only has to be brought back by a person: trust roots. Each comparison below is a
function of its own; a further one goes into `_COMPARISONS`.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from airgap.audit.facts import MAX_SUMMARY, OVERRIDE, LedgerFacts, read_facts
from airgap.audit.record import NOTE
from airgap.bundle.files import media_errors, write_file
from airgap.durable import exists
from airgap.errors import AirgapError, KeyFileError, LedgerError, NoTrustRootError, TrustError, UsageError
from airgap.owned import read_owned, refuse_shared_folder
from airgap.site import Mark, Site
from airgap.times import format_time
from airgap.trust.envelope import Envelope

FOLDERS = ("keys", "trust", "sent", "received", "receipts")
"""Of the home: what is in them decides. Others only save work, or space."""
KINDS = ("received", "sent")
_RAISES = {"received": {"load", "serve"}, "sent": {"pack"}}
"""The events of commands that raise a mark."""
SUMMARY = "ledger.summary.json"
_SUMMARY_TYPE = "application/vnd.airgap.ledger-summary.v1+json"
_SUMMARY_LINES = 256
"""Lines that are read again rather than a summary written."""
_BEHIND = timedelta(minutes=5)
"""How far a clock may be behind the ledger without a word: that much it is set back in good faith."""
SETTLE = "airgap audit settle"


@dataclass(frozen=True, slots=True)
class CheckedSite:
    """A site whose files say what its ledger says."""

    site: Site
    now: datetime
    """The clock's time, or the latest in the ledger where the clock is behind that: time never goes back."""
    alarms: tuple[str, ...]
    """What a person has to look into."""


@dataclass(frozen=True, slots=True)
class _Check:
    site: Site
    facts: LedgerFacts
    recording: bool
    """Whether what is wrong may be put right."""


def check_site(
    home: Path, clock: datetime, *, recording: bool = True, reporting: bool = False, roots: bool = True
) -> CheckedSite:
    """Compare the files at `home` with the ledger there.

    With `recording`, marks that are behind the ledger are written again, and alarms are recorded; commands
    that only look leave everything as it is, and when they are `reporting`, what would be refused is an alarm
    among the others. Without `roots`, those are not compared: for who is going to bring one back. Raises
    `UsageError` where there is no site, `LedgerError` for a ledger that was cut or changed, `TrustError` for
    a trust root that is missing or another one, and for files that others can change.
    """
    refuse_shared_folder(home, home=True)
    for name in FOLDERS:
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
    if now - clock > _BEHIND:
        alarms.append(
            f"this machine's clock says {format_time(clock)}, and the ledger has records of "
            f"{format_time(now)}, which counts: set the clock; if it is right now, `{SETTLE} clock` says so"
        )
    _record(check, alarms)
    if recording and facts.number - read >= _SUMMARY_LINES:
        _write_summary(site, facts)
    return CheckedSite(site, now, tuple(alarms))


def _record(check: _Check, alarms: list[str]) -> None:
    """Under the name that the ledger has: the one in site.json may be what is wrong."""
    if check.recording and alarms:
        check.site.ledger(check.facts.site).append("alarm", NOTE, result="alarm", alarms=alarms)


# -- comparisons


def _compare_name(check: _Check) -> Iterator[str]:
    if check.facts.site not in ("", check.site.name):
        raise TrustError(
            "the site has another name than its ledger says", subject=check.site.home / "site.json",
            want=check.facts.site, got=check.site.name,
            hint="it says which bundles are for this site: find out who changed it; "
            f"`{SETTLE} ledger` puts the name back",
        )  # fmt: skip
    yield from ()


def _compare_roots(check: _Check) -> Iterator[str]:
    """A root that the ledger does not know, but that follows from one it knows, came just before the power
    was cut: it is signed, and recorded now. The first root is one of which the ledger has the beginning.
    """
    here, known = check.site.roots(), check.facts.roots
    for version, fingerprint in sorted(known.items()):
        got = sha256(here[version]).hexdigest() if version in here else "no such file"
        if got != fingerprint:
            path = check.site.home / "trust" / f"{version}.root.json"
            raise TrustError(
                "the trust root is not the one that was installed", subject=path, want=fingerprint, got=got,
                hint=f"the sending side has it, and so has every later bundle, as trust/{version}.root.json: "
                f"`airgap trust install` takes it back",
            )  # fmt: skip
    begun = set(check.facts.begun.values())
    first = "init" in begun or any(sha256(raw).hexdigest() in begun for raw in here.values())
    if here and not known and not first:
        raise LedgerError(
            "the ledger has no record of any trust root", subject=check.site.ledger_path,
            want=f"a record of trust root {max(here)}, which is in trust/", got=f"{check.facts.number} lines",
            hint="it was cut or replaced: put it back from a backup; "
            f"`{SETTLE} files` takes the files as they are, and records that",
        )  # fmt: skip
    unknown = sorted(here.keys() - known.keys())
    if unknown:
        check.site.root()  # each follows from the one before
    for version in unknown if check.recording else ():
        record_root(check.site, version, here[version], "found after an interruption")
    yield from ()


def _compare_key(check: _Check) -> Iterator[str]:
    """Receipts by another key than the sender knows are refused there: it is told here already."""
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
            f"site.key is not the key that {root.name} gives to this site: its receipts will be refused "
            f"(want {', '.join(named.receipt_keyids)}, got {keyid})"
        )


def _compare_marks(check: _Check) -> Iterator[str]:
    for kind in KINDS:
        known: dict[str, Mark] = getattr(check.facts, kind)
        for stream in sorted({*known, *check.site.marked(kind)}):
            yield from _compare_mark(check, kind, stream, known.get(stream))


def _compare_mark(check: _Check, kind: str, stream: str, place: Mark | None) -> Iterator[str]:
    """A mark ahead of the ledger is left: it can only refuse more. It is no alarm while a command that
    raises such marks has not ended, or was killed before it could record it.
    """
    got, problem = _mark(check.site, kind, stream)
    said = str(problem) if problem else _named(kind, stream, got)
    if place is None or (got is not None and (got.epoch, got.serial) > (place.epoch, place.serial)):
        if problem is not None:
            problem.hint = f"`{SETTLE} ledger` removes it: the ledger has no record of this stream"
            raise problem
        if not _RAISES[kind] & set(check.facts.begun.values()):
            known = f"only has a record of {_place(place)}" if place else "has no record of that"
            yield (
                f"{said}, and the ledger {known}: the file was changed, or the ledger was cut; "
                f"`{SETTLE} ledger` or `{SETTLE} files` settles it"
            )
    elif got != place:
        if not check.recording:
            yield f"{said}, and the ledger has a record of {_place(place)}"
        elif put_right(check.site, kind, stream, place):
            yield f"{said}; it is put right by the ledger, which has a record of {_place(place)}"


_COMPARISONS: tuple[Callable[[_Check], Iterator[str]], ...] = (
    _compare_name, _compare_roots, _compare_key, _compare_marks,
)  # fmt: skip


# -- putting right


def put_right(site: Site, kind: str, stream: str, want: Mark) -> bool:
    """Write a mark that is behind `want`; False when another process has raised it, or is about to."""
    if kind == "received":
        with site.receiving():
            return _put_right(site, kind, stream, want)
    try:
        with site.packing(stream):
            return _put_right(site, kind, stream, want)
    except UsageError:
        return False


def _put_right(site: Site, kind: str, stream: str, want: Mark) -> bool:
    got, problem = _mark(site, kind, stream)
    if got is not None and (got == want or (got.epoch, got.serial) > (want.epoch, want.serial)):
        return False
    if problem is not None:  # whatever it is: what has the same content would be left as it is
        _remove(site.home / kind / f"{stream}.json")
    (site.set_received if kind == "received" else site.set_sent)(stream, want)
    return True


def _remove(path: Path) -> None:
    with media_errors("cannot remove", path):
        path.unlink(missing_ok=True)


def record_root(site: Site, version: int, raw: bytes, why: str) -> None:
    """Let the ledger know a root that is here. The caller has proved it, or a person says it is right."""
    fingerprint = sha256(raw).hexdigest()
    site.ledger().append("trust-change", NOTE, change=why, root_version=version, fingerprint=fingerprint)


def _mark(site: Site, kind: str, stream: str) -> tuple[Mark | None, AirgapError | None]:
    """The mark in its file; or why it cannot be read."""
    try:
        return (site.received if kind == "received" else site.sent)(stream), None
    except AirgapError as error:
        return None, error


def _place(mark: Mark) -> str:
    return f"serial {mark.serial} in epoch {mark.epoch}, statement sha256:{mark.statement_sha256}"


def _named(kind: str, stream: str, mark: Mark | None) -> str:
    return f"{kind}/{stream}.json " + (f"tells of {_place(mark)}" if mark else "is missing")


# -- the summary


def _read_summary(site: Site) -> LedgerFacts | None:
    """What this site has summarised; None where there is none, or one that this site's key has not signed: it
    only saves work.
    """
    path = site.home / SUMMARY
    with contextlib.suppress(AirgapError):
        if exists(path, follow=False):
            envelope = Envelope.parse(read_owned(path, 2 * MAX_SUMMARY), str(path))
            key = site.key.public_key
            signed = any(key.verify(envelope.message, each.sig) for each in envelope.signatures)
            if signed and envelope.payload_type == _SUMMARY_TYPE:
                return LedgerFacts.parse(envelope.payload)
    return None


def _write_summary(site: Site, facts: LedgerFacts) -> None:
    payload = facts.to_bytes()
    if len(payload) <= MAX_SUMMARY:
        raw = Envelope.sign(_SUMMARY_TYPE, payload, [site.key]).to_bytes()
        with contextlib.suppress(AirgapError):  # a full disk is told by what has to be written
            write_file(site.home / SUMMARY, raw)


# -- what a person decides


def settle(home: Path, what: str) -> list[str]:
    """Let `ledger`, `files` or `clock` be right where they disagree; what was changed. The ledger's chain
    must hold; it has a record of the decision.
    """
    refuse_shared_folder(home, home=True)
    site = Site(home)
    facts = read_facts(site.ledger_path)
    done: list[str] = []
    if what == "ledger" and facts.site not in ("", site.name):
        site.put_name_back(facts.site)
        done.append(f"the site is called {facts.site} again")
    with site.ledger().attempt(OVERRIDE, change=what) as attempt:
        _remove(home / SUMMARY)
        if what == "ledger":
            done += [text for kind in KINDS for text in _marks_by_ledger(site, facts, kind)]
        elif what == "files":
            done += _record_files(site, facts)
        elif facts.latest:
            done.append(f"records up to {facts.latest} no longer hold the clock")
        attempt.add(changes=done)
    return done


def _marks_by_ledger(site: Site, facts: LedgerFacts, kind: str) -> Iterator[str]:
    known: dict[str, Mark] = getattr(facts, kind)
    for stream in sorted({*known, *site.marked(kind)}):
        got, problem = _mark(site, kind, stream)
        path = site.home / kind / f"{stream}.json"
        if stream not in known:
            _remove(path)
            yield f"{kind}/{stream}.json removed: {problem or _named(kind, stream, got)}"
        elif got != (want := known[stream]):
            (site.set_received if kind == "received" else site.set_sent)(stream, want)
            yield f"{problem or _named(kind, stream, got)}; now it tells of {_place(want)}"


def _record_files(site: Site, facts: LedgerFacts) -> Iterator[str]:
    roots = site.roots()
    if roots:
        site.root()  # each follows from the one before, or nothing is taken
    for version, raw in roots.items():
        if facts.roots.get(version) != sha256(raw).hexdigest():
            record_root(site, version, raw, "settled")
            yield f"trust root {version} recorded"
    for kind, name in zip(KINDS, ("accepted", "sealed"), strict=True):
        for stream in site.marked(kind):
            got = site.received(stream) if kind == "received" else site.sent(stream)
            place = getattr(facts, kind).get(stream)
            if got is not None and place != got:
                site.ledger().append(
                    OVERRIDE, NOTE, change="files", **{name: {"stream": stream, **got.value}}
                )
                yield f"{_named(kind, stream, got)}: recorded"
