"""A client that speaks the wire by hand, and believes nothing it is told.

    async with open_client(server.url) as client:
        await client.authenticate(token("alice"))
        listing = await client.subscribe("conversations:list")
        await client.mutate("conversations:create", {"title": "Hi"})
        await client.until(lambda: len(client.results[listing]) == 1)

Every Transition must continue the chain of versions, chunks must come in order, and a Transition
must follow every mutation; an AssertionError in `until` says which rule was broken.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from parley.protocol.responses import ZERO_VERSION, StateVersion
from parley.values import ts_from_wire
from tests.support.patches import apply_patch
from tests.support.wire import version_of

TIMEOUT_S = 10.0
MAX_FRAME_BYTES = 64 << 20
NPM_PATH = "/api/1.48.0/sync"


class FunctionError(Exception):
    """A failed call. Attributes: `data` (wire JSON), None where the error had none."""

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.data = data


@dataclass(frozen=True)
class Failure:
    """A QueryFailed, in place of a result."""

    message: str
    data: Any = None


class SyncClient:
    """One connection of one session.

    Attributes:
        results: by query id: the newest value as wire JSON, or a `Failure`.
        frames: every message received, chunks joined, Pings left out.
        received_bytes: of all frames, as characters.
        version: query set, identity and ts that the client is at.
        close_code, close_reason: how the server ended the connection; None while it is open.
    """

    def __init__(self, socket: ClientConnection, *, takes_patches: bool = False) -> None:
        self.received_bytes = 0
        self._takes_patches = takes_patches
        self.results: dict[int, Any] = {}
        self.frames: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self._socket = socket
        self.version: StateVersion = ZERO_VERSION
        self._parts: list[str] = []
        self._news = asyncio.Condition()
        self._query_set = 0
        self._identity = 0
        self._query_ids = itertools.count()
        self._request_ids = itertools.count()
        self._reader = asyncio.create_task(self._read(), name="sync client")

    async def send(self, **message: Any) -> None:
        """Send any message as it is."""
        await self._socket.send(json.dumps(message))

    async def authenticate(self, token: str | None) -> None:
        """Become who `token` says, or nobody, and wait until that is confirmed."""
        kind = {"tokenType": "None"} if token is None else {"tokenType": "User", "value": token}
        await self.send(type="Authenticate", baseVersion=self._identity, **kind)
        self._identity += 1
        wanted = self._identity
        await self.until(lambda: self.version.identity >= wanted)

    async def subscribe(
        self, path: str, args: Mapping[str, Any] | None = None, journal: str | None = None
    ) -> int:
        """Add a query, wait for its first result, and return its id."""
        query_id = next(self._query_ids)
        add = {"type": "Add", "queryId": query_id, "udfPath": path, "args": [args or {}]}
        await self.modify({**add, "journal": journal})
        return query_id

    async def unsubscribe(self, query_id: int) -> None:
        """Remove a query, and wait until the server has taken note."""
        await self.modify({"type": "Remove", "queryId": query_id})

    async def modify(self, *modifications: Mapping[str, Any]) -> None:
        """Change the query set, and wait for the Transition that says so."""
        base, self._query_set = self._query_set, self._query_set + 1
        wanted = self._query_set
        await self.send(
            type="ModifyQuerySet", baseVersion=base, newVersion=wanted, modifications=modifications
        )
        await self.until(lambda: self.version.query_set >= wanted)

    async def mutate(
        self, path: str, args: Mapping[str, Any] | None = None, *, request_id: int | None = None
    ) -> Any:
        """Run a mutation; return its result once the client is at a state that holds its writes."""
        return await self._request("Mutation", path, args, request_id)

    async def act(self, path: str, args: Mapping[str, Any] | None = None) -> Any:
        """Run an action and return its result."""
        return await self._request("Action", path, args, None)

    async def until(self, condition: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> None:
        """Wait until a frame makes `condition` true."""
        async with asyncio.timeout(timeout_s), self._news:
            while not condition():
                if self._reader.done():
                    self._reader.result()
                    raise AssertionError(f"the server closed with {self.close_code}")
                await self._news.wait()

    async def until_closed(self, timeout_s: float = TIMEOUT_S) -> int | None:
        """Wait for the server to end the connection, and return the close code."""
        async with asyncio.timeout(timeout_s):
            await self._reader
        return self.close_code

    async def close(self) -> None:
        """End the connection."""
        await self._socket.close()
        await self._reader

    def pause_reading(self) -> None:
        """Let what the server sends wait in the system, which soon takes no more."""
        self._socket.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._socket.transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._socket.transport.abort()

    async def _request(
        self, kind: str, path: str, args: Mapping[str, Any] | None, request_id: int | None
    ) -> Any:
        request_id = next(self._request_ids) if request_id is None else request_id
        start = len(self.frames)
        await self.send(type=kind, requestId=request_id, udfPath=path, args=[args or {}])
        await self.until(lambda: self._answer(kind, request_id, start))
        answer = self._answer(kind, request_id, start) or {}
        if not answer["success"]:
            raise FunctionError(answer["result"], answer.get("errorData"))
        return answer["result"]

    def _answer(self, kind: str, request_id: int, start: int) -> dict[str, Any] | None:
        """Return the answer, once a Transition behind it has brought us to its ts."""
        for at, frame in enumerate(self.frames[start:], start + 1):
            if frame["type"] == f"{kind}Response" and frame["requestId"] == request_id:
                is_followed = any(later["type"] == "Transition" for later in self.frames[at:])
                ts = ts_from_wire(frame["ts"]) if frame.get("ts") else 0
                return frame if is_followed and self.version.ts >= ts else None
        return None

    async def _read(self) -> None:
        try:
            async for frame in self._socket:
                self.received_bytes += len(frame)
                async with self._news:
                    self._take(json.loads(frame))
                    self._news.notify_all()
        except ConnectionClosedError:
            pass  # closed with another code than 1000, or cut: `close_code` says it
        finally:
            self.close_code = self._socket.close_code
            self.close_reason = self._socket.close_reason
            async with self._news:
                self._news.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "Ping":
            return
        if message["type"] == "TransitionChunk":
            assert message["partNumber"] == len(self._parts), "chunks out of order"
            self._parts.append(message["chunk"])
            if len(self._parts) < message["totalParts"]:
                return
            message, self._parts = json.loads("".join(self._parts)), []
        assert not self._parts, "only Ping may stand between chunks"
        if message["type"] == "Transition":
            self._advance(message)
        self.frames.append(message)

    def _advance(self, transition: Mapping[str, Any]) -> None:
        start, end = version_of(transition["startVersion"]), version_of(transition["endVersion"])
        assert start == self.version, f"{start} does not continue {self.version}"
        assert all(new >= old for old, new in zip(start, end, strict=True)), f"{start} -> {end}"
        for change in transition["modifications"]:
            self._apply(change)
        self.version = end

    def _apply(self, change: Mapping[str, Any]) -> None:
        query_id = change["queryId"]
        match change["type"]:
            case "QueryUpdated":
                self.results[query_id] = change["value"]
            case "QueryPatched" if self._takes_patches:
                self.results[query_id] = apply_patch(self.results[query_id], change["patch"])
            case "QueryFailed":
                self.results[query_id] = Failure(change["errorMessage"], change.get("errorData"))
            case "QueryRemoved":
                self.results.pop(query_id, None)
            case unknown:
                raise AssertionError(f"no client knows {unknown}")


@asynccontextmanager
async def open_client(
    url: str,
    *,
    path: str = NPM_PATH,
    headers: Mapping[str, str] | None = None,
    session_id: str | None = None,
    is_connecting: bool = True,
    **connect_fields: Any,
) -> AsyncIterator[SyncClient]:
    """Yield a client that has sent Connect, unless `is_connecting` says no.

    Args:
        url: deployment URL, `http://…`.
        path: where to open the socket; the version in it decides about chunks, `?parley=1` behind
            it about patches.
        headers: e.g. `{"Convex-Client": "python-0.8.1"}` with path `/api/sync`.
        session_id: to go on with an earlier session.
        connect_fields: more fields of Connect, e.g. `maxObservedTimestamp`.
    """
    address = url.replace("http", "ws", 1).rstrip("/") + path
    async with connect(
        address, additional_headers=headers, max_size=MAX_FRAME_BYTES, proxy=None
    ) as socket:
        client = SyncClient(socket, takes_patches=path.endswith("?parley=1"))
        try:
            if is_connecting:
                session = {"sessionId": session_id or str(uuid4()), "connectionCount": 0}
                await client.send(type="Connect", **session, **connect_fields)
            yield client
        finally:
            await client.close()
