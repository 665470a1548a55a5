import threading
import time

import pytest

from airgap.errors import AirgapError
from airgap.workers import Memo, run_all, run_each


def test_a_memo_makes_each_value_once():
    made, memo = [], Memo()

    def make(key):
        time.sleep(0.001)
        made.append(key)
        return key * 2

    found = []
    run_each(lambda number: found.append(memo.get(number % 3, lambda: make(number % 3))), range(30), 8)
    assert sorted(made) == [0, 1, 2]
    assert sorted(found) == [0] * 10 + [2] * 10 + [4] * 10


def test_a_memo_keeps_no_failure():
    memo, answers = Memo(), iter([AirgapError("no"), "yes"])

    def make():
        if isinstance(answer := next(answers), AirgapError):
            raise answer
        return answer

    with pytest.raises(AirgapError):
        memo.get("key", make)
    assert [memo.get("key", make), memo.get("key", make)] == ["yes", "yes"]


def test_every_item_is_done_once():
    done = []
    assert run_all(done.append, range(50), 4) == [None] * 50
    assert sorted(done) == list(range(50))


def test_nothing_to_do():
    assert run_all(lambda _: None, [], 4) == []


def test_errors_stand_where_their_items_stood():
    def work(item: int) -> None:
        if item % 2:
            raise AirgapError(f"odd {item}")

    errors = run_all(work, range(5), 2)
    assert [str(error) if error else None for error in errors] == [None, "odd 1", None, "odd 3", None]


def test_the_first_items_error_is_raised_and_the_others_are_done():
    done = []

    def work(item: int) -> None:
        done.append(item)
        if item in (1, 3):
            raise AirgapError(f"bad {item}")

    with pytest.raises(AirgapError, match="bad 1"):
        run_each(work, range(5), 3)
    assert sorted(done) == list(range(5))


def test_a_defect_comes_out_in_the_callers_thread():
    def work(item: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_all(work, [1, 2], 2)


def test_as_many_at_a_time_as_asked_for():
    """Each waits for the other: with fewer threads this would not end."""
    barrier = threading.Barrier(3, timeout=60)
    assert run_all(lambda _: barrier.wait(), range(3), 3) == [None] * 3


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_more_at_a_time_than_asked_for(jobs):
    lock, running, most = threading.Lock(), set(), [0]

    def work(item: int) -> None:
        with lock:
            running.add(item)
            most[0] = max(most[0], len(running))
        with lock:
            running.remove(item)

    run_all(work, range(40), jobs)
    assert most[0] <= jobs


def test_in_order_when_alone():
    done = []
    run_all(done.append, "abc", 1)
    assert done == ["a", "b", "c"]
