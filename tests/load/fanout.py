"""One change to many devices: one after another, and while earlier ones are still being sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from tests.load import servers, socketio
from tests.load.databases import Postgres, create_database
from tests.load.meters import WARM_UP, Audience, Cpu, Figure, Loop, percentile_ms
from tests.load.parley_client import Device, opened
from tests.load.run import Run
from tests.load.servers import Process
from tests.load.wire import Client, plain

DEVICES = 1000
WRITERS = 8
_PADDING = "x" * 700


def measure_fan_out(run: Run, postgres: Postgres, stack: ExitStack) -> None:
    """One change to 1,000 devices beside a raw broadcast of as many bytes."""
    parley = stack.enter_context(servers.running_parley(create_database(postgres, "fan_out")))
    raw = stack.enter_context(servers.running_raw(postgres))
    node = stack.enter_context(servers.running_peer("broadcast.mjs"))
    rooms = stack.enter_context(servers.running_peer("rooms.mjs", postgres.floor))
    for _ in run.rounds_of("fan-out"):
        found = run.measure(f"push {DEVICES}", fan_out(parley, DEVICES, run.seconds))
        size = round(found["frame_bytes"])
        for name, server in (("raw push", raw), ("node ws", node)):
            if server is not None:
                run.measure(f"{name} {DEVICES}", raw_fan_out(server, DEVICES, run.seconds, size))
        if rooms is not None:
            run.measure(f"socket.io {DEVICES}", socketio_fan_out(rooms, DEVICES, run.seconds, size))
        run.measure("push, sustained", sustained(parley, DEVICES, run.seconds))
        for name, server in (("raw push", raw), ("node ws", node)):
            if server is not None:
                run.measure(f"{name}, sustained", raw_sustained(server, DEVICES, run.seconds, size))


def _change(writer: Device, room: str, number: int) -> bytes:
    title = f"{number:08d}{_PADDING}"
    return writer.mutation("conversations:update", {"conversationId": room, "title": title})


async def _room_of(port: int, devices: int) -> tuple[Device, str, list[Device]]:
    """Return somebody in a new conversation, its id, and devices that watch it."""
    writer = await Device.open(port, "owner")
    room = await writer.mutate("conversations:create", {})
    query = ("conversations:get", {"conversationId": room})
    return writer, room, await opened(port, ["owner"] * devices, lambda _: [query])


def _close(clients: Sequence[Device | Client]) -> None:
    for each in clients:
        (each.client if isinstance(each, Device) else each).close()


async def fan_out(server: Process, devices: int, seconds: float) -> Figure:
    """One change of 1 KB to a conversation that so many devices watch."""
    writer, room, watching = await _room_of(server.port, devices)
    audience = Audience(devices)
    for device in watching:
        device.on_transition = audience.hear
    numbers = iter(range(1, 1 << 60))

    async def change() -> None:
        writer.client.send(_change(writer, room, next(numbers)))

    try:
        return await audience.follow(change, seconds, server)
    finally:
        _close([writer, *watching])


async def raw_fan_out(server: Process, devices: int, seconds: float, size: int) -> Figure:
    """The same bytes to as many, from a server that only broadcasts."""
    audience = Audience(devices)
    connect = plain(server.port, "/broadcast")
    writer = await connect(lambda _: None)
    watching = [await connect(audience.hear) for _ in range(devices)]

    async def change() -> None:
        writer.send(b"%d" % size)

    try:
        return await audience.follow(change, seconds, server)
    finally:
        _close([writer, *watching])


async def socketio_fan_out(server: Process, devices: int, seconds: float, size: int) -> Figure:
    """As many bytes by socket.io, to all who are in a room."""
    audience = Audience(devices)
    writer = await socketio.connected(server.port, lambda _: None)
    watching = [await socketio.connected(server.port, audience.hear) for _ in range(devices)]
    for client in watching:
        client.send(socketio.event("join", b"null"))
    around = len(socketio.event("changed", b'""'))

    async def change() -> None:
        writer.send(socketio.event("change", b"%d" % (size - around)))

    await asyncio.sleep(1.0)  # until all are in the room
    try:
        return await audience.follow(change, seconds, server)
    finally:
        _close([writer, *watching])


class Flood:
    """Writers that do not wait until everybody has heard, only for their own answer.

    A server may send several changes as one: what is counted is frames, and beside them how many
    changes were made. One device looks into its frames, to see how old what it shows is.
    """

    def __init__(self) -> None:
        self._sent_at: dict[int, float] = {}
        self._seen_s: list[float] = []
        self._frames = 0
        self._bytes = 0
        self._numbers = iter(range(1, 1 << 60))

    def next_number(self) -> int:
        """Return the number of the change that is sent now."""
        number = next(self._numbers)
        self._sent_at[number] = time.perf_counter()
        return number

    def hear(self, frame: bytes) -> None:
        """Count one frame of a device."""
        self._frames += 1
        self._bytes += len(frame)

    def watch(self, frame: bytes) -> None:
        """Count one frame of the device that looks into it."""
        self.hear(frame)
        at = frame.find(_PADDING.encode())
        self._seen_s.append(time.perf_counter() - self._sent_at[int(frame[at - 8 : at])])

    async def run(self, loop: Loop, devices: int, seconds: float, server: Process) -> Figure:
        """Let the writers write."""
        running = asyncio.ensure_future(loop.run(seconds, server))
        await asyncio.sleep(seconds * WARM_UP)
        self._frames = self._bytes = 0
        self._seen_s.clear()
        cpu, started = Cpu(server), time.perf_counter()
        await asyncio.sleep(seconds * 0.95)
        frames, elapsed = self._frames, time.perf_counter() - started
        (server_s, _), used = cpu.used_s(), cpu.per(frames)
        frame_bytes, seen_s = self._bytes / frames, self._seen_s.copy()
        made = await running
        return {
            "changes_per_s": made["per_s"],
            "pushes_per_s": round(frames / elapsed),
            "pushes_per_cpu_s": round(frames / server_s),
            "changes_per_push": round(made["per_s"] * devices / (frames / elapsed), 2),
            "seen_changes_per_cpu_s": round(made["per_s"] * elapsed * devices / server_s),
            "seen_after_p50_ms": percentile_ms(seen_s, 0.5),
            "seen_after_p99_ms": percentile_ms(seen_s, 0.99),
            "answered_p50_ms": made["p50_ms"],
            "frame_bytes": round(frame_bytes),
            **used,
        }


async def sustained(server: Process, devices: int, seconds: float) -> Figure:
    """Changes of 1 KB by eight writers, each with one in flight, to so many devices."""
    owner, room, watching = await _room_of(server.port, devices)
    writers = await opened(server.port, ["owner"] * WRITERS)
    flood = Flood()
    for device in watching:
        device.on_transition = flood.hear
    watching[0].on_transition = flood.watch

    def send(writer: Device) -> None:
        writer.client.send(_change(writer, room, flood.next_number()))

    def heard(number: int, payload: bytes) -> None:
        if b'"success":true' not in payload[:80]:
            raise RuntimeError(payload.decode())
        loop.answered(number)

    loop = Loop([partial(send, writer) for writer in writers])
    for number, writer in enumerate(writers):
        writer.on_response = partial(heard, number)
    try:
        return await flood.run(loop, devices, seconds, server)
    finally:
        _close([owner, *writers, *watching])


async def raw_sustained(server: Process, devices: int, seconds: float, size: int) -> Figure:
    """The same load on a server that only broadcasts, and then answers the writer."""
    flood = Flood()

    def answered(number: int, _: bytes) -> None:
        loop.answered(number)

    write = plain(server.port, "/sustained")
    writers = [await write(partial(answered, number)) for number in range(WRITERS)]
    connect = plain(server.port, "/broadcast")
    watching = [await connect(flood.watch)]
    watching += [await connect(flood.hear) for _ in range(devices - 1)]
    tail = _PADDING + "y" * (size - 8 - len(_PADDING))

    def send(writer: Client) -> None:
        writer.send(f"{flood.next_number():08d}{tail}".encode())

    loop = Loop([partial(send, writer) for writer in writers])
    try:
        return await flood.run(loop, devices, seconds, server)
    finally:
        _close([*writers, *watching])
