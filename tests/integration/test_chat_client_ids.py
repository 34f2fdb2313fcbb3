"""Ids made by clients: a repeat is the same row, anything else a conflict, never an overwrite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from parley import AppError, Int64
from parley.clock import uuid7
from parley.errors import ArgumentsInvalid
from tests.support.app import App, serving
from tests.support.chat import Person, person

CONFLICT = "Conflict: this id is taken"
ID = uuid7(1_700_000_000_000, 0xABC << 40)  # fixed: test names hold it
MESSAGE_ID = uuid7(1_700_000_000_001, 0xDEF << 40)


@pytest.fixture
async def app(dsn: str) -> AsyncIterator[App]:
    async with serving(dsn, "parley.chat") as app:
        yield app


@pytest.fixture
async def alice(app: App) -> Person:
    return await person(app, "alice")


async def head(app: App) -> int:
    newest: int = await app.database.fetchval("select max(ts) from parley.log_tx")
    return newest


async def test_a_row_gets_the_id_its_client_made(alice: Person) -> None:
    assert await alice.create(id=ID) == ID
    assert await alice.say(ID, "hi", id=MESSAGE_ID) == MESSAGE_ID

    [message] = (await alice.get(ID))["messages"]
    assert message["_id"] == MESSAGE_ID


@pytest.mark.parametrize("args", [{}, {"title": "T"}, {"title": "T", "model": "m"}], ids=str)
async def test_a_repeated_create_is_the_same_row_and_writes_nothing(
    app: App, alice: Person, args: dict[str, Any]
) -> None:
    await alice.create(id=ID, **args)
    before = (await head(app), await alice.get(ID))

    assert await alice.create(id=ID, **args) == ID

    assert (await head(app), await alice.get(ID)) == before


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"role": "assistant", "reasoningText": ""},
        {"citations": []},
        {"citations": [{"title": "T", "url": "u"}]},
        {"tools": [{"name": "t", "args": {"big": Int64(2**60), "zero": -0.0, "b": b"\0"}}]},
        {"tools": [{"name": "t", "args": None, "result": {"z": 1.0, "a": [1e300, True, "é"]}}]},
    ],
    ids=str,
)
async def test_a_repeated_message_is_the_same_row_and_writes_nothing(
    app: App, alice: Person, extra: dict[str, Any]
) -> None:
    await alice.create(id=ID)
    await alice.say(ID, "hi", id=MESSAGE_ID, **extra)
    before = (await head(app), await alice.get(ID))

    assert await alice.say(ID, "hi", id=MESSAGE_ID, **extra) == MESSAGE_ID

    assert (await head(app), await alice.get(ID)) == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"title": "one"}, {"title": "two"}),
        ({"model": "m"}, {}),
        ({}, {"model": "m"}),
    ],
)
async def test_another_conversation_under_the_same_id_is_a_conflict(
    alice: Person, first: dict[str, Any], second: dict[str, Any]
) -> None:
    await alice.create(id=ID, **first)
    before = await alice.get(ID)

    with pytest.raises(AppError) as refused:
        await alice.create(id=ID, **second)

    assert refused.value.data == CONFLICT
    assert await alice.get(ID) == before


@pytest.mark.parametrize(
    "other",
    [
        {"content": "bye"},
        {"role": "system"},
        {"reasoningText": ""},
        {"citations": []},
        {"tools": [{"name": "t", "args": 1}]},
    ],
    ids=str,
)
async def test_another_message_under_the_same_id_is_a_conflict(
    alice: Person, other: dict[str, Any]
) -> None:
    await alice.create(id=ID)
    await alice.say(ID, "hi", id=MESSAGE_ID)
    before = await alice.get(ID)

    with pytest.raises(AppError) as refused:
        await alice.say(ID, other.pop("content", "hi"), id=MESSAGE_ID, **other)

    assert refused.value.data == CONFLICT
    assert await alice.get(ID) == before


async def test_a_message_cannot_be_repeated_into_another_conversation(alice: Person) -> None:
    await alice.create(id=ID)
    other = await alice.create()
    await alice.say(ID, "hi", id=MESSAGE_ID)

    with pytest.raises(AppError) as refused:
        await alice.say(other, "hi", id=MESSAGE_ID)

    assert refused.value.data == CONFLICT
    assert await alice.contents(other) == []


async def test_an_id_of_somebody_else_is_a_conflict_that_says_no_more(
    app: App, alice: Person
) -> None:
    await alice.create(id=ID, title="same")
    await alice.say(ID, "same", id=MESSAGE_ID)
    before = await alice.get(ID)
    bob = await person(app, "bob")
    his = await bob.create()

    with pytest.raises(AppError) as conversation:
        await bob.create(id=ID, title="same")
    with pytest.raises(AppError) as message:
        await bob.say(his, "same", id=MESSAGE_ID)

    assert conversation.value.data == message.value.data == CONFLICT
    assert await alice.get(ID) == before


@pytest.mark.parametrize(
    "bad",
    [
        "9b2e2f4e-2c38-4b6e-8f6b-0c8e4f6a1d2e",  # version 4
        "01a204c0-0907-7001-07ac-1f670f46aefc",  # another variant
        "00000000-0000-0000-0000-000000000000",
    ],
)
async def test_an_id_that_is_no_uuid7_is_refused(alice: Person, bad: str) -> None:
    with pytest.raises(AppError) as refused:
        await alice.create(id=bad)

    assert refused.value.data == "id must be a UUIDv7"


@pytest.mark.parametrize("bad", ["", "1", ID.upper(), f"{ID} ", None])
async def test_an_id_that_is_no_uuid_is_no_argument(alice: Person, bad: str | None) -> None:
    with pytest.raises(ArgumentsInvalid, match=r"\.id"):
        await alice.create(id=bad)


async def test_equal_requests_at_once_make_one_row(alice: Person) -> None:
    await asyncio.gather(*[alice.create(id=ID) for _ in range(5)])
    await asyncio.gather(*[alice.say(ID, "hi", id=MESSAGE_ID) for _ in range(5)])

    assert await alice.contents(ID) == ["hi"]


async def test_different_requests_at_once_on_two_nodes_make_one_row_and_one_conflict(
    app: App, alice: Person, dsn: str
) -> None:
    async with serving(dsn, "parley.chat") as other:
        there = Person(other, alice.identity)

        answers = await asyncio.gather(
            alice.create(id=ID, title="here"),
            there.create(id=ID, title="there"),
            return_exceptions=True,
        )

    created = [answer for answer in answers if isinstance(answer, str)]
    refused = [answer.data for answer in answers if isinstance(answer, AppError)]
    assert (created, refused) == ([ID], [CONFLICT])
    assert len(await alice.titles()) == 1
