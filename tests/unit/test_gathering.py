"""Runs that wait to be sent: what they stand on, and whether that still holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parley.engine.batch import Entry
from parley.engine.gathering import Flight, Gathering
from parley.engine.memory import Memory
from parley.engine.runner import Returned
from parley.store.rows import encode_document
from parley.store.types import Commit
from tests.support.tables import NOTES, SCHEMA, change, note, uuid
from tests.unit.test_waiting import mutation

READ = frozenset({f"notes/{uuid(1)}"})


def entry() -> Entry:
    return Entry(mutation("s"), Returned(None), READ, b"null", frozenset({("notes", uuid(1))}), 9)


def commit(ts: int, prev_ts: int, number: int) -> Commit:
    return Commit(ts, prev_ts, (change(NOTES, None, note(number)),))


@pytest.fixture
def memory() -> Memory:
    return Memory(SCHEMA, 10, max_bytes=1 << 20)


def on_a_flight(memory: Memory) -> tuple[Flight, Gathering]:
    sent = Gathering.on(memory)
    row, document = encode_document(NOTES, note(1))
    sent.overlay.put("notes", uuid(1), document, row)
    sent.add(entry())
    ahead = Gathering.on(memory, sent.overlay)
    ahead.add(entry())
    return Flight(sent.batch(), sent), ahead


def test_more_may_join_as_long_as_memory_stays(memory: Memory) -> None:
    gathered = Gathering.on(memory)
    assert gathered.stands_on(memory)

    memory.apply(commit(20, 10, 7))

    assert not gathered.stands_on(memory)


def test_what_follows_the_base_at_once_stands_on_its_commit(memory: Memory) -> None:
    flight, ahead = on_a_flight(memory)
    assert ahead.overlay.rows["notes"].keys() == {uuid(1)}

    ahead.base_landed(flight, commit(20, 10, 1))

    assert ahead.overlay.rows == {}, "memory may soon hold something newer"
    assert ahead.catch_up(memory)
    assert ahead.batch().head == 20


@pytest.mark.parametrize(("between", "holds"), [(7, True), (1, False)])
def test_what_came_in_between_counts_if_it_was_read(
    memory: Memory, between: int, *, holds: bool
) -> None:
    flight, ahead = on_a_flight(memory)
    own = commit(30, 20, 1)
    ahead.base_landed(flight, own)
    memory.apply(commit(20, 10, between))
    memory.apply(own)

    assert ahead.catch_up(memory) is holds
    if holds:
        assert ahead.batch().head == 30


def test_a_base_that_wrote_nothing_is_nothing_to_stand_on(memory: Memory) -> None:
    flight, ahead = on_a_flight(memory)
    asked = replace(flight, batch=replace(flight.batch, must_commit=False))

    ahead.base_landed(asked, Commit(20, 20))

    assert ahead.catch_up(memory)
    assert ahead.batch().head == 10


def test_nothing_outlives_the_tables_it_was_made_for(memory: Memory) -> None:
    gathered = Gathering.on(memory)

    memory.reset(replace(SCHEMA, epoch="2"), 10)

    assert not gathered.stands_on(memory)
    assert not gathered.catch_up(memory)


def test_a_commit_is_not_recognised_once_the_tables_are_others(memory: Memory) -> None:
    flight, _ = on_a_flight(memory)
    own = commit(20, 10, 1)
    assert flight.recognised(own, memory.schema) is not None

    memory.reset(replace(SCHEMA, epoch="2"), 10)

    assert flight.recognised(own, memory.schema) is None
