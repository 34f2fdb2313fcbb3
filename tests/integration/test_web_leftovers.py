"""What connections leave behind: nothing that waits for the collector of cycles (decision 26)."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.client import FunctionError, open_client
from tests.support.rawsocket import TEXT, handshake, open_raw
from tests.support.server import token
from tests.support.webapp import WebServer, open_http, until

SERVER_MODULES = ("parley.", "uvicorn.", "uvloop.", "httptools.", "starlette.", "websockets.server")


@pytest.mark.parametrize("is_in_order", [True, False])
async def test_nothing_of_an_ended_connection_waits_for_the_collector(
    web: WebServer, is_in_order: bool
) -> None:
    sockets, connections = web.services.sockets, web.connections
    async with without_collector() as garbage:
        async with open_client(web.url) as client:
            await client.authenticate(token("garbage"))
            await client.subscribe("probe:count", {"name": "garbage"})
            await client.mutate("probe:add", {"name": "garbage"})
            assert sockets
            assert connections
            if not is_in_order:
                client.abort()
                await until(lambda: not sockets)
        async with open_http(web) as http:
            assert (await http.get("/version")).status_code == 200
        await until(lambda: not sockets and not connections)

    assert [each for each in garbage if type(each).__module__.startswith(SERVER_MODULES)] == []


async def test_nothing_of_a_connection_whose_calls_were_refused_waits_for_the_collector(
    web: WebServer,
) -> None:
    sockets, connections = web.services.sockets, web.connections
    async with without_collector() as garbage:
        async with open_client(web.url) as client:
            for path, args in (("probe:count", {"bad": 1}), ("probe:nothing", {})):
                await client.subscribe(path, args)
                with pytest.raises(FunctionError):
                    await client.mutate(path, args)
                with pytest.raises(FunctionError):
                    await client.act(path, args)
            with pytest.raises(FunctionError):
                await client.mutate("probe:add", {"bad": 1})
            with pytest.raises(FunctionError):
                await client.mutate("probe:refuse", {"data": "no"})
        async with open_http(web) as http:
            body = {"path": "probe:count", "args": {"bad": 1}}
            assert (await http.post("/api/query", json=body)).json()["status"] == "error"
        head, raw = await handshake(web.port, headers={"Sec-WebSocket-Key": "short"})
        assert head.startswith(b"HTTP/1.1 400 ")
        await raw.abort()
        async with open_raw(web.port) as raw:
            raw.send(TEXT, b"{}", mask=False)
            assert await raw.close_code() == 1002
        async with open_client(web.url) as client:
            await client.subscribe("probe:now")  # then it is idle, and hears itself
            await client.send(type="Mutation", requestId=0, udfPath=1, args=[])
            await client.until_closed()
        await until(lambda: not sockets and not connections)

    assert [each for each in garbage if type(each).__module__.startswith(SERVER_MODULES)] == []


@contextlib.asynccontextmanager
async def without_collector() -> AsyncIterator[list[Any]]:
    """Let nothing be collected meanwhile; fill the list yielded with what would have been."""
    found: list[Any] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
    finally:
        gc.set_debug(0)
        gc.enable()
    found += gc.garbage
    gc.garbage.clear()
