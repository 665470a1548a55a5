from dataclasses import replace
from datetime import timedelta

import pytest

from airgap.review.recalls import (
    find_contradictions,
    find_impact,
    newest_recalls,
    not_replaced,
    own_alarms,
    recalls_by_sender,
)
from airgap.review.receipts import against_bundle
from airgap.review.records import Kept, KeptReceipt
from airgap.trust.recall import Recall
from tests.support.bundles import RECEIVER, SENDER
from tests.support.reports import sealed_as

SECOND = timedelta(seconds=1)


@pytest.fixture
def kept(answered):
    return Kept.of(answered.sender)


@pytest.fixture
def receipt(answered):
    return KeptReceipt(answered.parsed, answered.receipt)


def recall_of(sealed, **changes):
    statement = sealed.statement
    usual = Recall(
        statement_sha256=sealed.statement_sha256, stream=statement.stream, epoch=statement.epoch,
        serial=statement.serial, reason="leaks", time=statement.created,
    )  # fmt: skip
    return replace(usual, **changes)


def recalling(kept, *recalls, receipts=()):
    newest = max(kept.roots)
    roots = {**kept.roots, newest: replace(kept.roots[newest], recalled=recalls)}
    return replace(kept, roots=roots, receipts=tuple(receipts))


def at(receipt, after=0, **changes):
    later = receipt.receipt.time + after * SECOND
    return replace(receipt, receipt=replace(receipt.receipt, **{"time": later, **changes}))


def still(receipt, *later, recalled=()):
    sha256 = receipt.receipt.statement_sha256
    found = not_replaced(sha256, [*later, receipt], frozenset(later), {sha256, *recalled})
    return sorted(found)


def test_without_a_root_nothing_is_recalled():
    assert newest_recalls({}) == {}


def test_a_site_has_it_until_another_bundle_came(receipt):
    target = receipt.receipt.target
    sha256 = receipt.receipt.statement_sha256
    assert not_replaced(sha256, [receipt], [receipt], [sha256]) == {RECEIVER: [target]}
    assert still(receipt, at(receipt, 1, statement_sha256="b" * 64)) == []


@pytest.mark.parametrize(
    ("changes", "recalled"),
    [
        ({"target": "other"}, ()),
        ({"site": "plant-8"}, ()),
        ({"bundle_stream": "other"}, ()),
        ({"time": None}, ()),
        ({}, ("b" * 64,)),
    ],
    ids=["target", "site", "stream", "earlier", "recalled too"],
)
def test_what_replaces_nothing(receipt, changes, recalled):
    changes = {key: receipt.receipt.time - SECOND if key == "time" else text for key, text in changes.items()}
    later = at(receipt, 1, **{"statement_sha256": "b" * 64, **changes})
    assert still(receipt, later, recalled=recalled) == [RECEIVER]


def test_a_receipt_that_confirms_nothing_replaces_nothing(receipt):
    sha256, later = receipt.receipt.statement_sha256, at(receipt, 1, statement_sha256="b" * 64)
    assert not_replaced(sha256, [receipt, later], [receipt], [sha256]) == {RECEIVER: [receipt.receipt.target]}


def test_loads_in_one_second_count_by_the_length_of_the_ledger(receipt):
    longer = {**receipt.receipt.checkpoint, "size": receipt.receipt.checkpoint["size"] + 9}
    assert still(receipt, at(receipt, statement_sha256="b" * 64, checkpoint=longer)) == []
    shorter = {**longer, "size": 0}
    assert still(receipt, at(receipt, statement_sha256="b" * 64, checkpoint=shorter)) == [RECEIVER]


def test_a_load_that_failed_brought_nothing(receipt):
    assert still(at(receipt, result="failed")) == []
    assert still(at(receipt, result="partial")) == [RECEIVER]


def test_who_has_it_and_what_replaces_it(kept, receipt):
    [sealed] = kept.sealed
    later = sealed_as(sealed, sealed.statement.stream, 9)
    other = sealed_as(sealed, "other", 9)
    found = recalling(replace(kept, sealed=(sealed, later, other)), recall_of(sealed), receipts=[receipt])
    impact = find_impact(found, sealed.statement, sealed.statement_sha256)
    assert (impact.confirmed_by, impact.replaced_by) == ((RECEIVER,), later.statement.title)
    none = recalling(found, *sorted(map(recall_of, (sealed, later)), key=lambda r: r.statement_sha256))
    assert find_impact(none, sealed.statement, sealed.statement_sha256).replaced_by is None


def test_a_receipt_that_disagrees_confirms_nothing(kept, receipt):
    [sealed] = kept.sealed
    lie = at(receipt, images=receipt.receipt.images[:1])
    impact = find_impact(recalling(kept, receipts=[lie]), sealed.statement, sealed.statement_sha256)
    assert impact.confirmed_by == ()
    assert list(impact.still_at) == [RECEIVER]


def test_a_site_that_knew_of_the_recall_did_not_load_it(kept, receipt):
    [sealed] = kept.sealed
    known = recalling(kept, recall_of(sealed))
    later = at(receipt, root_version=max(known.roots))
    alarms = list(against_bundle(later.receipt, sealed, known.roots, None))
    assert alarms == [f"edge-0001 was verified with trust root {max(known.roots)}, which recalls it: leaks"]
    assert not any(against_bundle(receipt.receipt, sealed, known.roots, None))


def test_only_loads_here_are_alarms_here(kept, receipt):
    [sealed] = kept.sealed
    found = recalling(kept, recall_of(sealed), receipts=[receipt])
    assert list(own_alarms(found, SENDER)) == []
    [alarm] = own_alarms(found, RECEIVER)
    assert alarm.startswith(f"{sealed.statement.title} is recalled: leaks (")


@pytest.mark.parametrize("changes", [{}, {"stream": "x"}, {"serial": 9}, {"statement_sha256": "0" * 64}])
@pytest.mark.parametrize("known_by", ["sealed", "receipt"])
def test_words_that_do_not_fit(kept, receipt, changes, known_by):
    [sealed] = kept.sealed
    found = recalling(kept, recall_of(sealed, **changes), receipts=[receipt])
    found = replace(found, receipts=()) if known_by == "sealed" else replace(found, sealed=())
    alarms = list(find_contradictions(found))
    assert len(alarms) == bool(changes)
    if "statement_sha256" in changes:
        assert f"the bundle of this name here has statement {sealed.statement_sha256}" in alarms[0]
    elif changes:
        assert f"is about {sealed.statement.title} of epoch 1, statement " in alarms[0]


def test_a_recall_of_a_bundle_that_nobody_here_knows_is_no_alarm(kept):
    [sealed] = kept.sealed
    recall = recall_of(sealed, serial=9, statement_sha256="0" * 64)
    assert list(find_contradictions(recalling(kept, recall))) == []


def test_a_bundle_of_another_sender_with_the_same_name_is_no_alarm(kept, receipt):
    [sealed] = kept.sealed
    recall = recall_of(sealed, statement_sha256="0" * 64)
    found = recalling(replace(kept, sealed=()), recall, receipts=[replace(receipt, sender="acme")])
    assert list(find_contradictions(found)) == []


def test_each_sender_recalls_only_its_own_bundles(kept):
    [sealed] = kept.sealed
    recall = recall_of(sealed)
    theirs = recalling(kept, recall)
    found = replace(kept, sender_roots={"acme": theirs.roots})
    assert recalls_by_sender(found) == {("acme", sealed.statement_sha256): recall}
    assert recalls_by_sender(theirs) == {("", sealed.statement_sha256): recall}
