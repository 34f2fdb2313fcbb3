"""Makes what the fuzzer sends: nonsense, near misses, strange values in right messages, raw bytes.

Everything comes from the seed of the `random.Random` that a maker is given.
"""

from __future__ import annotations

import base64
import json
import random
import struct
from copy import deepcopy
from typing import Any, Final

from tests.support.rawsocket import CLOSE, CONTINUATION, PING, PONG, TEXT, frame_of
from tests.support.server import ROOT, token

SESSION: Final = "5c2f9f1e-7f7c-4a39-9f0e-5a2f1f0b7a10"

PATHS: Final = [
    "app:topic", "app:append", "app:total", "app:mine", "app:nothing", "app:__class__", "__init__",
    "../../etc/passwd", "_system/cli", "app:topic:topic", "", ":", "app", "\u0430pp:topic",
    "app:topic\r\nX: y", "app.js:topic", "app:cell", "app:account", "x" * 5000,
]  # fmt: skip
STRANGE: Final[list[Any]] = [
    None, True, False, 0, -1, 1, 1.5, 2**31, 2**32, 2**53, 2**63, 2**64, -(2**63), 1e308, "", " ",
    "x", "\x00", "\u202e", "\u2028", "AAAAAAAAAAA=", "//////////8=", "AAAA", "!", [], {}, [[]],
    [{}], [{}, {}], {"$integer": "AAAAAAAAAAA="}, {"$integer": "AA=="}, {"$float": "x"},
    {"$bytes": "!"}, {"$x": 1}, {"__proto__": 1}, {"_id": 1}, {"$float": "AAAAAAAA8H8="},
    "User", "Admin", "None", "Add", "Remove", "Connect", "Mutation", SESSION, SESSION.upper(),
    {"topic": "topic0"}, {"topic": 1}, {"topic": None, "value": "x"}, "\ud83d\ude00" * 100,
]  # fmt: skip
TEXTS: Final[list[bytes]] = [
    b"", b" ", b"\xef\xbb\xbf{}", b"{", b"}", b"[]", b"1", b"null", b'"x"', b"{}", b"NaN",
    b'{"type":NaN}', b'{"type":Infinity}', b'{"a":1,"a":2}', b'{"type":"Connect"} x',
    b"[" * 5000, b'{"a":' * 3000, b"1" * 5000, b'{"type":1e400}', b'{"type":"\\ud800"}',
    b'{"type":"\\u0000"}', b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b'{"type":"' + b"x" * 200_000,
    b"//", b"/* */{}", b"\x00", b"'x'", b'{"type":"Mutation","requestId":1,"udfPath":"m:f",}',
]  # fmt: skip


def vectors() -> list[dict[str, Any]]:
    """Return the client messages that others have written down, as objects."""
    known = json.loads((ROOT / "tests" / "vectors" / "protocol.json").read_text())
    texts = [
        each["text"] for kind in ("valid", "invalid") for each in known["clientMessages"][kind]
    ]
    found = []
    for text in texts:
        try:
            parsed = json.loads(text)
        except ValueError:
            continue
        if isinstance(parsed, dict):
            found.append(parsed)
    return found


class Mutator:
    """Makes frames; everything comes from the seed."""

    def __init__(self, rng: random.Random, seeds: list[dict[str, Any]]) -> None:
        self._rng = rng
        self._seeds = seeds

    def frame(self) -> bytes | str:
        """Return a text frame as bytes, valid UTF-8 or not; or as text: a binary frame."""
        rng = self._rng
        chance = rng.random()
        if chance < 0.08:
            return rng.choice(TEXTS)
        if chance < 0.1:
            return "binary" * rng.randint(0, 50)
        message = json.loads(json.dumps(rng.choice(self._seeds)))
        if rng.random() < 0.5:
            self._aim(message)
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            message = self._change(message)
        try:
            text = json.dumps(message, ensure_ascii=rng.random() < 0.7).encode(
                errors="surrogatepass"
            )
        except RecursionError:
            text = b"[" * 5000  # deeper than Python writes
        return self._scratch(text) if rng.random() < 0.2 else text

    def _aim(self, message: dict[str, Any]) -> None:
        """Let it meet functions that exist, and the versions that come next."""
        rng = self._rng
        if "udfPath" in message:
            message["udfPath"] = rng.choice(PATHS)
        if "baseVersion" in message:
            message["baseVersion"] = rng.choice([0, 0, 1, 1, 2])
        if "newVersion" in message:
            message["newVersion"] = rng.choice([1, 2, 2, 3])
        for change in message.get("modifications") or []:
            if isinstance(change, dict):
                change["udfPath"] = rng.choice(PATHS)
                change["args"] = deepcopy(rng.choice(STRANGE))

    def _change(self, value: Any) -> Any:
        rng = self._rng
        if isinstance(value, dict) and value:
            name = rng.choice(list(value))
            match rng.randrange(7):
                case 0:
                    del value[name]
                case 1:
                    value[rng.choice(["", "x", "$x", "_x", "__proto__", name + " "])] = value[name]
                case 2 | 3:
                    value[name] = deepcopy(rng.choice(STRANGE))
                case 4:
                    deep: Any = value[name]
                    for _ in range(rng.choice([2, 20, 70, 300])):
                        deep = [deep]
                    value[name] = deep
                case _:
                    value[name] = self._change(value[name])
            return value
        if isinstance(value, list) and value:
            place = rng.randrange(len(value))
            if rng.random() < 0.3 and len(value) < 50:
                return value * rng.choice([2, 10, 300])
            value[place] = self._change(value[place])
            return value
        if isinstance(value, str) and len(value) < 300 and rng.random() < 0.4:
            return value * rng.choice([2, 50, 3000]) + rng.choice(["", "\x00", "\u202e", "\ud800"])
        return deepcopy(rng.choice(STRANGE))

    def _scratch(self, text: bytes) -> bytes:
        rng = self._rng
        place = rng.randrange(len(text) + 1)
        match rng.randrange(4):
            case 0:
                return text[:place]
            case 1:
                return text[:place] + bytes([rng.randrange(256)]) + text[place:]
            case 2:
                return text[:place] + rng.choice(TEXTS)[:100] + text[place:]
            case _:
                return text[:place] + text[place + 1 :]


