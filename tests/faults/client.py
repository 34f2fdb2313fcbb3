"""A client on the wire that comes back: same session, same requests, like the official one.

It believes nothing: versions must chain, time must not go back, nobody else's secrets may come, and
a mutation is done only when a Transition has reached its ts. Everything goes to the history.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from parley.values import ts_from_wire, ts_to_wire
from tests.faults.history import History
from tests.support.patches import Unfit, apply_patch

NPM_PATH = "/api/1.48.0/sync"
OUR_PATH = "/api/sync?parley=1"
INACTIVE_S = 30.0
OPEN_TIMEOUT_S = 4.0
_CANARY = re.compile(rb"canary-(u\d+)-")

Version = tuple[int, int, int]


@dataclass(eq=False)
class Pending:
    """A mutation without an end."""

    request_id: int
    path: str
    args: Mapping[str, Any]
    done: asyncio.Future[Any]
    invoked_at: float
    ts: int | None = None
    result: Any = None


class MutationFailed(Exception):
    """The server said that a mutation failed."""


class Client:
    """One client with one session for its whole life.

    Attributes:
        number: its number; it signs in as `u<number>`.
        pending: mutations without an end, by request id.
        results: newest value by query id, on the connection of now.
        node: number of the node that it is connected to; None between connections.
        version: query set, identity and ts.
        takes_patches: whether it asks for Parley's own extensions.
    """

    def __init__(
        self,
        number: int,
        session_id: UUID,
        urls: Sequence[str],
        token: str | None,
        history: History,
        rng: random.Random,
        check: Callable[[str, Any], str | None],
        *,
        takes_patches: bool = False,
    ) -> None:
        self.number = number
        self.pending: dict[int, Pending] = {}
        self.results: dict[int, Any] = {}
        self.node: int | None = None
        self.version: Version = (0, 0, 0)
        self.queries: dict[int, tuple[str, Mapping[str, Any]]] = {}
        self.max_observed = 0
        self.is_stopped = False
        self._session_id = session_id
        self._urls = urls
        self._token = token
        self._history = history
        self._rng = rng
        self._check = check
        self.takes_patches = takes_patches
        self._path = OUR_PATH if takes_patches else NPM_PATH
        self._incarnation: str | None = None
        self._request_id = 0
        self._query_id = 0
        self._socket: ClientConnection | None = None
        self._query_set = 0
        self._connection = 0
        self._parts: list[str] = []
        self._moved = asyncio.Event()
        self._failures = 0
        self._repeated: set[int] = set()
        self._acting: dict[int, tuple[Mapping[str, Any], float]] = {}
        self._journals: dict[int, str] = {}
        self._canary = f"u{number}".encode()

    # --- what a user does

    def mutate(self, path: str, args: Mapping[str, Any]) -> asyncio.Future[Any]:
        """Send a mutation; the future ends when the client is at a state that holds it."""
        request_id, self._request_id = self._request_id, self._request_id + 1
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        pending = Pending(request_id, path, args, done, time.monotonic())
        self.pending[request_id] = pending
        self._history.add(
            "invoke", c=self.number, s=str(self._session_id), r=request_id, f=path, a=args
        )
        self._send_soon(self._mutation(pending))
        return done

    def act(self, path: str, args: Mapping[str, Any]) -> None:
        """Send an action, if connected; it ends with the connection, whatever became of it."""
        if self._socket is None:
            return
        request_id, self._request_id = self._request_id, self._request_id + 1
        self._acting[request_id] = (args, time.monotonic())
        self._history.add("call", how="action", c=self.number, f="app:post", a=args)
        self._send_soon(
            {"type": "Action", "requestId": request_id, "udfPath": path, "args": [args]}
        )

    def subscribe(self, path: str, args: Mapping[str, Any]) -> int:
        """Add a query."""
        query_id, self._query_id = self._query_id, self._query_id + 1
        self.queries[query_id] = (path, args)
        self._modify([query_id], [])
        return query_id

    def unsubscribe(self, query_id: int) -> None:
        """Remove a query."""
        del self.queries[query_id]
        self._journals.pop(query_id, None)
        self._modify([], [query_id])

    async def barrier(self) -> None:
        """Come to a state that holds everything committed before, whatever it takes."""
        query_id = self.subscribe("app:note", {"name": f"barrier-{self._rng.random()}"})
        while query_id not in self.results:
            self._moved.clear()
            await self._moved.wait()

    async def settle(self) -> None:
        """Wait until every promise has ended and everything committed before is here."""
        if self.pending:
            await asyncio.wait([pending.done for pending in self.pending.values()])
        await self.barrier()

    def restate(self) -> None:
        """Record where it stands: a new part of the history begins."""
        if self._socket is None:
            return
        self._note_queries(list(self.queries), [])
        if self.version[0] == self._query_set:
            held = [[query_id, "v", value] for query_id, value in self.results.items()]
            self._note_transition((*self.version[:2], 0), held)

    # --- the connection

    async def run(self) -> None:
        """Be connected, until `is_stopped`."""
        while not self.is_stopped:
            index = self._rng.randrange(len(self._urls))
            address = self._urls[index].replace("http", "ws", 1) + self._path
            code: int | None = None
            reason: str | None = None
            try:
                async with connect(
                    address,
                    open_timeout=OPEN_TIMEOUT_S,
                    close_timeout=0.5,
                    ping_interval=None,
                    compression=None,
                    max_size=64 << 20,
                    proxy=None,
                ) as socket:
                    await self._serve(socket, index)
                    code, reason = socket.close_code, socket.close_reason
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else None
                reason = closed.rcvd.reason if closed.rcvd else ""
            except (OSError, InvalidHandshake, EOFError) as error:
                reason = type(error).__name__
            except TimeoutError:
                reason = "inactive"
            self.node = None
            self._socket = None
            self._history.add("close", c=self.number, n=index, code=code, reason=reason)
            self._failures += 1
            wait_s = min(1.0, 0.03 * 2 ** min(self._failures, 6))
            await asyncio.sleep(wait_s * self._rng.uniform(0.5, 1.0))

    async def stop(self) -> None:
        """End."""
        self.is_stopped = True
        if self._socket is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._socket.close()

    async def _serve(self, socket: ClientConnection, node: int) -> None:
        self._socket, self.node = socket, node
        self._connection += 1
        self.version, self.results, self._parts = (0, 0, 0), {}, []
        self._query_set = 0
        self._acting = {}
        self._history.add("open", c=self.number, k=self._connection, n=node, obs=self.max_observed)
        hello: dict[str, Any] = {
            "type": "Connect",
            "sessionId": str(self._session_id),
            "connectionCount": self._connection - 1,
            "lastCloseReason": "InitialConnect" if self._connection == 1 else "closed",
        }
        if self.max_observed:
            hello["maxObservedTimestamp"] = ts_to_wire(self.max_observed)
        self._send_soon(hello)
        if self._token is not None:
            self._send_soon(
                {
                    "type": "Authenticate",
                    "baseVersion": 0,
                    "tokenType": "User",
                    "value": self._token,
                }
            )
        self._modify(list(self.queries), [])
        self._repeated.update(self.pending)
        for pending in list(self.pending.values()):
            self._send_soon(self._mutation(pending))
        while True:
            async with asyncio.timeout(INACTIVE_S):
                frame = await socket.recv(decode=False)
            self._take(frame)

    def _modify(self, added: list[int], removed: list[int]) -> None:
        if self._socket is None:
            return
        base, self._query_set = self._query_set, self._query_set + 1
        changes = [self._add(query_id) for query_id in added]
        changes += [{"type": "Remove", "queryId": query_id} for query_id in removed]
        self._note_queries(added, removed)
        self._send_soon(
            {
                "type": "ModifyQuerySet",
                "baseVersion": base,
                "newVersion": self._query_set,
                "modifications": changes,
            }
        )

    def _add(self, query_id: int) -> dict[str, Any]:
        path, args = self.queries[query_id]
        journal = self._journals.get(query_id)
        return {
            **{"type": "Add", "queryId": query_id, "udfPath": path, "args": [args]},
            **({"journal": journal} if journal else {}),
        }

    def _note_queries(self, added: list[int], removed: list[int]) -> None:
        self._history.add(
            "modify",
            c=self.number,
            k=self._connection,
            v=self._query_set,
            add=[[query_id, *self.queries[query_id]] for query_id in added],
            rm=removed,
        )

    def _mutation(self, pending: Pending) -> dict[str, Any]:
        return {
            "type": "Mutation",
            "requestId": pending.request_id,
            "udfPath": pending.path,
            "args": [pending.args],
        }

    def _send_soon(self, message: dict[str, Any]) -> None:
        """Write a message in order; what is lost is sent again on the next connection."""
        socket = self._socket
        if socket is None or socket.protocol.state.name != "OPEN":
            return
        # As `send` does, but at once: what clients send keeps the order in which they decide it.
        socket.protocol.send_text(orjson.dumps(message))
        socket.send_data()

    # --- what comes

    def _take(self, frame: bytes) -> None:
        for owner in _CANARY.findall(frame):
            if owner != self._canary:
                self._violation(f"it was sent a secret of {owner.decode()}")
        try:
            message = self._assemble(orjson.loads(frame))
        except orjson.JSONDecodeError as error:
            self._violation(f"no JSON ({error}): {len(frame)} bytes, {frame[:300]!r}")
            return
        match kind := message["type"]:
            case "Ping" | "TransitionChunk":
                pass
            case "Transition":
                self._failures = 0
                self._transition(message)
            case "MutationResponse":
                self._response(message)
            case "ActionResponse":
                self._acted(message)
            case "FatalError" | "AuthError":
                self._violation(f"{kind}: {message.get('error')}")
            case _:
                self._violation(f"unknown message {kind}")
        self._moved.set()

    def _assemble(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return a message; instead of a Transition's last chunk, the whole of it."""
        if message["type"] == "TransitionChunk":
            if message["partNumber"] != len(self._parts):
                self._violation("chunks out of order")
            self._parts.append(message["chunk"])
            if len(self._parts) == message["totalParts"]:
                whole: dict[str, Any] = orjson.loads("".join(self._parts))
                self._parts = []
                return whole
        elif self._parts and message["type"] != "Ping":
            self._violation(f"{message['type']} between chunks")
        return message

    def _transition(self, message: dict[str, Any]) -> None:
        start, end = _version(message["startVersion"]), _version(message["endVersion"])
        if start != self.version:
            self._violation(f"startVersion {start} does not continue {self.version}")
        if any(new < old for old, new in zip(start, end, strict=True)):
            self._violation(f"a Transition goes back: {start} -> {end}")
        if end[2] < self.max_observed:
            self._violation(f"time goes back: saw {self.max_observed}, now {end[2]}")
        if "incarnation" in message:
            if self._incarnation not in (None, message["incarnation"]):
                self._violation("the database is another one")
            self._incarnation = message["incarnation"]
        changes = [self._change(change) for change in message["modifications"]]
        self.version = end
        self.max_observed = max(self.max_observed, end[2])
        self._note_transition(start, changes)
        for pending in list(self.pending.values()):
            if pending.ts is not None and pending.ts <= end[2]:
                self._finish(pending)

    def _change(self, change: dict[str, Any]) -> list[Any]:
        """Take what became of one query; return it for the history."""
        query_id = change["queryId"]
        match change["type"]:
            case "QueryUpdated":
                value = change["value"]
            case "QueryPatched" if self.takes_patches and query_id in self.results:
                try:
                    value = apply_patch(self.results[query_id], change["patch"])
                except (Unfit, ValueError, TypeError) as error:
                    self.results[query_id] = None
                    self._violation(f"a patch does not fit {query_id}: {change['patch']} {error}")
                    return [query_id, "x", "unfit"]
            case "QueryRemoved":
                self.results.pop(query_id, None)
                return [query_id, "r", None]
            case _:
                self.results[query_id] = None
                self._violation(f"query {query_id} failed: {change}")
                return [query_id, "x", change.get("errorMessage")]
        self.results[query_id] = value
        self._journals[query_id] = change["journal"]
        self._look(query_id, value)
        return [query_id, "p" if change["type"] == "QueryPatched" else "v", value]

    def _note_transition(self, start: Version, changes: list[list[Any]]) -> None:
        self._history.add(
            "transition",
            c=self.number,
            k=self._connection,
            n=self.node,
            w=time.time(),
            s=start[2],
            d=self.version[2],
            v=self.version[0],
            i=self.version[1],
            ch=changes,
        )

    def _look(self, query_id: int, value: Any) -> None:
        asked = self.queries.get(query_id)
        if asked is not None and (fault := self._check(asked[0], value)):
            self._violation(f"{asked[0]} is {fault}")

    def _response(self, message: dict[str, Any]) -> None:
        request_id = message["requestId"]
        pending = self.pending.get(request_id)
        ts = ts_from_wire(message["ts"]) if message.get("ts") else None
        self._history.add(
            "ack",
            c=self.number,
            s=str(self._session_id),
            r=request_id,
            n=self.node,
            ok=message["success"],
            v=message["result"],
            ts=ts,
        )
        if pending is None:
            # A promise can end between a repeat and its answer.
            if request_id not in self._repeated:
                self._violation(f"an answer to request {request_id}, which was answered before")
            return
        self._history.acks.append((time.monotonic(), -1 if self.node is None else self.node))
        if not message["success"]:
            del self.pending[request_id]
            pending.done.set_exception(MutationFailed(message["result"]))
            return
        if ts is None:
            self._violation(f"success of request {request_id} without a ts")
            return
        if pending.ts is not None and (pending.ts, pending.result) != (ts, message["result"]):
            self._violation(f"request {request_id} was answered in two ways")
        pending.ts, pending.result = ts, message["result"]
        self.max_observed = max(self.max_observed, ts)

    def _acted(self, message: dict[str, Any]) -> None:
        found = self._acting.pop(message["requestId"], None)
        if found is None:
            self._violation(f"an answer to action {message['requestId']}, which nobody sent")
        elif message["success"]:  # else a database was gone, or the like: nobody knows what it did
            (args, began), value = found, message["result"]
            self._history.add("called", how="action", value=args["value"], v=value["posted"])
            shown = ["app:tail", {"topic": args["topic"], "count": 3}, value["tail"]]
            self._history.add(
                "read",
                how="action",
                c=self.number,
                t0=began,
                w=time.time(),
                q=[shown],
                after=args["value"],
            )

    def _finish(self, pending: Pending) -> None:
        del self.pending[pending.request_id]
        self._history.add("done", s=str(self._session_id), r=pending.request_id)
        pending.done.set_result(pending.result)

    def _violation(self, text: str) -> None:
        self._history.violation(f"client {self.number}: {text}")


def _version(wire: dict[str, Any]) -> Version:
    return (wire["querySet"], wire["identity"], ts_from_wire(wire["ts"]))
