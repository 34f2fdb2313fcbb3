"""The one lane of mutations: serial, in order, exactly once, whatever Postgres answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.engine.committer import MAX_BATCH, MAX_BATCH_BYTES, MAX_CONFLICTS
from parley.errors import (
    AppError,
    ArgumentsInvalid,
    Conflict,
    DatabaseDown,
    Internal,
    LimitExceeded,
    RequestReused,
    ShuttingDown,
    TimedOut,
    WriteRejected,
)
from parley.store.types import (
    AlreadySettled,
    Batch,
    BatchOutcome,
    Busy,
    Committed,
    Conflicted,
    Refused,
    Settled,
    Transient,
    Unknown,
)
from tests.support.rig import ANN, BOB, Rig, Ticket
from tests.support.tables import note, uuid

DOWN = Transient("08001", "no connection")
IN_THE_WAY = Transient("55P03", "lock timeout")


def bumps(rig: Rig, *sessions: str, row: int = 1) -> list[Ticket]:
    return [rig.submit("bump", session, id=uuid(row)) for session in sessions]


def rank(rig: Rig, row: int = 1) -> Any:
    return rig.store.rows["notes", uuid(row)].get("rank")


def ready(rig: Rig, row: int = 1) -> Rig:
    """Load the row, so that the next mutation runs at once."""
    rig.submit("count", "warm", owner="nobody", has_session=False)
    rig.submit("fail", "warm up", id=uuid(row), has_session=False)
    rig.run()
    rig.batches.clear()
    return rig


def sizes(rig: Rig) -> list[int]:
    return [len(batch.entries) for batch in rig.batches]


# --- one after another


def test_mutations_of_one_batch_see_one_another_and_write_once() -> None:
    rig = ready(Rig())

    tickets = bumps(rig, "a", "b", "c", "d")
    rig.run()

    assert [ticket.value for ticket in tickets] == [1, 2, 3, 4]
    assert sizes(rig) == [4]
    assert [write.row["rank"] for write in rig.batches[0].writes] == [4]


def test_mutations_of_one_session_go_one_after_another() -> None:
    rig = ready(Rig())

    first = rig.submit("bump", "s", 1, id=uuid(1))
    second = rig.submit("bump", "s", 2, id=uuid(1))
    rig.step()
    assert sizes(rig) == [1]
    rig.run()

    assert (first.value, second.value) == (1, 2)
    assert first.answers[0].ts < second.answers[0].ts  # type: ignore[operator]


def test_the_same_session_id_of_two_users_is_two_sessions() -> None:
    rig = ready(Rig())

    rig.submit("bump", "s", 1, identity=ANN, id=uuid(1))
    rig.submit("bump", "s", 1, identity=BOB, id=uuid(1))
    rig.run()

    assert sizes(rig) == [2]
    assert rank(rig) == 2


def test_an_answer_waits_until_memory_shows_the_commit() -> None:
    rig = ready(Rig())
    [ticket] = bumps(rig, "a")
    rig.step()
    outcome = rig.store.commit(rig.batches[-1])
    assert isinstance(outcome, Committed)
    rig.engine.committer.landed(outcome, rig.clock.monotonic())
    [waiting] = bumps(rig, "b")

    rig.step()
    assert (ticket.answers, sizes(rig)) == ([], [1])

    rig.is_flying = False
    rig.run()
    assert (ticket.value, waiting.value) == (1, 2)


def test_nothing_that_could_be_seen_is_hidden_from_a_transition() -> None:
    rig = ready(Rig())
    bumps(rig, "a")
    rig.step()
    assert not rig.engine.committer.is_overtaken

    rig.store.commit(rig.batches[-1])
    rig.tail()
    rig.engine.advance()

    assert rig.engine.committer.is_overtaken


# --- failures


def test_a_failure_writes_nothing_and_its_neighbours_are_not_touched() -> None:
    rig = ready(Rig(note(1, rank=5)))

    [before], failed, [after] = (
        bumps(rig, "a"),
        rig.submit("fail", "b", id=uuid(1)),
        bumps(rig, "c"),
    )
    rig.run()

    assert (before.value, after.value) == (6, 7)
    assert isinstance(failed.error, AppError)
    assert failed.error.data == 6
    assert len(rig.store.rows) == 1


def test_a_failure_on_something_stale_is_run_again_before_it_is_told() -> None:
    rig = ready(Rig(note(1, rank=1)))
    failed = rig.submit("fail", id=uuid(1))
    rig.step()
    rig.write(note(1, rank=2))

    assert isinstance(rig.land(), Conflicted)
    rig.run()

    assert failed.error.data == 2
    assert not any(batch.must_commit for batch in rig.batches)


def test_arguments_that_do_not_fit_fail_in_their_turn() -> None:
    rig = ready(Rig())

    failed = rig.submit("bump", id=5)
    rig.run()

    assert isinstance(failed.error, ArgumentsInvalid)


def test_a_result_that_cannot_be_sent_is_a_failure_and_undoes_the_writes() -> None:
    rig = ready(Rig(max_result_bytes=100))

    small = rig.submit("say", "a", size=98)
    large = rig.submit("say", "b", size=99)
    rig.run()

    assert small.value == "x" * 98
    assert isinstance(large.error, LimitExceeded)
    assert "a result may be 100 bytes; this one has 101" in large.error.message


# --- exactly once


def test_a_repeat_gets_the_first_answer_and_does_nothing() -> None:
    rig = ready(Rig())
    first = rig.submit("bump", "s", 3, id=uuid(1))
    rig.run()

    again = rig.submit("bump", "s", 3, id=uuid(1))
    rig.run()

    assert again.answers == first.answers
    assert rank(rig) == 1


def test_a_repeat_that_would_fail_by_now_gets_the_first_answer_too() -> None:
    rig = ready(Rig(note(1)))
    first = rig.submit("remove", "s", 3, id=uuid(1))
    rig.run()

    again = rig.submit("remove", "s", 3, id=uuid(1))
    rig.run()

    assert again.answers == first.answers
    assert first.value is None


@pytest.mark.parametrize("has_session", [True, False])
def test_a_commit_nobody_heard_of_is_found_though_the_second_run_fails(has_session: bool) -> None:
    rig = ready(Rig(note(1)))
    ticket = rig.submit("remove", id=uuid(1), has_session=has_session)
    rig.step()
    rig.store.commit(rig.batches[-1])

    rig.land(Unknown("connection lost"))
    rig.run()

    assert ticket.value is None
    assert ticket.answers[0].ts is not None


def test_a_commit_nobody_heard_of_is_not_made_twice() -> None:
    rig = ready(Rig())
    [ticket, other] = bumps(rig, "a", "b")
    rig.step()
    rig.store.commit(rig.batches[-1])

    rig.land(Unknown("connection lost"))
    rig.run()

    assert (ticket.value, other.value, rank(rig)) == (1, 2, 2)


def test_a_batch_that_did_not_commit_is_run_again() -> None:
    rig = ready(Rig())
    [ticket] = bumps(rig, "a")
    rig.step()

    rig.land(Unknown("connection lost"))
    rig.run()

    assert (ticket.value, rank(rig)) == (1, 1)


def test_another_call_under_a_used_number_is_refused() -> None:
    rig = ready(Rig())
    rig.submit("bump", "s", 3, id=uuid(1))
    rig.run()

    other = rig.submit("bump", "s", 3, id=uuid(2))
    rig.run()

    assert isinstance(other.error, RequestReused)
    assert "used for another call" in other.error.message
    assert len(rig.store.rows) == 1


@pytest.mark.parametrize("path", ["bump", "fail"])
def test_a_request_older_than_its_session_is_not_run(path: str) -> None:
    rig = ready(Rig())
    rig.submit("bump", "s", 3, id=uuid(1))
    rig.run()

    late = rig.submit(path, "s", 2, id=uuid(2))
    rig.run()

    assert isinstance(late.error, RequestReused)
    assert "it was not run again" in late.error.message
    assert len(rig.store.rows) == 1


def test_a_failure_may_be_tried_again_under_its_number() -> None:
    rig = ready(Rig())
    assert rig.submit("remove", "s", 1, id=uuid(1)).answers == []
    rig.run()
    rig.write(note(1))

    again = rig.submit("remove", "s", 1, id=uuid(1))
    rig.run()

    assert again.value is None


def test_a_call_without_a_session_that_wrote_nothing_leaves_no_trace() -> None:
    rig = ready(Rig(note(1)))

    found = rig.submit("count", owner="ann", has_session=False)
    kept = rig.submit("count", "other", owner="ann")
    rig.run()

    assert (found.value, kept.value) == (1, 1)
    assert [request.session_id for request in rig.store.requests] == ["other"]


def test_requests_settled_elsewhere_hold_up_nobody() -> None:
    rig = ready(Rig())
    [settled, fresh] = bumps(rig, "a", "b")
    rig.step()
    found = rig.store.commit(rig.batches[-1])
    assert isinstance(found, Committed)
    only = rig.store.find_settled([rig.batches[-1].entries[0].request])  # type: ignore[list-item]
    del rig.store.requests[rig.batches[-1].entries[1].request]  # type: ignore[arg-type]

    rig.land(AlreadySettled(tuple(only)))
    rig.run()

    assert (settled.value, fresh.value) == (1, 3)


def test_what_follows_a_repeat_runs_on_what_the_first_run_left() -> None:
    rig = ready(Rig(note(1, rank=0)))
    bumps(rig, "a")
    rig.step()
    elsewhere = rig.store.commit(rig.batches[-1])
    assert isinstance(elsewhere, Committed)

    rig.land()
    bumps(rig, "b")
    rig.step()
    assert len(rig.batches) == 1

    rig.tail()
    rig.step()
    assert rig.batches[-1].head >= elsewhere.commit.ts


# --- refusals


def poison(rig: Rig, row: int) -> None:
    rig.store.refuses = lambda write: write.id == uuid(row)


def test_one_bad_row_fails_nobody_else() -> None:
    rig = Rig()
    poison(rig, 3)
    tickets = [rig.submit("bump", str(n), id=uuid(n)) for n in range(8)]

    rig.run()

    assert [ticket.value for n, ticket in enumerate(tickets) if n != 3] == [1] * 7
    assert isinstance(tickets[3].error, WriteRejected)
    assert "SQLSTATE 23505" in tickets[3].error.message


def test_a_bad_mutation_is_tried_alone_twice_at_most() -> None:
    rig = Rig()
    poison(rig, 3)
    for n in range(8):
        rig.submit("bump", str(n), id=uuid(n))
    rig.run()

    alone = [b for b in rig.batches if [w.id for w in b.writes] == [uuid(3)]]
    assert len(alone) == 2


def test_a_row_that_only_looked_wrong_is_written_in_the_end() -> None:
    rig = ready(Rig())
    ticket = rig.submit("bump", id=uuid(1))
    rig.step()
    rig.write(note(1, rank=10))

    rig.land(Refused("23505", "there already"))
    rig.run()

    assert ticket.value == 11


def test_a_row_that_looks_wrong_again_because_others_go_on_is_written_in_the_end() -> None:
    rig = ready(Rig())
    ticket = rig.submit("bump", id=uuid(1))
    for rank_now in (10, 20, 30):
        rig.step()
        rig.write(note(1, rank=rank_now))
        rig.land(Refused("23503", "gone since"))
        rig.step()
        rig.look_up()
        rig.tail()

    rig.run()

    assert ticket.value == 31


def test_a_repeat_that_postgres_refuses_gets_the_first_answer() -> None:
    rig = ready(Rig())
    ticket = rig.submit("bump", id=uuid(1))
    rig.step()
    rig.store.commit(rig.batches[-1])

    rig.land(Refused("23505", "there already"))
    rig.run()

    assert (ticket.value, rank(rig)) == (1, 1)


def test_a_missing_right_is_an_internal_error_for_the_client() -> None:
    rig = ready(Rig())
    ticket = rig.submit("bump", id=uuid(1))
    rig.step()
    rig.land(Refused("42501", "permission denied for table notes"))
    rig.step()
    rig.look_up()
    rig.step()

    rig.land(Refused("42501", "permission denied for table notes"))
    rig.run()

    assert isinstance(ticket.error, Internal)


def test_a_lookup_is_asked_for_once_and_holds_up_the_lane() -> None:
    rig = ready(Rig())
    ticket = rig.submit("bump", id=uuid(1))
    rig.step()
    rig.land(Refused("23505", "not wanted"))
    rig.step()
    assert rig.lookup is not None

    assert rig.engine.committer.take_lookup() is None
    assert rig.engine.next_batch() is None

    rig.run()
    assert ticket.value == 1


def test_a_lookup_of_a_mutation_that_timed_out_meanwhile_frees_the_lane() -> None:
    rig = ready(Rig())
    late = rig.submit("bump", "a", id=uuid(1), timeout_s=1.0)
    rig.step()
    rig.land(Refused("23505", "not wanted"))
    rig.step()
    rig.clock.advance(2.0)
    rig.step()
    [next_one] = bumps(rig, "b")

    request = rig.batches[0].entries[0].request
    assert request is not None
    rig.store.requests[request] = Settled(request, rig.store.ts, b"", b"1")
    rig.run()

    assert isinstance(late.error, TimedOut)
    assert next_one.value == 1


# --- in the way


def test_those_whose_rows_are_held_rest_while_the_others_go_on() -> None:
    rig = ready(Rig(note(1, rank=0), note(2, rank=0)), 1)
    held, free = bumps(rig, "a"), bumps(rig, "b", row=2)
    rig.store.busy = {("notes", uuid(1))}

    for _ in range(6):
        rig.turn()
    assert (held[0].answers, free[0].value) == ([], 1)

    rig.store.busy = set()
    rig.run()
    assert held[0].value == 1


def test_rows_that_nobody_admits_to_hold_up_nobody() -> None:
    rig = ready(Rig())
    [ticket] = bumps(rig, "a")
    rig.step()

    rig.land(Busy(frozenset({("notes", uuid(99))})))
    rig.run()

    assert ticket.value == 1


def test_a_batch_that_somebody_stands_in_the_way_of_is_halved_until_the_rest_get_through() -> None:
    rig = ready(Rig())
    tickets = bumps(rig, "a", "b", "c", "d")
    rig.step()
    rig.land(IN_THE_WAY)
    rig.step()
    rig.land(IN_THE_WAY)
    rig.step()
    rig.land(IN_THE_WAY)
    assert sizes(rig) == [4, 2, 1]

    rig.step()
    rig.land()
    rig.step()

    assert [len(ticket.answers) for ticket in tickets] == [0, 1, 0, 0]
    rig.run()
    assert sorted(ticket.value for ticket in tickets) == [1, 2, 3, 4]


def test_when_postgres_is_down_the_lane_pauses_longer_and_longer() -> None:
    rig = ready(Rig())
    tickets = bumps(rig, "a", "b")
    wakes = []
    for _ in range(12):
        rig.step()
        rig.land(DOWN)
        assert rig.engine.next_batch() is None
        wake = rig.engine.committer.next_wake() or 0.0
        wakes.append(rig.engine.committer._not_before - rig.clock.monotonic())
        assert wake <= rig.engine.committer._not_before
        rig.clock.advance(wakes[-1])
    rig.run()

    assert 0.002 < wakes[0] < 0.011
    assert 0.24 < wakes[-1] <= 0.5
    assert sizes(rig)[:12] == [2] * 12
    assert [ticket.value for ticket in tickets] == [1, 2]


def test_a_conflict_that_no_commit_explains_pauses_the_lane() -> None:
    rig = ready(Rig())
    [ticket] = bumps(rig, "a")
    rig.step()

    rig.land(Conflicted(frozenset({0}), rig.store.ts - 50))

    assert rig.engine.next_batch() is None
    rig.run()
    assert ticket.value == 1


# --- conflicts


def test_what_others_changed_is_seen_by_the_next_run() -> None:
    rig = ready(Rig(note(1, rank=1)))
    [ticket] = bumps(rig, "a")
    rig.step()
    rig.write(note(1, rank=10))
    rig.land()

    rig.step()
    assert len(rig.batches) == 1, "memory has not seen the commit it conflicted with"

    rig.run()
    assert ticket.value == 11


def conflict(rig: Rig, *entries: int) -> None:
    """Let others change what these entries read, once more."""
    rig.step()
    rig.write(note(1, rank=0))
    rig.land(Conflicted(frozenset(entries), rig.store.ts))
    rig.tail()


@pytest.mark.parametrize("unlucky", [0, 1])
def test_after_three_conflicts_a_mutation_runs_alone(unlucky: int) -> None:
    rig = ready(Rig(note(1, rank=0)))
    bumps(rig, "a", "b")
    conflict(rig, unlucky)
    conflict(rig, unlucky)
    conflict(rig, unlucky)
    rig.run()

    assert sizes(rig) == [2, 2, 2, 1, 1]


def test_a_mutation_that_keeps_being_overtaken_is_given_up() -> None:
    rig = ready(Rig(note(1, rank=0)))
    [unlucky] = bumps(rig, "a")
    for _ in range(MAX_CONFLICTS):
        conflict(rig, 0)
    assert unlucky.answers == []

    conflict(rig, 0)
    rig.run()

    assert isinstance(unlucky.error, Conflict)
    assert unlucky.error.retryable


# --- batches


def test_a_batch_holds_so_many_mutations_and_no_more() -> None:
    rig = ready(Rig())
    bumps(rig, *[str(n) for n in range(MAX_BATCH + 1)])
    rig.run()

    assert sizes(rig) == [MAX_BATCH, 1]


def test_a_batch_holds_so_many_bytes_and_one_mutation_more() -> None:
    rig = ready(Rig())
    size = MAX_BATCH_BYTES // 2
    for session in "abcd":
        rig.submit("say", session, size=size)
    rig.run()

    assert sizes(rig) == [2, 2]


def test_slow_mutations_hold_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ready(Rig())
    now_ms = rig.engine._next_creation_us

    def slow() -> int:
        rig.clock.advance(0.015)
        return now_ms()

    monkeypatch.setattr(rig.engine, "_next_creation_us", slow)
    for n in range(5):
        rig.submit("bump", str(n), id=uuid(100 + n))
    rig.turn()
    ran = []
    while not rig.engine.committer.is_idle:
        before = rig.engine.stats.mutation_runs
        rig.step()
        ran.append(rig.engine.stats.mutation_runs - before)
        rig.turn()

    assert max(ran) == 2


def test_a_mutation_that_deletes_a_parent_runs_alone() -> None:
    rig = ready(Rig())
    rig.store.write(("parents", uuid(9), {"_id": uuid(9), "_creationTime": 1, "name": "p"}))
    rig.run()
    rig.submit("parentName", "warm", id=uuid(9))
    rig.run()
    rig.batches.clear()

    bumps(rig, "a")
    rig.submit("removeParent", "b", id=uuid(9))
    bumps(rig, "c", "d")
    rig.run()

    assert sizes(rig) == [1, 1, 2]


def test_missing_rows_are_loaded_while_others_go_on() -> None:
    rig = ready(Rig(note(2, rank=5)))

    waiting, going = bumps(rig, "a", row=2), bumps(rig, "b")
    rig.step()
    rig.land()
    rig.step()
    assert (waiting[0].answers, going[0].value) == ([], 1)

    rig.run()
    assert waiting[0].value == 6


def test_what_was_written_before_rows_were_missing_is_undone() -> None:
    rig = ready(Rig(note(2, rank=5)))

    copied = rig.submit("copyRank", "a", to=uuid(1), id=uuid(2))
    [bumped] = bumps(rig, "b")
    rig.run()

    assert bumped.value == 1
    assert isinstance(copied.error, WriteRejected)
    assert rank(rig) == 1


def test_rows_that_cannot_be_had_are_an_answer() -> None:
    rig = Rig()
    [ticket] = bumps(rig, "a")
    rig.step()

    rig.engine.load_failed(rig.loads.pop(), DatabaseDown("gone"))
    rig.run()

    assert isinstance(ticket.error, DatabaseDown)


def test_a_load_that_nobody_waits_for_any_more_is_passed_over() -> None:
    rig = Rig()
    [ticket] = bumps(rig, "a")
    rig.step()
    [mutation] = rig.engine.committer._waiting._parked
    rig.engine.committer.load_failed(mutation, DatabaseDown("gone"))

    rig.engine.committer.load_failed(mutation, DatabaseDown("gone again"))
    rig.engine.committer.loaded(mutation)
    rig.run()

    assert len(ticket.answers) == 1


# --- time


def test_a_mutation_that_nobody_waits_for_is_not_run() -> None:
    rig = ready(Rig())
    unwanted = Ticket(is_unwanted=True)
    rig.submit("bump", "s", 1, ticket=unwanted, id=uuid(1))
    wanted = rig.submit("bump", "s", 1, id=uuid(1))

    rig.step()
    assert rig.engine.committer.next_wake() == 0.0
    rig.run()

    assert isinstance(unwanted.error, ShuttingDown)
    assert (wanted.value, rank(rig)) == (1, 1)


def test_a_mutation_in_flight_is_never_given_up() -> None:
    rig = ready(Rig())
    ticket = rig.submit("bump", id=uuid(1), timeout_s=1.0)
    rig.step()

    rig.clock.advance(100.0)
    rig.step()
    assert ticket.answers == []

    rig.run()
    assert ticket.value == 1


def wait_for_rows(rig: Rig) -> None:
    """Leave a mutation where its rows never come."""


def hold_its_row(rig: Rig) -> None:
    """Leave a mutation where somebody holds its row for good."""
    rig.load()
    rig.arrive()
    rig.step()
    rig.land(Busy(frozenset({("notes", uuid(1))})))


def take_the_database_away(rig: Rig) -> None:
    """Leave a mutation where Postgres is down for good."""
    rig.load()
    rig.arrive()
    rig.step()
    rig.land(DOWN)


@pytest.mark.parametrize("leave", [wait_for_rows, hold_its_row, take_the_database_away])
def test_a_mutation_that_waits_too_long_is_given_up_wherever_it_waits(leave: Any) -> None:
    rig = Rig()
    ticket = rig.submit("bump", id=uuid(1), timeout_s=0.4)
    rig.step()
    leave(rig)
    wake = rig.engine.committer.next_wake()

    assert wake is not None
    assert wake <= rig.clock.monotonic() + 0.5
    rig.clock.advance(0.5)
    rig.engine.advance()

    assert isinstance(ticket.error, TimedOut)
    assert rig.engine.committer.is_idle


def test_the_lane_knows_when_it_is_idle_and_when_it_is_full() -> None:
    rig = Rig(max_waiting_mutations=2)
    committer = rig.engine.committer
    assert committer.is_idle
    assert committer.next_wake() is None

    rig.submit("bump", "a", 1, id=uuid(1))
    rig.submit("bump", "a", 2, id=uuid(1))
    assert (len(committer), committer.is_full, committer.is_idle) == (2, False, False)
    bumps(rig, "b")
    assert committer.is_full

    rig.run()
    assert (len(committer), committer.is_full, committer.is_idle) == (0, False, True)
    assert committer.next_wake() is None


def test_a_lane_that_waits_for_the_log_does_not_spin() -> None:
    rig = ready(Rig())
    rig.engine.committer.min_ts = rig.store.ts + 1
    bumps(rig, "a")

    rig.step()

    wake = rig.engine.committer.next_wake()
    assert wake is not None
    assert wake > rig.clock.monotonic()


# --- running ahead


def ahead(rig: Rig, *, then: Any = None) -> tuple[Ticket, Ticket]:
    """Send one bump of row 1; then, with `then` done, let another run ahead on it."""
    [first] = bumps(rig, "a")
    rig.step()
    if then is not None:
        then()
    [second] = bumps(rig, "b")
    runs = rig.engine.stats.mutation_runs
    rig.step()
    assert rig.engine.stats.mutation_runs == runs + 1
    return first, second


def runs_since(rig: Rig, before: int) -> int:
    return rig.engine.stats.mutation_runs - before


def test_the_next_batch_runs_on_the_one_in_flight_and_goes_out_as_that_lands() -> None:
    rig = ready(Rig())
    first, second = ahead(rig)
    runs = rig.engine.stats.mutation_runs
    outcome = rig.land()
    assert isinstance(outcome, Committed)

    batch = rig.engine.next_batch()

    assert batch is not None
    assert batch.head == outcome.commit.ts > rig.engine.memory.ts
    assert [write.row["rank"] for write in batch.writes] == [2]
    rig.is_flying = True
    rig.batches.append(batch)
    rig.run()
    assert (first.value, second.value, rank(rig)) == (1, 2, 2)
    assert runs_since(rig, runs) == 0


def test_a_row_made_by_the_batch_in_flight_is_updated_by_the_next() -> None:
    rig = ready(Rig())
    ahead(rig)
    rig.land()
    rig.step()

    assert [[write.kind for write in batch.writes] for batch in rig.batches] == [
        ["insert"],
        ["update"],
    ]


def test_what_waits_joins_a_batch_that_ran_ahead_once_memory_is_there() -> None:
    rig = ready(Rig())
    ahead(rig)
    rig.land()
    [third] = bumps(rig, "c")
    rig.run()

    assert sizes(rig) == [1, 2]
    assert third.value == 3


@pytest.mark.parametrize(
    "outcome",
    [
        Unknown("connection lost"),
        DOWN,
        IN_THE_WAY,
        Refused("23505", "not wanted"),
        Busy(frozenset({("notes", uuid(1))})),
    ],
)
def test_what_stood_on_a_batch_that_failed_runs_again_behind_it(outcome: BatchOutcome) -> None:
    rig = ready(Rig())
    first, second = ahead(rig)

    rig.land(outcome)
    rig.run()

    assert sorted([first.value, second.value]) == [1, 2]
    assert rank(rig) == 2
    # One that rests lets others go first.
    assert isinstance(outcome, Busy) or outcome is IN_THE_WAY or first.value == 1


def test_what_stood_on_a_batch_that_came_out_otherwise_runs_again() -> None:
    rig = ready(Rig())
    rig.store.trigger = lambda fields: {**fields, "rank": 10 * fields["rank"]}
    first, second = ahead(rig)

    rig.run()

    assert (first.value, second.value) == (1, 11)


def test_others_that_changed_nothing_it_read_do_not_stop_what_ran_ahead() -> None:
    rig = ready(Rig())
    first, second = ahead(rig)
    runs = rig.engine.stats.mutation_runs
    rig.write(note(7))

    rig.run()

    assert (first.value, second.value) == (1, 2)
    assert runs_since(rig, runs) == 0
    assert rig.batches[-1].head == rig.batches[0].head + 20


def test_others_that_changed_what_it_read_make_it_run_again() -> None:
    rig = ready(Rig(note(2, rank=5)))
    rig.submit("fail", "warm it", id=uuid(2), has_session=False)
    rig.run()
    rig.batches.clear()
    bumps(rig, "a")
    rig.step()
    [second] = bumps(rig, "b", row=2)
    rig.step()
    rig.write(note(2, rank=50))

    rig.run()

    assert second.value == 51
    assert len(rig.batches) == 2, "it was known without asking Postgres"


def test_a_batch_that_only_asked_hides_nobodys_commit_from_what_ran_ahead() -> None:
    rig = ready(Rig(note(1, rank=1), note(2, rank=5)))
    rig.submit("fail", "warm it", id=uuid(2), has_session=False)
    rig.run()
    rig.batches.clear()
    rig.submit("fail", "a", id=uuid(1))
    rig.step()
    [second] = bumps(rig, "b", row=2)
    rig.step()
    rig.write(note(2, rank=50))

    rig.run()

    assert second.value == 51


def test_nothing_runs_ahead_where_memory_has_moved() -> None:
    rig = ready(Rig())
    bumps(rig, "a")
    rig.step()
    rig.write(note(7))
    rig.tail()
    bumps(rig, "b")
    runs = rig.engine.stats.mutation_runs

    rig.step()

    assert runs_since(rig, runs) == 0
    rig.run()
    assert rank(rig) == 2


def test_nothing_runs_ahead_of_what_postgres_deletes_by_itself() -> None:
    rig = ready(Rig())
    rig.store.write(("parents", uuid(9), {"_id": uuid(9), "_creationTime": 1, "name": "p"}))
    rig.run()
    rig.submit("parentName", "warm", id=uuid(9))
    rig.run()
    rig.submit("removeParent", "a", id=uuid(9))
    rig.step()
    [second] = bumps(rig, "b")
    runs = rig.engine.stats.mutation_runs

    rig.step()

    assert runs_since(rig, runs) == 0
    rig.run()
    assert second.value == 1


def test_what_ran_ahead_for_too_long_is_given_up() -> None:
    rig = ready(Rig())
    bumps(rig, "a")
    rig.step()
    late = rig.submit("bump", "b", id=uuid(1), timeout_s=1.0)
    rig.step()

    rig.clock.advance(2.0)
    rig.engine.advance()

    assert isinstance(late.error, TimedOut)
    rig.run()
    assert rank(rig) == 1


def test_another_database_makes_everything_run_again() -> None:
    rig = ready(Rig())
    first, second = ahead(rig)

    rig.engine.committer.reincarnated()
    rig.land()
    rig.run()

    assert (first.value, second.value, rank(rig)) == (1, 2, 2)


# --- everything at once

ROWS = (1, 2)
OUTCOMES = ("commit", "lost", "unheard", "down", "in the way", "busy")

submissions = st.tuples(
    st.just("submit"),
    st.sampled_from("abc"),
    st.sampled_from((*ROWS, 66)),
    st.sampled_from(("bump", "fail", "stretch", "stretch")),
)
events = st.one_of(
    submissions,
    submissions,
    st.tuples(st.just("land"), st.sampled_from(OUTCOMES)),
    st.tuples(st.just("land"), st.just("commit")),
    st.tuples(st.just("step")),
    st.tuples(st.just("tail")),
    st.tuples(st.just("load")),
    st.tuples(st.just("wait"), st.floats(0.001, 0.4)),
    st.tuples(st.just("write"), st.sampled_from(ROWS)),
    st.tuples(st.just("repeat"), st.integers(0, 30)),
)


class Chaos:
    """A lane under random events, and what must be true of it in the end."""

    def __init__(self) -> None:
        self.rig = Rig(*[note(n, rank=0) for n in ROWS])
        poison(self.rig, 66)
        self.sent: list[tuple[str, int, int, str, Ticket]] = []
        self.repeats: list[tuple[int, Ticket]] = []
        self.taken: dict[int, list[int]] = {row: [] for row in ROWS}
        self.stretched_at: dict[int, float] = {}

    def submit(self, session: str, row: int, path: str) -> None:
        number = len(self.sent)
        ticket = self.rig.submit(path, session, number, id=uuid(row), timeout_s=1e9)
        self.sent.append((session, number, row, path, ticket))

    def repeat(self, at: int) -> None:
        if at < len(self.sent):
            session, number, row, path, _ = self.sent[at]
            if path != "fail" and row != 66:
                again = self.rig.submit(path, session, number, id=uuid(row), timeout_s=1e9)
                self.repeats.append((at, again))

    def land(self, how: str) -> None:
        rig = self.rig
        if not rig.is_flying:
            return
        rows = frozenset((write.table, write.id) for write in rig.batches[-1].writes)
        if how == "unheard":
            rig.store.commit(rig.batches[-1])
        outcome = rig.land(
            {
                "commit": None,
                "lost": Unknown("lost"),
                "unheard": Unknown("lost"),
                "down": DOWN,
                "in the way": IN_THE_WAY,
                "busy": Busy(rows) if rows else None,
            }[how]
        )
        if isinstance(outcome, Committed):
            self.mind_the_spacing(rig.batches[-1])

    def mind_the_spacing(self, batch: Batch) -> None:
        """Check that what is spaced was not committed a moment before."""
        numbers = [entry.request.request_id for entry in batch.entries if entry.request]
        sent = [self.sent[number] for number in numbers]
        now = self.rig.clock.monotonic()
        for row in {row for _, _, row, path, _ in sent if path == "stretch"}:
            assert now >= self.stretched_at.get(row, 0.0) + 0.1
            self.stretched_at[row] = now

    def write(self, row: int) -> None:
        self.taken[row].append(rank(self.rig, row) + 1)
        self.rig.write(note(row, rank=rank(self.rig, row) + 1))

    def step(self) -> None:
        self.rig.step()

    def tail(self) -> None:
        self.rig.tail()

    def load(self) -> None:
        self.rig.load()
        self.rig.arrive()

    def wait(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)


@settings(max_examples=60, deadline=None)
@given(st.lists(events, min_size=30, max_size=60))
def test_whatever_happens_each_mutation_happens_once_in_order_and_is_answered_once(
    happens: list[Any],
) -> None:
    chaos = Chaos()
    for name, *details in happens:
        getattr(chaos, name)(*details)
    chaos.rig.run(1000)

    states = chaos.rig.store.states
    for row in ROWS:
        values = [t.value for _, _, r, path, t in chaos.sent if r == row and path != "fail"]
        assert sorted(values + chaos.taken[row]) == list(range(1, rank(chaos.rig, row) + 1))
    for _, _, row, path, ticket in chaos.sent:
        [answer] = ticket.answers
        is_failure = path == "fail"
        if is_failure and row != 66:
            # True at some moment between the commit before and its own.
            before = max(ts for ts in states if ts < (answer.ts or 0))
            assert isinstance(answer.error, AppError)
            seen = [states[ts].get(("notes", uuid(row)), {}) for ts in (before, answer.ts or 0)]
            ranks = [fields.get("rank", 0) for fields in seen]
            assert ranks[0] <= answer.error.data <= ranks[1]
        elif row == 66:
            assert isinstance(answer.error, AppError if is_failure else WriteRejected)
    for session in "abc":
        times = [t.answers[0].ts or 0 for s, _, _, _, t in chaos.sent if s == session]
        assert times == sorted(times)
        for row in ROWS:
            in_order = [
                t.value
                for s, _, r, path, t in chaos.sent
                if (s, r) == (session, row) and path != "fail"
            ]
            assert in_order == sorted(in_order)
    for at, again in chaos.repeats:
        assert again.answers == chaos.sent[at][4].answers
    assert uuid(66) not in {row_id for _, row_id in chaos.rig.store.rows}
    assert chaos.rig.engine.committer.is_idle
