from dataclasses import replace
from datetime import timedelta

import pytest

from airgap.errors import FormatError
from airgap.review.records import Kept, KeptReceipt
from airgap.review.transfers import review
from tests.support.bundles import DAY, RECEIVER, SENDER
from tests.support.reports import answer_of, sealed_as

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


def again(sealed, serial, *names, epoch=1):
    """A later bundle of the stream, a day after the one before."""
    return sealed_as(sealed, "edge", serial, epoch=epoch, destinations=names or (RECEIVER,))


def states(bundles, answers):
    now = bundles[0].statement.created + 99 * DAY
    found = review(Kept(tuple(bundles), tuple(answers)), SENDER, now, PATIENCE)
    return [(transfer.state, transfer.answers) for transfer in found.transfers]


def test_a_bundle_is_superseded_where_a_later_one_is_confirmed(sealed, receipt):
    old, new = again(sealed, 1), again(sealed, 2)
    assert states([old, new], [answer_of(receipt, new, RECEIVER)]) == [
        ("superseded", f"0 of 1 answered; superseded: {RECEIVER}"), ("received", "1 of 1 answered"),
    ]  # fmt: skip


def test_an_earlier_bundle_supersedes_nothing(sealed, receipt):
    old, new = again(sealed, 1), again(sealed, 2)
    assert [state for state, _ in states([old, new], [answer_of(receipt, old, RECEIVER)])] == [
        "received", "overdue",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{"result": "failed"}, {"images": ()}, {"holds": ("sha256:" + "0" * 64,)}],
    ids=["failed", "without its images", "disputed"],
)
def test_what_is_not_confirmed_supersedes_nothing(sealed, receipt, changes):
    old, new = again(sealed, 1), again(sealed, 2)
    answers = [answer_of(receipt, new, RECEIVER, **changes)]
    assert states([old, new], answers)[0] == ("overdue", f"0 of 1 answered; missing: {RECEIVER}")


def test_another_stream_supersedes_nothing(sealed, receipt):
    old, other = again(sealed, 1), sealed_as(sealed, "other", 2)
    assert states([old, other], [answer_of(receipt, other, RECEIVER)])[0][0] == "overdue"


def test_a_later_epoch_supersedes_higher_serials(sealed, receipt):
    old, new = again(sealed, 9), again(sealed, 1, epoch=2)
    assert states([old, new], [answer_of(receipt, new, RECEIVER)])[0][0] == "superseded"
    assert states([old, new], [answer_of(receipt, old, RECEIVER)])[1][0] == "overdue"


def test_each_site_is_superseded_by_its_own_answers(sealed, receipt):
    sites = [f"plant-{number}" for number in range(1, 6)]
    old, new = again(sealed, 1, *sites), again(sealed, 2, *sites)
    answers = [
        answer_of(receipt, old, "plant-1"), answer_of(receipt, old, "plant-2", result="failed"),
        answer_of(receipt, new, "plant-2"), answer_of(receipt, new, "plant-4"),
    ]  # fmt: skip
    assert states([old, new], answers) == [
        ("overdue", "2 of 5 answered; missing: plant-3, plant-5; superseded: plant-2, plant-4"),
        ("overdue", "2 of 5 answered; missing: plant-1, plant-3, plant-5"),
    ]
    answers += [answer_of(receipt, new, site) for site in ("plant-3", "plant-5")]
    assert states([old, new], answers)[0][0] == "superseded"


def test_a_bundle_for_any_site(sealed, receipt):
    old, new = (sealed_as(sealed, "edge", serial, destinations=()) for serial in (1, 2))
    assert states([old, new], []) == [("overdue", "no site answered")] * 2
    assert states([old, new], [answer_of(receipt, new, "plant-3")]) == [
        ("superseded", "no site answered"), ("received", "plant-3 answered"),
    ]  # fmt: skip
    failed = answer_of(receipt, new, "plant-3", result="failed")
    assert states([old, new], [failed])[1] == ("overdue", "plant-3 answered; not complete")


def test_who_answered_and_who_did_not(sealed, receipt):
    sites = [f"plant-{number}" for number in range(1, 6)]
    bundle = again(sealed, 1, *sites)
    answers = [answer_of(receipt, bundle, site) for site in ("plant-1", "plant-2", "plant-4")]
    assert states([bundle], answers) == [("overdue", "3 of 5 answered; missing: plant-3, plant-5")]
    answers.append(answer_of(receipt, bundle, "plant-3", result="failed"))
    [(_, words)] = states([bundle], answers)
    assert words == "4 of 5 answered; not complete: plant-3; missing: plant-5"


def test_a_thousand_bundles_with_their_answers(sealed, receipt):
    """The work for each grows with the answers of one site, not with those of all."""
    bundles = [again(sealed, serial, "plant-1", "plant-2") for serial in range(1, 1001)]
    answers = [
        answer_of(receipt, bundle, site)
        for site, part in (("plant-1", bundles[::100]), ("plant-2", bundles[-1:]))
        for bundle in part
    ]
    found = states(bundles, answers)
    assert {state for state, _ in found[:901]} == {"superseded"}
    assert [state for state, _ in found[901:]] == ["overdue"] * 99
