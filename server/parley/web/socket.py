"""One sync socket: frames in, frames out, and the timers of PROTOCOL.md §1.4.

All decisions are the protocol's and the worker's; here is only who waits for what.

One task per socket reads, one message at a time, in order. Another one sends, for as long as there
is something that the peer does not take at once. A timer sees to pings and deadlines. Whatever ends
the socket first says why, and stops the reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.types import Receive, Scope, Send

from parley.auth.admin import admin_identity
from parley.engine.failures import report
from parley.engine.ports import nothing
from parley.errors import (
    AuthRejected,
    AuthUnavailable,
    BadMessage,
    Overloaded,
    ParleyError,
    TimedOut,
    TokenExpired,
    TooLarge,
    without_frames,
)
from parley.identity import Identity
from parley.protocol import responses
from parley.protocol.client_version import ClientVersion
from parley.protocol.closing import Closing, auth_closing, closing_for
from parley.protocol.connection import Connection
from parley.protocol.error_text import error_text, request_id_for
from parley.protocol.messages import (
    Action,
    Add,
    Authenticate,
    ClientMessage,
    Connect,
    ModifyQuerySet,
    Mutation,
)
from parley.web.limits import TokenBucket
from parley.web.services import Services
from parley.web.writer import Gone, SocketWriter, Wire, refuse_text

log = logging.getLogger(__name__)

_MAX_ACTIONS_PER_SOCKET: Final = 100
_GONE: Final = "disconnect"  # the client's own doing, or the network's
_NO_STATUS: Final = 1000  # ASGI cannot close without a code; 1000 is as silent in clients' logs
_MAX_TIMER_S: Final = 3600.0
_TOO_LARGE: Final = 1009  # with it uvicorn ends a connection whose message is above the limit


class _Ended(Exception):
    """The socket ends; `closing` says how, None when it is gone already."""

    def __init__(self, closing: Closing | None, code: str) -> None:
        super().__init__(code)
        self.closing = closing
        self.code = code


class SyncSocket:
    """Runs one client's connection from accept to end."""

    _send: Send

    def __init__(
        self, services: Services, client: ClientVersion, address: str, wire: Wire | None
    ) -> None:
        self._services = services
        self._settings = services.settings
        self._clock = services.clock
        self._address = address
        self._connection = Connection(client, services.clock)
        self._writer = SocketWriter(
            wire,
            services.outlet,
            services.metrics.sent,
            services.clock,
            stall_timeout_s=self._settings.send_stall_timeout_s,
        )
        self._worker = services.node.open(self._connection, self._writer.wake)
        if wire is not None:
            self._worker.attach(wire)
        self._writer.worker = self._worker
        self._wire = wire
        self._is_idle = False
        self._taken: ClientMessage | ParleyError | None = None
        now = self._clock.monotonic()
        self._opened_at = now
        self._adds = TokenBucket(
            self._settings.max_subscriptions_per_s, self._settings.max_subscription_burst, now
        )
        self._is_silent = True
        self._user: str | None = None
        self._actions = 0
        self._reading: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended: _Ended | None = None

    @property
    def has_output(self) -> bool:
        """Whether frames wait to be sent."""
        return bool(self._worker.outbox)

    def end(self, error: ParleyError) -> None:
        """End the connection as `error` asks for, soon."""
        self._end(_Ended(closing_for(error), error.code))

    async def run(self, receive: Receive, send: Send) -> None:
        """Accept and serve until either side ends it. `Admission.enter` has counted it."""
        self._services.sockets.add(self)
        try:
            await send({"type": "websocket.accept"})
            if self._wire is not None:
                self._wire.opened(self._take)
            self._send = send
            self._writer.slow = self._write_slowly
            ended = await self._serve(receive)
        finally:
            self._is_idle = False
            if self._wire is not None:
                self._wire.take = refuse_text  # holds us no longer
            self._worker.close()
            self._services.sockets.discard(self)
            self._services.admission.leave(self._address, self._user, is_silent=self._is_silent)
            self._writer.slow = nothing  # nor does it
            if self._timer is not None:
                self._timer.cancel()
            if self._writing is not None:
                self._writing.cancel()
                await asyncio.wait([self._writing])
            self._services.node.wake()
        if ended.code != _GONE:
            self._services.metrics.closed.labels(ended.code).inc()
        if ended.closing is not None:
            await self._close(ended.closing, send)

    async def _serve(self, receive: Receive) -> _Ended:
        """Read until the socket ends, and return how."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (we are in one)
        if self._ended is None:
            self._reading = task
            self._write_slowly()
            self._look_after(0)
            try:
                await self._read(receive)
            except asyncio.CancelledError:
                if self._ended is None or task.uncancel() > 0:
                    raise  # not, or not only, our doing
            except Exception as error:
                self._reading = None
                self._fail(error)
            self._reading = None
        assert self._ended is not None  # noqa: S101 (nothing else ends the reading)
        return self._ended

    def _end(self, ended: _Ended) -> None:
        """End the socket, unless it ends already; not from within the task that reads."""
        if self._ended is None:
            # By its traceback we would be kept until the collector of cycles comes.
            self._ended = without_frames(ended)
            if self._reading is not None:
                self._reading.cancel()

    def _fail(self, error: Exception) -> None:
        if isinstance(error, _Ended):
            self._end(error)
        else:
            log.error("a sync socket failed", exc_info=error)
            self._end(_Ended(closing_for(error), "InternalServerError"))

    # --- reading

    def _take(self, text: str) -> bool:
        """Handle a mutation as it comes in, if `_read` is idle; else leave the message to it.

        Spares the way through ASGI's queue and two switches of tasks.
        """
        if not self._is_idle:
            return False
        if '"Mutation"' in text and not self._worker.is_congested:
            try:
                message = self._connection.receive(text)
                if isinstance(message, Mutation):
                    self._worker.mutate(message, len(text))
                    self._services.node.wake()
                    return True
                self._taken = message
            except ParleyError as error:
                self._taken = error
        self._is_idle = False
        return False

    async def _read(self, receive: Receive) -> None:
        while True:
            self._is_idle = True
            event = await receive()
            self._is_idle = False
            # What is not read waits in the network and then at the client. Closing instead would
            # make it send the same again, for ever.
            while self._worker.is_congested and event["type"] == "websocket.receive":
                self._writer.has_room.clear()
                await self._writer.has_room.wait()
            if event["type"] == "websocket.disconnect":
                # A client sends the same again when it comes back: somebody has to see it.
                is_too_large = event.get("code") == _TOO_LARGE
                raise _Ended(None, TooLarge.code if is_too_large else _GONE)
            text = event.get("text")
            try:
                if text is None:
                    raise BadMessage("Expected text frames; this one is binary")
                await self._handle(text)
            except ParleyError as error:
                raise _Ended(closing_for(error), error.code) from without_frames(error)
            del event, text  # it may take long until the next

    async def _handle(self, text: str) -> None:
        message, self._taken = self._taken or self._connection.receive(text), None
        if isinstance(message, ParleyError):
            raise message
        match message:
            case Connect():
                await self._connected()
            case Authenticate():
                await self._authenticate(message)
            case ModifyQuerySet():
                await self._modify(message)
            case Mutation():
                self._worker.mutate(message, len(text))
            case Action():
                self._act(message)
        self._services.node.wake()

    async def _connected(self) -> None:
        if self._is_silent:
            self._is_silent = False
            self._services.admission.speak(self._address)
        await self._services.node.admit(self._connection.max_observed_timestamp)
        self._worker.connected()

    async def _modify(self, message: ModifyQuerySet) -> None:
        adds = sum(isinstance(change, Add) for change in message.modifications)
        # No more of them than the limit will run.
        running = min(adds, self._settings.max_subscriptions)
        wait_s = self._adds.take(self._clock.monotonic(), running)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if adds:
            await self._services.node.fresh()
        self._worker.modify(message)

    async def _authenticate(self, message: Authenticate) -> None:
        try:
            identity = await self._identify(message)
        except AuthUnavailable:
            # Not the token's fault: closed so that the client comes back, not signed out.
            raise
        except AuthRejected as error:
            log.info("token refused: %s", error.reason or error.message)
            closing = auth_closing(error, message.base_version, was_update=True)
            raise _Ended(closing, error.code) from error
        user = None if identity is None else identity.token_identifier
        if user != self._user:
            before, self._user = self._user, None
            self._services.admission.identify(before, user)
            self._user = user
        self._worker.authenticated(identity)
        self._look_after(0)

    async def _identify(self, message: Authenticate) -> Identity | None:
        if message.token_type == "None" or message.token is None:  # noqa: S105
            return None
        if message.token_type == "Admin":  # noqa: S105
            return admin_identity(message.token, self._settings.admin_key, message.acting_as)
        return await self._services.identify(message.token, self._address)

    def _act(self, message: Action) -> None:
        if self._actions >= _MAX_ACTIONS_PER_SOCKET:
            raise Overloaded(f"{_MAX_ACTIONS_PER_SOCKET} actions are running on this socket")
        self._actions += 1
        session_id = self._connection.session_id

        def done(result: bytes | ParleyError) -> None:
            self._actions -= 1
            if isinstance(result, bytes):
                self._worker.respond(responses.action_succeeded(message.request_id, result))
            else:
                name = request_id_for(session_id, message.request_id)
                report(result, name, message.udf_path)
                text, data = error_text(result, name, redact=self._services.redact_errors)
                self._worker.respond(responses.action_failed(message.request_id, text, data))
            self._services.node.wake()

        self._services.node.actions.start(
            message.udf_path, message.args, self._worker.identity, done
        )

    # --- writing

    def _write_slowly(self) -> None:
        self._writing = asyncio.create_task(self._write(), name="socket-write")

    async def _write(self) -> None:
        try:
            await self._writer.run(self._send, self._settings.ping_interval_s)
            if self._worker.failure is not None:
                self.end(self._worker.failure)
        except Gone as error:
            self._end(_Ended(None, "Stalled" if error.has_stalled else _GONE))
        except Exception as error:
            self._fail(error)
        finally:
            self._writing = None

    async def _close(self, closing: Closing, send: Send) -> None:
        code = _NO_STATUS if closing.close_code is None else closing.close_code
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            async with asyncio.timeout(2):
                for frame in closing.frames:
                    await send({"type": "websocket.send", "text": frame.decode()})
                await send({"type": "websocket.close", "code": code, "reason": closing.reason})
                return
        self._writer.abort()

    # --- timers

    def _look_after(self, delay_s: float) -> None:
        """Look at the deadlines in so many seconds, and not before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._look)

    def _look(self) -> None:
        """Do what is due: ping, end for want of a first message or as the token expires."""
        now = self._clock.monotonic()
        deadlines = [self._writer.sent_at + self._settings.ping_interval_s]
        if self._is_silent:
            deadlines.append(self._opened_at + self._settings.connect_timeout_s)
            if now >= deadlines[-1]:
                self.end(TimedOut("no Connect came"))
                return
        expires_in = self._expires_in()
        if expires_in is not None:
            if expires_in <= 0:
                expired = TokenExpired("Convex token identity expired")
                base = self._connection.sent.identity
                closing = auth_closing(expired, base, was_update=False)
                self._end(_Ended(closing, expired.code))
                return
            deadlines.append(now + expires_in)
        if now >= deadlines[0]:
            self._writer.ping()
            deadlines[0] = now + self._settings.ping_interval_s
        self._look_after(min(max(0.005, min(deadlines) - now), _MAX_TIMER_S))

    def _expires_in(self) -> float | None:
        identity = self._worker.identity
        if identity is None:
            return None
        return identity.expires_at - self._clock.wall_us() / 1e6


def address_of(scope: Mapping[str, Any]) -> str:
    """Return the peer's address as the server below us gives it."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


async def refuse(scope: Scope, send: Send, status: int, code: str, message: str) -> None:
    """Answer a WebSocket handshake with an HTTP error instead of accepting it."""
    body = orjson.dumps({"code": code, "message": message})
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": code})
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