KEYS: Final = [
    "value", "topic", "name", "", "_x", "_id", "$x", "$integer", "__proto__", "constructor", "a b",
    "\u043a", "\u202e", "\x00", "k" * 64, "k" * 65, "k" * 1024, "k" * 1025,
]  # fmt: skip
FLOATS: Final = [-0.0, float("nan"), float("inf"), float("-inf"), 5e-324, 2.0**53, 2.0**64, 0.1]


class Values:
    """Makes values as the wire writes them (RELIABILITY §3.1.4): right, at a limit, and beyond."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def value(self, depth: int = 0) -> Any:
        """Return one; small as a rule, and deep or wide now and then."""
        rng = self._rng
        kind = rng.randrange(12 if depth < 4 else 8)
        if kind < 3:
            return deepcopy(rng.choice(STRANGE))
        if kind == 3:
            return self._marked()
        if kind == 4:
            return rng.choice(FLOATS[4:])
        if kind == 5:
            return rng.choice(["x", "\x00", "\ud800", "\u2028", "\U0001f600"]) * rng.choice(
                [1, 9, 999]
            )
        if kind == 6:
            return self._nested(rng.choice([1, 15, 16, 17, 63, 64, 65, 200]))
        if kind == 7:
            return [0] * rng.choice([0, 1, 8192, 8193]) if rng.random() < 0.1 else []
        if kind < 10:
            return [self.value(depth + 1) for _ in range(rng.randrange(4))]
        if rng.random() < 0.05:
            return {f"k{number}": 0 for number in range(rng.choice([1024, 1025]))}
        return {rng.choice(KEYS): self.value(depth + 1) for _ in range(rng.randrange(4))}

    def _marked(self) -> dict[str, Any]:
        """Return one of Convex's special forms, with the right number of bytes or not."""
        rng = self._rng
        raw = rng.randbytes(rng.choice([8, 8, 8, 0, 1, 7, 9, 100]))
        if rng.random() < 0.3:
            raw = struct.pack("<d", rng.choice(FLOATS))
        text: Any = base64.b64encode(raw).decode()
        if rng.random() < 0.2:
            text = rng.choice(
                [text.rstrip("="), text + "=", text.replace("A", "-"), None, 8, [text]]
            )
        mark = rng.choice(["$integer", "$float", "$bytes", "$set", "$map", "$x", "$"])
        return {mark: text, **({"x": 1} if rng.random() < 0.1 else {})}

    def _nested(self, depth: int) -> Any:
        value: Any = 0
        for _ in range(depth):
            value = [value] if self._rng.random() < 0.7 else {"a": value}
        return value


CALLS: Final[list[tuple[str, tuple[str, ...]]]] = [
    ("app:topic", ("topic",)), ("app:tail", ("topic", "count")), ("app:cell", ("name",)),
    ("app:after", ("topic", "pos", "count")), ("app:note", ("name",)), ("app:mine", ()),
    ("app:refused", ("topic",)), ("app:write", ("name", "chunk")), ("app:nothing", ("x",)),
    ("app:append", ("topic", "value")), ("app:board", ("name",)),
]  # fmt: skip


