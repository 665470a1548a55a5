from dataclasses import replace
from datetime import timedelta

import pytest

from airgap.errors import FormatError
from airgap.review.records import Kept, KeptReceipt
from airgap.review.transfers import review
from tests.support.bundles import DAY, RECEIVER, SENDER

PATIENCE = timedelta(days=14)


@pytest.fixture
def sealed(answered):
    return Kept.of(answered.sender).sealed[0]


@pytest.fixture
def receipt(answered):
    return KeptReceipt(answered.parsed, answered.receipt)


def state(sealed, *receipts, after=DAY, patience=PATIENCE):
    now = sealed.statement.created + after
    [transfer] = review(Kept((sealed,), receipts), SENDER, now, patience).transfers
    return transfer.state, transfer.missing


def bound_for(sealed, *names):
    return replace(sealed, statement=replace(sealed.statement, destinations=names))


def at(receipt, **changes):
    return replace(receipt, receipt=replace(receipt.receipt, **changes))


def test_on_its_way(sealed):
    assert state(sealed) == ("waiting", (RECEIVER,))
    assert state(sealed, after=PATIENCE) == ("waiting", (RECEIVER,))
    assert state(sealed, after=PATIENCE + timedelta(seconds=1)) == ("overdue", (RECEIVER,))
    assert state(bound_for(sealed)) == ("waiting", ("any site",))


def test_there(sealed, receipt):
    assert state(sealed, receipt) == ("received", ())
    assert state(sealed, receipt, after=99 * DAY) == ("received", ())
    assert state(bound_for(sealed), receipt) == ("received", ())


def test_at_one_of_two(sealed, receipt):
    two = bound_for(sealed, RECEIVER, "plant-8")
    assert state(two, receipt) == ("partial", ("plant-8",))
    assert state(two, receipt, after=99 * DAY) == ("overdue", ("plant-8",))
    assert state(two, receipt, at(receipt, site="plant-8")) == ("received", ())


@pytest.mark.parametrize("result", ["partial", "failed", "refused"])
def test_an_answer_that_is_no_success(sealed, receipt, result):
    assert state(sealed, at(receipt, result=result)) == ("partial", (RECEIVER,))
    assert state(sealed, at(receipt, result=result), receipt) == ("received", ())


def test_a_receipt_of_another_statement_is_no_answer(sealed, receipt):
    other = at(receipt, statement_sha256="0" * 64)
    found = review(Kept((sealed,), (other,)), SENDER, sealed.statement.created, PATIENCE)
    assert (found.transfers[0].state, found.transfers[0].receipts) == ("waiting", ())
    [alarm] = found.alarms
    assert alarm.startswith(f"{RECEIVER}: no bundle edge-0001 with statement 0000")


def test_what_was_loaded_here(receipt, sealed):
    found = review(Kept((), (receipt,)), RECEIVER, sealed.statement.created, PATIENCE)
    assert (found.loads, found.transfers, found.alarms) == ((receipt,), (), ())


def test_each_alarm_is_reported_once(sealed, receipt, tmp_path):
    fork = at(receipt, checkpoint={**receipt.receipt.checkpoint, "root": "f" * 64})
    broken = {tmp_path / "x": FormatError("not JSON", subject="x")}
    found = review(Kept((sealed,), (receipt, fork), broken), SENDER, sealed.statement.created, PATIENCE)
    assert [text.partition(":")[0] for text in found.alarms] == ["cannot be read", RECEIVER]
    assert "was forked" in found.alarms[1]


def test_a_receipt_of_what_was_not_loaded_closes_nothing(sealed, receipt):
    images = receipt.receipt.images
    for told in ((), images[:-1], tuple(replace(image, verdict="skipped") for image in images)):
        assert state(sealed, at(receipt, images=told)) == ("partial", (RECEIVER,))
    placed = tuple(replace(image, verdict="placed") for image in images)
    assert state(sealed, at(receipt, images=placed)) == ("received", ())
    artifact = replace(sealed.statement.images[0], kind="artifact")
    statement = replace(sealed.statement, images=(artifact, *sealed.statement.images[1:]))
    assert state(replace(sealed, statement=statement), at(receipt, images=images[1:])) == ("received", ())


def test_a_receipt_of_another_serial_closes_nothing(sealed, receipt):
    assert state(sealed, at(receipt, serial=77)) == ("waiting", (RECEIVER,))
