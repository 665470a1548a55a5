from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.audit.report import LedgerEntry
from airgap.errors import LedgerError, UsageError
from airgap.review.media import find_medium, known_media, lost_media, lost_warnings, medium_id
from airgap.site import Site

NOW = datetime(2026, 6, 1, tzinfo=UTC)
STICK = {"vendor": "SanDisk", "product": "Ultra", "serial": "4C53", "label": "STICK", "uuid": "AA-1"}
SHA256 = "a" * 64


def entry(seq, event="pack", **details):
    return LedgerEntry(
        seq=seq, time=NOW + timedelta(minutes=seq), event=event, result="ok", exit_code=0, user="bob",
        duration=None, details=details,
    )  # fmt: skip


def written(seq, *media, sha256=SHA256):
    bundle = {"stream": "stack", "serial": 7, "statement_sha256": sha256}
    return entry(seq, media=list(media), bundle=bundle)


def marked(seq, change="lost", medium=STICK):
    return entry(seq, "medium", change=change, medium=medium, reason="taxi")


@pytest.mark.parametrize(
    ("medium", "identity"),
    [
        (STICK, ("serial", "SanDisk", "Ultra", "4C53")),
        ({**STICK, "serial": ""}, ("uuid", "AA-1")),
        ({"serial": "1"}, ("serial", "", "", "1")),
        ({"label": "USB"}, ("label", "USB")),
        ({"mount_point": "/mnt", "size": 7}, None),
        ({}, None),
    ],
)
def test_what_a_medium_is_recognised_by(medium, identity):
    assert medium_id(medium) == identity


def test_a_medium_that_was_formatted_again_is_the_same():
    again = {**STICK, "label": "NEW", "uuid": "BB-2"}
    ledger = [written(1, STICK), written(2, again)]
    assert list(known_media(ledger).values()) == [again]
    assert find_medium(ledger, "NEW") == again
    with pytest.raises(UsageError, match="there is no such medium"):
        find_medium(ledger, "STICK")


def test_what_was_on_it():
    ledger = [
        written(1, STICK),
        written(2, STICK),
        entry(3, "kit", media=[STICK]),
        written(4, {"label": "x"}, sha256="b" * 64),
    ]
    [lost] = lost_media([*ledger, marked(5)])
    assert [(found.title, found.statement_sha256) for found in lost.bundles] == [
        ("stack-0007", SHA256),
        ("kit", ""),
    ]
    assert [found.time for found in lost.bundles] == [ledger[1].time, ledger[2].time]
    assert (lost.since, lost.user, lost.reason, lost.title) == (
        NOW + timedelta(minutes=5),
        "bob",
        "taxi",
        lost.name,
    )
    assert [found.arrival for found in lost.bundles] == ["no site", "no site"]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        (("lost",), 1),
        (("lost", "lost"), 1),
        (("lost", "found"), 0),
        (("found",), 0),
        (("found", "lost"), 1),
        (("lost", "found", "lost"), 1),
    ],
)
def test_the_last_mark_counts(changes, count):
    ledger = [marked(seq, change) for seq, change in enumerate(changes, 1)]
    assert len(lost_media(ledger)) == count


def test_a_use_after_the_mark_is_seen():
    used = written(3, STICK)
    [lost] = lost_media([written(1, STICK), marked(2), used])
    assert (lost.seen_again, lost.title) == (used.time, f"{lost.name} (used again since)")
    [lost] = lost_media([written(1, STICK), marked(2), replace(used, time=None)])
    assert lost.seen_again is None


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.none(), st.text(max_size=3),
            st.dictionaries(st.sampled_from([*STICK, "size"]), st.one_of(st.text(max_size=3), st.integers(), st.none(), st.lists(st.none(), max_size=1)), max_size=4),
        ),
        max_size=3,
    ),
    st.sampled_from(["lost", "found", 7, None]),
)  # fmt: skip
def test_whatever_a_record_says(media, change):
    """A ledger may have been written by another version, or by hand."""
    ledger = [entry(1, media=media), entry(2, media="x"), *(marked(3, change, medium) for medium in media)]
    assert len(lost_media(ledger)) <= len(media)
    known_media(ledger)


def test_a_ledger_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "home", "hq")
    site.ledger_path.unlink(missing_ok=True)
    site.ledger_path.mkdir()
    with pytest.raises(LedgerError, match=r"^the ledger is not a regular file: .+/ledger\.jsonl"):
        lost_warnings(site, [tmp_path])
