"""Sends a node what no client would send, and looks after the node and its other clients.

    python -m tests.faults.fuzz --frames 20000 --seed 1

Some connections get the frames of `tests/vectors/protocol.json`, mutated with regard for their
structure, at every state; some a client's own messages with strange values; some raw bytes. Each
ends with a documented code, behind replies that a client could read and a chain of versions that
holds; the process lives, logs no traceback and keeps its size; a neighbour notices nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from parley.errors import SURFACES
from parley.protocol.responses import ZERO_VERSION
from tests.faults.client import NPM_PATH, Client
from tests.faults.cluster import Cluster, Node
from tests.faults.generator import SESSION, Bytes, Mutator, Speaker, vectors
from tests.faults.history import History
from tests.faults.workloads import User, check_value
from tests.support.rawsocket import CLOSE, frame_of, handshake, open_raw
from tests.support.server import token
from tests.support.wire import version_of

# None: no close frame, as after an abort. 1005: one without a code, as behind a FatalError.
DOCUMENTED: Final = {1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1011, 1013}
MAX_FRAMES: Final = 12  # on one connection
ANSWER_S: Final = 20.0
MAX_GROWTH_BYTES: Final = 64 << 20
CONNECTIONS: Final = 8
KNOWN: Final = {
    *("Transition", "TransitionChunk", "MutationResponse", "ActionResponse", "Ping"),
    *("FatalError", "AuthError"),
}
LAST: Final = {"FatalError", "AuthError"}
INSIDE: Final = ("Traceback", "site-packages", "server/parley", "asyncpg")
STATUSES: Final = {b"101", b"400", b"403", b"404", b"426", b"429", b"431"}


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        faults: what must not be.
        codes: how connections ended, by close code, or handshakes by status.
        replies: messages of the server, by type.
    """

    frames: int = 0
    connections: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    growth_bytes: int = 0
    neighbour_acks: int = 0
    neighbour_transitions: int = 0

    def fault(self, what: str, said: Sequence[bytes | str]) -> None:
        """Note what must not be, and what was sent before it."""
        if len(self.faults) < 20:
            self.faults.append(f"{what} after {[frame[:200] for frame in said]!r}")


async def fuzz(seed: int, frames: int, directory: Path) -> Outcome:
    """Run against a node and a Postgres of their own."""
    outcome = Outcome()
    rng = random.Random(seed)
    history = History(directory, {"seed": seed})
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
        rngs = [random.Random(rng.getrandbits(64)) for _ in range(CONNECTIONS)]
        await _attack(rngs, node, min(frames, 2000), outcome)
        before = _resident(node.pid)
        await _attack(rngs, node, frames, outcome)
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


async def _attack(rngs: list[random.Random], node: Node, frames: int, outcome: Outcome) -> None:
    async def worker(rng: random.Random) -> None:
        mutator, below = Mutator(rng, vectors()), Bytes(rng)
        while outcome.frames < frames:
            outcome.connections += 1
            match rng.randrange(10):
                case 0:
                    await _bytes(below, rng, node.port, outcome)
                case 1 | 2 | 3 | 4:
                    speaker = Speaker(rng)
                    said = [_packed(message) for message in speaker.hello()]
                    said += [_packed(speaker.message()) for _ in range(rng.randint(1, MAX_FRAMES))]
                    await _messages(said, rng, node.port, outcome)
                case _:
                    said = [_packed(message) for message in _prologue(rng)]
                    said += [mutator.frame() for _ in range(rng.randint(1, MAX_FRAMES))]
                    await _messages(said, rng, node.port, outcome)

    await asyncio.gather(*[worker(rng) for rng in rngs])


