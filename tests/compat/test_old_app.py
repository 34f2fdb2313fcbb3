"""SEED.md's old store, brought to a real server by the browser client, or kept in step with it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.driver import Driver, running_driver
from tests.support.server import Server, token

JS = Path(__file__).with_name("js")

ARGS = {"$ref": "#/x", "größe": [1, {"deep": None}]}
MESSAGES: list[dict[str, Any]] = [
    {"id": "m1", "role": "user", "content": "Größe?", "timestamp": "2025-01-09T11:45:45.000Z"},
    {
        "id": "m2",
        "role": "assistant",
        "content": "Groß.",
        "timestamp": 1736423145500,
        "citations": [{"title": "T", "url": "u"}],
        "reasoningText": "why",
        "tools": [
            {"name": "search", "args": ARGS, "result": [1.5, None]},
            {"name": "t", "args": {}},
        ],
    },
]


def conversation(number: int, messages: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    return {
        "id": f"conv-{number}",
        "title": f"Conversation {number}",
        "messages": messages,
        "createdAt": f"2025-01-09T11:45:4{number}.000Z",
        "updatedAt": f"2025-01-09T12:00:0{number}.000Z",
        **fields,
    }


def many(count: int) -> list[dict[str, Any]]:
    time = 1736423145000
    return [
        {"id": f"m{n}", "role": "user", "content": f"{n}", "timestamp": time + n}
        for n in range(count)
    ]


@pytest.fixture
async def devices(node: str) -> AsyncIterator[Driver]:
    """A Node.js process of devices; commands in `js/old-app.mjs`."""
    async with running_driver(node, str(JS / "old-app.mjs")) as driver:
        yield driver


@pytest.fixture
def user() -> str:
    """A token of somebody new."""
    return token(str(uuid.uuid4()))


def kept(*conversations: dict[str, Any]) -> dict[str, Any]:
    return {"state": {"conversations": list(conversations)}, "version": 2}


def said(conversations: list[dict[str, Any]]) -> dict[str, list[str]]:
    """What a person sees: titles, and what is said in each."""
    return {
        each["title"]: [message["content"] for message in each["messages"]]
        for each in conversations
    }


def is_whole(found: list[dict[str, Any]]) -> bool:
    """Whether all of conversation 1 came; what is said in it is a mutation after its own."""
    return said(found) == {"Conversation 1": ["Größe?", "Groß."]}


async def test_a_migrated_conversation_has_all_that_it_had(
    devices: Driver, server: Server, user: str
) -> None:
    local = kept(conversation(1, MESSAGES, isPinned=True, tags=["a"], model="gpt-4"))
    await devices.call("open", "laptop", server.url, user, local)

    result = await devices.call("migrate", "laptop", True)

    assert result == {"done": 1, "total": 1, "problems": [], "isRemoved": True}
    assert await devices.call("kept", "laptop") is None
    [listed] = await devices.call("query", "laptop", "conversations:list", {})
    whole = await devices.call(
        "query", "laptop", "conversations:get", {"conversationId": listed["_id"]}
    )
    fields = ["title", "isPinned", "tags", "model", "createdAt", "updatedAt", "originalId"]
    assert [whole[field] for field in fields] == [
        "Conversation 1",
        True,
        ["a"],
        "gpt-4",
        1736423141000,
        1736424001000,
        "conv-1",
    ]
    first, second = whole["messages"]
    assert (first["content"], first["timestamp"]) == ("Größe?", 1736423145000)
    assert (second["citations"], second["reasoningText"]) == (MESSAGES[1]["citations"], "why")
    odd, plain = second["tools"]
    assert (odd["name"], odd["result"], plain) == ("search", [1.5, None], {"name": "t", "args": {}})
    # Keys like these cannot travel as keys.
    assert odd["args"] == '{"$ref":"#/x","größe":[1,{"deep":null}]}'


async def test_a_migration_that_broke_off_is_done_once_by_the_next(
    devices: Driver, server: Server, user: str
) -> None:
    local = kept(*(conversation(number, many(150)) for number in range(1, 4)))
    await devices.call("open", "laptop", server.url, user, local)
    await devices.call("breakOff", "laptop")
    await devices.call("reload", "laptop")
    await devices.call("open", "phone", server.url, user, local)

    for device in ("laptop", "phone", "laptop"):
        result = await devices.call("migrate", device, False)
        assert (result["done"], result["problems"]) == (3, [])

    listed = await devices.call("query", "phone", "conversations:list", {})
    assert [each["title"] for each in listed] == [f"Conversation {n}" for n in (3, 2, 1)]
    for each in listed:
        args = {"conversationId": each["_id"]}
        whole = await devices.call("query", "phone", "conversations:get", args)
        assert [message["content"] for message in whole["messages"]] == [str(n) for n in range(150)]


async def test_old_stores_of_two_devices_are_kept_in_step_both_ways(
    devices: Driver, server: Server, user: str
) -> None:
    await devices.call("open", "laptop", server.url, user, kept(conversation(1, MESSAGES)))
    await devices.call("open", "phone", server.url, user, None)
    for device in ("laptop", "phone"):
        await devices.call("link", device)

    [arrived] = await devices.until("phone", is_whole)
    assert arrived["id"] == "conv-1"
    new = {"id": "m3", "role": "user", "content": "more", "timestamp": "2025-01-09T13:00:00.000Z"}
    renamed = {**arrived, "title": "Renamed", "messages": [*arrived["messages"], new]}
    await devices.call("set", "phone", [conversation(2, many(1)), renamed])

    expected = {"Renamed": ["Größe?", "Groß.", "more"], "Conversation 2": ["0"]}
    seen = await devices.until("laptop", lambda found: said(found) == expected)
    await devices.call("set", "laptop", [each for each in seen if each["title"] == "Renamed"])
    await devices.until("phone", lambda found: list(said(found)) == ["Renamed"])

    listed = await devices.call("query", "laptop", "conversations:list", {})
    assert [each["title"] for each in listed] == ["Renamed"]
    assert devices.events["laptop.problem"] + devices.events["phone.problem"] == []


async def test_what_was_changed_while_the_page_was_closed_is_in_step_after_it_opens(
    devices: Driver, server: Server, user: str
) -> None:
    await devices.call("open", "laptop", server.url, user, kept(conversation(1, MESSAGES)))
    await devices.call("open", "phone", server.url, user, None)
    for device in ("laptop", "phone"):
        await devices.call("link", device)
    [arrived] = await devices.until("phone", is_whole)
    # Persisted, and the page is gone before it was looked at.
    await devices.call("set", "phone", [{**arrived, "title": "Mine"}])
    await devices.call("reload", "phone")
    await devices.call("link", "phone")

    expected = {"Mine": ["Größe?", "Groß."]}
    await devices.until("laptop", lambda found: said(found) == expected)
