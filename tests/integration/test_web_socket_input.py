"""Bad input on the sync socket: each kind gets its own answer, and the neighbours never notice.

The categories are those of RELIABILITY §3.1.
"""

from __future__ import annotations

import base64
import contextlib
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from parley.values import MAX_ARRAY, MAX_DEPTH, MAX_KEY, MAX_OBJECT
from tests.support.client import Failure, FunctionError, open_client
from tests.support.rawsocket import (
    TEXT,
    frame_of,
    open_raw,
)
from tests.support.server import token
from tests.support.webapp import WebServer, neighbour

SESSION = "5c2f9f1e-7f7c-4a39-9f0e-5a2f1f0b7a10"
CONNECT = {"type": "Connect", "sessionId": SESSION, "connectionCount": 0}


@asynccontextmanager
async def open_socket(web: WebServer, *, is_connected: bool = True) -> AsyncIterator[Any]:
    """Yield a client of the `websockets` library, on which anything can be sent."""
    address = f"ws://127.0.0.1:{web.port}/api/1.48.0/sync"
    async with connect(address, proxy=None, compression=None) as socket:
        if is_connected:
            await socket.send(json.dumps(CONNECT))
        yield socket


async def ending(socket: ClientConnection) -> tuple[str, int | None, str]:
    """Return the type of the last message, and the code and reason of the close."""
    last = ""
    with contextlib.suppress(ConnectionClosedError):  # any code but 1000
        async for frame in socket:
            last = json.loads(frame)["type"]
    return last, socket.close_code, socket.close_reason or ""


FATAL = ("FatalError", 1000, "")
BROKEN = ("", 1011, "InternalServerError")
TOO_LARGE = ("", 1009, "MessageTooLarge")


def message(**fields: Any) -> str:
    return json.dumps(fields)


def modify(*modifications: object, base: object = 0, new: object = 1) -> str:
    return message(
        type="ModifyQuerySet", baseVersion=base, newVersion=new, modifications=modifications
    )


def add(query_id: object = 0, path: object = "probe:echo", **fields: Any) -> dict[str, Any]:
    return {"type": "Add", "queryId": query_id, "udfPath": path, "args": [{"value": 1}], **fields}


def mutation(request_id: object = 0, path: object = "probe:add", **fields: Any) -> str:
    return message(type="Mutation", requestId=request_id, udfPath=path, **fields)


NOT_JSON = {
    "empty": "",
    "whitespace": " \t\n",
    "byte order mark": "\ufeff" + json.dumps(CONNECT),
    "truncated": json.dumps(CONNECT)[:-3],
    "trailing junk": json.dumps(CONNECT) + "x",
    "two messages": json.dumps(CONNECT) * 2,
    "NaN": '{"type":"Event","event":NaN}',
    "Infinity": '{"type":"Mutation","requestId":0,"udfPath":"a:b","args":[{"x":Infinity}]}',
    "comment": '/* hello */ {"type":"Event"}',
    "single quotes": "{'type':'Event'}",
    "array": "[]",
    "number": "5",
    "string": '"Connect"',
    "null": "null",
    "deep array": "[" * 5000,
    "control character": '{"type":"Ev\x01ent"}',
    "NUL": "\x00",
    "NUL behind": json.dumps(CONNECT) + "\x00",
    "zero-width space before": "\u200b" + json.dumps(CONNECT),
    "right to left": "\u202e" + json.dumps(CONNECT),
    "line separator between": '{"type":\u2028"Event"}',
    "no-break space between": '{"type":\xa0"Event"}',
    "leading zero": '{"type":"Mutation","requestId":01,"udfPath":"a:b"}',
    "hexadecimal": '{"type":"Mutation","requestId":0x1,"udfPath":"a:b"}',
    "comma behind": '{"type":"Event",}',
    "name without quotes": '{type:"Event"}',
    "lone surrogate": '{"type":"Mutation","requestId":0,"udfPath":"a:b","args":[{"x":"\\ud800"}]}',
    "long number": '{"type":"Mutation","requestId":' + "9" * 5000 + ',"udfPath":"a:b"}',
    "huge exponent": '{"type":"Mutation","requestId":1e400,"udfPath":"a:b"}',
}


@pytest.mark.parametrize("name", NOT_JSON)
@pytest.mark.parametrize("is_connected", [True, False])
async def test_what_is_not_json_is_fatal(web: WebServer, name: str, is_connected: bool) -> None:
    async with neighbour(web), open_socket(web, is_connected=is_connected) as socket:
        await socket.send(NOT_JSON[name])

        assert await ending(socket) == FATAL