def _packed(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()


async def _messages(
    said: list[bytes | str], rng: random.Random, port: int, outcome: Outcome
) -> None:
    """Send frames, the last of them one that ends any connection, and check all that comes back."""
    last = {"type": "ModifyQuerySet", "baseVersion": 77, "newVersion": 78, "modifications": []}
    url = f"ws://127.0.0.1:{port}{NPM_PATH}"
    received: list[str] = []
    outcome.frames += len(said)
    async with connect(url, proxy=None, compression=None, close_timeout=0.2) as socket:
        reader = asyncio.create_task(_collect(socket, received))
        with contextlib.suppress(ConnectionClosed):
            for frame in [*said, _packed(last)]:
                # A binary frame is given as text.
                await socket.send(
                    frame if isinstance(frame, bytes) else frame.encode(),
                    text=isinstance(frame, bytes),
                )
                if rng.random() < 0.5:
                    await asyncio.sleep(0)
        done, _ = await asyncio.wait([reader], timeout=ANSWER_S)
        if not done:
            reader.cancel()
            outcome.fault("silent", said)
            return
    code, reason = socket.close_code, socket.close_reason or ""
    outcome.codes[str(code)] += 1
    outcome.replies.update(json.loads(text)["type"] for text in received)
    if code == 1006 and any(_is_broken(frame) for frame in said):
        return  # closed before the rest was read, which resets the connection on the way
    wrong = wrong_ending(code, reason, received) or wrong_replies(received)
    if wrong:
        outcome.fault(wrong, said)


async def _collect(socket: ClientConnection, received: list[str]) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            received.append(str(await socket.recv()))


def wrong_ending(code: int | None, reason: str, received: list[str]) -> str | None:
    """Say what is wrong with how the server ended a connection; None when it is as documented."""
    if code not in DOCUMENTED:
        return f"ended with {code} {reason}"
    if code == 1000 and not (received and json.loads(received[-1])["type"] in LAST):
        return f"ended with 1000 behind {received[-1:]}"
    if code in {1011, 1013} and reason not in SURFACES:
        return f"ended with {code} and the reason {reason!r}"
    return None


def wrong_replies(received: list[str]) -> str | None:
    """Say what is wrong with the messages of one connection; None when a client could go on."""
    version, parts = ZERO_VERSION, ""
    for number, text in enumerate(received):
        message = json.loads(text)
        if message["type"] not in KNOWN or any(trace in text for trace in INSIDE):
            return f"sent {text[:500]}"
        if message["type"] in LAST and number + 1 < len(received):
            return f"went on behind {text[:500]}"
        if message["type"] == "TransitionChunk":
            parts += message["chunk"]
            if message["partNumber"] + 1 < message["totalParts"]:
                continue
            message, parts = json.loads(parts), ""
        if message["type"] == "Transition":
            if version_of(message["startVersion"]) != version:
                return f"broke the chain at {version}: {text[:500]}"
            version = version_of(message["endVersion"])
    return None


async def _bytes(below: Bytes, rng: random.Random, port: int, outcome: Outcome) -> None:
    """Send bytes that no library would, in a handshake or behind it."""
    if rng.random() < 0.2:
        outcome.frames += 1
        headers = below.headers()
        head, raw = await handshake(port, headers=headers)
        await raw.abort()
        status = head.split()[1] if head else b"none"
        outcome.codes[f"HTTP {status.decode()}"] += 1
        if status not in STATUSES:
            outcome.fault(f"a handshake was answered by {head[:200]!r}", [repr(headers)])
        return
    frames = [below.frame() for _ in range(rng.randint(1, MAX_FRAMES))]
    outcome.frames += len(frames)
    async with open_raw(port, session=SESSION) as raw:
        raw.writer.write(b"".join(frames) + frame_of(CLOSE, b"\x03\xe8"))
        code = await raw.close_code()
    # None: what it had not read resets the connection, and its last frame with it.
    outcome.codes[f"bytes {code}"] += 1
    is_echo = code is not None and 3000 <= code < 5000  # of a code that is for applications
    if code is not None and code not in DOCUMENTED and not is_echo:
        outcome.fault(f"bytes were answered by {code}", [*frames])


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
        f"replies: {dict(outcome.replies)}\n"
        f"the node grew by {outcome.growth_bytes / 1e6:.1f} MB; neighbour: "
        f"{outcome.neighbour_acks} answers, {outcome.neighbour_transitions} Transitions\n"
        f"FAULTS {len(outcome.faults)}\n" + "\n".join(outcome.faults) + "\n"
    )
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
