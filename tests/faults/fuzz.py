"""Sends a node what no client would send, and looks after the node and its other clients.

    python -m tests.faults.fuzz --frames 20000 --seed 1

Frames are those of `tests/vectors/protocol.json`, mutated with regard for their structure, at every
state of a connection. Each connection ends with a documented close code or still answers; the
process lives, logs no traceback and keeps its size; a neighbour's chain of versions holds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.faults.client import NPM_PATH, Client
from tests.faults.cluster import Cluster
from tests.faults.history import History
from tests.faults.workloads import User, check_value
from tests.support.server import ROOT, token

# None: no close frame, as after an abort. 1005: one without a code, as behind a FatalError.
DOCUMENTED: Final = {1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1011, 1013}
MAX_FRAMES: Final = 12  # on one connection
ANSWER_S: Final = 20.0
MAX_GROWTH_BYTES: Final = 64 << 20
CONNECTIONS: Final = 8
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


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        faults: what must not be.
        codes: how connections ended, by close code; "alive" for those that still answered.
    """

    frames: int = 0
    connections: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    growth_bytes: int = 0
    neighbour_acks: int = 0
    neighbour_transitions: int = 0


async def fuzz(seed: int, frames: int, directory: Path) -> Outcome:
    """Run against a node and a Postgres of their own."""
    outcome = Outcome()
    rng = random.Random(seed)
    history = History(directory / "history.jsonl", {"seed": seed})
    async with Cluster(directory, 1) as cluster:
        node = cluster.nodes[0]
        neighbour = Client(
            1, UUID(int=1, version=4), [node.url], token("u1"), history, rng, check_value
        )
        tasks = [
            asyncio.create_task(neighbour.run()),
            asyncio.create_task(User(neighbour, random.Random(seed), 0.02).run()),
        ]
        began = time.monotonic()
        mutators = [
            Mutator(random.Random(rng.getrandbits(64)), vectors()) for _ in range(CONNECTIONS)
        ]
        url = f"ws://127.0.0.1:{node.port}{NPM_PATH}"
        await _attack(mutators, url, min(frames, 2000), outcome)
        before = _resident(node.pid)
        await _attack(mutators, url, frames, outcome)
        outcome.growth_bytes = _resident(node.pid) - before
        outcome.seconds = time.monotonic() - began
        if not node.is_running:
            outcome.faults.append("the node ended")
        else:
            async with asyncio.timeout(ANSWER_S):
                await neighbour.barrier()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        history.close()
        log = node.log_path.read_text()
    outcome.faults += [f"neighbour: {text}" for text in history.violations]
    outcome.neighbour_acks = history.counts.get("ack", 0)
    outcome.neighbour_transitions = history.counts.get("transition", 0)
    if history.counts.get("open", 0) != 1:
        outcome.faults.append(f"the neighbour connected {history.counts.get('open', 0)} times")
    if outcome.growth_bytes > MAX_GROWTH_BYTES:
        outcome.faults.append(f"the node grew by {outcome.growth_bytes} bytes")
    if "Traceback" in log:
        place = log.index("Traceback")
        outcome.faults.append(f"{log.count('Traceback')} tracebacks: {log[place : place + 1500]}")
    return outcome


async def _attack(mutators: list[Mutator], url: str, frames: int, outcome: Outcome) -> None:
    async def worker(mutator: Mutator) -> None:
        while outcome.frames < frames:
            await _connection(mutator, url, outcome)

    await asyncio.gather(*[worker(mutator) for mutator in mutators])


async def _connection(mutator: Mutator, url: str, outcome: Outcome) -> None:
    """Bring a connection to some state, send strange frames, and see whether it answers or ends."""
    outcome.connections += 1
    sent: list[bytes | str] = []
    rng = mutator._rng
    async with connect(url, proxy=None, compression=None, close_timeout=0.2) as socket:
        try:
            for message in _prologue(rng):
                await socket.send(orjson.dumps(message), text=True)
            for _ in range(rng.randint(1, MAX_FRAMES)):
                frame = mutator.frame()
                sent.append(frame)
                outcome.frames += 1
                if isinstance(frame, str):
                    await socket.send(frame.encode())
                else:
                    await socket.send(frame, text=True)
                if rng.random() < 0.5:
                    await asyncio.sleep(0)
            ended = await _answer(socket)
        except ConnectionClosed as closed:
            ended = str(closed.rcvd.code if closed.rcvd else socket.close_code)
        except TimeoutError:
            ended = "silent"
    outcome.codes[ended] += 1
    if ended == "1006" and any(_is_broken(frame) for frame in sent):
        return  # closed before the rest was read, which resets the connection on the way
    if ended not in {"alive", *map(str, DOCUMENTED)} and len(outcome.faults) < 20:
        outcome.faults.append(f"{ended} after {[frame[:80] for frame in sent]!r}")


def _is_broken(frame: bytes | str) -> bool:
    """Tell whether already the WebSocket layer refuses a frame."""
    if isinstance(frame, bytes):
        try:
            frame.decode()
        except UnicodeDecodeError:
            return True
    return False


def _prologue(rng: random.Random) -> list[dict[str, Any]]:
    hello = {"type": "Connect", "sessionId": SESSION, "connectionCount": 0}
    modify = {"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": []}
    return [hello, modify][: rng.choice([0, 1, 1, 2])]


async def _answer(socket: ClientConnection) -> str:
    """Wait for the end, brought about by a version that no chain can have come to."""
    last = {"type": "ModifyQuerySet", "baseVersion": 77, "newVersion": 78, "modifications": []}
    await socket.send(orjson.dumps(last), text=True)
    async with asyncio.timeout(ANSWER_S):
        while True:
            await socket.recv()


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) << 10
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run as the command line says; return 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--frames", type=int, default=20_000)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="parley-fuzz-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o711)
        outcome = asyncio.run(fuzz(chosen.seed, chosen.frames, directory))
    sys.stdout.write(
        f"seed {chosen.seed}: {outcome.frames} frames on {outcome.connections} connections in "
        f"{outcome.seconds:.0f} s\nends by close code: {dict(outcome.codes)}\n"
        f"the node grew by {outcome.growth_bytes / 1e6:.1f} MB; neighbour: "
        f"{outcome.neighbour_acks} answers, {outcome.neighbour_transitions} Transitions\n"
        f"FAULTS {len(outcome.faults)}\n" + "\n".join(outcome.faults) + "\n"
    )
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
