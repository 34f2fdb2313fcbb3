"""The sync socket: handshakes, timers, identities and limits, on real connections.

Bad input is in `test_web_socket_input.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from parley.engine.sync import MAX_UNREAD_TRANSITIONS
from parley.web.app import end_all
from tests.support.client import Failure, SyncClient, open_client
from tests.support.rawsocket import PING, TEXT, RawSocket, handshake, open_raw
from tests.support.server import token
from tests.support.webapp import ADMIN_KEY, WebServer, open_http, serving_web, until
from tests.support.wire import modify

ORIGIN = "https://app.example.com"
names = (f"name-{number}" for number in itertools.count())


async def refused(web: WebServer, path: str = "/api/sync", **headers: str) -> tuple[int, str]:
    """Try to connect and return the status and code of the refusal."""
    try:
        async with connect(
            f"ws://127.0.0.1:{web.port}{path}", additional_headers=headers, proxy=None
        ):
            raise AssertionError("the handshake was accepted")
    except InvalidStatus as error:
        body = json.loads(error.response.body or b"{}")
        return error.response.status_code, body["code"]


async def serves(client: SyncClient) -> bool:
    """Tell whether a query and a mutation work."""
    name = {"name": next(names)}
    query_id = await client.subscribe("probe:count", name)
    await client.mutate("probe:add", name)
    return bool(client.results[query_id] == 1)


# --- ends


@pytest.mark.parametrize("way", ["by the client", "by a mistake of it", "by us"])
async def test_nothing_is_left_of_a_socket_that_has_ended(web_dsn: str, way: str) -> None:
    with serving_web(web_dsn) as web:
        gc.disable()  # whoever is left to the collector of cycles, stays for hours
        try:
            async with open_raw(web.port, session=str(uuid4())) as raw:
                raw.send(TEXT, modify(0, 1, 0, 1).replace("m:f", "probe:now", 1).encode())
                await raw.receive()
                [left] = [weakref.ref(socket) for socket in web.services.sockets]
                if way == "by a mistake of it":
                    raw.send(TEXT, b"nonsense")
                elif way == "by us":
                    end = partial(end_all, web.services)
                    web.services.node._loop.call_soon_threadsafe(end)
                if way != "by the client":
                    await raw.close_code()
            await until(lambda: left() is None)
        finally:
            gc.enable()


# --- handshakes


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/api/sync", None),
        ("/api/1.48.0/sync", None),
        ("/api/1.31.3/sync", None),
        ("/api/0.19.2/sync", None),
        ("/api/1.50.0-alpha.1/sync", None),
        ("//api/1.48.0/sync", None),
        ("//api//sync", None),
        ("/api/sync?x=1", None),
        ("/api/sync", "rust-0.10.4"),
        ("/api/sync", "python-0.8.1"),
        ("/api/sync", "python-convex-0.6.0"),
        ("/api/sync", "my-own-client-1.0.0"),
        ("/api/sync", "nonsense"),
    ],
)
async def test_every_client_finds_its_route(web: WebServer, path: str, header: str | None) -> None:
    headers = {"Convex-Client": header} if header else {}

    async with open_client(web.url, path=path, headers=headers) as client:
        assert await serves(client)


@pytest.mark.parametrize(
    ("path", "header", "code"),
    [
        ("/api/0.19.1/sync", "", "ClientVersionUnsupported"),
        ("/api/0.1.0/sync", "", "ClientVersionUnsupported"),
        ("/api/sync", "python-0.0.2", "ClientVersionUnsupported"),
        ("/api/sync", "rust-0.0.1", "ClientVersionUnsupported"),
        ("/api/latest/sync", "", "InvalidClientVersion"),
        ("/api/1.48/sync", "", "InvalidClientVersion"),
        ("/api/%00/sync", "", "InvalidClientVersion"),
        ("/api/" + "9" * 5000 + ".0.0/sync", "", "InvalidClientVersion"),
    ],
)
async def test_a_client_that_is_too_old_or_says_nonsense_is_told_so(
    web: WebServer, path: str, header: str, code: str
) -> None:
    assert await refused(web, path, **{"Convex-Client": header}) == (400, code)


@pytest.mark.parametrize("path", ["/api/1/2/sync", "/sync", "/", "/api/sync/more", "/api/query"])
async def test_other_paths_are_no_sockets(web: WebServer, path: str) -> None:
    with pytest.raises(InvalidStatus) as error:
        async with connect(f"ws://127.0.0.1:{web.port}{path}", proxy=None):
            pass

    assert error.value.response.status_code in {403, 404}


@pytest.fixture(scope="module")
def picky(web_dsn: str) -> Any:
    """A server that lets pages of one origin in, and takes little at once."""
    with serving_web(
        web_dsn,
        allowed_origins=(ORIGIN,),
        max_subscriptions=3,
        max_subscription_burst=100,
        max_queued_mutations=2,
        max_frame_bytes=1000,
        max_connections_per_user=2,
        ping_interval_s=0.1,
    ) as server:
        yield server


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "https://app.example.com.evil.com",
        "https://evilapp.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "null",
        "",
    ],
)
async def test_a_foreign_page_is_turned_away_before_it_is_accepted(
    picky: WebServer, origin: str
) -> None:
    assert await refused(picky, Origin=origin) == (403, "OriginNotAllowed")
    assert picky.services.admission.total == 0


@pytest.mark.parametrize("headers", [{}, {"Origin": ORIGIN}, {"Origin": ORIGIN.upper()}])
async def test_listed_pages_and_programs_without_origin_are_let_in(
    picky: WebServer, headers: dict[str, str]
) -> None:
    async with open_client(picky.url, headers=headers) as client:
        assert await serves(client)


async def test_without_a_list_any_page_is_let_in(web: WebServer) -> None:
    async with open_client(web.url, headers={"Origin": "https://any.example"}) as client:
        assert await serves(client)


# --- timers


async def test_a_quiet_connection_is_pinged_even_before_it_speaks(picky: WebServer) -> None:
    async with open_raw(picky.port) as raw:
        silent = [await anext(raw.messages()) for _ in range(2)]
        raw.say(type="Connect", sessionId=str(uuid4()), connectionCount=1)
        raw.say(type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[])
        spoken = [await anext(raw.messages()) for _ in range(3)]

    assert silent == [{"type": "Ping"}] * 2
    assert sorted(message["type"] for message in spoken) == ["Ping", "Ping", "Transition"]


@pytest.mark.parametrize("off_ms", [-36_000_000, 36_000_000, -(10**13), 10**16])
async def test_a_client_whose_clock_is_off_is_served_and_told(web: WebServer, off_ms: int) -> None:
    client_ts = time.time_ns() // 1_000_000 + off_ms
    async with open_client(web.url, clientTs=client_ts) as client:
        assert await serves(client)
        await client.authenticate(token("alice"))
        assert await serves(client)

    stamps = [frame["clientClockSkew"] for frame in client.frames if "clientClockSkew" in frame]
    assert stamps
    assert all(abs(skew - off_ms) < 60_000 for skew in stamps)


async def test_who_never_speaks_is_sent_away_and_who_spoke_is_not(web_dsn: str) -> None:
    with serving_web(web_dsn, connect_timeout_s=0.3) as server:
        async with open_client(server.url) as talker, open_raw(server.port) as silent:
            silent.say(type="Event", eventType="x")

            assert await silent.close_code() == 1013
            assert await serves(talker)
            page = server.services.metrics.page().decode()

    assert 'parley_closed_connections_total{code="SystemTimeoutError"} 1.0' in page


async def test_a_peer_that_answers_no_ping_is_dropped(web_dsn: str) -> None:
    with serving_web(web_dsn, ws_ping_interval_s=0.1, ws_ping_timeout_s=0.2) as server:
        async with open_client(server.url) as answering, open_raw(server.port) as deaf:
            assert (await deaf.receive())[0] == PING
            assert await deaf.close_code() == 1011
            assert await serves(answering)


# --- identities


async def test_a_new_identity_sees_its_own_results_and_nothing_of_the_other(
    web: WebServer,
) -> None:
    async with open_client(web.url) as client:
        who = await client.subscribe("probe:who")
        mine = await client.subscribe("conversations:list")
        assert (client.results[who], client.results[mine]) == (None, [])

        await client.authenticate(token("alice"))
        await client.mutate("conversations:create", {"title": "canary of alice"})
        assert client.results[who] == "alice"
        assert [row["title"] for row in client.results[mine]] == ["canary of alice"]

        at = len(client.frames)
        await client.authenticate(token("bob"))
        assert client.results[who] == "bob"
        assert client.results[mine] == []
        assert "canary" not in json.dumps(client.frames[at:])

        await client.authenticate(None)
        assert (client.results[who], client.results[mine]) == (None, [])
        assert client.version.identity == 3


async def test_a_fresh_token_of_the_same_user_is_confirmed_without_sending_anything_again(
    web: WebServer,
) -> None:
    async with open_client(web.url) as client:
        await client.authenticate(token("alice"))
        await client.subscribe("probe:who")
        at = len(client.frames)

        await client.authenticate(token("alice", lifetime_s=7200))

        [transition] = client.frames[at:]
        assert transition["modifications"] == []
        assert transition["endVersion"]["identity"] == 2


async def test_a_mutation_keeps_the_identity_it_was_sent_with(web: WebServer) -> None:
    async with open_client(web.url) as client:
        await client.authenticate(token("carol"))
        call = {"udfPath": "conversations:create", "args": [{"title": "of carol"}]}
        await client.send(type="Mutation", requestId=0, **call)
        await client.authenticate(token("dave"))
        mine = await client.subscribe("conversations:list")
        assert client.results[mine] == []

        await client.authenticate(token("carol"))
        assert [row["title"] for row in client.results[mine]] == ["of carol"]


async def auth_error(client: SyncClient) -> dict[str, Any]:
    """Wait for the end of the connection and return the AuthError in front of it."""
    assert await client.until_closed() in {1000, 1005}
    last: dict[str, Any] = client.frames[-1]
    return {"type": last["type"], **{key: last[key] for key in last if key != "error"}}


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "nonsense",
        token("alice", lifetime_s=-60),
        token("alice")[:-4] + "AAAA",
        token("alice", aud="other"),
        token("x", role="service_role"),
        token("alice", pad="x" * 9000),
    ],
)
async def test_a_rejected_token_is_an_auth_error_of_that_attempt(web: WebServer, bad: str) -> None:
    async with open_client(web.url) as client:
        await client.authenticate(token("alice"))
        await client.send(type="Authenticate", baseVersion=1, tokenType="User", value=bad)

        error = await auth_error(client)

    assert error == {"type": "AuthError", "baseVersion": 1, "authUpdateAttempted": True}
    assert bad not in client.frames[-1]["error"] or not bad


@pytest.mark.parametrize("key", ["", "wrong", "prod:name|secret"])
async def test_admin_keys_are_refused_unless_they_are_the_configured_one(
    web: WebServer, picky: WebServer, key: str
) -> None:
    for server in (web, picky):
        async with open_client(server.url) as client:
            await client.send(type="Authenticate", baseVersion=0, tokenType="Admin", value=key)

            error = await auth_error(client)

        assert error == {"type": "AuthError", "baseVersion": 0, "authUpdateAttempted": True}


@pytest.mark.parametrize("spelling", ["impersonating", "acting_as"])
async def test_an_admin_may_act_as_a_user_and_then_as_nobody(web: WebServer, spelling: str) -> None:
    user = {"issuer": "https://issuer.test", "subject": "bob", "name": "Bob"}
    admin = {"type": "Authenticate", "tokenType": "Admin", "value": ADMIN_KEY}
    async with open_client(web.url) as client:
        await client.send(**admin, baseVersion=0, **{spelling: user})
        query_id = await client.subscribe("probe:who")
        assert client.results[query_id] == "bob"

        await client.send(**admin, baseVersion=1)
        await client.until(lambda: client.version.identity == 2)
        assert client.results[query_id] is None


@pytest.mark.parametrize("user", [{}, {"subject": "bob"}, {"tokenIdentifier": 5}])
async def test_an_admin_cannot_act_as_a_user_that_is_none(
    web: WebServer, user: dict[str, Any]
) -> None:
    async with open_client(web.url) as client:
        await client.send(
            type="Authenticate",
            baseVersion=0,
            tokenType="Admin",
            value=ADMIN_KEY,
            impersonating=user,
        )

        assert (await auth_error(client))["authUpdateAttempted"]


async def test_an_expired_token_ends_the_connection_at_its_deadline_without_a_message(
    web: WebServer,
) -> None:
    async with open_client(web.url) as client:
        # Tokens are good for 5 s beyond `exp`, for clocks that differ: this one for 1 to 2 s.
        await client.authenticate(token("alice", lifetime_s=-3))
        await client.subscribe("probe:who")

        error = await auth_error(client)

    assert error == {"type": "AuthError", "baseVersion": 1, "authUpdateAttempted": False}
    assert client.frames[-1]["error"] == "Convex token identity expired"


async def test_a_refreshed_token_outlives_the_one_before(web: WebServer) -> None:
    async with open_client(web.url) as client:
        await client.authenticate(token("alice", lifetime_s=-3))
        await client.authenticate(token("alice"))

        await asyncio.sleep(2.1)

        assert await serves(client)


async def test_too_many_tokens_of_one_address_send_some_away_for_a_while(
    web_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley.web.limits.MAX_WAIT_S", 0.01)
    async with contextlib.AsyncExitStack() as stack:
        server = stack.enter_context(serving_web(web_dsn, max_verifications_per_s=5))
        clients = [await stack.enter_async_context(open_client(server.url)) for _ in range(20)]
        neighbour = await stack.enter_async_context(open_client(server.url))
        outcomes = [asyncio.create_task(client.authenticate(token("a"))) for client in clients]
        await asyncio.wait(outcomes)

        assert [client.close_code for client in clients].count(1013) >= 5
        assert sum(outcome.exception() is None for outcome in outcomes) >= 10
        assert await serves(neighbour)


async def test_tokens_of_one_connection_are_checked_one_after_another(web_dsn: str) -> None:
    with serving_web(web_dsn, max_verifications_per_s=20) as server:
        async with open_client(server.url) as client:
            for base in range(45):  # 40 at once, and 20 a second from then on
                value = token("alice")
                await client.send(
                    type="Authenticate", baseVersion=base, tokenType="User", value=value
                )
            await client.until(lambda: client.version.identity == 45)


# --- limits of one connection


def add(query_id: int, value: Any) -> dict[str, Any]:
    args = [{"value": value}]
    return {"type": "Add", "queryId": query_id, "udfPath": "probe:echo", "args": args}


async def test_a_subscription_too_many_fails_alone(picky: WebServer) -> None:
    async with open_client(picky.url) as client:
        await client.modify(*(add(number, number) for number in range(4)))

        assert [client.results[number] for number in range(3)] == [0, 1, 2]
        assert isinstance(client.results[3], Failure)
        assert "may hold 3 queries" in client.results[3].message

        await client.modify({"type": "Remove", "queryId": 0}, {"type": "Remove", "queryId": 3})
        await client.modify(add(4, "fits"))
        assert client.results == {1: 1, 2: 2, 4: "fits"}


async def test_subscriptions_without_end_close_the_connection(picky: WebServer) -> None:
    async with open_client(picky.url) as client:
        await client.send(
            type="ModifyQuerySet",
            baseVersion=0,
            newVersion=1,
            modifications=[add(number, number) for number in range(7)],
        )

        assert await client.until_closed() == 1013


async def test_adding_and_removing_without_end_is_slowed_down(web_dsn: str) -> None:
    with serving_web(web_dsn, max_subscription_burst=5, max_subscriptions_per_s=20) as server:
        async with open_client(server.url) as client, open_client(server.url) as neighbour:
            loop = asyncio.get_running_loop()
            began = loop.time()
            for number in range(10):
                await client.modify(add(number, 1), *_removal(number))

            # 5 of them at once, and 20 a second from then on: not before 0.25 s.
            assert loop.time() - began > 0.2
            assert await serves(neighbour)


def _removal(number: int) -> list[dict[str, Any]]:
    return [{"type": "Remove", "queryId": number - 1}] if number else []


async def test_mutations_beyond_those_that_may_wait_are_read_later_and_all_answered_in_order(
    web_dsn: str,
) -> None:
    name, count = next(names), 250
    with serving_web(
        web_dsn, max_queued_mutations=20, ws_ping_interval_s=0.1, ws_ping_timeout_s=0.2
    ) as server:
        async with open_client(server.url) as client, open_client(server.url) as neighbour:
            await client.mutate("probe:add", {"name": name})
            async with locked(web_dsn, name):
                for request_id in range(1, count):
                    call = {"udfPath": "probe:add", "args": [{"name": name}]}
                    await client.send(type="Mutation", requestId=request_id, **call)
                workers = [socket._worker for socket in list(server.services.sockets)]
                await until(lambda: any(worker.is_congested for worker in workers))
                assert await serves(neighbour)
                await asyncio.sleep(0.7)  # its pongs are not read either; it stays all the same
                assert max(len(worker._mutations) for worker in workers) == 20

            await client.until(lambda: len(answers(client)) == count)
            assert [answer["result"] for answer in answers(client)] == list(range(1, count + 1))


async def test_a_client_that_reads_no_answers_is_not_read_and_nothing_is_lost(
    web: WebServer,
) -> None:
    before = set(web.services.sockets)
    _, raw = await handshake(web.port, "/api/sync")
    raw.writer.transport.pause_reading()
    raw.say(type="Connect", sessionId=str(uuid4()), connectionCount=0)
    count, args = 3000, [{"data": "x" * 3000}]  # which the failure gives back
    for request_id in range(count):
        raw.say(type="Mutation", requestId=request_id, udfPath="probe:refuse", args=args)

    await until(lambda: any(s._worker.is_congested for s in set(web.services.sockets) - before))
    [socket] = set(web.services.sockets) - before
    worker = socket._worker
    assert len(worker.outbox) + len(worker._mutations) <= web.services.settings.max_queued_mutations
    raw.writer.transport.resume_reading()
    seen = []
    async for message in raw.messages():
        if message["type"] == "MutationResponse":
            seen.append(message["requestId"])
            if len(seen) == count:
                break

    assert seen == list(range(count))
    await raw.abort()


async def test_as_many_mutations_as_allowed_wait_and_are_answered_in_order(
    picky: WebServer, web_dsn: str
) -> None:
    name = next(names)
    async with open_client(picky.url) as client:
        await client.mutate("probe:add", {"name": name})
        async with locked(web_dsn, name):
            for request_id in (1, 2):
                call = {"udfPath": "probe:add", "args": [{"name": name}]}
                await client.send(type="Mutation", requestId=request_id, **call)
            workers = [socket._worker for socket in list(picky.services.sockets)]
            await until(lambda: any(len(worker._mutations) == 2 for worker in workers))

        await client.until(lambda: len(answers(client)) == 3)
        assert [answer["result"] for answer in answers(client)] == [1, 2, 3]


def answers(client: SyncClient) -> list[dict[str, Any]]:
    return [frame for frame in client.frames if frame["type"] == "MutationResponse"]


@contextlib.asynccontextmanager
async def locked(dsn: str, name: str) -> AsyncIterator[None]:
    """Hold the row of a counter, so that no mutation of it can be committed meanwhile."""
    database = await asyncpg.connect(dsn)
    try:
        async with database.transaction():
            await database.execute("select from counters where name = $1 for update", name)
            yield
    finally:
        await database.close()


async def test_too_many_actions_at_once_close_the_connection(web: WebServer) -> None:
    async with open_client(web.url) as client, open_client(web.url) as neighbour:
        for request_id in range(101):
            call = {"udfPath": "probe:slowAdd", "args": [{"name": "slow", "waitS": 0.5}]}
            await client.send(type="Action", requestId=request_id, **call)

        assert await client.until_closed() == 1013
        assert await serves(neighbour)


@pytest.mark.parametrize(("size", "code"), [(1000, None), (1001, 1009), (100_000, 1009)])
async def test_a_message_has_a_limit(picky: WebServer, size: int, code: int | None) -> None:
    frame = b'{"type":"Event","event":"%b"}'
    async with open_raw(picky.port, session=str(uuid4())) as raw:
        raw.send(TEXT, frame % (b"x" * (size - len(frame) + 2)))
        raw.say(type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[])

        if code is None:
            said = [await anext(raw.messages())]
            assert said[0]["type"] in {"Transition", "Ping"}
        else:
            # None: what it had not read resets the connection, and its last frame with it.
            assert await raw.close_code() in {code, None}
            count = 'parley_closed_connections_total{code="MessageTooLarge"}'
            await until(lambda: count in picky.services.metrics.page().decode())


# --- limits of addresses, users and the node


@pytest.mark.parametrize(
    "limits",
    [
        {"max_connections": 2},
        {"max_connections_per_address": 2, "max_silent_connections_per_address": 2},
    ],
)
async def test_a_connection_too_many_is_refused_until_another_ends(
    web_dsn: str, limits: dict[str, int]
) -> None:
    with serving_web(web_dsn, **limits) as server:
        async with open_client(server.url) as first:
            async with open_client(server.url):
                assert await refused(server) == (429, "TooManyConcurrentRequests")
            await until(lambda: server.services.admission.total == 1)

            async with open_client(server.url) as third:
                assert await serves(first)
                assert await serves(third)
            await until(lambda: server.services.admission.total == 1)
        await until(lambda: server.services.admission.total == 0)


async def test_silent_connections_have_a_limit_of_their_own(web_dsn: str) -> None:
    with serving_web(web_dsn, max_silent_connections_per_address=1) as server:
        async with open_client(server.url, is_connecting=False) as first:
            assert await refused(server) == (429, "TooManyConcurrentRequests")

            await first.send(type="Connect", sessionId=str(uuid4()), connectionCount=0)
            assert await serves(first)
            async with open_client(server.url) as second:
                assert await serves(second)


async def test_a_user_has_so_many_connections_and_others_are_not_concerned(
    picky: WebServer,
) -> None:
    async with open_client(picky.url) as first, open_client(picky.url) as second:
        await first.authenticate(token("many"))
        await second.authenticate(token("many"))
        async with open_client(picky.url) as third:
            value = token("many")
            await third.send(type="Authenticate", baseVersion=0, tokenType="User", value=value)
            assert await third.until_closed() == 1013

        async with open_client(picky.url) as other:
            await other.authenticate(token("another"))
        await second.authenticate(None)
        async with open_client(picky.url) as fourth:
            await fourth.authenticate(token("many"))
            assert await serves(fourth)


async def test_what_a_client_claims_of_proxies_is_not_believed(web_dsn: str) -> None:
    with serving_web(
        web_dsn, max_connections_per_address=1, max_silent_connections_per_address=1
    ) as server:
        async with open_client(server.url):
            headers = {"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.7"}
            assert (await refused(server, **headers))[0] == 429


async def test_a_trusted_proxy_tells_the_address(web_dsn: str) -> None:
    with serving_web(
        web_dsn,
        trusted_proxies=("127.0.0.1",),
        max_connections_per_address=1,
        max_silent_connections_per_address=1,
    ) as server:
        first = {"X-Forwarded-For": "203.0.113.7"}
        async with open_client(server.url, headers=first):
            assert (await refused(server, **first))[0] == 429
            second = {"X-Forwarded-For": "203.0.113.8"}
            async with open_client(server.url, headers=second) as client:
                assert await serves(client)


# --- slow readers

BIG = 400_000  # bytes: two such results are more than what the kernel takes for a small window


async def never_reading(web: WebServer, path: str, **args: str) -> RawSocket:
    """Return a client that has subscribed to a query and reads nothing from then on."""
    _, raw = await handshake(web.port, "/api/sync")
    # What nobody reads is to stay in the server and the kernel, not in this process.
    raw.writer.transport.pause_reading()
    raw.say(type="Connect", sessionId=str(uuid4()), connectionCount=0)
    adding = {"type": "Add", "queryId": 0, "udfPath": path, "args": [args]}
    raw.say(type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[adding])
    return raw


Fill = Callable[[int], Awaitable[None]]


@contextlib.asynccontextmanager
async def filling(web: WebServer, name: str) -> AsyncIterator[tuple[SyncClient, Fill]]:
    """Yield a neighbour that follows the same box, and what fills it."""
    async with open_client(web.url) as client:
        query_id = await client.subscribe("probe:take", {"name": name})

        async def fill(number: int) -> None:
            await client.mutate("probe:put", {"name": name, "value": [number, "x" * BIG]})
            await client.until(lambda: client.results[query_id][0] == number)

        yield client, fill


async def test_a_slow_reader_gets_few_transitions_and_then_the_newest(web: WebServer) -> None:
    name, count = next(names), 30
    raw = await never_reading(web, "probe:take", name=name)
    async with filling(web, name) as (_, fill):
        for number in range(count):
            await fill(number)
            held = [len(socket._worker.outbox) for socket in list(web.services.sockets)]
            assert max(held) <= MAX_UNREAD_TRANSITIONS

        assert web.unsent_bytes() < 3 * BIG
        raw.writer.transport.resume_reading()
        seen: list[int] = []
        version = {"querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA="}
        async for message in raw.messages():
            if message["type"] == "Transition":
                assert message["startVersion"] == version
                version = message["endVersion"]
                seen += [
                    change["value"][0] for change in message["modifications"] if change["value"]
                ]
            if seen and seen[-1] == count - 1:
                break
        await raw.abort()

    assert seen == sorted(seen)
    assert len(seen) < count


async def test_who_stops_reading_in_the_middle_of_a_push_misses_nothing(web: WebServer) -> None:
    name, size, count = next(names), 100_000, 80
    async with contextlib.AsyncExitStack() as stack:
        watching = [await stack.enter_async_context(open_client(web.url)) for _ in range(4)]
        for client in watching:
            assert await client.subscribe("probe:take", {"name": name}) == 0
        writer = await stack.enter_async_context(open_client(web.url))

        async def push(number: int, *to: SyncClient) -> None:
            await writer.mutate("probe:put", {"name": name, "value": [number, "x" * size]})
            for client in to:
                await client.until(lambda client=client: client.results[0][0] == number)

        for number in (0, 1):
            await push(number, *watching)
        assert max(len(socket._worker.cohort.members) for socket in web.services.sockets) == 4
        slow, *others = watching
        slow.pause_reading()
        for number in range(2, count):
            await push(number, *others)
        assert 0 < web.unsent_bytes() < 3 * size
        slow.resume_reading()
        await push(count, *watching)  # `SyncClient` asserts the version chain

        await push(count + 1, *watching)
        assert max(len(socket._worker.cohort.members) for socket in web.services.sockets) == 4


async def test_a_reader_that_stalls_is_dropped_and_its_neighbour_never_waits(
    web_dsn: str,
) -> None:
    name = next(names)
    with serving_web(web_dsn, send_stall_timeout_s=0.3) as server:
        raw = await never_reading(server, "probe:take", name=name)
        async with filling(server, name) as (client, fill):
            for number in itertools.count():
                await fill(number)
                if server.services.admission.total == 1:
                    break
            assert await serves(client)
            count = 'parley_closed_connections_total{code="Stalled"} 1.0'
            await until(lambda: count in server.services.metrics.page().decode())
        await raw.abort()


async def test_a_reader_that_is_slow_but_goes_on_is_not_dropped(web_dsn: str) -> None:
    topic = next(names)
    database = await asyncpg.connect(web_dsn)

    async def write(count: int) -> None:
        body = "x" * 1_100_000
        insert = "insert into entries (topic, position, body) values ($1, $2, $3)"
        await database.executemany(insert, [(topic, number, body) for number in range(count)])

    await write(7)
    with serving_web(web_dsn, send_stall_timeout_s=0.4) as server:
        raw = await never_reading(server, "probe:bodies", topic=topic)
        await until(lambda: server.unsent_bytes() > 0)
        await write(1)  # a second Transition, which has to wait for the first to be read
        await until(lambda: any(socket.has_output for socket in list(server.services.sockets)))

        raw.writer.transport.resume_reading()
        for _ in range(20):  # in all, longer than one may take who takes nothing
            await raw.reader.readexactly(350_000)
            await asyncio.sleep(0.05)

        assert server.services.admission.total == 1
        await raw.abort()
    await database.close()


async def test_an_http_answer_that_nobody_reads_is_dropped(
    web_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley.web.server.GuardedHttp.stall_timeout_s", 0.2)
    name = next(names)
    with serving_web(web_dsn) as server:
        async with filling(server, name) as (_, fill), open_http(server) as http:
            await fill(1)
            body = json.dumps({"path": "probe:take", "args": {"name": name}}).encode()
            head = b"POST /api/query HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.transport.pause_reading()
            writer.write((head + body) * 40)

            await until(lambda: server.unsent_bytes() > 0)
            await until(lambda: server.unsent_bytes() == 0)

            answer = await http.post("/api/query", content=body)
            assert answer.json()["value"][0] == 1
            await RawSocket(reader, writer).abort()
