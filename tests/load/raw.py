"""The floor of the socket: Parley's own web stack with no Parley in it.

`/broadcast`: a text that is a number makes so many bytes to every other client, framed once.
`/naive`: each text is one addMessage in a transaction of its own, on an asyncpg pool.

    python -m tests.load.raw DSN PORT
"""

from __future__ import annotations

import sys
import uuid
from typing import Any

import asyncpg
import uvicorn
from starlette.types import Receive, Scope, Send
from websockets.frames import Frame, Opcode

from parley.config import Settings
from parley.web.app import TRANSPORT_EXTENSION
from parley.web.server import server_config
from tests.load.servers import UNLIMITED

_ANSWER = '{"type":"MutationResponse","success":true}'


class Raw:
    """The application."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: asyncpg.Pool[Any] | None = None
        self._transports: dict[int, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            take = self._broadcast if scope["path"] == "/broadcast" else self._write
            self._transports[id(scope)] = scope["extensions"][TRANSPORT_EXTENSION]
            while (event := await receive())["type"] == "websocket.receive":
                await take(scope, event["text"], send)
            del self._transports[id(scope)]

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            kind = (await receive())["type"]
            if kind == "lifespan.startup":
                self._pool = await asyncpg.create_pool(self._dsn, min_size=16, max_size=16)
                await send({"type": "lifespan.startup.complete"})
                print("listening", flush=True)  # noqa: T201
            else:
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _broadcast(self, scope: Scope, text: str, _: Send) -> None:
        frame = Frame(Opcode.TEXT, b"x" * int(text)).serialize(mask=False)
        for owner, transport in self._transports.items():
            if owner != id(scope):
                transport.write_now(frame)

    async def _write(self, _: Scope, text: str, send: Send) -> None:
        assert self._pool is not None
        number = uuid.uuid4().int % 20_000 + 1
        conversation = f"00000000-0000-7000-8000-{number:012x}"
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "update conversations set updated_at = clock_timestamp() where id = $1",
                conversation,
            )
            await connection.execute(
                "insert into messages (id, conversation_id, role, content) "
                "values ($1, $2, 'user', $3)",
                uuid.uuid4(),
                conversation,
                text[-200:],
            )
        await send({"type": "websocket.send", "text": _ANSWER})


if __name__ == "__main__":
    settings = Settings.from_env(UNLIMITED)
    uvicorn.Server(server_config(settings, lambda: Raw(sys.argv[1]), port=int(sys.argv[2]))).run()
