"""npm `convex`, its newest version and SEED.md's 1.31.3: what apps rely on, call by call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.compat.driver import CallFailed, Driver
from tests.support.server import Server, token

NAN = {"$float": "AAAAAAAA+H8="}
MINUS_ZERO = {"$float": "AAAAAAAAAIA="}
INFINITY = {"$float": "AAAAAAAA8H8="}
VALUES = [
    {"$integer": "AQAAAAAAAAA="},
    {"$integer": "AAAAAAAAAIA="},
    {"$bytes": "AP8Q"},
    {"$bytes": ""},
    NAN,
    INFINITY,
    MINUS_ZERO,
    1.5,
    -3,
    2**53,
    "text with ünïcode, \u0000 and 😀",
    [],
    {},
    {"": 1, "a key": [{"deep": [NAN, {"$integer": "/////////38="}, None, True]}]},
]


@pytest.fixture
async def database(shared_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection to the server's database."""
    connection = await asyncpg.connect(shared_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def client(clients: Driver, server: Server) -> Driver:
    """The process of clients, with a signed-out ConvexClient `c` in it."""
    await clients.call("open", "c", server.url)
    return clients


async def test_url_with_a_trailing_slash_connects(clients: Driver, server: Server) -> None:
    await clients.call("open", "c", f"{server.url}/")

    assert await clients.call("query", "c", "probe:echo", {"value": "hi"}) == "hi"
    echoed = await clients.call("http", f"{server.url}/", None, "query", "probe:echo", {"value": 1})
    assert echoed == 1


async def test_subscription_shows_each_change(client: Driver, convex: str) -> None:
    topic = {"topic": f"changes-{convex}"}
    await client.call("subscribe", "c", "bodies", "probe:bodies", topic)
    await client.until("bodies", lambda update: update["value"] == [])

    for position, body in enumerate("abc"):
        await client.call(
            "mutation", "c", "probe:append", {**topic, "position": position, "body": body}
        )
    await client.call("mutation", "c", "probe:remove", {**topic, "body": "b"})

    await client.until("bodies", lambda update: update["value"] == ["a", "c"])
    shown = [update["value"] for update in client.events["bodies"]]
    assert shown == [[], ["a"], ["a", "b"], ["a", "b", "c"], ["a", "c"]]


async def test_mutation_resolves_when_its_client_already_shows_it(
    client: Driver, convex: str
) -> None:
    name = {"name": f"own-writes-{convex}"}
    await client.call("subscribe", "c", "count", "probe:count", name)
    await client.until("count", lambda update: update["value"] == 0)

    results = [
        await client.call("mutation", "c", "probe:add", name, {"seenBy": "count"})
        for _ in range(20)
    ]

    assert results == [{"result": n, "seen": n} for n in range(1, 21)]


async def test_mutations_sent_together_run_in_order(client: Driver, convex: str) -> None:
    topic = f"order-{convex}"
    sent = [
        client.begin(
            "mutation", "c", "probe:append", {"topic": topic, "position": 0, "body": f"{n}"}
        )
        for n in range(100)
    ]

    for each in sent:
        await each

    found = await client.call("query", "c", "probe:bodies", {"topic": topic})
    assert found == [f"{n}" for n in range(100)]


async def test_optimistic_update_is_replaced_without_a_step_back(
    client: Driver, convex: str
) -> None:
    topic = {"topic": f"optimistic-{convex}"}
    await client.call("subscribe", "c", "bodies", "probe:bodies", topic)
    await client.until("bodies", lambda update: update["value"] == [])

    sent = [
        client.begin(
            "mutation",
            "c",
            "probe:append",
            {**topic, "position": n, "body": f"{n}"},
            {"update": "append"},
        )
        for n in range(20)
    ]
    for each in sent:
        await each

    lengths = [len(update["value"]) for update in client.events["bodies"]]
    assert lengths == sorted(lengths)
    assert client.events["bodies"][-1] == {"value": [f"{n}" for n in range(20)]}


async def test_app_error_carries_its_data(client: Driver, server: Server) -> None:
    data = {"code": "Taken", "limit": {"$integer": "AwAAAAAAAAA="}}

    with pytest.raises(CallFailed, match="ConvexError") as failed:
        await client.call("mutation", "c", "probe:refuse", {"data": data})
    assert failed.value.data == data
    with pytest.raises(CallFailed) as failed:
        await client.call("http", server.url, None, "mutation", "probe:refuse", {"data": data})
    assert failed.value.data == data
    assert await client.call("query", "c", "probe:bodies", {"topic": "refused"}) == []


async def test_unexpected_error_is_not_shown(client: Driver) -> None:
    with pytest.raises(CallFailed, match=r"Request ID: [0-9a-f]{16}\] Server Error") as failed:
        await client.call("mutation", "c", "probe:crash", {})

    assert "boom" not in str(failed.value)
    assert failed.value.data is None


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({}, "Object is missing the required field `text`"),
        (
            {"text": "", "more": 1},
            "Object contains extra field `more` that is not in the validator",
        ),
        (
            {"text": 1},
            r"Value does not match validator.\nPath: .text\nValue: 1.*\nValidator: v.string",
        ),
        ({"text": "", "point": {"x": 1, "y": "2"}}, r"Path: .point.y"),
    ],
)
async def test_wrong_arguments_are_named(client: Driver, args: Any, expected: str) -> None:
    with pytest.raises(CallFailed, match="ArgumentValidationError") as failed:
        await client.call("query", "c", "probe:typed", args)

    failed.match(f"(?s){expected}")


