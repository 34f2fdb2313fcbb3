"""Queries asked once are answered together, at one moment."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from parley.engine.live import Call
from parley.engine.oneshot import OneShot
from parley.identity import Identity
from tests.support.rig import ANN, BOB, Rig
from tests.support.tables import note, uuid


def ask(rig: Rig, *calls: Call, identity: Identity | None = None) -> OneShot:
    return OneShot(rig.engine, calls, identity, asyncio.get_running_loop())


def values(asked: OneShot) -> list[Any]:
    return [json.loads(result.value) for result in asked.answers.result().results]


async def test_answers_come_in_the_order_asked_and_are_of_one_moment() -> None:
    rig = Rig(note(1), note(2, "bob"))

    asked = ask(rig, rig.call("one", id=uuid(2)), rig.call("nothing"), rig.call("one", id=uuid(1)))
    rig.run()

    two, nothing, one = values(asked)
    assert (two["owner"], nothing, one["owner"]) == ("bob", "nothing", "ann")
    assert asked.answers.result().ts == rig.store.ts
    assert asked.answers.result().keys == {f"notes/{uuid(1)}", f"notes/{uuid(2)}"}


async def test_a_commit_while_rows_are_on_their_way_moves_all_answers() -> None:
    rig = Rig(note(1), note(2))
    asked = ask(rig, rig.call("one", id=uuid(1)))
    rig.step()
    rig.load()
    rig.arrive()
    rig.run()
    late = ask(rig, rig.call("one", id=uuid(1)), rig.call("one", id=uuid(2)))
    rig.step()

    rig.write(note(1, "bob"), note(2, "bob"))
    rig.tail()
    rig.run()

    assert [row["owner"] for row in values(late)] == ["bob", "bob"]
    assert [row["owner"] for row in values(asked)] == ["ann"]


async def test_no_question_is_answered_at_once() -> None:
    rig = Rig()

    asked = ask(rig)
    rig.step()

    assert values(asked) == []


async def test_a_failure_is_an_answer() -> None:
    rig = Rig()

    asked = ask(rig, rig.call("missing"))
    rig.run()

    [result] = asked.answers.result().results
    assert "Could not find public function" in str(result.error)


async def test_a_query_that_looks_at_the_caller_is_asked_as_the_caller() -> None:
    rig = Rig(note(1), note(2, "bob"))

    ann = ask(rig, rig.call("mine"), identity=ANN)
    bob = ask(rig, rig.call("mine"), identity=BOB)
    rig.run()

    assert (values(ann), values(bob)) == ([[uuid(1)]], [[uuid(2)]])


async def test_a_result_that_somebody_has_is_not_made_again() -> None:
    rig = Rig(note(1))
    first = ask(rig, rig.call("allOf", owner="ann"))
    rig.run()
    runs = rig.engine.stats.query_runs

    second = ask(rig, rig.call("allOf", owner="ann"))
    rig.run()

    assert values(second) == values(first)
    assert rig.engine.stats.query_runs == runs


async def test_once_answered_nothing_changes_the_answer() -> None:
    rig = Rig(note(1))
    asked = ask(rig, rig.call("allOf", owner="ann"))
    rig.run()

    rig.write(note(2))
    rig.run()

    assert len(values(asked)[0]) == 1


async def test_nothing_is_left_of_a_question_that_was_closed() -> None:
    rig = Rig(note(1))
    asked = ask(rig, rig.call("allOf", owner="ann"), rig.call("mine"), identity=ANN)

    asked.close()
    rig.run()

    assert len(rig.engine.live) == 0
    assert not asked.answers.done()
