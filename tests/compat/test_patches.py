"""The browser client takes patches of a real server, and shows what a fresh whole result says."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.compat.driver import Driver, running_driver
from tests.support.client import open_client
from tests.support.server import Server, token

MESSAGES = 300


@pytest.fixture
async def devices(node: str) -> AsyncIterator[Driver]:
    """A Node.js process of devices; commands in `js/patched.mjs`."""
    script = Path(__file__).with_name("js") / "patched.mjs"
    async with running_driver(node, str(script)) as driver:
        yield driver


async def test_a_device_shows_the_whole_of_a_conversation_of_which_it_gets_only_what_changes(
    devices: Driver, server: Server
) -> None:
    bearer = token(str(uuid.uuid4()))
    async with open_client(server.url) as other:
        await other.authenticate(bearer)
        conversation = await other.mutate("conversations:create", {})
        args = {"conversationId": conversation}
        for n in range(MESSAGES):
            text = {"role": "user", "content": f"{n}: {'words ' * 10}"}
            await other.mutate("conversations:addMessage", {**args, **text})
        await devices.call("open", "phone", server.url, bearer)
        await devices.call("watch", "phone", "conversations:get", args)
        first = await devices.until(
            "phone", lambda seen: len(seen["shown"]["messages"]) == MESSAGES
        )
        assert first["characters"] > MESSAGES * 200

        answer = {"role": "assistant", "content": "", **args}
        message_id = await other.mutate("conversations:addMessage", answer)
        for word in ["Grüße", " 😀", '\n"']:
            await other.mutate("messages:appendText", {"messageId": message_id, "text": word})
        removed = first["shown"]["messages"][7]["_id"]
        await other.mutate("messages:remove", {"messageId": removed})
        await other.mutate("conversations:update", {**args, "title": "Another"})
        result = await other.subscribe("conversations:get", args)

        whole = other.results[result]
        later = await devices.until("phone", lambda seen: seen["shown"] == whole)
        assert first["kinds"] == ["QueryUpdated"]
        assert set(later["kinds"][1:]) == {"QueryPatched"}
        assert later["characters"] - first["characters"] < 6000
        assert not later["wasChanged"]
        assert whole["messages"][-1]["content"] == 'Grüße 😀\n"'


async def test_after_a_lost_connection_a_device_gets_all_of_it_once_and_patches_again(
    devices: Driver, server: Server
) -> None:
    bearer = token(str(uuid.uuid4()))
    async with open_client(server.url) as other:
        await other.authenticate(bearer)
        args = {"conversationId": await other.mutate("conversations:create", {})}
        message = {"role": "user", "content": "words " * 200, **args}
        await other.mutate("conversations:addMessage", message)
        await devices.call("open", "phone", server.url, bearer)
        await devices.call("watch", "phone", "conversations:get", args)
        await devices.until("phone", lambda seen: len(seen["shown"]["messages"]) == 1)

        await devices.call("drop", "phone")
        await other.mutate("conversations:addMessage", {**message, "content": "meanwhile"})
        await devices.until("phone", lambda seen: len(seen["shown"]["messages"]) == 2)
        await other.mutate("conversations:addMessage", {**message, "content": "later"})
        later = await devices.until("phone", lambda seen: len(seen["shown"]["messages"]) == 3)

        assert later["kinds"].count("QueryUpdated") == 2
        assert later["kinds"][-1] == "QueryPatched"
        result = await other.subscribe("conversations:get", args)
        assert later["shown"] == other.results[result]
