"""The server as a process and its pages for operators: starting, draining, ending, going on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

import parley
from parley.store import embedded
from parley.store.migrations import migrate
from parley.web.server import GuardedHttp
from tests.support.client import open_client
from tests.support.postgres import TEST_SETTINGS, chosen_binaries, shared_temp_dir
from tests.support.rawsocket import RawSocket, handshake, open_raw
from tests.support.server import Server, add_probe_tables, running_server
from tests.support.webapp import ADMIN_KEY, WebServer, open_http, serving_web, until

END_S = 10.0
names = (f"server-{number}" for number in itertools.count())


# --- ending


@pytest.fixture(params=[(), ("--workers", "2")], ids=["one process", "two workers"])
def process(request: pytest.FixtureRequest, web_dsn: str) -> Iterator[Server]:
    """A server process of its own."""
    with running_server(web_dsn, arguments=request.param) as server:
        yield server


async def ended(server: Server) -> list[psutil.Process]:
    """Tell the server to end; return its processes once it has, in time and in order."""
    processes = [psutil.Process(server.process.pid)]
    processes += processes[0].children(recursive=True)
    began = time.monotonic()

    server.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(server.process.wait, END_S + 5)

    assert time.monotonic() - began < END_S
    assert code == 0, server.log()
    assert "Traceback" not in server.log()
    return processes


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process still runs; nobody may be there to bury it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def is_listening(server: Server) -> bool:
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port)).close()
        return True
    return False


@contextlib.asynccontextmanager
async def locked(dsn: str, name: str) -> AsyncIterator[asyncpg.Transaction]:
    """Hold the row of a counter, so that a mutation of it stays in flight until rolled back."""
    database = await asyncpg.connect(dsn)
    try:
        transaction = database.transaction()
        await transaction.start()
        await database.execute("select from counters where name = $1 for update", name)
        yield transaction
    finally:
        await database.close()


async def test_a_mutation_in_flight_is_answered_before_the_end(
    process: Server, web_dsn: str
) -> None:
    name = next(names)
    async with open_client(process.url) as client, open_client(process.url) as idle:
        query_id = await client.subscribe("probe:count", {"name": name})
        await client.mutate("probe:add", {"name": name})
        async with locked(web_dsn, name) as lock:
            mutation = asyncio.create_task(client.mutate("probe:add", {"name": name}))
            await client.subscribe("probe:who")  # it has been read by now
            ending = asyncio.create_task(ended(process))
            await until(lambda: not is_listening(process))
            assert not mutation.done()
            await lock.rollback()

        assert await mutation == 2
        assert client.results[query_id] == 2
        # With this code and reason official clients come back within seconds, without a word.
        for each in (client, idle):
            assert await each.until_closed() == 1011
            assert each.close_reason == "InternalServerError"
        processes = await ending
        await until(lambda: not any(map(is_alive, processes)))


async def test_an_http_request_in_flight_is_answered_before_the_end(web_dsn: str) -> None:
    body = {"path": "probe:slowAdd", "args": {"name": next(names), "waitS": 0.6}}
    with running_server(web_dsn) as server:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            slow = asyncio.create_task(http.post("/api/action", json={**body, "format": "json"}))
            await asyncio.sleep(0.2)
            ending = asyncio.create_task(ended(server))

            answer = await slow
        await ending

    assert answer.json() == {"status": "success", "value": [0, 1]}


async def test_peers_that_read_nothing_and_actions_that_never_end_do_not_hold_it(
    web_dsn: str,
) -> None:
    topic = next(names)
    database = await asyncpg.connect(web_dsn)
    insert = "insert into entries (topic, position, body) values ($1, $2, $3)"
    await database.executemany(insert, [(topic, number, "x" * 1_000_000) for number in range(7)])
    await database.close()
    with running_server(web_dsn) as server:
        async with open_client(server.url) as client:
            call = {"udfPath": "probe:slowAdd", "args": [{"name": topic, "waitS": 600}]}
            await client.send(type="Action", requestId=0, **call)
            body = json.dumps({"path": "probe:bodies", "args": {"topic": topic}}).encode()
            head = b"POST /api/query HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.transport.pause_reading()
            writer.write((head + body) * 3)
            raw = await deaf(server, topic)
            await client.subscribe("probe:who")

            await ended(server)

        for each in (raw, RawSocket(reader, writer)):
            await each.abort()


async def deaf(server: Server, topic: str) -> RawSocket:
    """Return a client that subscribed to more than the kernel takes, and reads nothing."""
    _, raw = await handshake(server.port)
    raw.writer.transport.pause_reading()
    raw.say(type="Connect", sessionId=str(uuid4()), connectionCount=0)
    args = [{"topic": topic}]
    adding = {"type": "Add", "queryId": 0, "udfPath": "probe:bodies", "args": args}
    raw.say(type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[adding])
    return raw


async def test_it_ends_in_time_though_postgres_hangs(web_dsn: str) -> None:
    name = next(names)
    with running_server(web_dsn) as server:
        async with open_client(server.url) as client:
            await client.mutate("probe:add", {"name": name})
            call = {"udfPath": "probe:add", "args": [{"name": name}]}
            database = await asyncpg.connect(web_dsn)
            # Nobody else gets a ts while this is held: a commit hangs in Postgres.
            async with database.transaction():
                await database.execute("lock table counters in access exclusive mode")
                await client.send(type="Mutation", requestId=9, **call)
                await asyncio.sleep(0.2)

                await ended(server)
            await database.close()


async def test_an_engine_that_cannot_go_on_ends_the_process(dsn: str) -> None:
    await add_probe_tables(dsn)
    with running_server(dsn) as server:
        async with open_client(server.url) as client:
            await client.subscribe("probe:count", {"name": "x"})
            database = await asyncpg.connect(dsn)
            await database.execute("drop schema parley cascade")
            await database.close()

            # Not 0: a supervisor that restarts on failure has to see one.
            assert await asyncio.to_thread(server.process.wait, END_S) == 1

        assert "this process must be restarted" in server.log()


async def test_a_worker_whose_engine_cannot_go_on_is_replaced(web_dsn: str) -> None:
    with running_server(web_dsn, arguments=("--workers", "2")) as server:
        parent = psutil.Process(server.process.pid)
        async with open_client(server.url) as client:
            before = set(parent.children(recursive=True))
            await client.send(type="Mutation", requestId=0, udfPath="broken:fail", args=[{}])
            assert await client.until_closed() == 1011

        await until(lambda: not all(map(is_alive, before)), END_S)
        await until(lambda: len(set(parent.children(recursive=True)) - before) > 0, END_S)
        async with open_client(server.url) as client:
            assert await client.mutate("probe:add", {"name": next(names)}) == 1
        assert "this process must be restarted" in server.log()


def test_a_server_that_cannot_start_says_so_by_its_exit_code(web_dsn: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(web_dsn, port=taken.getsockname()[1])
        with pytest.raises(AssertionError, match="the server ended"):
            server.start()
        assert server.process.wait(END_S) == 1
        server.close()


# --- peers that are slow on purpose


async def until_dropped(web: WebServer, *sent: bytes, trickle: bytes = b"") -> bytes:
    """Send, then go on with a byte now and then; return all that came until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    received = b""
    try:
        for data in sent:
            writer.write(data)
            if data.endswith(b"\r\n\r\n"):
                received += await asyncio.wait_for(reader.readuntil(b"}"), 5)
        async with asyncio.timeout(5):
            while True:
                writer.write(trickle)
                with contextlib.suppress(TimeoutError):
                    if not (data := await asyncio.wait_for(reader.read(1 << 16), 0.05)):
                        return received
                    received += data
    except ConnectionError:
        return received
    finally:
        await RawSocket(reader, writer).abort()


