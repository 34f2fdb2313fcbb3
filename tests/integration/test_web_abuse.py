"""Taking more than one's share: what an abuser gets, and that the neighbours go on.

Limits that one connection meets are in `test_web_socket.py`, peers that are slow on purpose in
`test_web_server.py`; what abuse costs the neighbours is measured by `python -m tests.faults.abuse`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from parley.values import ts_from_wire
from tests.support.client import Failure, SyncClient, open_client
from tests.support.rawsocket import TEXT, RawSocket, frame_of, handshake, open_raw
from tests.support.server import Server, running_server, token
from tests.support.webapp import WebServer, open_http, serving_web, until

names = (f"abuse-{number}" for number in itertools.count())


def add(query_id: int, path: str = "probe:echo", **args: Any) -> dict[str, Any]:
    args = {"value": query_id} if path == "probe:echo" and not args else args
    return {"type": "Add", "queryId": query_id, "udfPath": path, "args": [args]}


async def serves(client: SyncClient) -> bool:
    """Tell whether a query and a mutation work."""
    name = {"name": next(names)}
    query_id = await client.subscribe("probe:count", name)
    await client.mutate("probe:add", name)
    return bool(client.results[query_id] == 1)


# --- one connection


async def test_ten_thousand_subscriptions_end_their_connection_only(web: WebServer) -> None:
    async with open_client(web.url) as client, open_client(web.url) as neighbour:
        await client.send(
            type="ModifyQuerySet",
            baseVersion=0,
            newVersion=1,
            modifications=[add(number) for number in range(10_000)],
        )

        assert await client.until_closed() == 1013
        assert client.close_reason == "TooManyConcurrentRequests"
        assert await serves(neighbour)


async def test_a_neighbour_does_not_queue_behind_a_flood_of_mutations(web: WebServer) -> None:
    name, count = next(names), 300
    async with open_client(web.url) as client, open_client(web.url) as neighbour:
        for request_id in range(count):
            call = {"udfPath": "probe:add", "args": [{"name": name}]}
            await client.send(type="Mutation", requestId=request_id, **call)
        await neighbour.mutate("probe:add", {"name": next(names)})
        await client.until(lambda: len(answers(client)) == count, timeout_s=60)

        [between] = [ts_from_wire(answer["ts"]) for answer in answers(neighbour)]
        assert between < ts_from_wire(answers(client)[-1]["ts"])
        assert [answer["result"] for answer in answers(client)] == list(range(1, count + 1))


def answers(client: SyncClient) -> list[dict[str, Any]]:
    return [frame for frame in client.frames if frame["type"] == "MutationResponse"]


async def test_all_who_write_one_row_get_their_turn(web: WebServer) -> None:
    name, writers, times = {"name": next(names)}, 10, 10
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(open_client(web.url)) for _ in range(writers)]

        async def write(client: SyncClient) -> list[float]:
            return [await client.mutate("probe:add", name) for _ in range(times)]

        given = await asyncio.gather(*map(write, clients))

    assert sorted(itertools.chain(*given)) == list(range(1, writers * times + 1))


async def test_a_huge_query_of_many_clients_runs_once(web: WebServer) -> None:
    name, count = {"name": next(names)}, 40
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(open_client(web.url)) for _ in range(count)]
        await clients[0].mutate("probe:put", {**name, "value": "x" * 900_000})
        before = web.services.node.engine.stats.query_runs
        ids = await asyncio.gather(*(client.subscribe("probe:take", name) for client in clients))

        results = [client.results[query_id] for client, query_id in zip(clients, ids, strict=True)]
        assert {len(result) for result in results} == {900_000}
        assert web.services.node.engine.stats.query_runs - before <= 2


async def test_what_reads_too_much_fails_alone(web_dsn: str) -> None:
    topic = next(names)
    with serving_web(web_dsn, max_documents_read=20, redact_errors=False) as server:
        async with open_client(server.url) as client:
            for position in range(25):
                args = {"topic": topic, "position": position, "body": "x"}
                await client.mutate("probe:append", args)
            options = {"numItems": 1e9, "cursor": None}
            await client.modify(
                add(0, "probe:bodies", topic=topic),
                add(1, "probe:page", topic=topic, paginationOpts=options),
                add(2),
            )

            failed, page, other = (client.results[number] for number in range(3))
            assert isinstance(failed, Failure)
            assert "may read 20 documents" in failed.message
            assert 0 < len(page["page"]) <= 20
            assert not page["isDone"]
            assert other == 2


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/" * 8000 + "api/sync", "", 101),
        ("/api/" + "1." * 3000 + "/sync", "", 400),
        ("/api/" + "9" * 6000 + "/sync", "", 400),
        ("/api/sync?" + "&parley=0" * 800, "", 101),
        ("/api/sync", "a-" * 3500, 101),
        ("/api/sync", "python-" + "1." * 3000, 101),
        ("/api/sync", "npm-" + "0" * 6000 + "-" * 1000, 101),
    ],
)
async def test_texts_made_for_slow_patterns_are_answered(
    web: WebServer, path: str, header: str, status: int
) -> None:
    headers = {"Convex-Client": header} if header else {}

    head, raw = await handshake(web.port, path, headers)
    await raw.abort()

    assert head.startswith(b"HTTP/1.1 %d " % status)


async def test_long_and_many_keys_are_values_like_any(web: WebServer) -> None:
    value = {f"{number:0>1000}": number for number in range(700)}
    async with open_client(web.url) as client:
        await client.modify(add(0, value=value))

        assert client.results[0] == value


# --- the log


async def test_who_sends_nonsense_writes_no_log(
    web: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="parley")
    for number in range(30):
        async with open_raw(web.port, session=str(uuid4())) as raw:
            raw.say(type="Event", eventType="x" * 10_000, event={"message": "forged\n" * 1000})
            bad_path = {**add(0, "\x1b[31m%s{}\r\nforged"), "journal": "x" * 1000}
            raw.say(type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[bad_path])
            raw.say(type="Mutation", requestId=0, udfPath="nobody:home", args=["x" * 1000])
            ends = (b"{", b'{"type":"x"}', b"\xff")
            raw.writer.write(frame_of(TEXT, ends[number % 3]))
            await raw.close_code()

    assert [record.name for record in caplog.records if record.name.startswith("parley")] == []


async def test_each_refused_token_writes_one_line_and_no_more_than_may_be_tried(
    web_dsn: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley.web.limits.MAX_WAIT_S", 0.01)
    caplog.set_level(logging.INFO, logger="parley")
    with serving_web(web_dsn, max_verifications_per_s=5) as server:
        async with open_http(server) as http:
            # What is claimed of proxies gives nobody more tries.
            asked = [
                http.post(
                    "/api/query",
                    json={"path": "probe:who"},
                    headers={
                        "authorization": f"Bearer {token('a')[:-4]}AAAA",
                        "x-forwarded-for": f"203.0.113.{number}",
                    },
                )
                for number in range(40)
            ]
            statuses = [answer.status_code for answer in await asyncio.gather(*asked)]

    refused = [text for text in caplog.messages if text.startswith("token refused")]
    assert set(statuses) == {401, 503}
    assert len(refused) == statuses.count(401)
    assert statuses.count(503) >= 20


# --- a process, and what it has of the system

MAX_FILES = 300  # of which 128 are for the server's own
LIMITS = {
    "PARLEY_MAX_CONNECTIONS_PER_ADDRESS": "1000",
    "PARLEY_MAX_SILENT_CONNECTIONS_PER_ADDRESS": "1000",
}


@pytest.fixture(scope="module")
def process(web_dsn: str) -> Iterator[Server]:
    """A process that may have few files open."""
    with running_server(web_dsn, environ=LIMITS, max_files=MAX_FILES) as server:
        yield server


def files_of(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


async def is_answered(server: Server) -> bool:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, verify=False) as http:
        with contextlib.suppress(httpx.TransportError):
            return (await http.get("/health")).status_code == 200
    return False


async def until_answered(server: Server, wanted: bool) -> None:
    async with asyncio.timeout(10):
        while await is_answered(server) is not wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_files_run_out_for_new_connections_and_not_for_those_that_are_there(
    process: Server,
) -> None:
    async with open_client(process.url) as client:
        assert await serves(client)
        async with contextlib.AsyncExitStack() as idle:
            for _ in range(MAX_FILES + 100):
                raw = RawSocket(*await asyncio.open_connection("127.0.0.1", process.port))
                idle.push_async_callback(raw.abort)
            await until_answered(process, False)

            assert files_of(process) < MAX_FILES
            assert await serves(client)  # on rows that have to be loaded first
        await until_answered(process, True)
        async with open_client(process.url) as another:
            assert await serves(another)

    assert "Traceback" not in process.log()
    assert "open files" not in process.log()


async def test_coming_and_going_without_end_leaves_no_file_open(process: Server) -> None:
    async with open_client(process.url) as client:
        assert await serves(client)
        before = files_of(process)
        for number in range(300):
            _, raw = await handshake(process.port)
            raw.say(type="Connect", sessionId=str(uuid4()), connectionCount=number)
            modifications = [add(0, "probe:count", name="reconnecting")]
            raw.say(type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=modifications)
            await raw.abort()

        await until(lambda: files_of(process) <= before, timeout_s=10)
        assert await serves(client)