U32 = 2**32
WRONG_FIELDS = {
    "unknown type": message(type="Subscribe"),
    "type in another case": message(type="connect"),
    "no type": message(sessionId=SESSION, connectionCount=0),
    "type of another kind": message(type=5),
    "no session": message(type="Connect", connectionCount=0),
    "session is no uuid": message(**{**CONNECT, "sessionId": "me"}),
    "session is a number": message(**{**CONNECT, "sessionId": 7}),
    "session in braces": message(**{**CONNECT, "sessionId": "{" + SESSION + "}"}),
    "negative count": message(**{**CONNECT, "connectionCount": -1}),
    "short ts": message(**CONNECT, maxObservedTimestamp="AAAA"),
    "long ts": message(**CONNECT, maxObservedTimestamp="A" * 4096),
    "ts is a number": message(**CONNECT, maxObservedTimestamp=12),
    "ts is no base64": message(**CONNECT, maxObservedTimestamp="!!!!!!!!!!!="),
    "clock is a text": message(**CONNECT, clientTs="now"),
    "clock beyond 64 bits": message(**CONNECT, clientTs=2**63),
    "no modifications": message(type="ModifyQuerySet", baseVersion=0, newVersion=1),
    "modifications null": message(
        type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=None
    ),
    "modification of no kind": modify({"queryId": 0}),
    "modification unknown": modify({"type": "Replace", "queryId": 0}),
    "no query id": modify({"type": "Add", "udfPath": "a:b"}),
    "negative query id": modify(add(-1)),
    "fractional query id": modify(add(1.5)),
    "query id above u32": modify(add(U32)),
    "query id beyond 2^53": modify(add(2**53 + 1)),
    "query id is a text": modify(add("0")),
    "no path": modify({"type": "Add", "queryId": 0}),
    "path null": modify(add(0, None)),
    "path is a list": modify(add(0, ["a:b"])),
    "arguments are a text": modify(add(args="x")),
    "arguments are two": modify(add(args=[{}, {}])),
    "arguments hold a list": modify(add(args=[[]])),
    "journal is a number": modify(add(journal=5)),
    "base version above u32": modify(base=U32, new=U32 + 1),
    "request id negative": mutation(-1),
    "request id fractional": mutation(0.5),
    "request id above u32": mutation(U32),
    "request id beyond u64": mutation(2**64),
    "request id true": mutation(True),
    "request without id": message(type="Mutation", udfPath="a:b"),
    "action without path": message(type="Action", requestId=0),
    "no token type": message(type="Authenticate", baseVersion=0, value="x"),
    "token type unknown": message(type="Authenticate", baseVersion=0, tokenType="Root"),
    "user without token": message(type="Authenticate", baseVersion=0, tokenType="User"),
    "token is an object": message(
        type="Authenticate", baseVersion=0, tokenType="User", value={"a": 1}
    ),
}


@pytest.mark.parametrize("name", WRONG_FIELDS)
async def test_a_message_with_wrong_fields_is_fatal(web: WebServer, name: str) -> None:
    async with neighbour(web), open_socket(web) as socket:
        await socket.send(WRONG_FIELDS[name])

        assert await ending(socket) == FATAL


async def test_a_fatal_error_quotes_nothing_of_what_was_sent(web: WebServer) -> None:
    async with open_socket(web) as socket:
        await socket.send(message(type="Authenticate", baseVersion="hush", tokenType="hush"))

        text = json.loads(await socket.recv())["error"]

    assert text.startswith("WSMessageInvalidJson: ")
    assert "hush" not in text


async def test_sixteen_megabytes_are_not_read(web: WebServer) -> None:
    async with neighbour(web), open_socket(web) as socket:
        with contextlib.suppress(ConnectionClosedError):  # while it is still being sent
            await socket.send(message(type="Event", event="x" * (16 << 20)))

        _, code, reason = await ending(socket)

    assert code == 1009
    assert reason.startswith("frame with 16777")


async def test_a_binary_frame_is_fatal(web: WebServer) -> None:
    async with neighbour(web), open_socket(web) as socket:
        await socket.send(json.dumps(CONNECT).encode())

        assert await ending(socket) == FATAL