@pytest.mark.parametrize(
    ("command", "path", "expected"),
    [
        ("query", "probe:missing", "Could not find public function for 'probe:missing'"),
        ("query", "probe:add", "Trying to execute probe.js:add as Query, but it is .* as Mutation"),
        ("mutation", "probe:count", "Trying to execute probe.js:count as Mutation"),
        ("action", "probe:count", "Trying to execute probe.js:count as Action"),
    ],
)
async def test_call_of_what_is_not_there_fails_alone(
    client: Driver, command: str, path: str, expected: str
) -> None:
    with pytest.raises(CallFailed, match=expected):
        await client.call(command, "c", path, {})

    assert await client.call("query", "c", "probe:echo", {"value": 1}) == 1


async def test_failed_query_recovers_when_its_data_does(client: Driver, convex: str) -> None:
    name = {"name": f"fussy-{convex}"}
    await client.call("subscribe", "c", "fussy", "probe:fussy", name)
    await client.until("fussy", lambda update: update.get("value") == 0)

    await client.call("mutation", "c", "probe:add", {**name, "amount": 5})
    failed = await client.until("fussy", lambda update: "error" in update)
    await client.call("mutation", "c", "probe:add", {**name, "amount": -4})

    assert failed["error"]["data"] == {"code": "TooHigh", "limit": 3}
    await client.until("fussy", lambda update: update.get("value") == 1)


async def test_values_of_every_kind_come_back_as_they_went(
    client: Driver, server: Server, convex: str
) -> None:
    name = f"values-{convex}"

    echoed = await client.call("query", "c", "probe:echo", {"value": VALUES})
    over_http = await client.call(
        "http", server.url, None, "query", "probe:echo", {"value": VALUES}
    )
    storable = [value for value in VALUES if not (isinstance(value, str) and "\0" in value)]
    await client.call("mutation", "c", "probe:put", {"name": name, "value": storable})

    assert json.dumps(echoed) == json.dumps(VALUES)
    assert json.dumps(over_http) == json.dumps(VALUES)
    stored = await client.call("query", "c", "probe:take", {"name": name})
    assert json.dumps(stored) == json.dumps(storable)


