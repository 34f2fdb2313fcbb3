"""One session on two sockets at once: a leading tab that was frozen, and the one that took over.

The one that takes over sends everything of the outbox again, in order, whatever the other has sent.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.support.client import FunctionError, SyncClient, open_client
from tests.support.webapp import WebServer, serving_web

names = (f"session-{number}" for number in itertools.count())


async def outbox(
    client: SyncClient, name: str, *request_ids: int, path: str = "probe:add"
) -> list[Any]:
    """Send `add` under each of these numbers, not waiting in between; return their results."""
    calls = [client.mutate(path, {"name": name}, request_id=n) for n in request_ids]
    return await asyncio.gather(*calls)


async def count(client: SyncClient, name: str) -> Any:
    return client.results[await client.subscribe("probe:count", {"name": name})]


@pytest.mark.parametrize("path", ["probe:add", "probe:addSpaced"])
@pytest.mark.parametrize("is_other_node", [False, True])
async def test_two_sockets_of_one_session_at_once_run_each_request_once(
    web: WebServer, web_dsn: str, is_other_node: bool, path: str
) -> None:
    name, session = next(names), str(uuid4())
    with serving_web(web_dsn) as other:
        new_url = (other if is_other_node else web).url
        async with (
            open_client(web.url, session_id=session) as old,
            open_client(new_url, session_id=session) as new,
        ):
            results = await asyncio.gather(
                outbox(old, name, *range(20), path=path), outbox(new, name, *range(25), path=path)
            )

            assert results == [list(range(1, 21)), list(range(1, 26))]
            assert await count(new, name) == 25


async def test_what_a_client_streams_is_committed_together_in_its_order(
    web: WebServer, web_dsn: str
) -> None:
    name = next(names)
    async with open_client(web.url) as client:
        results = await outbox(client, name, *range(60), path="probe:addSpaced")

        assert results == list(range(1, 61))
        assert await count(client, name) == 60
    database = await asyncpg.connect(web_dsn)
    commits = await database.fetchval(
        "select count(*) from parley.log_rows where new->>'name' = $1", name
    )
    await database.close()
    assert commits < 30  # two, where nothing else takes this processor


async def test_what_a_frozen_leader_had_sent_arrives_behind_its_successor(web: WebServer) -> None:
    name, session = next(names), str(uuid4())
    async with (
        open_client(web.url, session_id=session) as old,
        open_client(web.url, session_id=session) as new,
    ):
        assert await outbox(old, name, 0) == [1]
        assert await outbox(new, name, 0, 1, 2, 3) == [1, 2, 3, 4]

        assert await outbox(old, name, 1, 2) == [2, 3]
        assert await count(old, name) == await count(new, name) == 4


async def test_one_that_failed_and_was_passed_does_not_run_when_it_arrives_again(
    web: WebServer,
) -> None:
    name, session = next(names), str(uuid4())
    refused = {"name": name, "amount": "none"}  # fails now; what is sent again might not
    async with (
        open_client(web.url, session_id=session) as old,
        open_client(web.url, session_id=session) as new,
    ):
        with pytest.raises(FunctionError, match="ArgumentValidationError"):
            await new.mutate("probe:add", refused, request_id=0)
        assert await outbox(new, name, 1) == [1]

        with pytest.raises(FunctionError, match="was not run again"):
            await outbox(old, name, 0)
        assert await count(new, name) == 1


async def test_a_successor_goes_on_where_the_frozen_leader_is_cut_off(web: WebServer) -> None:
    name, session = next(names), str(uuid4())
    async with open_client(web.url, session_id=session) as new:
        async with open_client(web.url, session_id=session) as old:
            sent = [asyncio.ensure_future(outbox(old, name, n)) for n in range(10)]
            await old.until(
                lambda: any(frame["type"] == "MutationResponse" for frame in old.frames)
            )
            for each in sent:
                each.cancel()

        assert await outbox(new, name, *range(12)) == list(range(1, 13))
        assert await count(new, name) == 12
