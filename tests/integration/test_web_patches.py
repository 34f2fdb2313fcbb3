"""What a change costs on the wire, for clients that take patches and for those that do not."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.support.client import NPM_PATH, SyncClient, open_client
from tests.support.server import token
from tests.support.webapp import WebServer

MESSAGES = 2000
PATCHING = f"{NPM_PATH}?parley=1"


@asynccontextmanager
async def signed_in(web: WebServer, bearer: str, path: str = PATCHING) -> AsyncIterator[SyncClient]:
    async with open_client(web.url, path=path) as client:
        await client.authenticate(bearer)
        yield client


async def conversation(web: WebServer, bearer: str) -> str:
    """Return a conversation of 2,000 messages."""
    async with signed_in(web, bearer) as client:
        found: str = await client.mutate("conversations:create", {"title": "long"})
    database = await asyncpg.connect(web.services.settings.database_url)
    await database.execute(
        "insert into messages (conversation_id, role, content, timestamp)"
        " select $1::text::uuid, 'user', 'message ' || n || ' with some words in it',"
        " now() - (3000 - n) * interval '1 s' from generate_series(1, $2::int) n",
        found,
        MESSAGES,
    )
    await database.close()
    return found


def kinds(client: SyncClient, start: int = 0) -> list[str]:
    """Return how results came, in order."""
    return [
        change["type"]
        for frame in client.frames[start:]
        if frame["type"] == "Transition"
        for change in frame["modifications"]
    ]


async def fresh(web: WebServer, bearer: str, conversation_id: str) -> Any:
    """Return what somebody who comes anew is given."""
    async with signed_in(web, bearer, NPM_PATH) as client:
        query_id = await client.subscribe("conversations:get", {"conversationId": conversation_id})
        return client.results[query_id]


async def test_a_message_in_a_long_conversation_costs_a_message_and_a_word_costs_a_word(
    web: WebServer,
) -> None:
    bearer = token(str(uuid.uuid4()))
    args = {"conversationId": await conversation(web, bearer)}
    async with signed_in(web, bearer) as client:
        query_id = await client.subscribe("conversations:get", args)
        assert len(client.results[query_id]["messages"]) == MESSAGES
        whole_bytes, start = client.received_bytes, len(client.frames)
        assert whole_bytes > 300_000

        message = {**args, "role": "assistant", "content": "Good"}
        message_id = await client.mutate("conversations:addMessage", message)
        message_bytes = client.received_bytes - whole_bytes
        for word in [" morning", ", dear", " user 😀"]:
            await client.mutate("messages:appendText", {"messageId": message_id, "text": word})
        word_bytes = (client.received_bytes - whole_bytes - message_bytes) / 3

        # Both with their answer, and the Transition's versions.
        assert message_bytes < 1500
        assert word_bytes < 700
        assert set(kinds(client, start)) == {"QueryPatched"}
        last = client.results[query_id]["messages"][-1]
        assert last["content"] == "Good morning, dear user 😀"
        assert client.results[query_id] == await fresh(web, bearer, args["conversationId"])


async def test_who_did_not_ask_gets_whole_results_beside_somebody_who_did(web: WebServer) -> None:
    bearer = token(str(uuid.uuid4()))
    args = {"conversationId": await conversation(web, bearer)}
    async with signed_in(web, bearer) as ours, signed_in(web, bearer, NPM_PATH) as official:
        ids = [await client.subscribe("conversations:get", args) for client in (ours, official)]
        starts = [len(client.frames) for client in (ours, official)]

        message = {**args, "role": "user", "content": "Good"}
        message_id = await official.mutate("conversations:addMessage", message)
        await ours.mutate("messages:remove", {"messageId": message_id})
        await ours.mutate("conversations:addMessage", {**message, "content": "Better"})
        newest = await fresh(web, bearer, args["conversationId"])
        for client, query_id in zip((ours, official), ids, strict=True):
            await client.until(lambda c=client, q=query_id: c.results[q] == newest)

        assert set(kinds(ours, starts[0])) == {"QueryPatched"}
        assert set(kinds(official, starts[1])) == {"QueryUpdated"}


async def test_a_page_is_patched_too(web: WebServer) -> None:
    bearer = token(str(uuid.uuid4()))
    conversation_id = await conversation(web, bearer)
    args = {
        "conversationId": conversation_id,
        "paginationOpts": {"numItems": 50, "cursor": None, "id": 1},
    }
    async with signed_in(web, bearer) as client:
        query_id = await client.subscribe("messages:list", args)
        start = len(client.frames)

        message = {"conversationId": conversation_id, "role": "user", "content": "Good"}
        await client.mutate("conversations:addMessage", message)

        assert kinds(client, start) == ["QueryPatched"]
        assert client.results[query_id]["page"][0]["content"] == "Good"
        assert len(client.results[query_id]["page"]) == 51
