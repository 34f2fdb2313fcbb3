"""The ASGI application: routes, and the life of what is behind them.

/api/sync, /api/{version}/sync      the sync socket
/api/query, /api/mutation, …        the HTTP API
/health /ready /metrics /version    for operators
/dev/token                          development mode only
/ /demo /client /vendor             the chat page
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from parley.auth.verifier import Verifier
from parley.clock import Clock, SystemClock
from parley.config import Settings
from parley.devmode import dev_secret as load_dev_secret
from parley.devmode import registry_of
from parley.engine.engine import Engine
from parley.engine.node import Node
from parley.engine.transaction import Limits
from parley.errors import Overloaded, ShuttingDown
from parley.functions.registry import Registry
from parley.protocol.client_version import Refusal, identify
from parley.store.pool import PoolSettings
from parley.store.postgres import PostgresStore
from parley.store.retention import run_upkeep
from parley.web import operators, pages
from parley.web.api import ORIGIN_NOT_ALLOWED, answer, error_response
from parley.web.limits import Admission, Buckets
from parley.web.metrics import Metrics, measure_loop
from parley.web.process import find_old_cycles
from parley.web.services import Services
from parley.web.socket import SyncSocket, address_of, refuse
from parley.web.writer import Wire

log = logging.getLogger(__name__)

_DRAIN_S: Final = 4.0
_FLUSH_S: Final = 1.0
_CLOSE_S: Final = 1.5
# What our uvicorn protocol puts into a WebSocket scope's extensions: a `writer.Wire`.
TRANSPORT_EXTENSION: Final = "parley.transport"
_SLASHES: Final = re.compile("//+")


@asynccontextmanager
async def open_services(settings: Settings, clock: Clock) -> AsyncIterator[Services]:
    """Connect to Postgres, start the node, and yield what requests need; undo all at the end.

    `settings.database_url` is set and the database is migrated.
    """
    registry = registry_of(settings)
    dev_secret = load_dev_secret(settings.data_dir) if settings.is_development else None
    redact = settings.should_redact_errors
    verifier = Verifier.from_settings(settings, dev_secret=dev_secret, clock=clock)
    assert settings.database_url is not None  # noqa: S101 (the caller started the embedded one)
    pool = PoolSettings(
        max_readers=settings.max_database_connections,
        keep_log=timedelta(seconds=settings.log_retention_s),
        keep_requests=timedelta(seconds=settings.request_retention_s),
    )
    store = await PostgresStore.connect(settings.database_url, pool)
    try:
        async with open_node(store, registry, settings, clock, redact_errors=redact) as node:
            admission = Admission(
                total=settings.max_connections,
                per_address=settings.max_connections_per_address,
                silent_per_address=settings.max_silent_connections_per_address,
                per_user=settings.max_connections_per_user,
            )
            rate = settings.max_verifications_per_s
            services = Services(
                settings=settings,
                clock=clock,
                node=node,
                verifier=verifier,
                admission=admission,
                verifications=Buckets(rate, rate * 2),
                metrics=Metrics(node, clock, lambda: admission.total),
                redact_errors=redact,
                dev_secret=dev_secret,
            )
            services.begin_drain = _once(lambda: drain(services))
            node.on_failure = lambda: _fail(services)
            node.follower.on_reincarnation = lambda: end_all(services)
            tasks = [
                asyncio.create_task(run_upkeep(store), name="upkeep"),
                asyncio.create_task(measure_loop(services.metrics, clock), name="measure loop"),
                asyncio.create_task(find_old_cycles(), name="find old cycles"),
            ]
            try:
                yield services
            finally:
                for task in tasks:
                    task.cancel()
    finally:
        await verifier.aclose()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await store.close()
        except TimeoutError:
            # A commit under way ends by itself; whoever sends it again finds what became of it.
            log.warning("Postgres does not answer; leaving without a farewell")


@asynccontextmanager
async def open_node(
    store: PostgresStore,
    registry: Registry,
    settings: Settings,
    clock: Clock,
    *,
    redact_errors: bool,
) -> AsyncIterator[Node]:
    """Start a node at the newest commit of `store`."""
    # In this order: a change of the tables in between is then found in the log.
    head = await store.head()
    schema = await store.schema()
    incarnation = (await store.read_log(head)).incarnation
    reads: dict[str, Any] = {
        "max_documents": settings.max_documents_read,
        "max_bytes_read": settings.max_bytes_read,
        "max_ranges": settings.max_ranges_read,
    }
    engine = Engine(
        schema,
        head,
        clock=clock,
        cursor_secret=await store.cursor_secret(),
        query_limits=Limits(**reads, max_run_s=settings.max_query_s),
        mutation_limits=Limits(
            **reads,
            max_writes=settings.max_documents_written,
            max_bytes_written=settings.max_bytes_written,
            max_run_s=settings.max_mutation_s,
        ),
        max_memory_bytes=settings.max_memory_bytes,
        max_result_bytes=settings.max_result_bytes,
        max_waiting_mutations=settings.max_waiting_mutations,
        redact_errors=redact_errors,
    )
    node = Node(
        store,
        registry,
        engine,
        clock,
        incarnation=incarnation,
        mutation_timeout_s=settings.mutation_timeout_s,
        max_args_bytes=settings.max_args_bytes,
        max_result_bytes=settings.max_result_bytes,
        max_queries=settings.max_subscriptions,
        max_mutations=settings.max_queued_mutations,
        redact_errors=redact_errors,
        max_loads=settings.max_database_connections,
    )
    async with node.running():
        yield node


def _fail(services: Services) -> None:
    # uvicorn drains and ends on it; whoever watches the process starts another.
    services.has_failed = True
    signal.raise_signal(signal.SIGTERM)


def end_all(services: Services) -> None:
    """End every socket with a reason on which official clients come back at once."""
    for socket in list(services.sockets):
        socket.end(ShuttingDown("this server is going away"))


async def drain(services: Services) -> None:
    """Finish what was taken, let the answers leave, then end every socket."""
    await services.node.drain(_DRAIN_S)
    deadline = services.clock.monotonic() + _FLUSH_S
    while any(socket.has_output for socket in services.sockets):
        if services.clock.monotonic() > deadline:
            break
        await asyncio.sleep(0.01)
    end_all(services)


def _once(work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Return a function that starts `work` at its first call and does nothing later."""
    started: list[asyncio.Task[None]] = []

    def begin() -> None:
        if not started:
            started.append(asyncio.create_task(work(), name="drain"))

    return begin