class Speaker:
    """Speaks as a client does, so that strange values come far; and is wrong by one now and then.

    One per connection: it keeps the versions and numbers that come next.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._values = Values(rng)
        self._query_set = 0
        self._identity = 0
        self._request = rng.randrange(2**32 - 1000)
        self._query = 0
        self._held: list[int] = []

    def hello(self) -> list[dict[str, Any]]:
        """Return the first message."""
        return [{"type": "Connect", "sessionId": SESSION, "connectionCount": 0}]

    def message(self) -> dict[str, Any]:
        """Return the next message."""
        make = self._rng.choice([self._modify, self._modify, self._call, self._call, self._become])
        return make()

    def _near(self, number: int) -> int:
        """Return a number, or in one of thirty cases another that is not far."""
        if self._rng.random() < 1 / 30:
            return self._rng.choice([number - 1, number + 1, 0, 2**32 - 1, 2**32, -1, 2**64])
        return number

    def _args(self, names: tuple[str, ...]) -> list[Any]:
        rng = self._rng
        args = {name: self._values.value() for name in names}
        if "topic" in args:
            args["topic"] = rng.choice(["fuzz", "topic0", args["topic"]])
        if "value" in args and args["topic"] != "fuzz":
            args["value"] = "x"  # no integer: topics of others stay as they are
        if "count" in args:
            args["count"] = rng.choice([0, 1, 40, 10**6, 0.5, "x"])  # below 0 is the app's mistake
        if rng.random() < 0.1:
            args[rng.choice(KEYS)] = self._values.value()
        return [args] if rng.random() < 0.95 else self._values.value()

    def _modify(self) -> dict[str, Any]:
        rng = self._rng
        changes: list[dict[str, Any]] = []
        for _ in range(rng.choice([0, 1, 1, 2, 5])):
            if self._held and rng.random() < 0.4:
                removed = self._held.pop(rng.randrange(len(self._held)))
                changes.append({"type": "Remove", "queryId": self._near(removed)})
                continue
            path, names = rng.choice(CALLS)
            self._query += 1
            self._held.append(self._query)
            change = {"type": "Add", "queryId": self._near(self._query), "udfPath": path}
            change["args"] = self._args(names)
            if rng.random() < 0.2:
                change["journal"] = rng.choice([None, "", "x", "W10=", "\x00" * 50])
            changes.append(change)
        base, self._query_set = self._query_set, self._query_set + 1
        return {
            "type": "ModifyQuerySet",
            "baseVersion": self._near(base),
            "newVersion": self._near(self._query_set),
            "modifications": changes,
        }

    def _call(self) -> dict[str, Any]:
        rng = self._rng
        path, names = rng.choice(CALLS)
        self._request += 1
        return {
            "type": rng.choice(["Mutation", "Mutation", "Action"]),
            "requestId": self._near(self._request),
            "udfPath": path,
            "args": self._args(names),
        }

    def _become(self) -> dict[str, Any]:
        rng = self._rng
        base, self._identity = self._identity, self._identity + 1
        message: dict[str, Any] = {"type": "Authenticate", "baseVersion": self._near(base)}
        if rng.random() < 0.8:
            who = rng.choice([None, "u1", "fuzz"])
            return message | (
                {"tokenType": "None"} if who is None else {"tokenType": "User", "value": token(who)}
            )
        good = token("u1")
        value = rng.choice(
            [good[:-4] + "AAAA", good[:50], ".".join(good.split(".")[::-1]), "", "x"]
        )
        kind = rng.choice(["User", "Admin"])
        return message | {"tokenType": kind, "value": value, "impersonating": {"subject": "u1"}}


class Bytes:
    """Makes what comes below the messages: frames right and wrong, and handshakes."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def frame(self) -> bytes:
        """Return a frame; none that promises more than comes, but for what is beyond all limits."""
        rng = self._rng
        opcode = rng.choice([TEXT, TEXT, CONTINUATION, PING, PONG, CLOSE, rng.randrange(16)])
        payload = rng.choice(
            [b"", b"{}", b'{"type":"Event"}', b"\xff", rng.randbytes(130), b"x" * 70_000]
        )
        if opcode in (PING, PONG, CLOSE) and rng.random() < 0.8:
            payload = payload[:125]
        if opcode == CLOSE and rng.random() < 0.7:
            payload = rng.randrange(65536).to_bytes(2, "big") + payload[:100]
        wrong = rng.random() < 0.15
        return frame_of(
            opcode,
            payload,
            is_final=rng.random() < 0.7,
            mask=not wrong or rng.random() < 0.5,
            reserved=rng.randrange(8) if wrong else 0,
            length=rng.choice([5 << 20, 2**63, 2**64 - 1]) if rng.random() < 0.02 else None,
        )

    def headers(self) -> dict[str, str]:
        """Return headers of a handshake, a few of them strange."""
        rng = self._rng
        names = ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Origin", "Host", "Convex-Client",
                 "Upgrade", "Connection", "Content-Length", "Transfer-Encoding", "Expect", "X" * 99,
                 "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Via"]  # fmt: skip
        texts = ["", "x", "0", "13", "-1", "websocket", "Upgrade", "chunked", "\xe9", "a, b;c=d",
                 "npm-1.48.0", "permessage-deflate", "127.0.0.1", "y" * 5000, "9" * 40]  # fmt: skip
        return {rng.choice(names): rng.choice(texts) for _ in range(rng.randrange(1, 4))}
