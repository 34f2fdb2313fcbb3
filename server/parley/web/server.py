"""uvicorn around the application: one process or several, and a shutdown that loses nothing."""

from __future__ import annotations

import asyncio
import functools
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.supervisors import Multiprocess

from parley.config import Settings
from parley.logs import configure_logging
from parley.web.app import SHUTDOWN_EXTENSION, TRANSPORT_EXTENSION, create_app

_HEADERS_S: Final = 10.0
_GRACE_S: Final = 8  # in which the application drains; all of a shutdown stays below 10 s
_BACKLOG: Final = 2048


class GuardedHttp(HttpToolsProtocol):
    """Drops a connection whose request headers do not come within 10 s (slowloris)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the headers of the first request."""
        super().connection_made(transport)
        self._headers_timer = self.loop.call_later(_HEADERS_S, transport.abort)

    def on_headers_complete(self) -> None:
        """Stop waiting."""
        self._headers_timer.cancel()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._headers_timer.cancel()
        super().connection_lost(exc)


class SyncWebSocket(WebSocketsSansIOProtocol):
    """Gives the application what ASGI does not: the transport, and a say in the shutdown.

    uvicorn would close every socket at once; ours end when what they sent has been answered. And a
    peer that reads nothing must be dropped: a close frame would wait for it to read.
    """

    def handle_connect(self, event: Any) -> None:
        """Put the transport beside the scope before the application starts."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self._extensions[TRANSPORT_EXTENSION] = self.transport

    def shutdown(self) -> None:
        """Let the application end this socket, if it runs."""
        begin_drain = self._extensions.get(SHUTDOWN_EXTENSION) if hasattr(self, "scope") else None
        if begin_drain is None or self.close_sent:
            super().shutdown()
        else:
            begin_drain()

    @property
    def _extensions(self) -> dict[str, Any]:
        extensions: dict[str, Any] = self.scope["extensions"]
        return extensions


def _build(settings: Settings) -> ASGIApp:
    """Return the application of one process."""
    configure_logging(settings)
    return create_app(settings)


def serve(settings: Settings, host: str, port: int, workers: int = 1) -> None:
    """Serve until SIGTERM or SIGINT; `settings.database_url` is set and migrated."""
    config = uvicorn.Config(
        functools.partial(_build, settings),
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
        timeout_graceful_shutdown=_GRACE_S,
    )
    if workers == 1:
        uvicorn.Server(config).run()
    else:
        Multiprocess(config, sockets=[config.bind_socket()]).run()
