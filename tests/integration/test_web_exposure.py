"""What a stranger can reach: every route, foreign pages, false headers, and paths that are none.

The tables of RELIABILITY §3.3. A stranger comes from elsewhere, through a proxy that says so.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.routing import Route, WebSocketRoute

from parley.web.app import create_app
from tests.support.client import open_client
from tests.support.rawsocket import RawSocket, handshake
from tests.support.webapp import ADMIN_KEY, WebServer, open_http, serving_web

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORIGIN = "https://app.example.com"
STRANGER = {"x-forwarded-for": "203.0.113.7"}
names = (f"exposure-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def picky(web_dsn: str) -> Iterator[WebServer]:
    """A server that lets pages of one origin in."""
    with serving_web(web_dsn, allowed_origins=(ORIGIN,), admin_key=ADMIN_KEY) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(web: WebServer) -> AsyncIterator[httpx.AsyncClient]:
    async with open_http(web) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def picky_http(picky: WebServer) -> AsyncIterator[httpx.AsyncClient]:
    async with open_http(picky) as client:
        yield client


# --- every route

QUERY = {"path": "probe:who", "args": {}}
ADD = {"path": "probe:add", "args": {"name": "exposed"}}
SLOW = {"path": "probe:slowAdd", "args": {"name": "exposed", "waitS": 0}}
# Per route: how a stranger asks, and the status they get. A route that is not here fails the build.
ROUTES: dict[str, list[tuple[str, str, Any, int]]] = {
    "/version": [("GET", "/version", None, 200)],
    "/instance_name": [("GET", "/instance_name", None, 200)],
    "/instance_version": [("GET", "/instance_version", None, 200)],
    "/health": [("GET", "/health", None, 200), ("POST", "/health", None, 405)],
    "/ready": [("GET", "/ready", None, 200)],
    "/metrics": [("GET", "/metrics", None, 403), ("POST", "/metrics", None, 405)],
    "/dev/token": [("GET", "/dev/token?sub=alice", None, 404)],
    "/": [("GET", "/", None, 200), ("POST", "/", None, 405)],
    "/demo/config.json": [("GET", "/demo/config.json", None, 200)],
    "/demo/{path:path}": [
        ("GET", "/demo/index.html", None, 200),
        ("GET", "/demo/none.html", None, 404),
        ("PUT", "/demo/index.html", None, 405),
    ],
    "/client/src/{path:path}": [("GET", "/client/src/none.js", None, 404)],
    "/vendor/{path:path}": [("GET", "/vendor/none.js", None, 404)],
    "/api/query": [
        ("POST", "/api/query", QUERY, 200),
        ("GET", "/api/query?path=probe:who", None, 200),
        ("DELETE", "/api/query", None, 405),
        ("TRACE", "/api/query", None, 405),
    ],
    "/api/query_batch": [("POST", "/api/query_batch", {"queries": [QUERY]}, 200)],
    "/api/query_ts": [("POST", "/api/query_ts", {}, 200)],
    "/api/query_at_ts": [("POST", "/api/query_at_ts", {**QUERY, "ts": "x"}, 400)],
    "/api/mutation": [
        ("POST", "/api/mutation", ADD, 200),
        ("GET", "/api/mutation?path=probe:add", None, 405),
    ],
    "/api/action": [
        ("POST", "/api/action", SLOW, 200),
        ("GET", "/api/action?path=probe:slowAdd", None, 405),
    ],
    "/api/function": [("POST", "/api/function", QUERY, 401)],
    "/api/run/{path:path}": [("POST", "/api/run/probe/who", {}, 200)],
}
SOCKETS = {"/api/sync", "/api/{client_version}/sync"}


async def test_every_route_is_in_the_table(web: WebServer) -> None:
    routes = create_app(web.services.settings).routes

    assert {route.path for route in routes if isinstance(route, Route)} == set(ROUTES)
    assert {route.path for route in routes if isinstance(route, WebSocketRoute)} == SOCKETS
    assert len(routes) == len(ROUTES) + len(SOCKETS)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"), list(itertools.chain(*ROUTES.values()))
)
async def test_a_stranger_gets_what_the_table_says(
    http: httpx.AsyncClient, method: str, path: str, body: Any, status: int
) -> None:
    response = await http.request(method, path, json=body, headers=STRANGER)

    assert response.status_code == status
    assert status < 400 or response.json().keys() == {"code", "message"}


ABSENT = [
    "/docs", "/redoc", "/openapi.json", "/swagger", "/debug", "/debug/pprof/", "/debug/vars",
    "/admin", "/console", "/server-status", "/actuator", "/actuator/env", "/.env", "/.git/config",
    "/config.json", "/static/", "/graphql", "/rest/v1/users", "/api", "/api/", "/api/sync",
    "/api/1.48.0/sync", "/api/query/", "/api/query/x", "/API/query", "/api/query%00",
    "/api/query;x", "/health/", "/metrics/", "/metrics/x", "/Metrics", "/%6detrics/", "/dev/",
    "/dev/token/", "/ready/", "/favicon.ico/", "/%2e%2e/etc/passwd", "/demo",
]  # fmt: skip


@pytest.mark.parametrize("path", ABSENT)
async def test_what_no_route_names_is_not_there(http: httpx.AsyncClient, path: str) -> None:
    """Exactly its path: not with a slash behind it either."""
    response = await http.get(http.base_url.copy_with(raw_path=path.encode()))

    assert (response.status_code, response.json()["code"]) == (404, "NotFound")
    assert "location" not in response.headers


NO_SOCKETS = [
    "/api/sync/", "/api/sync/x", "/API/SYNC", "/api/Sync", "/api/sync%00", "/api/sync;x",
    "/api/syn", "/api/1.48.0/sync/", "/api/1.48.0/sync/..", "/api/1.48.0/x/sync", "/x/api/sync",
    "/sync", "/api/%2e%2e/x/sync", "/", "/health", "/metrics", "/api/query", "/demo/index.html",
]  # fmt: skip


@pytest.mark.parametrize("path", NO_SOCKETS)
async def test_a_socket_is_at_exactly_its_paths(web: WebServer, path: str) -> None:
    head, raw = await handshake(web.port, path)
    await raw.abort()

    assert head.split()[1] in {b"403", b"404"}
    assert web.services.admission.total == 0


# --- foreign pages

FOREIGN = {
    "another site": "https://evil.example.com",
    "suffix": "https://app.example.com.evil.com",
    "prefix": "https://evilapp.example.com",
    "subdomain": "https://x.app.example.com",
    "parent": "https://example.com",
    "scheme": "http://app.example.com",
    "another scheme": "chrome-extension://app.example.com",
    "port": "https://app.example.com:8443",
    "port of the scheme": "https://app.example.com:443",
    "null": "null",
    "empty": "",
    "path behind": "https://app.example.com/",
    "user": "https://app.example.com@evil.example.com",
    "fragment": "https://evil.example.com#https://app.example.com",
    "two": "https://app.example.com https://evil.example.com",
    "two with a comma": "https://app.example.com, https://evil.example.com",
    "dot behind": "https://app.example.com.",
    "pattern": "https://*.example.com",
    "any": "*",
    "look-alike": "https://\u0430pp.example.com",
    "no scheme": "app.example.com",
    "this server itself": "http://127.0.0.1",
}


@pytest.mark.parametrize("name", FOREIGN)
async def test_a_foreign_page_opens_no_socket(picky: WebServer, name: str) -> None:
    for host in ("127.0.0.1", "app.example.com", "evil.example.com"):
        head, raw = await handshake(picky.port, headers={"Origin": FOREIGN[name], "Host": host})
        body = await raw.reader.readuntil(b"}")
        await raw.abort()

        assert head.startswith(b"HTTP/1.1 403 ")
        assert json.loads(body)["code"] == "OriginNotAllowed"
    assert picky.services.admission.total == 0


@pytest.mark.parametrize("name", FOREIGN)
async def test_a_foreign_page_runs_nothing_over_http(
    picky_http: httpx.AsyncClient, name: str
) -> None:
    headers = {"origin": FOREIGN[name].encode(), "content-type": b"text/plain"}  # no preflight
    body = {"path": "probe:add", "args": {"name": f"foreign {name}"}}
    content = json.dumps(body)
    response = await picky_http.post("/api/mutation", content=content, headers=headers)
    question = {"path": "probe:count", "args": {"name": f"foreign {name}"}}
    count = (await picky_http.post("/api/query", json=question)).json()["value"]

    assert (response.status_code, response.json()["code"]) == (403, "OriginNotAllowed")
    assert "access-control-allow-origin" not in response.headers
    assert count == 0


@pytest.mark.parametrize("headers", [{}, {"origin": ORIGIN}, {"origin": ORIGIN.upper()}])
async def test_the_listed_page_and_programs_run_what_they_ask(
    picky: WebServer, picky_http: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    response = await picky_http.post("/api/query", json=QUERY, headers=headers)
    async with open_client(picky.url, headers=headers) as client:
        assert await client.subscribe("probe:who") in client.results

    assert response.status_code == 200


@pytest.mark.parametrize("origin", [None, ORIGIN, "https://evil.example.com", "null"])
async def test_any_page_is_never_the_answer(
    http: httpx.AsyncClient, picky_http: httpx.AsyncClient, origin: str | None
) -> None:
    """`*` beside credentials is what browsers refuse, and what scanners look for."""
    headers = {} if origin is None else {"origin": origin}
    preflight = {**headers, "access-control-request-method": "POST"}
    for each in (http, picky_http):
        answers = [
            await each.options("/api/query", headers=preflight),
            await each.post("/api/query", json=QUERY, headers=headers),
            await each.get("/demo/config.json", headers=headers),
        ]
        for answer in answers:
            allowed = answer.headers.get("access-control-allow-origin")
            assert allowed != "*"
            assert allowed in {None, origin}
            assert "set-cookie" not in answer.headers


# --- false headers

FORWARDED = {
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-host": "localhost",
    "x-real-ip": "127.0.0.1",
    "forwarded": "for=127.0.0.1;host=localhost",
    "via": "1.1 proxy",
    "cf-connecting-ip": "127.0.0.1",
    "true-client-ip": "127.0.0.1",
    "client-ip": "127.0.0.1",
}


@pytest.mark.parametrize("name", FORWARDED)
async def test_whoever_is_forwarded_is_no_operator(http: httpx.AsyncClient, name: str) -> None:
    response = await http.get("/metrics", headers={name: FORWARDED[name]})

    assert response.status_code == 403


@pytest.mark.parametrize("host", ["evil.example.com", "localhost", "[::1]", "a\x80b", "x" * 5000])
async def test_no_answer_repeats_a_false_host(web: WebServer, host: str) -> None:
    paths = ("/health", "/health/", "/api/none", "/api/query/", "/version")
    for path in paths:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: {host}\r\n"
            "X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n".encode("latin-1")
        )
        answer = await asyncio.wait_for(reader.read(1 << 16), 5)
        await RawSocket(reader, writer).abort()

        assert host.encode("latin-1") not in answer
        assert answer.split()[1] in {b"200", b"400", b"404"}