async def test_value_that_no_client_could_read_fails_its_query_alone(
    clients: Driver, server: Server, database: asyncpg.Connection, convex: str
) -> None:
    await clients.call("open", "c", server.url)
    await clients.call("setAuth", "c", [token(f"poisoned-{convex}")])
    await clients.until("c.auth", bool)
    created = await clients.call("mutation", "c", "conversations:create", {"title": "Poisoned"})
    conversation = {"conversationId": created["result"]}
    message = {**conversation, "role": "user", "content": "hi", "tools": []}
    added = await clients.call("mutation", "c", "conversations:addMessage", message)
    await clients.call("subscribe", "c", "one", "conversations:get", conversation)
    await clients.call("subscribe", "c", "all", "conversations:list", {})
    await clients.until("one", lambda update: len(update["value"]["messages"]) == 1)

    poison = json.dumps([{"name": "schema", "args": {"$ref": "#/definitions/x"}}])
    await database.execute("update messages set tools = $2 where id = $1", added["result"], poison)
    await clients.until("one", lambda update: "error" in update)
    renamed = {**conversation, "title": "Still alive"}
    await clients.call("mutation", "c", "conversations:update", renamed)

    await clients.until("all", lambda update: update["value"][0]["title"] == "Still alive")
    await database.execute("update messages set tools = '[]' where id = $1", added["result"])
    await clients.until("one", lambda update: "value" in update)


async def test_result_of_many_megabytes_arrives(
    client: Driver, database: asyncpg.Connection, convex: str
) -> None:
    topic = f"big-{convex}"
    await client.call("subscribe", "c", "big", "probe:bodies", {"topic": topic})
    await database.execute(
        """insert into entries (topic, position, body)
           select $1, n, repeat(chr(8364) || n, 100000) from generate_series(1, 15) n""",
        topic,
    )

    arrived = await client.until("big", lambda update: len(update["value"]) == 15)

    assert len(json.dumps(arrived, ensure_ascii=False).encode()) > 6_000_000
    assert arrived["value"] == [f"€{n}" * 100_000 for n in range(1, 16)]
    assert (await client.call("connectionState", "c"))["connectionCount"] == 1


async def test_changes_by_psql_are_seen_live(
    client: Driver, database: asyncpg.Connection, convex: str
) -> None:
    name = f"psql-{convex}"
    await client.call("subscribe", "c", "count", "probe:count", {"name": name})
    await client.until("count", lambda update: update["value"] == 0)

    await database.execute("insert into counters (name, value) values ($1, 7)", name)
    await client.until("count", lambda update: update["value"] == 7)
    await database.execute("update counters set value = 8.5 where name = $1", name)
    await client.until("count", lambda update: update["value"] == 8.5)
    await database.execute("delete from counters where name = $1", name)
    await client.until("count", lambda update: update["value"] == 0)


async def test_actions_call_queries_and_mutations_side_by_side(client: Driver, convex: str) -> None:
    name = f"actions-{convex}"

    slow = client.begin("action", "c", "probe:slowAdd", {"name": name, "waitS": 0.3})
    first = await client.call("action", "c", "probe:slowAdd", {"name": name, "waitS": 0})

    assert first == [0, 1]
    assert await slow == [1, 2]


async def test_http_client_queries_and_writes_as_its_user(
    client: Driver, server: Server, convex: str
) -> None:
    mine = token(f"http-{convex}")

    async def call(kind: str, path: str, args: Any) -> Any:
        return await client.call("http", server.url, mine, kind, path, args)

    created = await call("mutation", "conversations:create", {"title": "Over HTTP"})

    assert await call("query", "probe:who", {}) == f"http-{convex}"
    assert [each["_id"] for each in await call("query", "conversations:list", {})] == [created]
    consistent = await call("consistentQuery", "conversations:list", {})
    assert [each["title"] for each in consistent] == ["Over HTTP"]
    counter = {"name": f"http-{convex}", "waitS": 0}
    assert await call("action", "probe:slowAdd", counter) == [0, 1]
    with pytest.raises(CallFailed, match="Unauthenticated"):
        await client.call("http", server.url, f"{mine}x", "query", "probe:who", {})
