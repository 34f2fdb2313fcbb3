"""What the benchmarks say to Parley: signing in, asking, writing."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

from tests.load.wire import Client
from tests.support.server import token

SYNC = "/api/1.48.0/sync"
CONTENT = "x" * 200


class Device:
    """One signed-in client.

    Attributes:
        on_response, on_transition: called with each frame of that kind.
    """

    def __init__(self) -> None:
        self.on_response: Callable[[bytes], None] = lambda _: None
        self.on_transition: Callable[[bytes], None] = lambda _: None
        self._request = 0

    @classmethod
    async def open(cls, port: int, subject: str) -> Device:
        """Connect and sign in."""
        device = cls()
        device.client = await Client.open(port, SYNC, device._on_text)
        device.say(
            type="Connect",
            sessionId=str(uuid.uuid4()),
            connectionCount=0,
            lastCloseReason="InitialConnect",
        )
        signed_in = device._next_transition()
        device.say(type="Authenticate", baseVersion=0, tokenType="User", value=token(subject))
        await signed_in
        return device

    client: Client

    def say(self, **message: Any) -> None:
        """Send a message."""
        self.client.send(json.dumps(message).encode())

    def mutation(self, path: str, args: dict[str, Any]) -> bytes:
        """Return the frame of the next mutation."""
        message = {
            "type": "Mutation",
            "requestId": self._request,
            "udfPath": path,
            "args": [args],
        }
        self._request += 1
        return json.dumps(message).encode()

    async def mutate(self, path: str, args: dict[str, Any]) -> Any:
        """Run a mutation and return its result."""
        answered = asyncio.get_running_loop().create_future()
        self.on_response = answered.set_result
        self.client.send(self.mutation(path, args))
        answer = json.loads(await answered)
        assert answer["success"], answer
        return answer["result"]

    async def subscribe(self, path: str, args: dict[str, Any]) -> dict[str, Any]:
        """Add the one query of this device and return the Transition with its result."""
        there = self._next_transition()
        add = {"type": "Add", "queryId": 0, "udfPath": path, "args": [args]}
        self.say(type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[add])
        found: dict[str, Any] = json.loads(await there)
        return found

    def _next_transition(self) -> asyncio.Future[bytes]:
        there: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def heard(frame: bytes) -> None:
            self.on_transition = lambda _: None
            there.set_result(frame)

        self.on_transition = heard
        return there

    def _on_text(self, client: Client, payload: bytes) -> None:
        if payload.startswith(b'{"type":"Transition"'):
            self.on_transition(payload)
        elif payload.startswith(b'{"type":"MutationResponse"'):
            self.on_response(payload)
        elif payload != b'{"type":"Ping"}':
            raise ConnectionError(payload.decode())
