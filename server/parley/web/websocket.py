"""One WebSocket below ASGI: uvicorn's, with what our application needs of it, in less memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

import uvicorn
from starlette.types import Message, Receive, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.protocol import State

from parley.errors import without_frames
from parley.web.app import TRANSPORT_EXTENSION
from parley.web.limits import Peers
from parley.web.transport import PushTransport, write_all
from parley.web.waiting import LightEvent, LightQueue
from parley.web.writer import ASGISession, refuse_text

ABORT_S: Final = 6.0  # in which a server that stops closes connections in order
_FORGOTTEN: Final[Any] = {"extensions": {}}  # the scope of a connection that is open


class _HasPeers(Protocol):
    peers: Peers


def peers_of(config: uvicorn.Config) -> Peers:
    """Return the count of connections that all protocols of a process share."""
    return cast("_HasPeers", config).peers


def address_of_peer(client: tuple[str, int] | None) -> str:
    """Return the address in what uvicorn knows of a peer."""
    return client[0] if client else ""


class SyncWebSocket(WebSocketsSansIOProtocol):
    """Gives the application what ASGI does not: the transport, and a say in the shutdown.

    uvicorn would close every socket at once; ours end when what they sent has been answered. And a
    peer that reads nothing must be dropped: a close frame would wait for it to read.
    """

    linger_s = 10.0
    transport: PushTransport

    # What uvicorn keeps is more than the 30 attributes whose names instances share: in slots it
    # takes 0.3 KB of each connection, in a dict of its own 1.6.
    __slots__ = (
        *("config", "app", "loop", "logger", "root_path", "asgi_version", "app_state"),
        *("connections", "tasks", "default_headers", "transport", "server", "client", "scheme"),
        *("queue", "handshake_initiated", "handshake_complete", "close_sent", "disconnected"),
        *("close_timer", "close_timeout", "initial_response", "conn", "read_paused", "writable"),
        *("ping_interval", "ping_timeout", "ping_timer", "pong_timer", "pending_ping_payload"),
        *("ping_sent_at", "last_ping_rtt", "frames", "curr_msg_data_type"),
        *("request", "response", "scope"),
        *("take", "_begin_drain", "_linger_timer", "_session", "_unread_bytes"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Theirs take 3.7 KB while they wait.
        self.queue: Any = LightQueue()
        self.writable: Any = LightEvent(is_set=True)
        self.take: Callable[[str], bool] = refuse_text
        self._begin_drain: Callable[[], None] | None = None
        self._session: ASGISession | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._unread_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Put ourselves between uvicorn and uvloop."""
        super().connection_made(PushTransport(cast("asyncio.Transport", transport)))

    def handle_connect(self, event: Any) -> None:
        """Put ourselves beside the scope before the application starts: see `writer.Wire`."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self._extensions[TRANSPORT_EXTENSION] = self

    def hand_over(self, session: ASGISession, begin_drain: Callable[[], None]) -> None:
        """Run the session when the application is done; end it by `begin_drain` at a shutdown."""
        self._session = session
        self._begin_drain = begin_drain

    def opened(self, take: Callable[[str], bool]) -> None:
        """Offer texts to `take`; forget the handshake, which is 3 KB of headers."""
        self.take = take
        if self.handshake_complete:  # else the peer went away meanwhile
            self.request.headers.clear()  # the parser holds the request for good
            del self.request, self.response
            self.scope = _FORGOTTEN

    # --- as a port of `engine.cohort`

    @property
    def number(self) -> int:
        """The file descriptor."""
        return self.transport.number

    @property
    def on_other_use(self) -> Callable[[], object]:
        """What is called before anything but a push is done with the socket."""
        return self.transport.on_other_use

    @on_other_use.setter
    def on_other_use(self, called: Callable[[], object]) -> None:
        self.transport.on_other_use = called

    @property
    def is_clear(self) -> bool:
        """Whether all has left for the peer, and more may follow."""
        return not self.close_sent and self.transport.is_clear

    def write_now(self, frames: bytes) -> bool:
        """Write whole frames at once, unless the peer is slow or the connection is ending."""
        transport = self.transport
        # A close frame that came in closes the transport before anything else is done.
        if self.close_sent or transport.is_closing() or not self.writable.is_set():
            return False
        transport.push(frames)
        return True

    def write_all(self, numbers: Sequence[int], frames: bytes) -> list[tuple[int, int]]:
        """Write to the sockets of many."""
        return write_all(numbers, frames)

    def go_on(self, rest: memoryview) -> None:
        """Write the rest of what `write_all` began."""
        self.transport.write(rest)

    # --- as uvicorn calls it

    def abort(self) -> None:
        """Drop the connection with all that is still to be sent."""
        self.transport.abort()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the peer's side has not taken yet."""
        return self.transport.get_write_buffer_size()

    def handle_cont(self, event: Any) -> None:
        """Join fragments as they come: millions of tiny ones must cost no more than their bytes."""
        if not isinstance(self.frames[0], bytearray):
            self.frames = [cast("bytes", bytearray(self.frames[0]))]
        self.frames[0] += event.data
        if event.fin:
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """Hand a message over; one that is no UTF-8 ends the connection, without a traceback."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                text = b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                if self.conn.state is State.OPEN:  # else the peer said goodbye in the same bytes
                    self.conn.send_close(CloseCode.INVALID_DATA)
                    self.handle_parser_exception()
                return
            if self.take(text):
                self.frames = []
                return
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        """Answer, unless the peer does not read its answers."""
        pong = self.conn.data_to_send()
        if self.writable.is_set():
            self.transport.write(b"".join(pong))

    def send_keepalive_ping(self) -> None:
        """Ping, and remember how much the peer has to read before it sees it."""
        self._unread_bytes = self.transport.get_write_buffer_size()
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """Give up on a peer that neither answers nor reads; one that reads may have a slow link."""
        left = self.transport.get_write_buffer_size()
        # While we do not read what it sends (`SyncWorker.is_congested`), its answer waits too.
        is_alive = left < self._unread_bytes or self.read_paused
        if is_alive and self.ping_timeout is not None:
            self._unread_bytes = left
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
            return
        super().keepalive_timeout()
        self._linger()

    async def run_asgi(self) -> None:
        """Run the application; behind it, see to it that the connection really goes away."""
        self.app = self._serve
        try:
            await super().run_asgi()
        finally:
            self.app = self.config.loaded_app  # holds us no longer
            self._linger()

    def eof_received(self) -> None:
        """Hear that the peer has hung up: behind this, uvloop closes the transport."""
        self.transport.on_other_use()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting; when this returns, the file descriptor may be anybody's."""
        self.transport.on_other_use()
        peers_of(self.config).leave(address_of_peer(self.client))  # `GuardedHttp` counted it
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        super().connection_lost(exc)
        # What holds us, and we it: it would stay until the collector of cycles comes by.
        self.conn.parser.close()
        for error in (self.conn.handshake_exc, self.conn.parser_exc):
            if error is not None:
                without_frames(error)
        if hasattr(self, "scope"):
            self._extensions.clear()

    async def send(self, event: Any) -> None:
        """Send; a refused handshake is complete, which uvicorn otherwise logs as an error."""
        await super().send(event)
        if cast("Message", event)["type"] == "websocket.http.response.body":
            self.handshake_complete = True

    def shutdown(self) -> None:
        """Let the application end this socket, if it runs."""
        if self._begin_drain is None or self.close_sent:
            super().shutdown()
        else:
            self._begin_drain()
        # A transport that is left when its loop ends would keep uvloop, and so the process, going.
        self.loop.call_later(ABORT_S, self.transport.abort)

    def _linger(self) -> None:
        # uvicorn closes in order, which waits for ever for a peer that does not read.
        if not self.disconnected and self._linger_timer is None:
            self._linger_timer = self.loop.call_later(self.linger_s, self.transport.abort)

    async def _serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Run the application, then the session that it hands over.

        Else its ten layers, each with a coroutine and parts of the request, would be kept as long
        as the connection: 5 KB.
        """
        await self.config.loaded_app(scope, receive, send)
        del scope
        session, self._session = self._session, None
        if session is not None:
            await session(receive, send)

    @property
    def _extensions(self) -> dict[str, Any]:
        extensions: dict[str, Any] = self.scope["extensions"]
        return extensions
