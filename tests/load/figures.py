"""The figures, each measured on whatever server it is pointed at."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial

from tests.load.parley_client import CONTENT, Device
from tests.load.servers import Process
from tests.load.wire import Client

Figure = dict[str, float]
WARM_UP = 0.2  # of the time measured


def _ms(seconds: list[float], share: float) -> float:
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3)


class Loop:
    """Clients that send again as soon as they are answered."""

    def __init__(self, sends: list[Callable[[], None]]) -> None:
        self._sends = sends
        self._sent_at = [0.0] * len(sends)
        self.took_s: list[float] = []
        self._is_running = False

    def answered(self, number: int) -> None:
        """Hear that client `number` was answered; let it send again."""
        now = time.perf_counter()
        self.took_s.append(now - self._sent_at[number])
        if self._is_running:
            self._sent_at[number] = now
            self._sends[number]()

    async def run(self, seconds: float, server: Process) -> Figure:
        """Run, and return answers per second, latency, and the server's processor time for each."""
        self._is_running = True
        for number, send in enumerate(self._sends):
            self._sent_at[number] = time.perf_counter()
            send()
        await asyncio.sleep(seconds * WARM_UP)
        self.took_s.clear()
        cpu, started = server.cpu_s(), time.perf_counter()
        await asyncio.sleep(seconds)
        count, elapsed = len(self.took_s), time.perf_counter() - started
        cpu = server.cpu_s() - cpu
        self._is_running = False
        return {
            "per_s": round(count / elapsed, 1),
            "p50_ms": _ms(self.took_s, 0.5),
            "p99_ms": _ms(self.took_s, 0.99),
            "server_cpu_us": round(cpu / count * 1e6, 1),
        }


async def writes(server: Process, clients: int, seconds: float) -> Figure:
    """Durable addMessage over the socket, one in flight per client, each in its conversation."""
    devices = await asyncio.gather(
        *(Device.open(server.port, f"writer {number}") for number in range(clients))
    )
    rooms = [await device.mutate("conversations:create", {}) for device in devices]

    def send(device: Device, room: str) -> None:
        device.client.send(
            device.mutation(
                "conversations:addMessage",
                {"conversationId": room, "role": "user", "content": CONTENT},
            )
        )

    loop = Loop([partial(send, *pair) for pair in zip(devices, rooms, strict=True)])

    def heard(number: int, payload: bytes) -> None:
        assert b'"success":true' in payload[:80], payload
        loop.answered(number)

    for number, device in enumerate(devices):
        device.on_response = partial(heard, number)
    try:
        return await loop.run(seconds, server)
    finally:
        for device in devices:
            device.client.close()


async def naive_writes(server: Process, clients: int, seconds: float) -> Figure:
    """The same, with a transaction for each on the same web stack."""
    numbers: dict[Client, int] = {}
    opened = await asyncio.gather(
        *(
            Client.open(server.port, "/naive", lambda client, _: loop.answered(numbers[client]))
            for _ in range(clients)
        )
    )
    numbers.update({client: number for number, client in enumerate(opened)})
    loop = Loop([partial(client.send, CONTENT.encode()) for client in opened])
    try:
        return await loop.run(seconds, server)
    finally:
        for client in opened:
            client.close()


class Audience:
    """Counts what a number of devices hear of one change after another."""

    _WARM = 3

    def __init__(self, size: int) -> None:
        self.size = size
        self._missing = 0
        self._all: asyncio.Future[None] | None = None
        self.first_at = 0.0

    def hear(self, _: bytes) -> None:
        """Count one frame."""
        if self._missing == self.size:
            self.first_at = time.perf_counter()
        self._missing -= 1
        if self._missing == 0 and self._all is not None:
            self._all.set_result(None)

    async def follow(
        self, change: Callable[[int], Awaitable[None]], seconds: float, server: Process
    ) -> Figure:
        """Make changes, each after everybody has heard of the one before."""
        last_s, spread_s = [], []
        until = time.perf_counter() + seconds
        cpu, measured_from, number = 0.0, 0.0, 0
        while time.perf_counter() < until or number < 2 * self._WARM:
            if number == self._WARM:
                cpu, measured_from = server.cpu_s(), time.perf_counter()
                last_s, spread_s = [], []
            number += 1
            self._missing = self.size
            self._all = asyncio.get_running_loop().create_future()
            started = time.perf_counter()
            await change(number)
            await self._all
            now = time.perf_counter()
            last_s.append(now - started)
            spread_s.append(now - self.first_at)
        elapsed = time.perf_counter() - measured_from
        pushes = len(last_s) * self.size
        return {
            "pushes_per_s": round(pushes / elapsed),
            "pushes_per_cpu_s": round(pushes / (server.cpu_s() - cpu)),
            "last_device_p50_ms": _ms(last_s, 0.5),
            "last_device_p99_ms": _ms(last_s, 0.99),
            "first_to_last_p50_ms": round(statistics.median(spread_s) * 1000, 3),
        }


FRAME_BYTES = 1200


async def fan_out(server: Process, devices: int, seconds: float) -> Figure:
    """One change of 1 KB to a conversation that so many devices watch."""
    writer = await Device.open(server.port, "owner")
    room = await writer.mutate("conversations:create", {})
    writer.on_response = lambda _: None
    audience = Audience(devices)
    watching = []
    for _ in range(devices):
        watching.append(await Device.open(server.port, "owner"))
    for device in watching:
        await device.subscribe("conversations:get", {"conversationId": room})
        device.on_transition = audience.hear
    sizes = []
    watching[0].on_transition = lambda frame: (sizes.append(len(frame)), audience.hear(frame))[1]

    async def change(number: int) -> None:
        title = f"{number:06d}" + "x" * 700
        writer.client.send(
            writer.mutation("conversations:update", {"conversationId": room, "title": title})
        )

    try:
        found = await audience.follow(change, seconds, server)
        return {**found, "frame_bytes": statistics.median(sizes)}
    finally:
        for device in [writer, *watching]:
            device.client.close()


async def raw_fan_out(server: Process, devices: int, seconds: float, size: int) -> Figure:
    """The same bytes to as many, from a server that only broadcasts."""
    audience = Audience(devices)
    writer = await Client.open(server.port, "/broadcast", lambda *_: None)
    watching = [
        await Client.open(server.port, "/broadcast", lambda _, frame: audience.hear(frame))
        for _ in range(devices)
    ]

    async def change(_: int) -> None:
        writer.send(str(size).encode())

    try:
        return await audience.follow(change, seconds, server)
    finally:
        for client in [writer, *watching]:
            client.close()
