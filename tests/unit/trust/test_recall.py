import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import AirgapError, FormatError, TrustError, UsageError
from airgap.limits import MAX_REASON_CHARACTERS, MAX_RECALLS, MAX_ROOT_BYTES
from airgap.trust.change import describe_change, next_version, recall_bundle
from airgap.trust.proposal import Proposal
from airgap.trust.recall import Recall
from airgap.trust.root import SignedRoot, TrustRoot
from tests.unit.trust.support import NOW, key, make_root, root_file, signed_root

FIRST = make_root("alice", epoch=3)


def recall(digit: str = "a", **fields: object) -> Recall:
    usual = Recall(
        statement_sha256=digit * 64, stream="stack", epoch=2, serial=7, reason="CHG-91: leaks", time=NOW
    )
    return replace(usual, **fields)


def recalling(*recalls: Recall, root: TrustRoot = FIRST) -> TrustRoot:
    return replace(root, recalled=recalls)


def document(*recalls: Recall) -> dict:
    return json.loads(recalling(*recalls).to_bytes())


def parsed(value: object) -> TrustRoot:
    return TrustRoot.parse(json.dumps(value).encode(), "r")


def test_round_trip():
    root = recalling(recall("a"), recall("b", reason="Größe 'x' <b>"))
    assert TrustRoot.parse(root.to_bytes(), "r") == root
    assert root.recall_of("b" * 64) == root.recalled[1]
    assert root.recall_of("c" * 64) is None


def test_the_form_on_paper():
    value = document(recall())
    assert list(value)[-2:] == ["sites", "recalled"]
    assert value["recalled"] == [
        {
            "statement_sha256": "a" * 64, "stream": "stack", "epoch": 2, "serial": 7,
            "reason": "CHG-91: leaks", "time": "2026-06-01T00:00:00Z",
        }
    ]  # fmt: skip


def test_a_root_without_recalls_has_the_bytes_of_before():
    assert b"recalled" not in FIRST.to_bytes()


def test_the_greatest_recalls_fit_into_a_root():
    long = "\U0001f4e6" * MAX_REASON_CHARACTERS
    recalls = [recall(statement_sha256=f"{n:064x}", reason=long) for n in range(MAX_RECALLS)]
    raw = root_file(recalling(*recalls), "root")
    assert len(SignedRoot.parse(raw, "r").root.recalled) == MAX_RECALLS
    assert len(raw) < MAX_ROOT_BYTES


# -- bad input

WRONG = {
    "other hex": (recall(statement_sha256="A" * 64), "not a SHA-256"),
    "short": (recall(statement_sha256="a" * 63), "not a SHA-256"),
    "stream": (recall(stream="../x"), "not a place in a stream"),
    "no serial": (recall(serial=0), "not a place in a stream"),
    "no epoch": (recall(epoch=0), "not a place in a stream"),
    "future epoch": (recall(epoch=4), "not a place in a stream"),
    "no reason": (recall(reason=""), "not a reason"),
    "blank": (recall(reason=" "), "not a reason"),
    "spaces around": (recall(reason="x "), "not a reason"),
    "escape": (recall(reason="\x1b[2J"), "not a reason"),
    "line feed": (recall(reason="a\nb"), "not a reason"),
    "right to left": (recall(reason="a\u202eb"), "not a reason"),
    "long": (recall(reason="x" * (MAX_REASON_CHARACTERS + 1)), "not a reason"),
    "fraction": (recall(time=NOW + timedelta(microseconds=1)), "not a time"),
    "no zone": (recall(time=datetime(2026, 6, 1)), "not a time"),  # noqa: DTZ001
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_that_no_statement_has_is_refused(name):
    wrong, message = WRONG[name]
    with pytest.raises(FormatError, match=message):
        recalling(wrong)


def test_the_time_may_have_another_zone_but_is_written_in_utc():
    here = NOW.astimezone(timezone(timedelta(hours=2)))
    assert document(recall(time=here)) == document(recall())


SHAPES = {
    "empty": (lambda value: value.update(recalled=[]), "wrong number of recalls"),
    "null": (lambda value: value.update(recalled=None), "wrong type"),
    "an object": (lambda value: value.update(recalled={}), "wrong type"),
    "texts": (lambda value: value.update(recalled=["a" * 64]), "wrong type"),
    "a million": (lambda value: value.update(recalled=[0] * 10**6), "too many values"),
    "too many": (lambda value: value.update(recalled=[0] * (MAX_RECALLS + 1)), "wrong number of recalls"),
    "unknown field": (lambda value: value["recalled"][0].update(note="x"), "unknown field"),
    "missing field": (lambda value: value["recalled"][0].pop("reason"), "wrong type"),
    "another time": (lambda value: value["recalled"][0].update(time="2026-06-01"), "time"),
    "twice": (lambda value: value["recalled"].append(value["recalled"][-1]), "not in order"),
    "out of order": (lambda value: value["recalled"].reverse(), "not in order"),
    "spelt otherwise": (lambda value: value.update(Recalled=value.pop("recalled")), "unknown field"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_another_form_is_refused(name):
    change, message = SHAPES[name]
    value = document(recall("a"), recall("b"))
    change(value)
    with pytest.raises(FormatError, match=message):
        parsed(value)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["statement_sha256", "stream", "epoch", "serial", "reason", "time", "x"]),
        st.one_of(st.text(max_size=9), st.integers(-2, 2**60), st.none(), st.lists(st.none(), max_size=1)),
    )
)
def test_whatever_a_recall_says_it_is_read_or_refused(fields):
    value = document(recall())
    value["recalled"][0] |= fields
    try:
        root = parsed(value)
    except AirgapError:
        return
    assert TrustRoot.parse(root.to_bytes(), "r") == root


