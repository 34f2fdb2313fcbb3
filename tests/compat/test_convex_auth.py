"""How npm `convex` signs in, stays signed in, and out, against our refusals and deadlines."""

from __future__ import annotations

import time

import pytest

from parley.auth.claims import LEEWAY_S
from tests.compat.driver import CallFailed, Driver
from tests.support.server import Server, token

WHO: tuple[str, dict[str, str]] = ("probe:who", {})


@pytest.fixture
async def client(clients: Driver, server: Server) -> Driver:
    """The process of clients, with a ConvexClient `c` that watches who it is."""
    await clients.call("open", "c", server.url)
    await clients.call("subscribe", "c", "who", *WHO)
    return clients


def short_lived(subject: str, lifetime_s: float) -> str:
    """Return a token that lives so long, but tells the client to refresh it much later."""
    expires_at = int(time.time() + lifetime_s - LEEWAY_S)
    return token(subject, exp=expires_at, iat=expires_at - 3600)


async def test_second_token_is_fetched_and_sent_after_the_first(client: Driver) -> None:
    await client.call("setAuth", "c", [token("anna"), token("anna", lifetime_s=3000)])

    await client.until("c.auth", bool)
    await client.until("who", lambda update: update["value"] == "anna")

    await client.until("c.fetchToken", bool)
    assert client.events["c.fetchToken"] == [False, True]
    assert await client.call("query", "c", *WHO) == "anna"
    assert (await client.call("connectionState", "c"))["connectionCount"] == 1


async def test_bad_token_signs_out_and_nothing_else(client: Driver) -> None:
    await client.until("who", lambda update: update["value"] is None)

    await client.call("setAuth", "c", [f"{token('forger')}x"])

    await client.until("c.auth", lambda is_authenticated: not is_authenticated)
    assert await client.call("query", "c", "probe:echo", {"value": 1}) == 1
    assert all(update["value"] is None for update in client.events["who"])


async def test_client_recovers_when_a_later_token_is_good(client: Driver) -> None:
    await client.call("setAuth", "c", [f"{token('late')}x", token("late")])

    await client.until("c.auth", bool)
    await client.until("who", lambda update: update["value"] == "late")


async def test_signing_out_empties_what_was_the_users(client: Driver, convex: str) -> None:
    await client.call("setAuth", "c", [token(f"leaver-{convex}")])
    await client.until("c.auth", bool)
    await client.call("subscribe", "c", "list", "conversations:list", {})
    await client.call("mutation", "c", "conversations:create", {"title": "Mine"})
    await client.until("list", lambda update: len(update["value"]) == 1)

    await client.call("clearAuth", "c")

    await client.until("list", lambda update: update["value"] == [])
    await client.until("who", lambda update: update["value"] is None)
    with pytest.raises(CallFailed, match="Not authenticated"):
        await client.call("mutation", "c", "conversations:create", {})


async def test_another_user_on_the_same_connection_sees_only_theirs(
    client: Driver, convex: str
) -> None:
    await client.call("subscribe", "c", "list", "conversations:list", {})
    await client.call("setAuth", "c", [token(f"first-{convex}")])
    await client.until("c.auth", bool)
    await client.call("mutation", "c", "conversations:create", {"title": "Of the first"})
    await client.until("list", lambda update: len(update["value"]) == 1)

    await client.call("setAuth", "c", [token(f"second-{convex}")])

    await client.until("who", lambda update: update["value"] == f"second-{convex}")
    await client.until("list", lambda update: update["value"] == [])
    await client.call("mutation", "c", "conversations:create", {"title": "Of the second"})
    listed = await client.until("list", lambda update: len(update["value"]) == 1)
    assert listed["value"][0]["title"] == "Of the second"


async def test_token_that_expires_on_an_idle_connection_is_fetched_anew(client: Driver) -> None:
    brief = short_lived("brief", 3)
    # The client asks for a second token at once; it is the same, so only the third is fresh.
    await client.call("setAuth", "c", [brief, brief, token("brief")])
    await client.until("who", lambda update: update["value"] == "brief")
    await client.until("c.fetchToken", bool)

    await client.until("c.fetchToken", lambda _: len(client.events["c.fetchToken"]) == 3)

    assert client.events["c.fetchToken"] == [False, True, True]
    assert await client.call("query", "c", *WHO) == "brief"
    assert client.events["c.auth"] == [True]
