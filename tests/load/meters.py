"""What is measured, of whatever server: answers per second, latency, processor time, pushes."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from tests.load.servers import Process

T = TypeVar("T")
Figure = dict[str, float]
WARM_UP = 0.2  # of the time measured
_TOO_LONG_S = 300.0


async def guarded(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns; whatever goes wrong on a connection ends it, instead of hanging.

    Raises:
        RuntimeError: a server hung up, or said what nobody expects.
    """
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()

    def fail(_: object, context: dict[str, Any]) -> None:
        if not failed.done():
            error = context.get("exception")
            failed.set_exception(RuntimeError(f"{context['message']} {error or ''}"))

    loop.set_exception_handler(fail)
    task = loop.create_task(work)
    async with asyncio.timeout(_TOO_LONG_S):
        either: set[asyncio.Future[Any]] = {task, failed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await failed
    failed.cancel()
    return task.result()


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """Return the value below which this share lies, in milliseconds."""
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3)


class Cpu:
    """Processor time since it was made: of the server, and of the load generator."""

    def __init__(self, server: Process) -> None:
        self._server = server
        self._server_s, self._own_s = server.cpu_s(), time.process_time()
        self._started = time.perf_counter()

    def used_s(self) -> tuple[float, float]:
        """Return what the server and the load generator used."""
        return self._server.cpu_s() - self._server_s, time.process_time() - self._own_s

    def per(self, count: int) -> Figure:
        """Return both for each of so many operations, and how many processors each kept busy."""
        server_s, own_s = self.used_s()
        elapsed = time.perf_counter() - self._started
        return {
            "server_cpu_us": round(server_s / count * 1e6, 1),
            "generator_cpu_us": round(own_s / count * 1e6, 1),
            "server_busy": round(server_s / elapsed, 2),
            "generator_busy": round(own_s / elapsed, 2),
        }


class Loop:
    """Clients that send again as soon as they are answered."""

    def __init__(self, sends: Sequence[Callable[[], None]]) -> None:
        self._sends = sends
        self._sent_at = [0.0] * len(sends)
        self._took_s: list[float] = []
        self._in_flight = 0
        self._is_running = False
        self._idle = asyncio.Event()

    def answered(self, number: int) -> None:
        """Hear that client `number` was answered; let it send again."""
        now = time.perf_counter()
        self._took_s.append(now - self._sent_at[number])
        if self._is_running:
            self._sent_at[number] = now
            self._sends[number]()
        else:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()

    async def run(self, seconds: float, server: Process) -> Figure:
        """Run until all are answered; return rate, latency, and processor time for each."""
        self._is_running = True
        self._in_flight = len(self._sends)
        for number, send in enumerate(self._sends):
            self._sent_at[number] = time.perf_counter()
            send()
        await asyncio.sleep(seconds * WARM_UP)
        self._took_s.clear()
        cpu, started = Cpu(server), time.perf_counter()
        await asyncio.sleep(seconds)
        took_s, elapsed = self._took_s.copy(), time.perf_counter() - started
        used = cpu.per(len(took_s))
        self._is_running = False
        await self._idle.wait()
        return {
            "per_s": round(len(took_s) / elapsed, 1),
            "p50_ms": percentile_ms(took_s, 0.5),
            "p99_ms": percentile_ms(took_s, 0.99),
            **used,
        }


class Audience:
    """Counts what a number of devices hear of one change after another."""

    _WARM = 3

    def __init__(self, size: int) -> None:
        self.size = size
        self.bytes = 0
        self._missing = 0
        self._all: asyncio.Future[None] | None = None
        self._first_at = 0.0

    def hear(self, frame: bytes) -> None:
        """Count one frame."""
        if self._missing == self.size:
            self._first_at = time.perf_counter()
        self.bytes += len(frame)
        self._missing -= 1
        if self._missing == 0 and self._all is not None:
            self._all.set_result(None)

    async def hears(self, change: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
        """Make a change, and wait until everybody has heard of it.

        Returns:
            Seconds until the last one heard, and from the first one to the last.
        """
        self._missing = self.size
        self._all = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        await change()
        await self._all
        now = time.perf_counter()
        return now - started, now - self._first_at

    async def follow(
        self, change: Callable[[], Awaitable[None]], seconds: float, server: Process
    ) -> Figure:
        """Make changes, each after everybody has heard of the one before."""
        for _ in range(self._WARM):
            await self.hears(change)
        cpu, started = Cpu(server), time.perf_counter()
        self.bytes = 0
        took: list[tuple[float, float]] = []
        while time.perf_counter() - started < seconds or len(took) < self._WARM:
            took.append(await self.hears(change))
        pushes = len(took) * self.size
        server_s, _ = cpu.used_s()
        last_s, spread_s = zip(*took, strict=True)
        return {
            "pushes_per_s": round(pushes / (time.perf_counter() - started)),
            "pushes_per_cpu_s": round(pushes / server_s),
            "last_device_p50_ms": percentile_ms(last_s, 0.5),
            "last_device_p99_ms": percentile_ms(last_s, 0.99),
            "first_to_last_p50_ms": round(statistics.median(spread_s) * 1000, 3),
            "frame_bytes": round(self.bytes / pushes),
            **cpu.per(pushes),
        }