async def is_served(web: WebServer) -> bool:
    """Tell whether a new connection is answered."""
    async with open_http(web) as http:
        with contextlib.suppress(httpx.TransportError):
            return (await http.get("/health")).status_code == 200
    return False


async def test_an_address_cannot_take_connections_without_end(
    web_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley.web.server._MAX_HTTP_PER_ADDRESS", 2)
    limits = {"max_connections_per_address": 1, "max_silent_connections_per_address": 1}
    with serving_web(web_dsn, **limits) as server:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        async with open_client(server.url) as client:  # counted once, though it was HTTP before
            await client.subscribe("probe:who")
            assert not await is_served(server)

            await RawSocket(*idle.pop()).abort()
            async with asyncio.timeout(END_S):
                while not await is_served(server):
                    pass
            await client.subscribe("probe:who")
        await RawSocket(*idle.pop()).abort()
        peers = server._server.config.peers  # type: ignore[attr-defined]
        await until(lambda: not peers._by_address)
        assert peers._left == 5000 + 1000  # nor given back twice


async def test_a_trusted_proxy_may_take_more_connections_than_others(
    web_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley.web.server._MAX_HTTP_PER_ADDRESS", 0)
    limits = {"max_connections_per_address": 1, "max_silent_connections_per_address": 1}
    with serving_web(web_dsn, **limits, trusted_proxies=("127.0.0.0/8",)) as server:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        assert await is_served(server)
        for each in idle:
            await RawSocket(*each).abort()


GET = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
UNFINISHED = b"POST /api/query_ts HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "trickle"),
    [
        ((), b""),
        ((b"G",), b""),
        ((b"GET /health HTTP/1.1\r\nhost: x\r\n",), b"x"),
        ((b"GET /api/sync HTTP/1.1\r\nupgrade: websocket\r\n",), b"x"),
        ((GET, b"GET /"), b"x"),
        ((GET,), b"\r\n"),
        ((UNFINISHED,), b"x"),
    ],
)
async def test_who_does_not_come_to_the_point_is_dropped(
    web: WebServer, monkeypatch: pytest.MonkeyPatch, sent: tuple[bytes, ...], trickle: bytes
) -> None:
    monkeypatch.setattr(GuardedHttp, "head_timeout_s", 0.3)

    await until_dropped(web, *sent, trickle=trickle)


async def test_a_request_that_takes_long_to_answer_is_not_slow_on_purpose(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GuardedHttp, "head_timeout_s", 0.2)
    body = {"path": "probe:slowAdd", "args": {"name": next(names), "waitS": 0.5}}
    async with open_http(web) as http:
        for _ in range(2):
            response = await http.post("/api/action", json=body)

            assert response.json()["status"] == "success"


@pytest.mark.parametrize(("size", "status"), [(15_000, 200), (17_000, 431), (2_000_000, 431)])
async def test_the_head_of_a_request_has_a_limit(web: WebServer, size: int, status: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(b"GET /health HTTP/1.1\r\nhost: x\r\nx-long: " + b"x" * size + b"\r\n\r\n")

    head = await asyncio.wait_for(reader.read(1000), 5)

    assert head.startswith(b"HTTP/1.1 %d " % status)
    await RawSocket(reader, writer).abort()


async def test_requests_sent_ahead_are_answered_in_order(web: WebServer) -> None:
    bodies = [json.dumps({"path": "probe:echo", "args": {"value": n}}).encode() for n in range(5)]
    head = b"POST /api/query HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(b"".join(head % len(body) + body for body in bodies))

    received = [await asyncio.wait_for(reader.readuntil(b"}"), 5) for _ in bodies]

    assert [data.rpartition(b":")[2] for data in received] == [b"%d}" % n for n in range(5)]
    await RawSocket(reader, writer).abort()


# --- Postgres goes and comes back


@pytest.fixture
async def own_postgres() -> AsyncIterator[Any]:
    """A Postgres that a test may stop and start, with its DSN."""
    with shared_temp_dir() as path:
        cluster = OwnPostgres(path / "pg")
        cluster.start()
        try:
            await migrate(cluster.dsn)
            await add_probe_tables(cluster.dsn)
            yield cluster
        finally:
            cluster.stop()


class OwnPostgres:
    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.dsn = ""

    def start(self) -> None:
        self._server = embedded.start(
            self._data_dir, settings=TEST_SETTINGS, binaries=chosen_binaries()
        )
        assert self.dsn in {"", self._server.dsn}
        self.dsn = self._server.dsn

    def stop(self) -> None:
        self._server.stop()


async def test_the_server_outlives_its_database(own_postgres: OwnPostgres) -> None:
    query = {"path": "probe:count", "args": {"name": "x"}}
    with serving_web(own_postgres.dsn) as server:
        async with open_http(server) as http, open_client(server.url) as client:
            query_id = await client.subscribe("probe:count", {"name": "x"})
            await client.mutate("probe:add", {"name": "x"})
            assert (await http.get("/ready")).json() == {"status": "ready", "problems": []}

            own_postgres.stop()
            down = await http.get("/ready")
            asked = await http.post("/api/query", json=query)
            alive = await http.get("/health")
            own_postgres.start()

            assert down.status_code == 503
            assert down.json()["problems"] == ["the newest commit cannot be read from Postgres"]
            assert (asked.status_code, asked.json()["code"]) == (503, "DatabaseUnavailable")
            assert alive.status_code == 200
            await until_ready(http)
            await client.mutate("probe:add", {"name": "x"})
            assert client.results[query_id] == 2


async def until_ready(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(END_S):
        while (await http.get("/ready")).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


# --- pages for operators


async def test_health_version_and_the_rest_answer_anybody(web: WebServer) -> None:
    async with open_http(web) as http:
        pages = {
            path: (await http.get(path)).text
            for path in ("/health", "/version", "/instance_version", "/instance_name")
        }
        root = await http.get("/")

    assert json.loads(pages["/health"]) == {"status": "ok"}
    assert pages["/version"] == pages["/instance_version"] == parley.__version__
    assert pages["/instance_name"] == "parley"
    assert root.status_code == 200


async def samples(http: httpx.AsyncClient) -> dict[str, float]:
    response = await http.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "10.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Origin": "http://127.0.0.1"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Convex x"},
    ],
)
async def test_who_is_forwarded_sees_no_metrics_and_no_reasons(
    web: WebServer, headers: dict[str, str]
) -> None:
    async with open_http(web) as http:
        refused = await http.get("/metrics", headers=headers)
        ready = await http.get("/ready", headers=headers)

    assert (refused.status_code, refused.json()["code"]) == (403, "Forbidden")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("kind", ["Bearer", "Convex"])
async def test_the_admin_key_shows_the_metrics_to_anybody(web: WebServer, kind: str) -> None:
    headers = {"X-Forwarded-For": "203.0.113.7", "Authorization": f"{kind} {ADMIN_KEY}"}
    async with open_http(web) as http:
        assert (await http.get("/metrics", headers=headers)).status_code == 200
        assert "problems" in (await http.get("/ready", headers=headers)).json()


async def test_the_metrics_move_with_what_happens(web: WebServer) -> None:
    async with open_http(web) as http, open_client(web.url) as client:
        before = await samples(http)
        await client.subscribe("probe:count", {"name": "metrics"})
        await client.mutate("probe:add", {"name": "metrics"})
        await http.post("/api/query", json={"path": "probe:who"})
        async with open_raw(web.port, session=str(uuid4())) as raw:
            raw.send(1, b"{")
            await raw.close_code()
        after = await samples(http)

    moved = {name for name, value in after.items() if value > before.get(name, 0)}
    assert moved >= {
        "parley_batches_total",
        "parley_closed_connections_total/WSMessageInvalidJson",
        "parley_commit_timestamp_seconds",
        "parley_commits_total",
        "parley_http_seconds_count/query",
        "parley_live_queries",
        "parley_mutation_runs_total",
        "parley_query_runs_total",
        "parley_sent_bytes_total",
        "parley_sent_frames_total",
    }
    assert after["parley_connections"] >= 1


@pytest.fixture(scope="module")
def development(web_dsn: str) -> Iterator[WebServer]:
    """A server in development mode: it makes its own tokens."""
    with (
        shared_temp_dir() as path,
        serving_web(
            web_dsn, supabase_jwt_secret=None, is_development=True, data_dir=path
        ) as server,
    ):
        yield server


async def test_development_mode_gives_tokens_that_it_takes(development: WebServer) -> None:
    async with open_http(development) as http:
        params = {"sub": "alice", "name": "Alice", "email": "alice@example.com"}
        token = (await http.get("/dev/token", params=params)).json()["token"]
        headers = {"authorization": f"Bearer {token}"}
        me = await http.post("/api/query", json={"path": "users:me"}, headers=headers)
        missing = await http.get("/dev/token")

    assert me.json()["value"]["email"] == "alice@example.com"
    assert (missing.status_code, missing.json()["code"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example.com"},
        {"origin": "https://localhost.evil.example.com"},
        {"origin": "null"},
        {"host": "rebound.example.com"},
        {"host": "127.0.0.1.nip.example"},
        {"x-forwarded-for": "203.0.113.7"},
        {"forwarded": "for=127.0.0.1"},
    ],
)
async def test_a_foreign_page_gets_no_token(
    development: WebServer, headers: dict[str, str]
) -> None:
    async with open_http(development) as http:
        response = await http.get("/dev/token?sub=alice", headers=headers)

    assert response.status_code == 404
    assert "token" not in response.json()


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://localhost:5173"}, {"host": "localhost:3210"}]
)
async def test_a_page_of_this_machine_gets_one(
    development: WebServer, headers: dict[str, str]
) -> None:
    async with open_http(development) as http:
        assert (await http.get("/dev/token?sub=alice", headers=headers)).status_code == 200


async def test_outside_development_mode_there_are_no_tokens(web: WebServer) -> None:
    async with open_http(web) as http:
        assert (await http.get("/dev/token?sub=alice")).status_code == 404


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_nothing_is_served_to_others_without_authentication(web_dsn: str, host: str) -> None:
    environ = {"SUPABASE_JWT_SECRET": ""}
    server = Server(web_dsn, environ=environ, arguments=("--host", host))
    with pytest.raises(AssertionError, match="Refusing to serve"):
        server.start()

    assert server.process.wait(END_S) == 1
    server.close()


async def test_clients_come_back_to_a_restarted_server(web_dsn: str) -> None:
    name = next(names)
    session = str(uuid4())
    with running_server(web_dsn) as server:
        async with open_client(server.url, session_id=session) as client:
            await client.mutate("probe:add", {"name": name}, request_id=0)
            seen = client.version
        server.restart()

        async with open_client(server.url, session_id=session) as again:
            # The same request again, as a client does that did not get its answer.
            assert await again.mutate("probe:add", {"name": name}, request_id=0) == 1
            assert await again.mutate("probe:add", {"name": name}, request_id=1) == 2
            assert again.version.ts > seen.ts
