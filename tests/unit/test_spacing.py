"""Mutations that are committed at most once in a while, and who goes along with whom."""

from __future__ import annotations

from typing import Any

import pytest

from parley.engine.committer import MAX_BATCH
from parley.engine.spacing import SpacedKeys
from parley.errors import ArgumentsInvalid, ShuttingDown, WriteRejected
from parley.store.types import AlreadySettled, Busy, RequestId, Settled, Unknown
from tests.support.rig import ANN, BOB, Rig, Ticket
from tests.support.tables import note, uuid

SPACING_S = 0.1


def rig_of(*rows: int) -> Rig:
    """Return a node that knows these rows."""
    rig = Rig(*[note(row, rank=0) for row in rows])
    for row in rows:
        rig.submit("fail", f"warm up {row}", id=uuid(row), has_session=False)
    rig.run()
    rig.batches.clear()
    return rig


def stretches(rig: Rig, session: str, *numbers: int, row: int = 1, **more: Any) -> list[Ticket]:
    return [rig.submit("stretch", session, n, id=uuid(row), **more) for n in numbers]


def committed(rig: Rig) -> list[int]:
    """Let what can be committed now be committed, and answered; return the batches' sizes."""
    before = len(rig.batches)
    for _ in range(3):
        rig.step()
        if rig.is_flying:
            rig.land()
    rig.step()
    return [len(batch.entries) for batch in rig.batches[before:]]


def values(tickets: list[Ticket]) -> list[Any]:
    return [ticket.value for ticket in tickets]


# --- when


def test_the_first_goes_at_once_and_the_next_when_the_spacing_is_over() -> None:
    rig = rig_of(1)
    [first] = stretches(rig, "a", 0)
    assert committed(rig) == [1]
    [second] = stretches(rig, "a", 1)

    rig.clock.advance(SPACING_S - 0.001)
    assert committed(rig) == []
    rig.clock.advance(0.001)
    assert committed(rig) == [1]

    assert values([first, second]) == [1, 2]


def test_after_a_pause_the_next_goes_at_once() -> None:
    rig = rig_of(1)
    stretches(rig, "a", 0)
    committed(rig)
    rig.clock.advance(SPACING_S)

    [later] = stretches(rig, "a", 1)

    assert committed(rig) == [1]
    assert later.value == 2


def test_the_lane_knows_when_a_spacing_ends_only_where_somebody_waits() -> None:
    rig = rig_of(1)
    stretches(rig, "a", 0)
    committed(rig)
    committed_at = rig.clock.monotonic()
    assert rig.engine.committer.next_wake() is None

    stretches(rig, "a", 1, timeout_s=1e9)
    rig.step()

    wake = rig.engine.committer.next_wake()
    assert wake is not None
    assert wake <= committed_at + SPACING_S


# --- together


def test_what_came_meanwhile_is_committed_together_and_writes_its_row_once() -> None:
    rig = rig_of(1)
    stretches(rig, "a", 0)
    committed(rig)
    of_a, of_b = stretches(rig, "a", 1, 2, 3), stretches(rig, "b", 0, 1)

    rig.clock.advance(SPACING_S)

    assert committed(rig) == [5]
    assert [write.id for write in rig.batches[-1].writes] == [uuid(1)]
    assert values(of_a) == [2, 3, 4]
    assert values(of_b) == [5, 6]


def test_those_of_a_session_go_together_also_by_different_keys() -> None:
    rig = rig_of(1, 2)
    both = [
        rig.submit("stretch", "a", number, id=uuid(row))
        for number, row in enumerate((1, 2, 1, 2, 1))
    ]

    assert committed(rig) == [5]
    assert values(both) == [1, 1, 2, 2, 3]


def test_what_is_not_spaced_follows_nobody_and_keeps_its_place() -> None:
    rig = rig_of(1)
    first = stretches(rig, "a", 0)
    between = rig.submit("bump", "a", 1, id=uuid(1))
    last = stretches(rig, "a", 2)

    assert committed(rig) == [1, 1]
    rig.clock.advance(SPACING_S)
    assert committed(rig) == [1]

    assert values([*first, between, *last]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("path", "row", "identity"),
    [("stretch", 2, ANN), ("stretch", 1, BOB), ("bump", 1, ANN)],
)
def test_another_value_caller_or_function_does_not_wait(path: str, row: int, identity: Any) -> None:
    rig = rig_of(1, 2)
    stretches(rig, "a", 0, identity=ANN)
    committed(rig)

    other = rig.submit(path, "b", 0, id=uuid(row), identity=identity)

    assert committed(rig) == [1]
    assert other.value in (1, 2)


def test_nothing_runs_ahead_of_a_batch_with_the_same_key() -> None:
    rig = rig_of(1)
    [first] = stretches(rig, "a", 0)
    rig.step()
    assert rig.is_flying
    [second] = stretches(rig, "b", 0)
    rig.step()

    rig.land()

    assert committed(rig) == []
    rig.clock.advance(SPACING_S)
    assert committed(rig) == [1]
    assert values([first, second]) == [1, 2]


