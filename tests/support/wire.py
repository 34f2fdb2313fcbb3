"""Both ends of the wire: what clients send, and what a JS client makes of the answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from parley.protocol.client_version import ClientVersion, Version
from parley.protocol.connection import Connection, frames
from parley.protocol.responses import ZERO_VERSION, Stamp, StateVersion
from parley.values import ts_from_wire
from tests.support.clock import FakeClock

SESSION = "5c2f9f1e-7f7c-4a39-9f0e-5a2f1f0b7a10"
OTHER_SESSION = "5c2f9f1e-7f7c-4a39-9f0e-5a2f1f0b7a11"
NOW = 1_795_365_210.5059
NOW_US = 1_795_365_210_505_900

NPM = ClientVersion("npm", Version(1, 48, 0))
RUST = ClientVersion("rust", Version(0, 10, 4))


def connect(session: str = SESSION, **fields: Any) -> str:
    return json.dumps({"type": "Connect", "sessionId": session, "connectionCount": 0, **fields})


def authenticate(base: int = 0) -> str:
    return json.dumps({"type": "Authenticate", "baseVersion": base, "tokenType": "None"})


def modify(base: int, new: int, *changes: int) -> str:
    """A ModifyQuerySet; a change of n >= 0 adds query n, one of n < 0 removes query -n - 1."""
    modifications = [
        {"type": "Add", "queryId": change, "udfPath": "m:f"}
        if change >= 0
        else {"type": "Remove", "queryId": -change - 1}
        for change in changes
    ]
    return json.dumps(
        {
            "type": "ModifyQuerySet",
            "baseVersion": base,
            "newVersion": new,
            "modifications": modifications,
        }
    )


MESSAGES = {
    "Connect": connect(),
    "Authenticate": authenticate(),
    "ModifyQuerySet": modify(0, 1, 4),
    "Mutation": '{"type":"Mutation","requestId":0,"udfPath":"m:f"}',
    "Action": '{"type":"Action","requestId":1,"udfPath":"m:f"}',
    "Event": '{"type":"Event"}',
}


def transition(
    connection: Connection,
    end_ts: int,
    modifications: Sequence[tuple[int, bytes]],
    query_set: int,
    identity: int,
    stamp: Stamp | None,
) -> list[bytes]:
    """The frames of the next Transition, as the engine makes them."""
    start, end = connection.advance(end_ts, query_set, identity)
    can_chunk = connection.client.supports_chunks
    return frames(start, end, modifications, stamp, can_chunk=can_chunk)


def fresh(client: ClientVersion = NPM) -> Connection:
    return Connection(client, FakeClock(NOW))


def opened(client: ClientVersion = NPM, **fields: Any) -> Connection:
    connection = fresh(client)
    connection.receive(connect(**fields))
    return connection


@dataclass
class WireClient:
    """What an official JS client does with frames: `RemoteQuerySet` and `assembleTransition`."""

    version: StateVersion = ZERO_VERSION
    results: dict[int, Any] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)

    def take(self, frame: bytes) -> None:
        message = json.loads(frame)
        if message["type"] == "Ping":
            return
        if message["type"] == "TransitionChunk":
            assert message["partNumber"] == len(self.parts)
            self.parts.append(message["chunk"])
            if len(self.parts) < message["totalParts"]:
                return
            message, self.parts = json.loads("".join(self.parts)), []
        assert message["type"] == "Transition"
        assert not self.parts, "only Ping may stand between the parts"
        assert version_of(message["startVersion"]) == self.version
        for change in message["modifications"]:
            self.results[change["queryId"]] = change.get("value")
        self.version = version_of(message["endVersion"])


def texts_of(wire: bytes) -> list[bytes]:
    """Return the texts of whole frames as a server writes them (RFC 6455 §5.2)."""
    texts = []
    while wire:
        size, start = wire[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(wire[2:start], "big")
        texts.append(wire[start : start + size])
        wire = wire[start + size :]
    return texts


def version_of(wire: dict[str, Any]) -> StateVersion:
    return StateVersion(wire["querySet"], wire["identity"], ts_from_wire(wire["ts"]))