async def test_unknown_fields_do_no_harm(web: WebServer) -> None:
    async with open_client(web.url, futureField={"a": [1]}) as client:
        await client.modify(add(0, componentPath="x", more=1))

        assert client.results == {0: 1}


async def test_nobody_acts_as_another_by_a_token_of_their_own(web: WebServer) -> None:
    user = {"issuer": "https://issuer.test", "subject": "bob"}
    async with open_client(web.url) as client:
        query_id = await client.subscribe("probe:who")
        for base, field in enumerate(("impersonating", "acting_as")):
            value = token("alice")
            await client.send(
                type="Authenticate",
                baseVersion=base,
                tokenType="User",
                value=value,
                **{field: user},
            )
            await client.until(lambda wanted=base + 1: client.version.identity == wanted)

            assert client.results[query_id] == "alice"


async def test_a_later_value_of_a_repeated_key_wins(web: WebServer) -> None:
    async with neighbour(web), open_socket(web, is_connected=False) as socket:
        await socket.send('{"type":"Event","type":"Event","eventType":"a","eventType":"b"}')
        await socket.send(json.dumps(CONNECT))
        await socket.send(modify())

        assert json.loads(await socket.recv())["type"] == "Transition"


# --- state


async def test_nothing_but_an_event_may_come_before_connect(web: WebServer) -> None:
    early = [
        modify(),
        mutation(),
        message(type="Action", requestId=0, udfPath="a:b"),
        message(type="Authenticate", baseVersion=0, tokenType="None"),
    ]
    async with neighbour(web):
        for text in early:
            async with open_socket(web, is_connected=False) as socket:
                await socket.send(message(type="Event", eventType="x", event=[1, {"a": None}]))
                await socket.send(text)

                assert await ending(socket) == BROKEN


