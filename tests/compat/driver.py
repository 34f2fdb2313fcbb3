"""Talks to a process in which official clients run; the lines exchanged: `js/channel.mjs`."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

WAIT_S = 15.0
MAX_LINE_BYTES = 64 << 20


class CallFailed(Exception):
    """A command threw. Attributes: `data` of a ConvexError as wire JSON, None without."""

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.data = data


class Driver:
    """One process of clients.

    Attributes:
        events: all values of every event so far, oldest first.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.events: defaultdict[str, list[Any]] = defaultdict(list)
        self._process = process
        self._ids = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read(), name="driver")

    def begin(self, command: str, *args: Any) -> asyncio.Future[Any]:
        """Send a command now; the future is its answer."""
        assert self._process.stdin is not None
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": number, "command": command, "args": args})
        self._process.stdin.write(line.encode() + b"\n")
        return self._answers[number]

    async def call(self, command: str, *args: Any) -> Any:
        """Send a command and return its answer; raise CallFailed if it threw."""
        async with asyncio.timeout(WAIT_S):
            return await self.begin(command, *args)

    async def until(self, event: str, condition: Callable[[Any], Any]) -> Any:
        """Wait until the newest value of `event` meets `condition`, and return it."""
        try:
            async with asyncio.timeout(WAIT_S), self._news:
                while not (self.events[event] and condition(self.events[event][-1])):
                    assert not self._reader.done(), "the process of clients ended"
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{event}: {self.events[event][-3:]}") from None
        return self.events[event][-1]

    async def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                await self._take(json.loads(line))
        finally:
            for answer in self._answers.values():
                answer.cancel()
            async with self._news:
                self._news.notify_all()

    async def _take(self, message: dict[str, Any]) -> None:
        if "event" in message:
            async with self._news:
                self.events[message["event"]].append(message["value"])
                self._news.notify_all()
            return
        answer = self._answers.pop(message["id"])
        if answer.cancelled():
            return
        if "error" in message:
            answer.set_exception(
                CallFailed(message["error"]["message"], message["error"].get("data"))
            )
        else:
            answer.set_result(message["value"])

    async def close(self) -> None:
        """End the process; it must not have died before."""
        assert self._process.returncode is None, "the process of clients died: see its output above"
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(WAIT_S):
            await self._process.wait()
        await self._reader


@asynccontextmanager
async def running_driver(*command: str) -> AsyncIterator[Driver]:
    """Yield a process that runs `command`."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE_BYTES,
    )
    driver = Driver(process)
    try:
        yield driver
        await driver.close()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
