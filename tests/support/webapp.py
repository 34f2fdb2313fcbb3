"""A web server in a thread of the test process, so that it can have limits a test can reach.

    with serving_web(dsn, max_connections=1) as server:
        async with open_client(server.url) as client: ...

All of the real server but for the process: uvicorn as `parley.web.server` sets it up, uvloop, a
port of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Set
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import httpx
import uvicorn
import uvloop
from starlette.applications import Starlette

from parley.clock import Clock
from parley.config import Settings
from parley.web.app import create_app
from parley.web.server import server_config
from parley.web.services import Services
from tests.support.client import SyncClient, open_client
from tests.support.server import FUNCTIONS
from tests.support.tokens import SECRET

START_TIMEOUT_S = 10.0
ADMIN_KEY = "dev:an admin key that is long enough, by far"


class WebServer:
    """One server in a thread.

    Attributes:
        port: on 127.0.0.1.
        services: what its requests share; only to be looked at, from another thread.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        app = create_app(settings, clock)
        assert isinstance(app, Starlette)
        self._app = app
        self._server = uvicorn.Server(server_config(settings, lambda: app))
        self._thread = threading.Thread(target=self._run, name="web server")

    @property
    def url(self) -> str:
        """The deployment URL, as clients take it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def services(self) -> Services:
        services: Services = self._app.state.services
        return services

    @property
    def connections(self) -> Set[Any]:
        """What is connected, by whatever protocol."""
        return self._server.server_state.connections

    def unsent_bytes(self) -> int:
        """Return what waits for clients to read it, over all connections."""
        connections = list(self.connections)
        return sum(connection.transport.get_write_buffer_size() for connection in connections)

    def start(self) -> None:
        """Start, and wait until it listens."""
        self._is_failed = False
        self._thread.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            assert self._thread.is_alive(), "the server ended"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.01)
        self.services.node.on_failure = self._fail  # else it ends the process, as it should

    def stop(self) -> None:
        """End it as SIGTERM does, and wait until it is gone."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()
        assert not self._is_failed, "the engine failed; the log says why"

    def _fail(self) -> None:
        self._is_failed = True

    def _run(self) -> None:
        uvloop.run(self._server.serve([self._listener]))


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Wait until the server, in its thread, has made `condition` true."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  # what is in another thread sets no event
            await asyncio.sleep(0.01)


def open_http(server: WebServer) -> httpx.AsyncClient:
    """Return an HTTP client of `server`, to be used as a context."""
    # verify: the certificates of the world take longer to load than most tests.
    return httpx.AsyncClient(base_url=server.url, trust_env=False, verify=False)


@contextmanager
def serving_web(dsn: str, *, clock: Clock | None = None, **settings: Any) -> Iterator[WebServer]:
    """Yield a server on the database of `dsn`; `settings` are fields of `Settings`."""
    chosen = Settings(
        database_url=dsn, supabase_jwt_secret=SECRET, functions=tuple(FUNCTIONS.split(","))
    )
    server = WebServer(replace(chosen, **settings), clock)
    server.start()
    try:
        yield server
    finally:
        server.stop()


_names = (f"neighbour-{number}" for number in itertools.count())


@asynccontextmanager
async def neighbour(web: WebServer) -> AsyncIterator[SyncClient]:
    """Yield somebody else's client, and check in the end that all is well with it.

    `SyncClient` asserts the version chain with each Transition.
    """
    name = {"name": next(_names)}
    async with open_client(web.url) as client:
        query_id = await client.subscribe("probe:count", name)
        yield client
        await client.mutate("probe:add", name)
        await client.until(lambda: client.results[query_id] == 1)
