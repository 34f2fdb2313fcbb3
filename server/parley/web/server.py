"""uvicorn around the application: one process or several, and a shutdown that loses nothing.

uvicorn's protocols trust their peers in places where ours may be hostile: headers without end,
bytes trickled to keep a connection, answers never read. `GuardedHttp` sees to these, and
`websocket.SyncWebSocket`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Final, cast

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.supervisors import Multiprocess

from parley.config import Settings
from parley.engine.alarm import ALARM
from parley.logs import configure_logging
from parley.web.app import create_app
from parley.web.limits import Peers
from parley.web.process import (
    calm_collector,
    keep_freed_memory,
    raise_file_limit,
    room_for_connections,
)
from parley.web.websocket import ABORT_S, SyncWebSocket, address_of_peer, peers_of

_MAX_HEAD_BYTES: Final = 16 << 10
_MAX_HTTP_CONNECTIONS: Final = 1000  # beside the sync sockets
_MAX_HTTP_PER_ADDRESS: Final = 100
_GRACE_S: Final = 7  # in which the application drains; all of a shutdown stays below 10 s
_BACKLOG: Final = 2048
_TOO_LONG: Final = "the head of a request may be 16 KiB, and a line of a handshake 8"
_STATUS_LINES: Final = {
    400: b"HTTP/1.1 400 Bad Request\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
}


def _last_words(status: int, message: str) -> bytes:
    """Return a whole HTTP response behind which the connection ends."""
    body = orjson.dumps({"code": "BadRequest", "message": message})
    return _STATUS_LINES[
        status
    ] + b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


class _Config(uvicorn.Config):
    """uvicorn's, and the count of connections that all protocols of a process share."""

    def __init__(self, settings: Settings, build: Callable[[], ASGIApp], **options: Any) -> None:
        self._settings = settings
        super().__init__(build, **options)

    def load(self) -> None:
        """Make the application, in the process that serves it."""
        super().load()
        proxies = ProxyHeadersMiddleware(self.loaded_app, [*self._settings.trusted_proxies])
        self.peers = Peers(
            total=room_for_connections(self._settings.max_connections + _MAX_HTTP_CONNECTIONS),
            per_address=self._settings.max_connections_per_address + _MAX_HTTP_PER_ADDRESS,
            is_proxy=lambda address: address in proxies.trusted_hosts,
        )