IMPOSSIBLE = {
    "query set ahead": ([modify(base=1, new=2)], FATAL),
    "query set not raised": ([modify(base=0, new=0)], FATAL),
    "query set repeated": ([modify(), modify()], FATAL),
    "query set lowered": ([modify(new=5), modify(base=5, new=4)], FATAL),
    "identity ahead": ([message(type="Authenticate", baseVersion=1, tokenType="None")], BROKEN),
    "identity repeated": (
        [message(type="Authenticate", baseVersion=0, tokenType="None")] * 2,
        BROKEN,
    ),
    "query added twice": ([modify(add(3), add(3))], BROKEN),
    "query added again": ([modify(add(3)), modify(add(3), base=1, new=2)], BROKEN),
    "query unknown": ([modify({"type": "Remove", "queryId": 3})], BROKEN),
    "query removed twice": ([modify(add(3), *[{"type": "Remove", "queryId": 3}] * 2)], BROKEN),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
async def test_what_is_impossible_now_ends_the_connection(web: WebServer, name: str) -> None:
    texts, (last, code, reason) = IMPOSSIBLE[name]
    async with neighbour(web), open_socket(web) as socket:
        for text in texts:
            await socket.send(text)

        end = await ending(socket)

    assert end[1:] == (code, reason)
    assert end[0] == last or (not last and end[0] in {"", "Transition"})


async def test_a_violation_right_behind_a_change_ends_nobody_else(web: WebServer) -> None:
    # In one piece, so that the violation is seen before the engine could answer the change.
    for _ in range(10):
        async with neighbour(web), open_raw(web.port, session=str(uuid4())) as raw:
            raw.writer.write(frame_of(TEXT, modify(add(0)).encode()) + frame_of(TEXT, b"{"))

            assert await raw.close_code() == 1000

    assert not web.services.node.is_draining


async def test_a_second_connect_changes_the_session_and_nothing_else(web: WebServer) -> None:
    async with neighbour(web), open_client(web.url) as client:
        query_id = await client.subscribe("probe:count", {"name": "second"})
        await client.send(**{**CONNECT, "sessionId": str(uuid4())}, maxObservedTimestamp=ts(2**62))

        assert await client.mutate("probe:add", {"name": "second"}) == 1
        assert client.results[query_id] == 1


def ts(value: int) -> str:
    return base64.b64encode(struct.pack("<Q", value)).decode()


async def test_a_client_that_has_seen_the_future_is_sent_away_to_come_back(web: WebServer) -> None:
    async with (
        neighbour(web),
        open_client(web.url, maxObservedTimestamp=ts(2**62)) as client,
    ):
        await client.send(type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[])

        assert await client.until_closed() == 1013

    assert client.frames == []


async def test_a_ts_of_all_bits_is_refused(web: WebServer) -> None:
    async with neighbour(web), open_client(web.url, maxObservedTimestamp=ts(2**64 - 1)) as client:
        assert await client.until_closed() in {1000, 1013}


async def test_a_client_slightly_ahead_is_never_shown_anything_older(web: WebServer) -> None:
    async with open_client(web.url) as client:
        await client.mutate("probe:add", {"name": "ahead"})
        seen = client.version.ts

    async with open_client(web.url, maxObservedTimestamp=ts(seen + 5)) as again:
        await again.subscribe("probe:count", {"name": "ahead"})

        assert again.version.ts >= seen + 5


async def test_a_request_number_cannot_stand_for_another_call(web: WebServer) -> None:
    async with open_client(web.url) as client:
        await client.mutate("probe:add", {"name": "reused"}, request_id=0)

        for path, args in (
            ("probe:add", {"name": "other"}),
            ("probe:put", {"name": "reused", "value": 1}),
        ):
            with pytest.raises(FunctionError, match="used for another call"):
                await client.mutate(path, args, request_id=0)

        assert await client.subscribe("probe:count", {"name": "other"}) in client.results
        assert client.results == {0: 0}
        assert await client.mutate("probe:add", {"name": "reused"}, request_id=1) == 2


async def test_request_numbers_may_have_gaps_but_not_go_back(web: WebServer) -> None:
    async with open_client(web.url) as client:
        assert await client.mutate("probe:add", {"name": "gaps"}, request_id=7) == 1
        assert await client.mutate("probe:add", {"name": "gaps"}, request_id=4_000_000_000) == 2

        with pytest.raises(FunctionError, match="was answered before"):
            await client.mutate("probe:add", {"name": "gaps"}, request_id=3)

        assert await client.mutate("probe:add", {"name": "gaps"}, request_id=7) == 1


@pytest.mark.parametrize("journal", ["", "nonsense", "{}", "\x00", "a" * 5000])
async def test_a_forged_journal_shows_nothing_and_breaks_nothing(
    web: WebServer, journal: str
) -> None:
    options = {"numItems": 2, "cursor": None}
    args = [{"topic": "forged", "paginationOpts": options}]
    async with open_client(web.url) as client:
        await client.modify(add(0, "probe:page", args=args, journal=journal))

        result = client.results[0]
        assert isinstance(result, Failure) or result["page"] == []


@pytest.mark.parametrize("cursor", ["", "nonsense", "W10=", "a" * 5000])
async def test_a_forged_cursor_fails_that_query_only(web: WebServer, cursor: str) -> None:
    async with open_client(web.url) as client:
        other = await client.subscribe("probe:count", {"name": "forged"})
        args = {"topic": "forged", "paginationOpts": {"numItems": 2, "cursor": cursor}}
        query_id = await client.subscribe("probe:page", args)

        assert "InvalidCursor" in client.results[query_id].message
        assert client.results[other] == 0


# --- paths and values: that call fails, the connection goes on


@pytest.mark.parametrize(
    "path",
    [
        "",
        ":",
        "probe",
        "probe:",
        ":echo",
        "probe:__init__",
        "probe:__class__",
        "__proto__:constructor",
        "_system/cli/tables:list",
        "../../etc/passwd:x",
        "probe/../probe:echo",
        "/probe:echo",
        "probe:\u0435cho",  # Cyrillic
        "probe:echo\u200b",
        "\u202eohce:eborp",
        "probe:echo\x00",
        "probe:echo\n2026-01-01 forged line",
        "%s%s%n{0}{}",
        "'; drop table users; --",
        "a" * 100_000,
    ],
)
async def test_a_path_that_names_nothing_is_a_failed_call(web: WebServer, path: str) -> None:
    async with open_client(web.url) as client:
        await client.modify(add(0, path), add(1))

        assert "Could not find public function" in client.results[0].message
        assert client.results[1] == 1
        with pytest.raises(FunctionError, match="Could not find public function"):
            await client.mutate(path)
        with pytest.raises(FunctionError, match="Could not find public function"):
            await client.act(path)


@pytest.mark.parametrize(
    "value", [{"$integer": "AQAAAAAAAAA="}, {"$bytes": "AQ=="}, {"$float": "AAAAAAAA8H8="}]
)
async def test_a_value_in_place_of_arguments_is_a_failed_call(web: WebServer, value: Any) -> None:
    async with open_client(web.url) as client:
        await client.modify(add(0, "probe:echo", args=[value]), add(1))

        assert "expected an object" in client.results[0].message
        assert client.results[1] == 1
        with pytest.raises(FunctionError, match="expected an object"):
            await client.mutate("probe:add", value)
        with pytest.raises(FunctionError, match="expected an object"):
            await client.act("probe:slowAdd", value)


def nested(depth: int) -> Any:
    """Return a list within lists; as an argument it stands one deeper, in the arguments."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


BAD_VALUES = {
    "integer of 7 bytes": {"$integer": "AAAAAAAAAA=="},
    "integer of 9 bytes": {"$integer": "AAAAAAAAAAAA"},
    "integer is a number": {"$integer": 5},
    "integer without padding": {"$integer": "AAAAAAAAAAA"},
    "float that needs no mark": {"$float": base64.b64encode(struct.pack("<d", 1.5)).decode()},
    "float of 4 bytes": {"$float": "AAAAAA=="},
    "bytes are no base64": {"$bytes": "a"},
    "bytes url-safe": {"$bytes": "_-8="},
    "set": {"$set": []},
    "map": {"$map": []},
    "unknown mark": {"$ref": "#/x"},
    "mark beside a field": {"$integer": "AAAAAAAAAAA=", "x": 1},
    "dollar key": {"$": 1},
    "key not ASCII": {"ключ": 1},
    "key with a control character": {"a\x00b": 1},
    "key too long": {"k" * (MAX_KEY + 1): 1},
    "one field too many": {str(number): 0 for number in range(MAX_OBJECT + 1)},
    "one element too many": [0] * (MAX_ARRAY + 1),
    "one level too deep": nested(MAX_DEPTH),
}


@pytest.mark.parametrize("name", BAD_VALUES)
async def test_a_value_that_is_none_fails_its_call_only(web: WebServer, name: str) -> None:
    args = [{"value": BAD_VALUES[name]}]
    async with neighbour(web), open_client(web.url) as client:
        await client.modify(add(0, args=args), add(1))

        assert "Invalid value" in client.results[0].message
        assert client.results[1] == 1
        with pytest.raises(FunctionError, match="Invalid value"):
            await client.mutate("probe:put", {"name": "bad", **args[0]})
        with pytest.raises(FunctionError, match="Invalid value"):
            await client.act("probe:slowAdd", {"name": "bad", **args[0]})


GOOD_VALUES = {
    "minus zero": {"$float": base64.b64encode(struct.pack("<d", -0.0)).decode()},
    "not a number": {"$float": base64.b64encode(struct.pack("<d", float("nan"))).decode()},
    "infinity": {"$float": base64.b64encode(struct.pack("<d", float("inf"))).decode()},
    "integer": {"$integer": "//////////8="},
    "no bytes": {"$bytes": ""},
    "empty key": {"": 1},
    "underscore key": {"_x": 1},
    "prototype": {"__proto__": {"constructor": 1}},
    "longest key": {"k" * MAX_KEY: 1},
    "most fields": {str(number): 0 for number in range(MAX_OBJECT)},
    "most elements": [0] * MAX_ARRAY,
    "deepest": nested(MAX_DEPTH - 1),
    "text": "\u0000 \u2028 \u202e \U0001f600",
    "big number": 1.7976931348623157e308,
}


@pytest.mark.parametrize("name", GOOD_VALUES)
async def test_a_value_at_its_limit_comes_back_as_it_went(web: WebServer, name: str) -> None:
    async with open_client(web.url) as client:
        await client.modify(add(0, args=[{"value": GOOD_VALUES[name]}]))

        assert client.results[0] == GOOD_VALUES[name]


DEEP = {"array": nested(80), "object": json.loads('{"a":' * 80 + "0" + "}" * 80)}


@pytest.mark.parametrize("name", DEEP)
async def test_what_is_nested_beyond_reason_ends_the_connection(web: WebServer, name: str) -> None:
    text = modify(add(0, args=[{"value": DEEP[name]}]))
    async with neighbour(web), open_socket(web) as socket:
        await socket.send(text)

        assert await ending(socket) == TOO_LARGE


async def test_what_is_nested_without_an_end_ends_the_connection(web: WebServer) -> None:
    async with neighbour(web), open_socket(web) as socket:
        await socket.send('{"a":' * 3000)

        # Newer versions of Python go on to where it breaks off.
        assert await ending(socket) in (TOO_LARGE, FATAL)