def create_app(settings: Settings, clock: Clock | None = None) -> Starlette:
    """Return the application; it connects to Postgres when its lifespan begins.

    `app.state.services` holds its parts while it runs.
    """
    clock = clock or SystemClock()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_services(settings, clock) as services:
            app.state.services = services
            yield

    app = Starlette(
        routes=_routes(),
        lifespan=lifespan,
        middleware=[Middleware(CORSMiddleware, **_cors(settings))],
    )
    # Each path is one route's, to the letter. Starlette would lead `/health/` to `/health`, on
    # whatever host the request names.
    app.router.redirect_slashes = False
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(_SingleSlashes)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    return app


def _routes() -> list[Route | WebSocketRoute]:
    socket = _SyncEndpoint()
    routes: list[Route | WebSocketRoute] = [
        WebSocketRoute("/api/sync", socket),
        WebSocketRoute("/api/{client_version}/sync", socket),
        *operators.ROUTES,
        *pages.ROUTES,
    ]
    for path, name, methods in (
        ("/api/query", "query", ["GET", "POST"]),
        ("/api/query_batch", "query_batch", ["POST"]),
        ("/api/query_ts", "query_ts", ["POST"]),
        ("/api/query_at_ts", "query_at_ts", ["POST"]),
        ("/api/mutation", "mutation", ["POST"]),
        ("/api/action", "action", ["POST"]),
        ("/api/function", "function", ["POST"]),
        ("/api/run/{path:path}", "run", ["POST"]),
    ):
        routes.append(Route(path, _api(name), methods=methods))
    return routes


def _api(name: str) -> Any:
    async def endpoint(request: Request) -> Response:
        return await answer(request.app.state.services, name, request)

    return endpoint


def _cors(settings: Settings) -> dict[str, Any]:
    # Auth is never a cookie, so any origin may be let in; an operator may list the ones that are.
    origins = settings.allowed_origins
    allowed = {"allow_origins": origins} if origins else {"allow_origin_regex": ".*"}
    return {
        **allowed,
        "allow_credentials": True,
        "allow_methods": ["GET", "POST", "OPTIONS", "PATCH", "DELETE", "PUT"],
        "allow_headers": ["*"],
        "expose_headers": ["convex-request-id"],
        "max_age": 86400,
    }


class _SyncEndpoint:
    """Admits or refuses a sync socket, then has it run; raw ASGI, with nothing between."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        services: Services = scope["app"].state.services
        await receive()  # websocket.connect
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if not services.lets_in(headers.get(b"origin")):
            await refuse(scope, send, 403, *ORIGIN_NOT_ALLOWED)
            return
        client = identify(
            scope["path_params"].get("client_version"),
            headers.get(b"convex-client"),
            scope["query_string"].decode("latin-1"),
        )
        if isinstance(client, Refusal):
            await refuse(scope, send, 400, client.code, client.message)
            return
        address = address_of(scope)
        try:
            if services.node.is_draining:
                raise Overloaded("this server is going away")
            services.admission.enter(address)
        except Overloaded as error:
            await refuse(scope, send, 429, error.code, error.message)
            return
        wire: Wire | None = scope.get("extensions", {}).get(TRANSPORT_EXTENSION)
        socket = SyncSocket(services, client, address, wire)
        if wire is None:
            await socket.run(receive, send)
        else:
            wire.hand_over(socket.run, services.begin_drain)


class _SingleSlashes:
    """Collapses `//`: a deployment URL with a trailing slash gives `//api/…` (PROTOCOL.md §1.1)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "//" in scope.get("path", ""):
            scope = {**scope, "path": _SLASHES.sub("/", scope["path"])}
        await self._app(scope, receive, send)


async def _http_error(_request: Request, error: Exception) -> Response:
    """Return Starlette's own refusals (404, 405) in the shape of all others."""
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for nothing else)
    code = HTTPStatus(error.status_code).phrase.replace(" ", "")
    return error_response(error.status_code, code, error.detail)
