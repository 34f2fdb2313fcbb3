"""What the benchmarks say to Parley: signing in, asking, writing."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from tests.load.wire import Client
from tests.support.server import token

SYNC = "/api/1.48.0/sync"
WITH_PATCHES = f"{SYNC}?parley=1"
CONTENT = "x" * 200
_AT_ONCE = 100  # handshakes in flight: fewer than a listen queue holds

Query = tuple[str, dict[str, Any]]


class Device:
    """One signed-in client.

    Attributes:
        on_response, on_transition: called with each frame of that kind.
        synced: done when the results of all queries that it was opened with are there.
    """

    client: Client

    def __init__(self, token_: str, queries: Sequence[Query]) -> None:
        self.on_response: Callable[[bytes], None] = lambda _: None
        self.on_transition: Callable[[bytes], None] = self._await_results
        self.synced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hello = _hello(token_, queries)
        self._stands = b'"endVersion":{"querySet":%d,"identity":1,' % bool(queries)
        self._request = 0

    @classmethod
    async def open(
        cls, port: int, subject: str, queries: Sequence[Query] = (), path: str = SYNC
    ) -> Device:
        """Connect, sign in, subscribe, and wait for the results."""
        device = cls(token(subject), queries)
        await device.connect(port, path)
        await device.synced
        return device

    async def connect(
        self, port: int, path: str = SYNC, on_lost: Callable[[str], None] | None = None
    ) -> None:
        """Connect, and say at once all that a client says when it comes back."""
        self.client = await Client.open(port, path, self._on_text)
        if on_lost is not None:
            self.client.on_lost = on_lost
        for message in self._hello:
            self.client.send(message)

    def mutation(self, path: str, args: dict[str, Any]) -> bytes:
        """Return the frame of the next mutation."""
        message = {
            "type": "Mutation",
            "requestId": self._request,
            "udfPath": path,
            "args": [args],
        }
        self._request += 1
        return orjson.dumps(message)

    async def mutate(self, path: str, args: dict[str, Any]) -> Any:
        """Run a mutation and return its result."""
        answered = asyncio.get_running_loop().create_future()
        before, self.on_response = self.on_response, answered.set_result
        self.client.send(self.mutation(path, args))
        answer = json.loads(await answered)
        self.on_response = before
        assert answer["success"], answer
        return answer["result"]

    def _await_results(self, frame: bytes) -> None:
        if b'"type":"QueryFailed"' in frame:
            at = frame.index(b'"type":"QueryFailed"')
            self.client.on_lost(frame[at : at + 300].decode())
        elif self._stands in frame[:200]:
            self.on_transition = lambda _: None
            self.synced.set_result(None)

    def _on_text(self, client: Client, payload: bytes) -> None:
        if payload.startswith(b'{"type":"Transition"'):
            self.on_transition(payload)
        elif payload.startswith(b'{"type":"MutationResponse"'):
            self.on_response(payload)
        elif payload != b'{"type":"Ping"}':
            client.on_lost(payload.decode())


def _hello(token_: str, queries: Sequence[Query]) -> list[bytes]:
    """Return what a client sends first."""
    messages: list[dict[str, Any]] = [
        {
            "type": "Connect",
            "sessionId": str(uuid.uuid4()),
            "connectionCount": 0,
            "lastCloseReason": "InitialConnect",
        },
        {"type": "Authenticate", "baseVersion": 0, "tokenType": "User", "value": token_},
    ]
    if queries:
        added = [
            {"type": "Add", "queryId": number, "udfPath": path, "args": [args]}
            for number, (path, args) in enumerate(queries)
        ]
        set_ = {"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1}
        messages.append({**set_, "modifications": added})
    return [orjson.dumps(message) for message in messages]


async def opened(
    port: int,
    subjects: Sequence[str],
    queries: Callable[[int], Sequence[Query]] = lambda _: (),
    path: str = SYNC,
) -> list[Device]:
    """Return a device for each subject, each with the queries of its number."""
    found: list[Device] = []
    for start in range(0, len(subjects), _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, len(subjects)))
        found += await asyncio.gather(
            *(Device.open(port, subjects[number], queries(number), path) for number in numbers)
        )
    return found
