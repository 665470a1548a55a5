"""Carries out a person's decision where a site's files, its ledger and the clock disagree."""

from collections.abc import Iterator
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from airgap.audit.facts import OVERRIDE, read_facts
from airgap.audit.record import NOTE
from airgap.durable import exists
from airgap.ledger_summary import SUMMARY
from airgap.oci.strict_json import dump
from airgap.owned import refuse_shared_folder
from airgap.sender_state import SENDER_FILE
from airgap.site import MarkKind, Site
from airgap.site_check import (
    SenderCheck,
    describe_mark,
    describe_mark_file,
    mark_file_name,
    read_mark,
    record_root,
    record_settings,
    remove_file,
    sender_checks,
)


class Authority(StrEnum):
    """What a person can declare to be right where files, clock and ledger disagree."""

    CLOCK = "clock"
    FILES = "files"
    LEDGER = "ledger"


def settle(home: Path, what: Authority) -> list[str]:
    """Accept the `ledger`, the `files` or the `clock` as right where they disagree; return what was changed.
    The ledger's chain must be intact; the decision is recorded in it.
    """
    refuse_shared_folder(home, home=True)
    site = Site(home)
    facts = read_facts(site.ledger_path)
    checks = sender_checks(site, facts, recording=True)
    done: list[str] = []
    if what is Authority.LEDGER and facts.site not in ("", site.name):
        site.put_name_back(facts.site)
        done.append(f"the site's name is {facts.site} again")
    with site.ledger().attempt(OVERRIDE, change=str(what)) as attempt:
        remove_file(home / SUMMARY)
        if what is Authority.LEDGER:
            done += [text for check in checks for kind in MarkKind for text in _marks_by_ledger(check, kind)]
        elif what is Authority.FILES:
            done += [text for check in checks for text in _record_files(check)]
        elif facts.latest:
            done.append(f"records up to {facts.latest} no longer override the clock")
        attempt.add(changes=done)
    return done


def _marks_by_ledger(check: SenderCheck, kind: MarkKind) -> Iterator[str]:
    site, known = check.site, check.known(kind)
    for stream in check.streams(kind):
        mark, problem = read_mark(site, kind, stream)
        state = str(problem or describe_mark_file(site, kind, stream, mark))
        if stream not in known:
            remove_file(site.place(kind) / f"{stream}.json")
            yield f"{mark_file_name(site, kind, stream)} removed: {state}"
        elif mark != (want := known[stream]):
            site.set_mark(kind, stream, want)
            yield f"{state}; now it records {describe_mark(want)}"


def _record_files(check: SenderCheck) -> Iterator[str]:
    site = check.site
    roots = site.roots()
    if roots:
        site.root()  # raises unless each follows the one before
    for version, raw in roots.items():
        if check.facts.roots.get(version) != sha256(raw).hexdigest():
            record_root(site, version, raw, "settled")
            yield f"trust root {version} recorded"
    path = site.folder / SENDER_FILE
    if exists(path) and dump(site.settings.value).decode() != check.facts.settings:
        record_settings(site, "settled")
        yield f"{path.relative_to(site.home)}: recorded"
    for kind, name in zip(MarkKind, ("accepted", "sealed"), strict=True):
        for stream in check.streams(kind):
            mark = site.mark(kind, stream)
            if mark is not None and check.known(kind).get(stream) != mark:
                site.ledger().append(
                    OVERRIDE, NOTE, change="files", **{name: {"stream": stream, **mark.value}}
                )
                yield f"{describe_mark_file(site, kind, stream, mark)}: recorded"
