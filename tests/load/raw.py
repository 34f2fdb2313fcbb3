"""The floor of the socket: Parley's own web stack with no Parley in it.

`/broadcast`: a text that is a number makes so many bytes to all others there, framed once.
`/sustained`: a text goes to all who are at `/broadcast`, and then "ok" to its sender.
`/echo`: each text goes back.
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
from parley.web.process import keep_freed_memory
from parley.web.server import server_config
from tests.load.servers import UNLIMITED

_ANSWER = '{"type":"MutationResponse","success":true}'


class Raw:
    """The application."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: asyncpg.Pool[Any] | None = None
        self._audience: dict[int, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            if scope["path"] == "/broadcast":
                self._audience[id(scope)] = scope["extensions"][TRANSPORT_EXTENSION]
            takes = {
                "/broadcast": self._broadcast,
                "/sustained": self._sustain,
                "/echo": self._echo,
                "/naive": self._write,
            }
            while (event := await receive())["type"] == "websocket.receive":
                await takes[scope["path"]](scope, event["text"], send)
            self._audience.pop(id(scope), None)

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
        self._tell_all(b"x" * int(text), id(scope))

    async def _sustain(self, scope: Scope, text: str, send: Send) -> None:
        self._tell_all(text.encode(), id(scope))
        await send({"type": "websocket.send", "text": "ok"})

    async def _echo(self, _: Scope, text: str, send: Send) -> None:
        await send({"type": "websocket.send", "text": text})

    def _tell_all(self, payload: bytes, sender: int) -> None:
        frame = Frame(Opcode.TEXT, payload).serialize(mask=False)
        for owner, transport in self._audience.items():
            if owner != sender:
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
    keep_freed_memory()
    uvicorn.Server(server_config(settings, lambda: Raw(sys.argv[1]), port=int(sys.argv[2]))).run()
