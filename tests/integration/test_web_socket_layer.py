"""Below the messages: bytes that are no WebSocket, or no HTTP, or were never agreed upon."""

from __future__ import annotations

import asyncio
import zlib
from uuid import uuid4

import pytest

from parley.web.websocket import SyncWebSocket
from tests.support.client import open_client
from tests.support.rawsocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    RawSocket,
    frame_of,
    handshake,
    open_raw,
)
from tests.support.webapp import WebServer, neighbour, serving_web, until
from tests.support.wire import SESSION, modify

ADD = modify(0, 1, 0).encode()


EVENT = b'{"type":"Event"}'
_deflate = zlib.compressobj(wbits=-15)
BOMB = _deflate.compress(b" " * (10 << 20)) + _deflate.flush()  # 10 MiB in 10 KiB
WRONG_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
LAYER = {
    "frame without a mask": (frame_of(TEXT, EVENT, mask=False), {1002}),
    **{
        f"reserved bits {bits}": (frame_of(TEXT, EVENT, reserved=bits), {1002})
        for bits in (1, 2, 4)
    },
    **{
        f"reserved opcode {opcode}": (frame_of(opcode, b""), {1002})
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    "compressed though nobody agreed": (frame_of(TEXT, BOMB, reserved=4), {1002}),
    "fragment compressed later": (
        frame_of(TEXT, b"{", is_final=False) + frame_of(CONTINUATION, BOMB, reserved=4),
        {1002},
    ),
    "ping in fragments": (frame_of(PING, b"x", is_final=False), {1002}),
    "ping of 126 bytes": (frame_of(PING, b"x" * 126), {1002}),
    "pong of 65,536 bytes": (frame_of(PONG, b"x" * 65536), {1002}),
    "close in fragments": (frame_of(CLOSE, b"\x03\xe8", is_final=False), {1002}),
    "close of 126 bytes": (frame_of(CLOSE, b"\x03\xe8" + b"x" * 124), {1002}),
    "continuation of nothing": (frame_of(CONTINUATION, EVENT), {1002}),
    "fragments interleaved": (
        frame_of(TEXT, b"{", is_final=False) + frame_of(TEXT, EVENT),
        {1002},
    ),
    "length of 2^63": (frame_of(TEXT, b"", length=2**63), {1002, 1009}),
    "length beyond the limit": (frame_of(TEXT, b"", length=(4 << 20) + 1), {1009}),
    "text not UTF-8": (frame_of(TEXT, b'{"type":"\xc0\xaf"}'), {1007}),
    "text cut in a character": (frame_of(TEXT, b"\xf0\x9f\x98"), {1007}),
    **{
        f"close with code {code}": (frame_of(CLOSE, code.to_bytes(2, "big")), {1002})
        for code in WRONG_CODES
    },
    "close of one byte": (frame_of(CLOSE, b"x"), {1002}),
    "close with a reason not UTF-8": (frame_of(CLOSE, b"\x03\xe8\xff"), {1002, 1007}),
    "text cut in a character, in fragments": (
        frame_of(TEXT, b'{"type":"\xf0\x9f', is_final=False) + frame_of(CONTINUATION, b'\x98"}'),
        {1007},
    ),
    "empty frames without end": (frame_of(TEXT, b"") * 2000, {1000}),
    "bytes after the close": (frame_of(CLOSE, b"\x03\xe8") + b"\x00" * 5000, {1000, 1002}),
    "http again": (b"GET / HTTP/1.1\r\n\r\n", {1002}),
}


@pytest.mark.parametrize("name", LAYER)
async def test_bytes_that_are_no_websocket_end_that_connection(
    web: WebServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SyncWebSocket, "linger_s", 0.2)  # this peer answers no close
    data, codes = LAYER[name]
    async with neighbour(web), open_raw(web.port, session=SESSION) as raw:
        raw.writer.write(data)

        assert await raw.close_code() in codes
        await raw.until_gone()


async def test_an_open_connection_keeps_no_dict_of_its_own_and_no_handshake(web: WebServer) -> None:
    async with open_client(web.url) as client:
        await client.subscribe("probe:now", {})

        [connection] = [each for each in web.connections if isinstance(each, SyncWebSocket)]
        assert vars(connection) == {}  # uvicorn may come to have attributes that are not in slots
        assert not hasattr(connection, "request")
        assert not hasattr(connection, "response")
        assert connection.scope.keys() == {"extensions"}


async def test_fragments_are_put_together_with_pings_between(web: WebServer) -> None:
    text = ADD
    async with open_raw(web.port, session=SESSION) as raw:
        raw.send(TEXT, text[:1], is_final=False)
        for byte in text[1:-1]:
            raw.send(CONTINUATION, bytes([byte]), is_final=False)
            raw.send(CONTINUATION, b"", is_final=False)
        raw.send(PING, b"now")
        raw.send(CONTINUATION, text[-1:])

        received = [await raw.receive(), await raw.receive()]

    assert (PONG, b"now") in received
    assert any(b'"type":"Transition"' in payload for _, payload in received)


async def test_fragments_have_the_limit_of_one_message(web: WebServer) -> None:
    async with neighbour(web), open_raw(web.port, session=SESSION) as raw:
        raw.send(TEXT, b"[" * 1000, is_final=False)
        for _ in range(41):
            raw.send(CONTINUATION, b"[" * 104_000, is_final=False)

        assert await raw.close_code() == 1009


async def test_a_client_that_half_closes_is_let_go(web: WebServer) -> None:
    async with neighbour(web), open_raw(web.port, session=SESSION) as raw:
        raw.writer.write_eof()

        await raw.until_gone()


HANDSHAKES: dict[str, tuple[dict[str, str], int]] = {
    "key too short": ({"Sec-WebSocket-Key": "short"}, 400),
    "key too long": ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQAAAA=="}, 400),
    "key no base64": ({"Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!=="}, 400),
    "key empty": ({"Sec-WebSocket-Key": ""}, 400),
    "version 0": ({"Sec-WebSocket-Version": "0"}, 400),
    "version 8": ({"Sec-WebSocket-Version": "8"}, 400),
    "version 12": ({"Sec-WebSocket-Version": "12"}, 400),
    "version 130": ({"Sec-WebSocket-Version": "130"}, 400),
    "two versions": ({"Sec-WebSocket-Version": "13, 8"}, 400),
    "version no number": ({"Sec-WebSocket-Version": "x"}, 400),
    "upgrade to HTTP/2": ({"Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}, 404),
    "no upgrade": ({"Connection": "keep-alive"}, 404),
    "header of 9 KB": ({"X-Long": "x" * 9000}, 431),
    "header of 17 KB": ({"X-Long": "x" * 17_000}, 431),
    "200 headers": ({f"X-{number}": "x" for number in range(200)}, 431),
    "two lengths of the body": ({"Content-Length": "5", "Transfer-Encoding": "chunked"}, 400),
    "length no number": ({"Content-Length": "+5"}, 400),
    "unknown encoding of the body": ({"Transfer-Encoding": "chunked, identity"}, 400),
}


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_a_handshake_that_is_wrong_gets_an_answer(web: WebServer, name: str) -> None:
    headers, status = HANDSHAKES[name]
    head, raw = await handshake(web.port, headers=headers)
    await raw.abort()

    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"upgrade: websocket" not in head.lower()
    assert web.services.admission.total == 0


@pytest.mark.parametrize(
    "data",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 5, 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/query_ts HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nz\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: a\rb\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"\r\n" * 20_000 + b"x",
    ],
)
async def test_bytes_that_are_no_http_are_refused(web: WebServer, data: bytes) -> None:
    async with neighbour(web):
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(data)

        answer = await asyncio.wait_for(reader.read(1 << 16), 10)
        raw = RawSocket(reader, writer)
        await raw.until_gone()
        await raw.abort()

    assert answer.split(b" ")[1] in {b"400", b"431"}


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=8, permessage-deflate",
        "x-webkit-deflate-frame, permessage-bzip2",
        "unknown-extension; a=1",
    ],
)
async def test_compression_is_not_agreed_to(web: WebServer, offer: str) -> None:
    head, raw = await handshake(web.port, headers={"Sec-WebSocket-Extensions": offer})
    await raw.abort()

    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"sec-websocket-extensions" not in head.lower()