def test_a_batch_that_is_full_leaves_the_rest_in_order_for_the_next() -> None:
    rig = rig_of(1)
    all_of_them = stretches(rig, "a", *range(MAX_BATCH + 5))

    assert committed(rig) == [MAX_BATCH]
    rig.clock.advance(SPACING_S)
    assert committed(rig) == [5]

    assert values(all_of_them) == list(range(1, MAX_BATCH + 6))


# --- trouble


def test_a_batch_that_was_not_committed_waits_for_no_spacing() -> None:
    rig = rig_of(1)
    tickets = stretches(rig, "a", 0, 1, 2)
    rig.step()
    rig.land(Unknown("lost"))
    rig.clock.advance(0.02)  # the lane pauses

    assert committed(rig) == [3]
    assert values(tickets) == [1, 2, 3]


def test_a_batch_that_was_committed_unheard_is_answered_from_there_in_order() -> None:
    rig = rig_of(1)
    tickets = stretches(rig, "a", 0, 1, 2)
    rig.step()
    rig.store.commit(rig.batches[-1])
    rig.land(Unknown("lost"))

    rig.run()

    assert values(tickets) == [1, 2, 3]
    assert rig.store.rows["notes", uuid(1)]["rank"] == 3


def test_nobody_is_answered_before_an_earlier_one_of_the_session() -> None:
    rig = rig_of(1)
    tickets = stretches(rig, "a", 0, 1)
    rig.step()
    second = RequestId("", "a", 1)

    rig.land(AlreadySettled((Settled(second, rig.store.ts, b"", b"7"),)))
    rig.step()

    assert tickets[1].answers == []
    rig.run()
    assert values(tickets) == [1, 2]


def test_followers_wait_behind_one_whose_row_is_held() -> None:
    rig = rig_of(1)
    tickets = stretches(rig, "a", 0, 1, 2)
    rig.step()
    rig.land(Busy(frozenset({("notes", uuid(1))})))
    assert committed(rig) == []

    rig.run()

    assert values(tickets) == [1, 2, 3]


def test_one_that_postgres_refuses_fails_alone() -> None:
    rig = rig_of(1)
    rig.store.refuses = lambda write: (write.row or {}).get("rank", 0) > 1
    tickets = stretches(rig, "a", 0, 1, 2)

    rig.run()

    assert tickets[0].value == 1
    assert [type(ticket.error) for ticket in tickets[1:]] == [WriteRejected, WriteRejected]


def test_a_failure_among_them_fails_alone() -> None:
    rig = rig_of(1)
    fine = stretches(rig, "a", 0)
    wrong = rig.submit("stretch", "a", 1, id=uuid(1), more=1)
    also_fine = stretches(rig, "a", 2)

    rig.run()

    assert values([*fine, *also_fine]) == [1, 2]
    assert isinstance(wrong.error, ArgumentsInvalid)


def test_a_repeat_is_not_taken_along_with_the_first() -> None:
    rig = rig_of(1)
    first = stretches(rig, "a", 0, 1)
    again = stretches(rig, "a", 0, 1)

    rig.run()

    assert values(first) == values(again) == [1, 2]
    assert rig.store.rows["notes", uuid(1)]["rank"] == 2


def test_followers_whose_rows_are_missing_wait_for_their_turn() -> None:
    rig = rig_of(1)
    tickets = stretches(rig, "a", 0) + stretches(rig, "a", 1, row=9)

    assert committed(rig) == [1]
    rig.run()

    assert values(tickets) == [1, 1]


def test_what_nobody_waits_for_is_not_run_when_its_time_comes() -> None:
    rig = rig_of(1)
    stretches(rig, "a", 0)
    committed(rig)
    [gone] = stretches(rig, "a", 1)
    rig.step()
    gone.is_unwanted = True

    rig.run()

    assert isinstance(gone.error, ShuttingDown)
    assert rig.store.rows["notes", uuid(1)]["rank"] == 1


# --- what is kept


def test_a_key_is_forgotten_when_it_opens() -> None:
    keys = SpacedKeys()
    key = ("ann", "notes:stretch", b"1")
    keys.close(key)
    keys.rest({key: SPACING_S}, committed_at=5.0)
    assert keys.is_closed(key)

    keys.wake(5.0 + SPACING_S)

    assert not keys.is_closed(key)
    assert [*keys._closed, *keys._opens, *keys._waiting] == []


def test_those_who_wait_count_against_the_queue_once_a_session() -> None:
    rig = rig_of(1)
    rig.engine.committer.max_queue = 2
    stretches(rig, "a", 0)
    committed(rig)
    stretches(rig, "a", 1, 2, 3)
    rig.step()
    assert not rig.engine.committer.is_full

    stretches(rig, "b", 0)
    rig.step()

    assert rig.engine.committer.is_full
