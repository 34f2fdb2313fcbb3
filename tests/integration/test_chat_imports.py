"""Conversations brought along from elsewhere: as they were, once, and never over later edits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from parley import AppError
from parley.chat.imports import MAX_MESSAGES
from parley.clock import uuid7
from parley.errors import ArgumentsInvalid, FunctionFailed
from tests.support.app import App, serving
from tests.support.chat import Person, person

ID = uuid7(1_600_000_000_000, 0xABC << 40)
CONVERSATION = {
    "id": ID,
    "originalId": "conv-1600000000000-x7",
    "title": "Old",
    "isPinned": True,
    "tags": ["b", "a"],
    "model": "m",
    "createdAt": 1_600_000_000_000,
    "updatedAt": 1_600_000_000_500.5,
}


def message(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": uuid7(1_600_000_000_000 + number, number << 40),
        "originalId": f"msg-{number}",
        "role": "user",
        "content": f"{number}",
        "timestamp": 1_600_000_000_000 + number,
        **fields,
    }


@pytest.fixture
async def app(dsn: str) -> AsyncIterator[App]:
    async with serving(dsn, "parley.chat") as app:
        yield app


@pytest.fixture
async def alice(app: App) -> Person:
    return await person(app, "alice")


async def bring(who: Person, *messages: dict[str, Any], **conversation: Any) -> int:
    """Import a conversation and its messages; return how many of these were added."""
    await who.mutation("conversations:importConversation", **{**CONVERSATION, **conversation})
    added: int = await who.mutation(
        "conversations:importMessages", conversationId=ID, messages=list(messages)
    )
    return added


async def test_a_conversation_comes_as_it_was(alice: Person) -> None:
    rich = message(
        1,
        role="assistant",
        citations=[{"title": "T", "url": "u", "snippet": "s"}],
        reasoningText="hm",
        tools=[{"name": "t", "args": {"a": [1, None]}, "result": {"b": 2.5}}],
    )

    assert await bring(alice, message(0), rich) == 2

    found = await alice.get(ID)
    messages = found.pop("messages")
    assert found == {
        **{name: value for name, value in CONVERSATION.items() if name != "id"},
        "_id": ID,
        "_creationTime": found["_creationTime"],
        "userId": found["userId"],
    }
    assert [{**each, "id": each["_id"]} for each in messages] == [
        {**sent, "_id": sent["id"], "conversationId": ID, "_creationTime": got["_creationTime"]}
        for sent, got in zip((message(0), rich), messages, strict=True)
    ]


async def test_optional_fields_may_be_absent(alice: Person) -> None:
    bare = {
        name: CONVERSATION[name] for name in CONVERSATION if name not in ("model", "originalId")
    }
    await alice.mutation("conversations:importConversation", **bare)

    found = await alice.get(ID)

    assert {"model", "originalId"}.isdisjoint(found)


async def test_an_import_that_broke_off_is_done_again_and_adds_what_lacks(alice: Person) -> None:
    assert await bring(alice, message(0), message(1)) == 2

    assert await bring(alice, message(0), message(1), message(2)) == 1

    assert await alice.contents(ID) == ["0", "1", "2"]
    assert await alice.titles() == ["Old"]


async def test_an_import_done_again_never_undoes_later_edits(alice: Person) -> None:
    await bring(alice, message(0))
    await alice.mutation("conversations:update", conversationId=ID, title="New", isPinned=False)
    await alice.mutation("messages:appendText", messageId=message(0)["id"], text=" more")
    before = await alice.get(ID)

    assert await bring(alice, message(0)) == 0

    assert await alice.get(ID) == before


async def test_imports_at_once_from_two_tabs_make_each_row_once(alice: Person) -> None:
    messages = [message(number) for number in range(10)]

    added = await asyncio.gather(*(bring(alice, *messages) for _ in range(4)))

    assert sum(added) == 10
    assert await alice.contents(ID) == [f"{number}" for number in range(10)]


async def test_messages_of_one_time_stay_in_the_order_they_came_in(alice: Person) -> None:
    # Their ids are in no order: they are made from the originals' ids.
    ids = [uuid7(1_600_000_000_000, bits << 40) for bits in (9, 3, 7, 1)]
    messages = [message(0, id=each, content=each) for each in ids]

    await bring(alice, *messages)

    assert await alice.contents(ID) == ids


async def test_what_is_imported_is_found_where_its_time_is(alice: Person) -> None:
    await alice.create(title="newer")
    await bring(alice)

    assert await alice.titles() == ["newer", "Old"]
    await alice.say(ID, "goes on")
    assert await alice.titles() == ["Old", "newer"]


async def test_the_same_message_twice_in_a_call_is_one(alice: Person) -> None:
    assert await bring(alice, message(0), message(0)) == 1


async def test_a_call_takes_so_many_messages_and_no_more(alice: Person) -> None:
    messages = [message(number) for number in range(MAX_MESSAGES + 1)]

    assert await bring(alice, *messages[:-1]) == MAX_MESSAGES
    with pytest.raises(AppError) as refused:
        await bring(alice, *messages)

    assert refused.value.data == "messages: at most 100 a call, these are 101"


async def test_messages_of_another_conversation_are_not_taken_from_it(alice: Person) -> None:
    elsewhere = await alice.create()
    taken = await alice.say(elsewhere, "there", id=message(0)["id"])

    with pytest.raises(AppError) as refused:
        await bring(alice, message(1), message(0))

    assert refused.value.data == "Conflict: this id is taken"
    assert await alice.contents(elsewhere) == ["there"]
    assert (await alice.get(ID))["messages"] == []  # all or none
    assert taken == message(0)["id"]


@pytest.mark.parametrize("bad", ["9b2e2f4e-2c38-4b6e-8f6b-0c8e4f6a1d2e", "conv-1", ""])
async def test_an_id_that_the_client_did_not_make_as_asked_is_refused(
    alice: Person, bad: str
) -> None:
    with pytest.raises((AppError, ArgumentsInvalid)):
        await bring(alice, id=bad)
    await bring(alice)
    with pytest.raises((AppError, ArgumentsInvalid)):
        await bring(alice, message(0, id=bad))

    assert await alice.contents(ID) == []


@pytest.mark.parametrize("field", ["createdAt", "updatedAt"])
@pytest.mark.parametrize("bad", [1e300, -1e300])
async def test_a_time_that_is_none_is_refused_by_name(
    alice: Person, field: str, bad: float
) -> None:
    with pytest.raises(FunctionFailed, match=field):
        await bring(alice, **{field: bad})

    assert await alice.titles() == []
