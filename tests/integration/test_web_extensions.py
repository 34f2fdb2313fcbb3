"""What only clients get that ask for it with `?parley=1`."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tests.support.client import NPM_PATH, open_client
from tests.support.webapp import WebServer, serving_web

ASKING = f"{NPM_PATH}?parley=1"


async def transitions(server: WebServer, path: str) -> list[dict[str, Any]]:
    """Return the Transitions of a connection that subscribes twice."""
    async with open_client(server.url, path=path, clientTs=0) as client:
        await client.subscribe("probe:echo", {"value": 1})
        await client.subscribe("probe:echo", {"value": 2})
        return [frame for frame in client.frames if frame["type"] == "Transition"]


async def told(server: WebServer) -> str:
    """Return the incarnation that a server tells."""
    first, *_ = await transitions(server, ASKING)
    incarnation: str = first["incarnation"]
    return incarnation


@pytest.mark.parametrize(
    ("path", "is_told"),
    [
        (ASKING, True),
        ("/api/sync?x=1&parley=1", True),
        (NPM_PATH, False),
        ("/api/sync", False),
        (f"{NPM_PATH}?parley=0&incarnation=1", False),
    ],
)
async def test_only_who_asks_is_told_the_incarnation_and_only_once(
    web: WebServer, path: str, is_told: bool
) -> None:
    first, *later = await transitions(web, path)

    assert ("incarnation" in first) is is_told
    assert later
    assert all("incarnation" not in transition for transition in later)


async def test_the_incarnation_is_short_and_says_nothing_of_the_server(web: WebServer) -> None:
    database = await asyncpg.connect(web.services.settings.database_url)
    secrets = await database.fetchrow(
        "select (select system_identifier from pg_control_system())::text, epoch::text, "
        "current_database()::text from parley.meta"
    )
    await database.close()

    incarnation = await told(web)

    assert 8 <= len(incarnation) <= 64
    assert not any(secret in incarnation for secret in secrets)


async def test_all_nodes_tell_the_same_incarnation(web: WebServer, web_dsn: str) -> None:
    with serving_web(web_dsn) as other:
        assert await told(other) == await told(web)


async def test_another_life_of_the_database_has_another_incarnation(
    web: WebServer, web_dsn: str
) -> None:
    before = await told(web)
    database = await asyncpg.connect(web_dsn)
    async with open_client(web.url, path=ASKING) as client:
        await database.execute("update parley.meta set epoch = gen_random_uuid()")
        await database.execute("notify parley, '1'")
        await client.until_closed()
    await database.close()

    after = await told(web)

    assert after != before
    with serving_web(web_dsn) as other:
        assert await told(other) == after
