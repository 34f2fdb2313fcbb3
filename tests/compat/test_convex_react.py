"""Hooks of `convex/react` that SEED.md's app does not use: pages, and optimistic updates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.compat.conftest import REACT_VERSIONS
from tests.compat.driver import Driver
from tests.support.client import SyncClient, open_client
from tests.support.proxy import running_proxy
from tests.support.server import Server


@pytest.fixture(params=REACT_VERSIONS)
def convex(request: pytest.FixtureRequest) -> str:
    """Name of the client that `convex/react` stands for; ours among them."""
    name: str = request.param
    return name


@pytest.fixture
async def other(server: Server) -> AsyncIterator[SyncClient]:
    """Another client that writes."""
    async with open_client(server.url) as client:
        yield client


async def append(client: SyncClient, topic: str, *positions: float) -> None:
    """Add entries that say their position."""
    for position in positions:
        entry = {"topic": topic, "position": position, "body": f"{position:g}"}
        await client.mutate("probe:append", entry)


def shows(*positions: float) -> Callable[[dict[str, Any]], bool]:
    """Return a condition on what a page shows."""
    return lambda seen: seen["bodies"] == [f"{position:g}" for position in positions]


@pytest.fixture
def globals_(convex: str, request: pytest.FixtureRequest, server: Server) -> dict[str, str]:
    """What the page finds on `window`: names of its own for each test."""
    name = request.node.name
    return {"NEXT_PUBLIC_CONVEX_URL": server.url, "counter": name, "topic": name}


@pytest.fixture
def bundle(bundles: Path, convex: str) -> str:
    """The page."""
    return str(bundles / f"probe-{convex}.js")


async def test_optimistic_update_never_flickers(
    pages: Driver, bundle: str, globals_: dict[str, str], other: SyncClient
) -> None:
    await pages.call("open", "page", bundle, globals_)
    await pages.until("page", lambda seen: seen["count"] == "0")

    for _ in range(10):
        await pages.call("call", "page", "add", 1)
    sent = [pages.begin("call", "page", "add", 1) for _ in range(10)]
    await other.mutate("probe:add", {"name": globals_["counter"], "amount": 100})
    for each in sent:
        await each
    await pages.until("page", lambda seen: seen["count"] == "120")

    counts = [
        count for count in (await pages.call("rendered", "page"))["counts"] if count is not None
    ]
    assert counts == sorted(counts)
    assert counts[-1] == 120


async def test_pages_stay_gapless_while_entries_come_and_go(
    pages: Driver, bundle: str, globals_: dict[str, str], other: SyncClient
) -> None:
    topic = globals_["topic"]
    await append(other, topic, 10, 20, 30, 40, 50, 60, 70)
    await pages.call("open", "page", bundle, globals_)
    await pages.until("page", shows(10, 20, 30))
    await pages.call("call", "page", "loadMore", 2)
    await pages.until("page", shows(10, 20, 30, 40, 50))

    # Into the first page, its border, the second page; then behind what is shown.
    await append(other, topic, 15, 30.5, 45)
    await pages.until("page", shows(10, 15, 20, 30, 30.5, 40, 45, 50))
    await append(other, topic, 65)
    await other.mutate("probe:remove", {"topic": topic, "body": "30"})
    await pages.until("page", shows(10, 15, 20, 30.5, 40, 45, 50))
    await pages.call("call", "page", "loadMore", 10)
    everything = shows(10, 15, 20, 30.5, 40, 45, 50, 60, 65, 70)
    await pages.until("page", lambda seen: everything(seen) and seen["status"] == "Exhausted")
    await append(other, topic, 80)

    await pages.until("page", shows(10, 15, 20, 30.5, 40, 45, 50, 60, 65, 70, 80))
    rendered = (await pages.call("rendered", "page"))["pages"]
    orders = [[float(body) for body in each["bodies"]] for each in rendered]
    assert all(order == sorted(set(order)) for order in orders)


async def test_page_that_has_grown_is_split(
    pages: Driver, bundle: str, globals_: dict[str, str], other: SyncClient
) -> None:
    topic = globals_["topic"]
    await append(other, topic, 1, 2, 3, 4)
    await pages.call("open", "page", bundle, globals_)
    await pages.until("page", shows(1, 2, 3))

    # Twice as long as a first page, and one more: the hook asks for its halves instead.
    await append(other, topic, 1.1, 1.2, 1.3, 1.4, 1.5)
    await pages.until("page", shows(1, 1.1, 1.2, 1.3, 1.4, 1.5, 2, 3))
    await append(other, topic, 1.05, 2.5)

    await pages.until("page", shows(1, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 2, 2.5, 3))
    rendered = (await pages.call("rendered", "page"))["pages"]
    lengths = [len(each["bodies"]) for each in rendered]
    assert lengths == sorted(lengths)
    asked = [
        change["args"][0]["paginationOpts"]
        for frame in await pages.call("sent", "page")
        for change in frame.get("modifications", [])
        if change["type"] == "Add" and "paginationOpts" in change["args"][0]
    ]
    halves = [options for options in asked if options.get("endCursor")]
    assert len(halves) == 2
    assert halves[0]["endCursor"] == halves[1]["cursor"]


async def test_borders_of_pages_survive_a_reconnect(
    pages: Driver, bundle: str, globals_: dict[str, str], other: SyncClient, server: Server
) -> None:
    topic = globals_["topic"]
    await append(other, topic, 10, 20, 30, 40, 50, 60)
    async with running_proxy(server.port) as proxy:
        globals_["NEXT_PUBLIC_CONVEX_URL"] = proxy.url
        await pages.call("open", "page", bundle, globals_)
        await pages.until("page", shows(10, 20, 30))
        await pages.call("call", "page", "loadMore", 2)
        await pages.until("page", shows(10, 20, 30, 40, 50))

        proxy.cut()
        await append(other, topic, 5, 15, 35)

        await pages.until("page", shows(5, 10, 15, 20, 30, 35, 40, 50))
        await pages.call("close", "page")


async def test_pages_start_again_when_their_cursors_are_not_valid_any_more(
    pages: Driver, bundle: str, globals_: dict[str, str], own_server: Server, probe_dsn: str
) -> None:
    topic = globals_["topic"]
    globals_["NEXT_PUBLIC_CONVEX_URL"] = own_server.url
    async with open_client(own_server.url) as client:
        await append(client, topic, 10, 20, 30, 40, 50)
    await pages.call("open", "page", bundle, globals_)
    await pages.until("page", shows(10, 20, 30))
    await pages.call("call", "page", "loadMore", 1)
    await pages.until("page", shows(10, 20, 30, 40))

    own_server.stop()
    database = await asyncpg.connect(probe_dsn)
    await database.execute("update parley.meta set cursor_secret = 'another'")
    await database.execute("delete from entries where body = '10'")
    await database.close()
    own_server.start()

    await pages.until("page", shows(20, 30, 40))
