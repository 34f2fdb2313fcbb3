"""Where mutations wait, and in which order they come out."""

from __future__ import annotations

from typing import Any, cast

import pytest

from parley.engine.batch import Mutation
from parley.engine.waiting import WaitingRoom
from parley.functions.context import Entropy
from parley.functions.registry import Function
from parley.store.types import RequestId


def mutation(session: str, number: int = 0, deadline: float = 1e9) -> Mutation:
    function: Any = None  # nothing here runs it
    return Mutation(
        cast("Function", function),
        {},
        None,
        RequestId("i", session, number),
        b"",
        Entropy(0, 0),
        deadline,
        lambda _: None,
    )


def test_those_of_one_session_are_ready_one_after_another() -> None:
    room = WaitingRoom()
    first, second, other = mutation("a", 1), mutation("a", 2), mutation("b")
    for each in (first, second, other):
        room.enter(each)
    assert list(room.ready) == [first, other]
    assert (len(room), room.size) == (3, 2)

    room.ready.popleft()
    room.leave(first)

    assert list(room.ready) == [other, second]


def test_those_who_come_back_go_first_in_their_order() -> None:
    room = WaitingRoom()
    late = mutation("late")
    room.enter(late)
    back = [mutation("a"), mutation("b")]

    room.back(back)

    assert list(room.ready) == [*back, late]
    assert room.find_ready(RequestId("i", "b", 0)) is back[1]
    assert room.find_ready(RequestId("i", "c", 0)) is None


def test_one_is_parked_until_it_is_let_go_once() -> None:
    room = WaitingRoom()
    parked = mutation("a")
    room.park(parked)
    assert room.size == 1

    assert room.unpark(parked)
    assert not room.unpark(parked)


def test_one_that_rests_is_ready_again_later_and_later() -> None:
    room = WaitingRoom()
    resting = mutation("a")
    pauses = []
    for _ in range(12):
        room.rest(resting, 100.0)
        [at] = room.wakes_at()
        room.wake(at - 0.0001)
        assert not room.ready
        room.wake(at)
        assert room.ready.popleft() is resting
        pauses.append(at - 100.0)

    assert 0.002 < pauses[0] < 0.011
    assert 0.24 < pauses[-1] <= 0.5


def test_whoever_waits_past_their_deadline_is_taken_out_wherever_they_wait() -> None:
    room = WaitingRoom()
    expired = [
        mutation("a", deadline=1.0),
        mutation("b", deadline=2.0),
        mutation("c", deadline=2.0),
    ]
    kept = [mutation("d", deadline=3.0) for _ in range(3)]
    room.back([expired[0], kept[0]])
    for each in (expired[1], kept[1]):
        room.rest(each, 0.0)
    for each in (expired[2], kept[2]):
        room.park(each)

    assert room.take_expired(2.5) == expired
    assert room.size == 3
    assert room.take_expired(2.5) == []


def test_it_is_empty_when_everybody_has_left() -> None:
    room = WaitingRoom()
    only = mutation("a")
    assert room.is_empty
    room.enter(only)
    assert not room.is_empty

    room.leave(only)

    assert room.is_empty


def test_one_whose_key_is_closed_waits_until_it_opens_or_expires() -> None:
    room = WaitingRoom()
    key = ("i", "notes:stretch", b"1")
    first, late = mutation("a"), mutation("b", deadline=3.0)
    first.spacing_key = late.spacing_key = key
    room.spaced.close(key)

    assert room.must_wait(first, {})
    assert room.must_wait(late, {})
    assert not room.must_wait(mutation("c"), {})
    assert not room.must_wait(first, {key})
    assert room.size == 2

    assert room.take_expired(3.0) == [late]
    room.spaced.rest({key: 1.0}, committed_at=3.0)
    assert room.wakes_at() == [4.0]
    room.wake(3.9)
    assert list(room.ready) == []
    room.wake(4.0)
    assert list(room.ready) == [first]
    assert (room.size, room.wakes_at()) == (1, [])


def test_who_follows_is_ready_neither_when_it_falls_back_nor_before_its_turn() -> None:
    room = WaitingRoom()
    first, second, third = (mutation("a", number) for number in range(3))
    for each in (first, second, third):
        each.spacing_key = ("i", "notes:stretch", b"1")
        room.enter(each)
    room.ready.clear()

    assert room.follow(first, {}) is second
    assert room.follow(second, {}) is third
    assert room.follow(third, {}) is None
    room.back([first, second, third])
    assert list(room.ready) == [first]

    room.ready.clear()
    assert room.follow(first, {}) is second
    room.leave(first)
    assert list(room.ready) == []
    room.leave(second)
    assert list(room.ready) == [third]


@pytest.mark.parametrize("trouble", ["conflicts", "refusals", "setbacks", "repeat", "unwanted"])
def test_who_is_in_trouble_follows_nobody(trouble: str) -> None:
    room = WaitingRoom()
    first, second = mutation("a", 1), mutation("a", 1 if trouble == "repeat" else 2)
    for each in (first, second):
        each.spacing_key = ("i", "notes:stretch", b"1")
        room.enter(each)
    if trouble == "unwanted":
        second.is_unwanted = lambda: True
    elif trouble != "repeat":
        setattr(second, trouble, 1)

    assert room.follow(first, {}) is None
