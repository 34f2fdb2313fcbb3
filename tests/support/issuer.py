"""An issuer on a real socket that can rotate, fail, stall, redirect and lie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Issuer:
    """What a test may change while the server runs.

    Attributes:
        url: `http://127.0.0.1:<port>`.
        bodies: path -> body; other paths are 404.
        status: of every answer.
        headers: of every answer, beside the length.
        open: cleared, answers wait until it is set again.
        asked: path of every request so far.
        arrived: set at each request.
    """

    url: str = ""
    bodies: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1].decode()
            self.asked.append(path)
            self.arrived.set()
            await self.open.wait()
            writer.write(self._answer(path))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client has lost patience, as some tests want
        finally:
            writer.close()

    def _answer(self, path: str) -> bytes:
        body = self.bodies.get(path)
        status = self.status if body is not None else 404
        body = body or b""
        lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def running_issuer() -> AsyncIterator[Issuer]:
    """Run an issuer on a free port of this machine for the length of the block."""
    issuer = Issuer()
    issuer.open.set()
    server = await asyncio.start_server(issuer.serve, "127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield issuer
        issuer.open.set()