async def test_a_frame_that_does_not_come_to_its_end_ends_the_connection(web_dsn: str) -> None:
    """Byte by byte: a ping cannot be answered in the middle of a frame."""
    with serving_web(web_dsn, ws_ping_interval_s=0.1, ws_ping_timeout_s=0.2) as server:
        async with neighbour(server), open_raw(server.port, session=SESSION) as raw:
            raw.writer.write(frame_of(TEXT, b"", length=1 << 20))
            trickle = asyncio.create_task(write_slowly(raw))

            assert await raw.close_code() == 1011
            await trickle


async def write_slowly(raw: RawSocket) -> None:
    """Write a byte now and then until the connection is gone."""
    while not raw.reader.at_eof():
        raw.writer.write(b"x")
        await asyncio.sleep(0.02)


async def test_a_flood_of_pings_that_reads_no_answer_costs_no_memory(web: WebServer) -> None:
    async with neighbour(web) as client, open_raw(web.port, session=SESSION) as raw:
        for _ in range(40):
            raw.writer.write(frame_of(PING, b"x" * 125) * 2000)
            await raw.writer.drain()
            await client.mutate("probe:add", {"name": "beside a flood"})

        assert web.unsent_bytes() < 1 << 20


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_a_client_that_vanishes_leaves_nothing_behind(web: WebServer, opcode: int) -> None:
    async with neighbour(web) as client:
        for _ in range(20):
            async with open_raw(web.port, session=str(uuid4())) as raw:
                raw.send(opcode, ADD)
        for _ in range(20):
            _, raw = await asyncio.wait_for(handshake(web.port), 5)
            await raw.abort()
        await client.mutate("probe:add", {"name": "beside the vanished"})
        await until(lambda: web.services.admission.total == 1)


@pytest.mark.parametrize(
    ("behind", "code"), [(b"", 1007), (frame_of(CLOSE, b"\x03\xe8"), 1000)], ids=["", "close"]
)
async def test_what_is_no_text_leaves_no_traceback_in_the_log(
    web: WebServer, caplog: pytest.LogCaptureFixture, behind: bytes, code: int
) -> None:
    """Anybody may send it, as often as they like."""
    async with open_raw(web.port, session=SESSION) as raw:
        raw.writer.write(frame_of(TEXT, b"\xff\xfe") + behind)

        assert await raw.close_code() == code
    assert [record for record in caplog.records if record.exc_info] == []