class GuardedHttp(HttpToolsProtocol):
    """Drops peers that are slow on purpose, whatever they are slow at.

    From the connection, or the last answer, to the end of the next request's head there are
    `head_timeout_s` seconds, however many bytes trickle in. An answer that nobody reads is dropped
    after `stall_timeout_s` without progress. (How long a body may take is the API's to say.)
    """

    head_timeout_s = 10.0
    stall_timeout_s = 30.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._is_counted = peers_of(self.config).enter(address_of_peer(self.client))
        if not self._is_counted:
            transport.abort()  # an answer would be work too
        self._is_in_head = True
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self.head_timeout_s, transport.abort)
        self._stall_timer: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None

    def data_received(self, data: bytes) -> None:
        """Count what a head has taken so far: the parser would keep any amount."""
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > _MAX_HEAD_BYTES:
            self.send_400_response(_TOO_LONG)

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._is_in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Stop waiting, and refuse a head that came in one piece but is too long."""
        self._head_timer.cancel()
        self._is_in_head = False
        fields = sum(len(name) + len(value) for name, value in self.headers)
        self._head_bytes = len(self.url) + fields
        if self._head_bytes > _MAX_HEAD_BYTES:
            raise ValueError(_TOO_LONG)  # the parser stops, and `send_400_response` is called
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, and for this answer to be read."""
        super().on_response_complete()
        self._head_bytes = 0
        if self.cycle.response_complete:  # else the next one, sent ahead, is being answered
            self._head_timer.cancel()
            self._head_timer = self.loop.call_later(self.head_timeout_s, self._end)
        self._watch_writing(self.transport.get_write_buffer_size())

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in the shape of all our errors, and hang up."""
        is_too_long = self._head_bytes > _MAX_HEAD_BYTES
        self._is_in_head = False
        if not self.transport.is_closing():
            words = _last_words(431, _TOO_LONG) if is_too_long else _last_words(400, msg)
            self.transport.write(words)
            self.transport.close()
            self._watch_writing(len(words))

    def handle_websocket_upgrade(self) -> None:
        """Hand over; uvicorn would leave a handshake that cannot be read without an answer."""
        super().handle_websocket_upgrade()
        socket = cast("SyncWebSocket", self.transport.get_protocol())
        if not socket.handshake_initiated and not self.transport.is_closing():
            self.transport.write(_last_words(431, _TOO_LONG))
            self.transport.close()
        self._forget_parser()

    def shutdown(self) -> None:
        """Finish what is being answered, but do not wait for who does not read it."""
        super().shutdown()
        self.loop.call_later(ABORT_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._is_counted:
            peers_of(self.config).leave(address_of_peer(self.client))
        self._head_timer.cancel()
        self._watch_writing(0)
        if self._answering is not None:
            # uvicorn tells only the newest request, not the one that others were sent behind.
            self._answering.disconnected = True
        super().connection_lost(exc)
        self._forget_parser()

    def _forget_parser(self) -> None:
        # It holds us, and we it: both would stay until the collector of cycles comes by.
        self.parser = None  # type: ignore[assignment]

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _end(self) -> None:
        if self.transport.get_write_buffer_size() == 0:
            self.transport.abort()
        else:
            self._head_timer = self.loop.call_later(self.head_timeout_s, self._end)

    def _watch_writing(self, left: int) -> None:
        """Look again and again whether what is to be sent gets less; abort when it does not."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        if left > 0:
            self._stall_timer = self.loop.call_later(self.stall_timeout_s, self._look, left)

    def _look(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left >= before:
            self.transport.abort()
        else:
            self._watch_writing(left)


class _Workers(Multiprocess):
    """Several processes that share a port."""

    def terminate_all(self) -> None:
        """Stop accepting, in this process too: what it took, nobody would ever answer."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def _build(settings: Settings) -> Starlette:
    """Return the application of one process."""
    configure_logging(settings)
    ALARM.install()
    raise_file_limit()
    keep_freed_memory()
    app = create_app(settings)
    calm_collector()
    return app


def server_config(
    settings: Settings,
    build: Callable[[], ASGIApp],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    workers: int = 1,
) -> uvicorn.Config:
    """Return how uvicorn serves the application that `build` makes in each process."""
    return _Config(
        settings,
        build,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=GuardedHttp,
        ws=SyncWebSocket,
        ws_max_size=settings.max_frame_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=settings.ws_ping_interval_s,
        ws_ping_timeout=settings.ws_ping_timeout_s,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        access_log=False,
        log_config=None,
        backlog=_BACKLOG,
        limit_concurrency=settings.max_connections + _MAX_HTTP_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_S,
    )


def serve(settings: Settings, host: str, port: int, workers: int = 1) -> None:
    """Serve until SIGTERM or SIGINT; `settings.database_url` is set and migrated.

    Raises:
        SystemExit: 1 when it could not start, or ends because the engine failed. (Of several
            workers, one that fails ends by the signal, and another is started.)
    """
    if workers > 1:
        build = functools.partial(_build, settings)
        config = server_config(settings, build, host=host, port=port, workers=workers)
        _Workers(config, sockets=[config.bind_socket()]).run()
        return
    app = _build(settings)
    server = uvicorn.Server(server_config(settings, lambda: app, host=host, port=port))
    try:
        server.run()
    finally:
        # To uvicorn it is one signal like another, after which it ends as if all were well.
        if not server.started or app.state.services.has_failed:
            raise SystemExit(1)
