"""The engine's steps: what is loaded, run, shared, limited, forgotten, and begun anew."""

from __future__ import annotations

from typing import Any

import pytest

from parley.engine.live import Call, LiveQuery
from parley.errors import DatabaseDown, Internal, LimitExceeded
from parley.functions.context import Entropy
from parley.identity import Identity
from parley.store.tables import Schema
from parley.store.types import Change, Commit
from tests.support.rig import ANN, BOB, Rig
from tests.support.tables import SCHEMA, note, uuid


class Listener:
    """A subscriber that writes down what it hears."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.identity: Identity | None = None
        self.queries: dict[int, LiveQuery] = {}
        self.heard: list[tuple[int, bool]] = []
        self.flushes = 0

    def follow(self, call: Call, query_id: int = 0) -> LiveQuery:
        self.queries[query_id] = self.rig.engine.subscribe(call, self.identity, self, query_id)
        return self.queries[query_id]

    def leave(self, query_id: int = 0) -> None:
        self.rig.engine.unsubscribe(self.queries.pop(query_id), self, query_id)

    def query_settled(self, query_id: int, *, is_new: bool) -> None:
        self.heard.append((query_id, is_new))
        self.rig.engine.due[self] = None

    def identity_needed(self, query_id: int) -> None:
        before = self.queries[query_id]
        self.follow(before.call, query_id)
        self.rig.engine.unsubscribe(before, self, query_id)

    def flush(self) -> None:
        self.flushes += 1

    def result(self, query_id: int = 0) -> Any:
        found = self.queries[query_id].result
        assert found is not None
        return found


@pytest.fixture
def rig() -> Rig:
    return Rig(note(1), note(2, "bob"))


def follow(rig: Rig, path: str, identity: Identity | None = None, **args: Any) -> Listener:
    listener = Listener(rig)
    listener.identity = identity
    listener.follow(rig.call(path, **args))
    return listener


# --- running and sharing


def test_a_call_that_others_follow_is_not_run_again(rig: Rig) -> None:
    first = follow(rig, "allOf", owner="ann")
    rig.run()
    runs = rig.engine.stats.query_runs

    second = follow(rig, "allOf", owner="ann")
    rig.run()

    assert rig.engine.stats.query_runs == runs
    assert second.result() is first.result()


def test_a_missing_piece_is_asked_for_once_however_many_wait_for_it(rig: Rig) -> None:
    follow(rig, "allOf", owner="ann")
    follow(rig, "page", owner="ann", paginationOpts={"numItems": 64, "cursor": None})
    rig.submit("count", owner="ann")

    rig.step()

    assert len(rig.loads) == 2  # whole ranges, and pieces of them
    assert rig.engine.stats.loads == 2


def test_a_commit_wakes_only_those_whose_result_it_changed(rig: Rig) -> None:
    ann, bob = follow(rig, "allOf", owner="ann"), follow(rig, "allOf", owner="bob")
    top = follow(rig, "top", owner="ann", count=1)
    rig.run()
    ann.heard, bob.heard, top.heard = [], [], []

    rig.write(note(1, more="x"))
    rig.run()

    assert (ann.heard, bob.heard, top.heard) == ([(0, True)], [], [])


def test_a_result_whose_bytes_did_not_change_is_no_news(rig: Rig) -> None:
    one = follow(rig, "scored", above=0.0)
    rig.run()
    rig.write(note(3, score=1.0))
    rig.run()

    rig.write({"_id": uuid(3)}, note(4, score=1.0))
    rig.run()

    assert one.heard == [(0, True), (0, True), (0, False)]


def test_a_query_nobody_follows_any_more_is_not_run(rig: Rig) -> None:
    gone = follow(rig, "allOf", owner="ann")
    rig.step()

    gone.leave()
    rig.run()

    assert gone.heard == []
    assert len(rig.engine.live) == 0
    assert rig.engine.stats.query_runs == 1


def test_queries_that_take_long_leave_room_for_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    listeners = [follow(rig, "allOf", owner=str(n)) for n in range(3)]
    run = rig.engine._run_query

    def slow(query: LiveQuery) -> None:
        rig.clock.advance(1.0)
        run(query)

    monkeypatch.setattr(rig.engine, "_run_query", slow)

    assert rig.engine.settle(0.5)
    assert len(rig.engine.take_loads()) == 1
    assert [listener.flushes for listener in listeners] == [0, 0, 0]
    assert rig.engine.settle(10.0) is False


def test_telling_that_takes_long_leaves_room_for_others_and_goes_on_where_it_was(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    listeners = [follow(rig, "allOf", owner=str(n)) for n in range(3)]
    rig.run()
    for listener in listeners:
        listener.flushes = 0
        monkeypatch.setattr(listener, "flush", lambda told=listener: slow(told))

    def slow(told: Listener) -> None:
        rig.clock.advance(1.0)
        told.flushes += 1

    rig.engine.due = dict.fromkeys(listeners[1:])
    assert rig.engine.settle(0.5)
    rig.engine.due[listeners[0]] = None
    assert [listener.flushes for listener in listeners] == [0, 1, 0]
    assert rig.engine.settle(0.5)
    assert [listener.flushes for listener in listeners] == [0, 1, 1]
    assert rig.engine.settle(0.5) is False
    assert [listener.flushes for listener in listeners] == [1, 1, 1]


def test_a_result_has_a_limit() -> None:
    rig = Rig(note(1), max_result_bytes=20)
    listener = follow(rig, "allOf", owner="ann")
    rig.run()

    error = listener.result().error
    assert isinstance(error, LimitExceeded)
    assert "a result may be 20 bytes; this one has" in error.message


def test_a_call_for_the_caller_is_run_for_each_caller_from_then_on(rig: Rig) -> None:
    ann = follow(rig, "mine", ANN)
    rig.run()
    bob = follow(rig, "mine", BOB)
    ann_again = follow(rig, "mine", Identity(ANN.issuer, ANN.subject, {}, 1.0))
    rig.run()

    assert (ann.result().value, bob.result().value) == (
        f'["{uuid(1)}"]'.encode(),
        f'["{uuid(2)}"]'.encode(),
    )
    assert ann_again.queries[0] is ann.queries[0]


# --- loads


def test_a_piece_from_the_future_waits_until_memory_is_there(rig: Rig) -> None:
    listener = follow(rig, "allOf", owner="ann")
    rig.step()
    rig.write(note(3))
    rig.load()
    rig.arrive()
    rig.step()
    assert listener.heard == []

    rig.tail()
    rig.step()

    assert listener.heard == [(0, True)]
    assert listener.result().value.count(b"_id") == 2


def test_a_piece_from_too_long_ago_is_asked_for_again(rig: Rig) -> None:
    listener = follow(rig, "allOf", owner="ann")
    rig.step()
    rig.load()
    rig.write(note(3), resets=["notes"])
    rig.tail()
    rig.step()

    rig.arrive()
    rig.run()

    assert listener.result().value.count(b"_id") == 2


def test_a_piece_from_too_long_ago_that_nobody_waits_for_is_not(rig: Rig) -> None:
    gone = follow(rig, "allOf", owner="ann")
    rig.step()
    rig.load()
    rig.engine.reset(SCHEMA, rig.store.ts + 10)
    gone.leave()
    rig.engine.take_loads()

    rig.arrive()

    assert rig.engine.take_loads() == []


def test_rows_that_cannot_be_had_fail_the_query_until_the_table_changes(rig: Rig) -> None:
    listener = follow(rig, "allOf", owner="ann")
    rig.step()
    [request] = rig.loads
    rig.loads.clear()

    rig.engine.load_failed(request, DatabaseDown("no memory left"))
    rig.run()
    assert isinstance(listener.result().error, Internal)

    rig.write(note(3))
    rig.run()
    assert listener.result().value.count(b"_id") == 2


def test_rows_of_a_table_that_is_gone_fail_the_query(rig: Rig) -> None:
    listener = follow(rig, "allOf", owner="ann")
    rig.step()
    [request] = rig.loads
    rig.loads.clear()
    rig.engine.memory.reset(Schema({}, "empty"), rig.store.ts)

    rig.engine.load_failed(request, LimitExceeded("as it is"))

    assert listener.result().error.message == "as it is"
    assert rig.engine.live.on_table("notes") == []


def test_a_query_whose_rows_never_fit_is_given_up_until_they_change(rig: Rig) -> None:
    rig.engine.max_loads = 2
    listener = follow(rig, "allOf", owner="ann")

    def thrash() -> None:
        rig.step()
        rig.load()
        rig.arrive()
        [held] = rig.engine.memory._ranges.values()
        rig.engine.memory._drop_range(held)

    thrash()
    thrash()
    rig.step()
    assert "memory is too small" in listener.result().error.message

    rig.write(note(1, rank=1))
    rig.run()
    assert listener.result().error is None


# --- pages


def page(rig: Rig, journal: str | None = None) -> Call:
    return rig.call("page", journal, owner="ann", paginationOpts={"numItems": 1, "cursor": None})


def test_a_page_keeps_its_end_and_who_asks_anew_gets_one_of_their_own(rig: Rig) -> None:
    first, second = Listener(rig), Listener(rig)
    first.follow(page(rig))
    rig.run()
    rig.write({"_id": uuid(1)}, note(5), note(6))
    rig.run()

    second.follow(page(rig))
    rig.run()

    assert first.result().value.count(b"_id") == 0
    assert second.result().value.count(b"_id") == 1


def test_two_who_go_on_with_the_same_page_share_it(rig: Rig) -> None:
    first, second = Listener(rig), Listener(rig)
    first.follow(page(rig))
    rig.run()

    second.follow(page(rig))
    rig.run()

    assert second.queries[0] is first.queries[0]
    assert len(rig.engine.live) == 1


def test_a_page_that_fails_keeps_its_end(rig: Rig) -> None:
    listener = Listener(rig)
    listener.follow(page(rig))
    rig.run()
    journal = listener.queries[0].call.journal
    rig.engine._query_limits = type(rig.engine._query_limits)(max_bytes_read=1)
    rig.write(note(1, rank=1))
    rig.run()
    assert listener.result().error is not None

    rig.engine._query_limits = type(rig.engine._query_limits)()
    rig.write(note(1, rank=2))
    rig.run()

    assert listener.queries[0].call.journal == journal
    assert listener.result().error is None


# --- results that do not fit


def test_results_above_the_budget_are_let_go_of_and_made_again_for_whoever_comes(
    rig: Rig,
) -> None:
    rig.engine.held.max_bytes = 0
    first = follow(rig, "allOf", owner="ann")
    rig.run()
    assert first.result().is_forgotten
    assert rig.engine.held.size_bytes == 0

    second = follow(rig, "allOf", owner="ann")
    rig.step()

    assert first.heard == [(0, True), (0, False)]
    assert second.heard == [(0, False)]


def test_the_oldest_results_go_first_and_no_more_than_needed(rig: Rig) -> None:
    listeners = [follow(rig, "allOf", owner=owner) for owner in ("ann", "bob")]
    rig.run()
    rig.engine.held.max_bytes = rig.engine.held.size_bytes - 1

    rig.step()

    assert [listener.result().is_forgotten for listener in listeners] == [True, False]


def test_nothing_is_kept_of_a_result_that_nobody_follows(rig: Rig) -> None:
    listener = follow(rig, "allOf", owner="ann")
    rig.run()
    assert rig.engine.held.size_bytes > 0

    listener.leave()

    assert rig.engine.held.size_bytes == 0


# --- beginning anew


def test_after_a_reset_everything_is_run_again(rig: Rig) -> None:
    listener = follow(rig, "allOf", owner="ann")
    rig.run()
    waiting = rig.submit("count", owner="nobody")
    rig.step()

    rig.store.write(("notes", uuid(3), note(3)))
    rig.engine.reset(SCHEMA, rig.store.ts)
    rig.run()

    assert listener.result().value.count(b"_id") == 2
    assert waiting.value == 0


def test_pieces_of_before_a_reset_are_not_kept(rig: Rig) -> None:
    follow(rig, "allOf", owner="ann")
    rig.step()
    rig.write(note(3))
    rig.load()
    rig.arrive()
    assert rig.engine._early

    rig.engine.reset(SCHEMA, rig.store.ts)

    assert not rig.engine._early
    rig.run()


def test_own_commits_that_do_not_follow_are_left_to_the_log(rig: Rig) -> None:
    ticket = rig.submit("bump", id=uuid(1))
    rig.step()
    rig.load()
    rig.arrive()
    rig.step()
    rig.write(note(9, "zoe"))

    rig.land()
    rig.step()
    assert ticket.answers == []

    rig.tail()
    rig.step()
    assert ticket.value == 1


def test_commits_that_memory_has_already_are_passed_over(rig: Rig) -> None:
    rig.write(note(3))
    commits = rig.store.log_after(rig.engine.memory.ts)
    rig.engine.take_commits(commits)
    rig.engine.take_commits(commits)

    assert rig.engine.advance()
    assert rig.engine.stats.commits == 1


def test_a_change_of_a_table_nobody_knows_touches_nobody(rig: Rig) -> None:
    rig.engine.take_commits(
        [Commit(rig.store.ts + 1, rig.store.ts, (Change("other", uuid(1), ("other/1",), b"{}"),))]
    )

    assert rig.engine.advance()


# --- time


def test_time_never_goes_back_for_functions(rig: Rig) -> None:
    before = rig.engine.now_ms()
    rig.clock.advance(-100.0)

    assert rig.engine.now_ms() == before
    assert isinstance(rig.engine.entropy(), Entropy)


def test_rows_made_in_one_moment_are_created_one_after_another(rig: Rig) -> None:
    first, second = rig.engine._next_creation_us(), rig.engine._next_creation_us()

    assert second == first + 1
