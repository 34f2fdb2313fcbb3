"""npm `convex` over a network that fails, servers that restart, and several nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.compat.driver import Driver
from tests.support.client import open_client
from tests.support.proxy import Proxy, running_proxy
from tests.support.server import Server, running_server, token


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    """A network between clients and the server that the test can break."""
    async with running_proxy(server.port) as running:
        yield running


async def committed(server: Server, topic: str, *bodies: str) -> None:
    """Wait until the server has committed these entries, whatever their sender knows."""
    async with open_client(server.url) as witness:
        watched = await witness.subscribe("probe:bodies", {"topic": topic})
        await witness.until(lambda: witness.results[watched] == list(bodies))


async def test_mutations_in_flight_when_the_network_breaks_run_once_and_in_order(
    clients: Driver, server: Server, proxy: Proxy, convex: str
) -> None:
    topic = f"cuts-{convex}"
    await clients.call("open", "c", proxy.url)
    await clients.call("subscribe", "c", "bodies", "probe:bodies", {"topic": topic})

    for burst in range(3):
        sent: list[asyncio.Future[Any]] = []
        for n in range(burst * 25, burst * 25 + 25):
            entry = {"topic": topic, "position": 0, "body": f"{n}"}
            sent.append(clients.begin("mutation", "c", "probe:append", entry))
        # Somewhere in the middle: some are committed, some on their way, some not begun.
        await sent[5 + burst]
        proxy.cut()
        for each in sent:
            await each

    expected = [f"{n}" for n in range(75)]
    await clients.until("bodies", lambda update: update["value"] == expected)
    await committed(server, topic, *expected)


async def test_mutation_whose_answer_is_lost_is_not_run_again(
    clients: Driver, server: Server, proxy: Proxy, convex: str
) -> None:
    topic = f"lost-{convex}"
    await clients.call("open", "c", proxy.url)
    await clients.call("subscribe", "c", "bodies", "probe:bodies", {"topic": topic})
    await clients.until("bodies", lambda update: update["value"] == [])

    proxy.drops_replies = True
    entry = {"topic": topic, "position": 0}
    first = clients.begin("mutation", "c", "probe:append", {**entry, "body": "first"})
    second = clients.begin("mutation", "c", "probe:append", {**entry, "body": "second"})
    await committed(server, topic, "first", "second")
    assert not first.done()
    proxy.drops_replies = False
    proxy.cut()

    first_id, second_id = (await first)["result"], (await second)["result"]
    assert first_id != second_id
    await clients.until("bodies", lambda update: update["value"] == ["first", "second"])
    await committed(server, topic, "first", "second")


async def test_subscriptions_catch_up_after_an_outage(
    clients: Driver, server: Server, proxy: Proxy, convex: str
) -> None:
    name = {"name": f"outage-{convex}"}
    await clients.call("open", "c", proxy.url)
    await clients.call("subscribe", "c", "count", "probe:count", name)
    await clients.until("count", lambda update: update["value"] == 0)

    proxy.is_open = False
    proxy.cut()
    async with open_client(server.url) as other:
        await other.mutate("probe:add", {**name, "amount": 5})
    waiting = clients.begin("mutation", "c", "probe:add", {**name, "amount": 1})
    async with asyncio.timeout(10):
        while (await clients.call("connectionState", "c"))["isWebSocketConnected"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # it is another process, and hears of the cut later
    assert not waiting.done()
    proxy.is_open = True

    assert (await waiting)["result"] == 6
    await clients.until("count", lambda update: update["value"] == 6)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_clients_come_back_when_the_server_does(
    clients: Driver, own_server: Server, end: str
) -> None:
    await clients.call("open", "c", own_server.url)
    await clients.call("setAuth", "c", [token("patient")])
    await clients.until("c.auth", bool)
    await clients.call("subscribe", "c", "list", "conversations:list", {})
    await clients.call("mutation", "c", "conversations:create", {"title": "Before"})
    await clients.until("list", lambda update: len(update["value"]) == 1)

    await asyncio.to_thread(getattr(own_server, end))
    waiting = clients.begin("mutation", "c", "conversations:create", {"title": "After"})
    await asyncio.to_thread(own_server.start)

    await waiting
    listed = await clients.until("list", lambda update: len(update["value"]) == 2)
    assert [each["title"] for each in listed["value"]] == ["After", "Before"]
    assert clients.events["c.auth"] == [True]


async def test_write_on_one_node_is_seen_on_another(
    clients: Driver, server: Server, shared_dsn: str, convex: str
) -> None:
    name = {"name": f"nodes-{convex}"}
    with running_server(shared_dsn) as other_node:
        await clients.call("open", "a", server.url)
        await clients.call("open", "b", other_node.url)
        await clients.call("subscribe", "b", "seen", "probe:count", name)
        await clients.until("seen", lambda update: update["value"] == 0)

        for _ in range(20):
            await clients.call("mutation", "a", "probe:add", name)
            # A new query on the other node reads what this one has acknowledged.
            fresh = await clients.call("http", other_node.url, None, "query", "probe:count", name)
            assert fresh == (
                await clients.call("http", server.url, None, "query", "probe:count", name)
            )
        at_once = [
            clients.begin("mutation", node, "probe:add", name) for node in "ab" for _ in range(20)
        ]
        for each in at_once:
            await each

        await clients.until("seen", lambda update: update["value"] == 60)
        shown = [update["value"] for update in clients.events["seen"]]
        assert shown == sorted(shown)
        for name_ in "ab":
            await clients.call("close", name_)


async def test_session_that_moves_to_another_node_repeats_nothing(
    clients: Driver, server: Server, shared_dsn: str, convex: str
) -> None:
    topic = f"moved-{convex}"
    with running_server(shared_dsn) as other_node:
        async with running_proxy(server.port) as proxy:
            await clients.call("open", "c", proxy.url)
            await clients.call("subscribe", "c", "bodies", "probe:bodies", {"topic": topic})
            await clients.until("bodies", lambda update: update["value"] == [])
            proxy.drops_replies = True
            entry = {"topic": topic, "position": 0, "body": "once"}
            waiting = clients.begin("mutation", "c", "probe:append", entry)
            await committed(server, topic, "once")

            proxy.target_port = other_node.port
            proxy.drops_replies = False
            proxy.cut()

            await waiting
            await clients.until("bodies", lambda update: update["value"] == ["once"])
            await clients.call("close", "c")


async def test_client_stays_when_the_database_goes_away_for_a_moment(
    clients: Driver, own_server: Server, probe_dsn: str
) -> None:
    await clients.call("open", "c", own_server.url)
    await clients.call("subscribe", "c", "count", "probe:count", {"name": "gone"})
    await clients.until("count", lambda update: update["value"] == 0)

    database = await asyncpg.connect(probe_dsn)
    await database.execute(
        """select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and pid <> pg_backend_pid()"""
    )
    added = await clients.call("mutation", "c", "probe:add", {"name": "gone"})

    assert added["result"] == 1
    await clients.until("count", lambda update: update["value"] == 1)
    await database.execute("update counters set value = 5 where name = 'gone'")
    await clients.until("count", lambda update: update["value"] == 5)
    await database.close()
