"""Official clients inside the harness: what passes through their sockets goes to the history.

They are judged like our own model client: by the oracle, and for what must never come at once.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from tests.faults.history import History
from tests.support.server import ROOT

JS = Path(__file__).parents[1] / "compat/js"
PACKAGES = ("convex", "convex-old")
FIRST_NUMBER = 500
MAX_LINE_BYTES = 16 << 20


def is_installed() -> bool:
    """Whether Node and the official clients are there (`make setup`)."""
    return shutil.which("node") is not None and (JS / "node_modules/convex").is_dir()


class OfficialClients:
    """One process of official clients.

    Attributes:
        numbers: those of its clients; client n signs in as `u<n>`.
        is_npm: whether they are npm's; else PyPI's.
    """

    def __init__(self, history: History, numbers: range, *, is_npm: bool) -> None:
        self.is_npm = is_npm
        self.numbers = numbers
        self._history = history
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._is_ended = False

    async def start(
        self, package: str, seed: int, think_s: float, urls: Sequence[str], tokens: Sequence[str]
    ) -> None:
        """Start npm's; `urls` and `tokens` are one for each client."""
        arguments = [seed, len(self.numbers), self.numbers.start, think_s * 1000, package]
        await self._start("node", JS / "faulted.mjs", *arguments, *urls, *tokens)

    async def start_python(self, think_s: float, url: str, token: str) -> None:
        """Start PyPI's, of which a process has one: it writes, or it watches."""
        number = self.numbers.start
        command = [sys.executable, "-m", "tests.faults.pypi", "work" if number % 2 else "watch"]
        await self._start(*command, number, think_s, url, token)

    async def _start(self, *command: object) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *map(str, command),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_LINE_BYTES,
        )
        self._reader = asyncio.create_task(self._read(), name="official clients")

    async def settle(self) -> None:
        """Let them finish what they do; return when every promise has ended and all are current."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.write(b"settle\n")
        await self._settled.wait()

    async def stop(self) -> None:
        """End the process, in whatever state it is."""
        if self._process is None or self._reader is None:
            return
        if self._process.returncode is None:
            self._is_ended = True
            self._process.kill()
        await self._process.wait()
        await self._reader

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event: dict[str, Any] = orjson.loads(line)
            kind = event.pop("e")
            match kind:
                case "settled":
                    self._settled.set()
                case "violation":
                    self._history.violation(event["what"])
                case _:
                    self._history.relay(kind, {**event, **_timestamps(event)})
        if not (self._settled.is_set() or self._is_ended):
            self._history.violation("the process of official clients ended by itself")
            self._settled.set()


def _timestamps(event: dict[str, Any]) -> dict[str, int]:
    """The ts in an event, as numbers; JavaScript has none that are long enough."""
    return {name: int(event[name]) for name in ("ts", "s", "d") if _is_number(event.get(name))}


def _is_number(value: Any) -> bool:
    return isinstance(value, str) and value.isdigit()