# -- from one root to the next


def following(*recalls: Recall, **fields: object) -> TrustRoot:
    return replace(recalling(*recalls), version=2, **fields)


@pytest.mark.parametrize(
    ("new", "got"),
    [
        (following(), "no recall"),
        (following(recall("b")), "no recall"),
        (following(recall("a", reason="another")), "another"),
        (following(recall("a", serial=8)), "stack-0008"),
        (following(recall("a", time=NOW + timedelta(seconds=1))), "00:00:01Z"),
        (following(epoch=4), "no recall"),
    ],
    ids=["dropped", "replaced", "reason", "serial", "time", "new epoch"],
)
def test_a_recall_is_never_dropped_or_changed(new, got):
    old = signed_root(recalling(recall("a")), "root")
    with pytest.raises(TrustError, match="a recall must not be changed or dropped") as caught:
        old.successor(root_file(new, "root"), "2.root.json")
    assert got in str(caught.value.got)
    with pytest.raises(TrustError, match="a recall must not be"):
        Proposal.parse(root_file(new, "root"), old, "p")


def test_a_recall_may_be_added():
    old = signed_root(recalling(recall("b")), "root")
    new = following(recall("a"), recall("b"), recall("c"))
    assert old.successor(root_file(new, "root"), "2.root.json").root == new


# -- the change


def test_the_change_keeps_the_order():
    root = recalling(recall("b"))
    new = next_version(root, recall_bundle(recall("a")), NOW)
    assert [r.statement_sha256[0] for r in new.recalled] == ["a", "b"]
    line = f"new: recalled statement {'a' * 64}: stack-0007, epoch 2: CHG-91: leaks (1 Jun 2026, 00:00 UTC)"
    assert line in describe_change(root, new)


def test_not_twice():
    with pytest.raises(UsageError, match="recalled already"):
        next_version(recalling(recall()), recall_bundle(recall(reason="again")), NOW)


def test_not_more_than_a_root_may_have():
    full = recalling(*(recall(statement_sha256=f"{n:064x}") for n in range(MAX_RECALLS)))
    with pytest.raises(UsageError, match="too many recalls"):
        next_version(full, recall_bundle(recall("f")), NOW)
    with pytest.raises(FormatError, match="too many recalls"):
        recalling(*full.recalled, recall("f"))


def test_a_signer_of_roots_signs_it():
    old = signed_root(FIRST, "root")
    draft = Proposal.make(old, next_version(FIRST, recall_bundle(recall()), NOW), key("root"))
    assert draft.complete().root.recall_of("a" * 64) == recall()


def test_words():
    assert recall().title == "stack-0007"
    assert recall().words == "CHG-91: leaks (1 Jun 2026, 00:00 UTC)"
    assert not recall().misnames("stack", 2, 7)
    assert recall().misnames("stack", 1, 7)
    assert recall(time=datetime(2026, 6, 1, tzinfo=UTC)) == recall()
