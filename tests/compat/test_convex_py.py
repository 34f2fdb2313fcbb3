"""PyPI's `convex`, a wrapper of the Rust client: what Rust, Swift and Kotlin see, too."""

from __future__ import annotations

import pytest

from tests.compat.driver import CallFailed, Driver
from tests.support.client import open_client
from tests.support.proxy import running_proxy
from tests.support.server import Server, token


async def test_client_queries_writes_and_sees_its_own_writes(
    python_client: Driver, server: Server
) -> None:
    await python_client.call("open", "c", server.url)

    assert await python_client.call("call", "c", "query", "probe:count", {"name": "py"}) == 0
    assert await python_client.call("call", "c", "mutation", "probe:add", {"name": "py"}) == 1
    assert await python_client.call("call", "c", "query", "probe:count", {"name": "py"}) == 1
    counter = {"name": "py", "waitS": 0}
    assert await python_client.call("call", "c", "action", "probe:slowAdd", counter) == [1, 2]


async def test_subscription_yields_each_value(python_client: Driver, server: Server) -> None:
    await python_client.call("open", "c", server.url)
    await python_client.call("subscribe", "c", "s", "probe:count", {"name": "py-subscription"})
    shown = [await python_client.call("next", "s")]

    for _ in range(3):
        await python_client.call("call", "c", "mutation", "probe:add", {"name": "py-subscription"})
        shown.append(await python_client.call("next", "s"))

    assert shown == [0, 1, 2, 3]


async def test_client_is_who_its_token_says(python_client: Driver, server: Server) -> None:
    await python_client.call("open", "c", server.url)
    assert await python_client.call("call", "c", "query", "probe:who", {}) is None

    await python_client.call("setAuth", "c", token("py-user"))
    assert await python_client.call("call", "c", "query", "probe:who", {}) == "py-user"
    created = await python_client.call(
        "call", "c", "mutation", "conversations:create", {"title": "From Python"}
    )
    listed = await python_client.call("call", "c", "query", "conversations:list", {})
    assert [(each["_id"], each["title"]) for each in listed] == [(created, "From Python")]

    await python_client.call("setAuth", "c", None)
    assert await python_client.call("call", "c", "query", "conversations:list", {}) == []


async def test_whole_numbers_sent_as_floats_are_whole(
    python_client: Driver, server: Server
) -> None:
    await python_client.call("open", "c", server.url)
    for n in range(5):
        entry = {"topic": "py-pages", "position": float(n), "body": f"{n}"}
        await python_client.call("call", "c", "mutation", "probe:append", entry)

    options = {"numItems": 3.0, "cursor": None}
    page = await python_client.call(
        "call", "c", "query", "probe:page", {"topic": "py-pages", "paginationOpts": options}
    )
    rest = await python_client.call(
        "call",
        "c",
        "query",
        "probe:page",
        {"topic": "py-pages", "paginationOpts": {**options, "cursor": page["continueCursor"]}},
    )

    assert [entry["body"] for entry in page["page"]] == ["0", "1", "2"]
    assert [entry["body"] for entry in rest["page"]] == ["3", "4"]
    assert (page["isDone"], rest["isDone"]) == (False, True)


async def test_values_come_back_as_they_went(python_client: Driver, server: Server) -> None:
    await python_client.call("open", "c", server.url)
    values = [
        {"$integer": "/////////38="},
        {"$bytes": "AP8Q"},
        {"$float": "AAAAAAAAAIA="},
        {"nested": [None, True, "ü", 1.5]},
    ]

    echoed = await python_client.call("call", "c", "query", "probe:echo", {"value": values})

    assert echoed == values


async def test_result_of_many_megabytes_arrives_in_one_frame(
    python_client: Driver, server: Server
) -> None:
    """This client knows no chunks."""
    await python_client.call("open", "c", server.url)
    body = "€" * 200_000
    for n in range(10):
        entry = {"topic": "py-big", "position": n, "body": body}
        await python_client.call("call", "c", "mutation", "probe:append", entry)

    arrived = await python_client.call("call", "c", "query", "probe:bodies", {"topic": "py-big"})

    assert arrived == [body] * 10


async def test_app_error_carries_its_data(python_client: Driver, server: Server) -> None:
    await python_client.call("open", "c", server.url)
    data = {"code": "Taken"}

    with pytest.raises(CallFailed) as failed:
        await python_client.call("call", "c", "mutation", "probe:refuse", {"data": data})
    assert failed.value.data == data
    with pytest.raises(CallFailed, match="ArgumentValidationError"):
        await python_client.call("call", "c", "query", "probe:typed", {"text": 1})


async def test_subscription_goes_on_after_the_connection_was_cut(
    python_client: Driver, server: Server
) -> None:
    """After a reconnect this client writes paths as `probe.js:count`."""
    async with running_proxy(server.port) as proxy:
        await python_client.call("open", "c", proxy.url)
        await python_client.call("subscribe", "c", "s", "probe:count", {"name": "py-cut"})
        assert await python_client.call("next", "s") == 0

        proxy.cut()
        async with open_client(server.url) as other:
            await other.mutate("probe:add", {"name": "py-cut"})

        # The reconnect may still have found the old value.
        shown = await python_client.call("next", "s")
        assert (shown or await python_client.call("next", "s")) == 1
        assert (
            await python_client.call("call", "c", "mutation", "probe:add", {"name": "py-cut"}) == 2
        )
        assert await python_client.call("next", "s") == 2


async def test_http_client_queries_and_writes_as_its_user(
    python_client: Driver, server: Server
) -> None:
    mine = token("py-http")

    await python_client.call(
        "http", server.url, mine, "mutation", "conversations:create", {"title": "Over HTTP"}
    )

    listed = await python_client.call("http", server.url, mine, "query", "conversations:list", {})
    assert [each["title"] for each in listed] == ["Over HTTP"]
    with pytest.raises(CallFailed) as failed:
        await python_client.call(
            "http", server.url, mine, "mutation", "probe:refuse", {"data": "no"}
        )
    assert failed.value.data == "no"
    with pytest.raises(CallFailed, match="Could not find public function"):
        await python_client.call("http", server.url, mine, "query", "probe:missing", {})
    with pytest.raises(CallFailed, match=r"401 .*: "):
        await python_client.call("http", server.url, f"{mine}x", "query", "probe:who", {})
