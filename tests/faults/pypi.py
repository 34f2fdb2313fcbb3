"""PyPI's client inside the harness: `tests.faults.pypi work|watch NUMBER THINK_S URL TOKEN`.

A process of its own, which writes or watches: while this client waits for the next result, no other
call of it returns. It prints what it is shown and what it does, one event a
line, as `official.py` takes them. All results of `watch_all` are of one moment, and those of the
next of a later one. A mutation in flight when the network breaks is sent again in a new session, so
it may happen twice (docs/protocol.md). "settle" on the standard input ends the work.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
from convex import ConvexClient

WATCHED: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("app:total", {}),
    ("app:ring", {}),
    ("app:topic", {"topic": "topic1"}),
    ("app:tail", {"topic": "topic2", "count": 3.0}),
    ("app:note", {"name": "note1"}),
    ("app:mine", {}),
)


def emit(kind: str, **fields: Any) -> None:
    """Print an event."""
    sys.stdout.buffer.write(orjson.dumps({"e": kind, "t": time.monotonic(), **fields}) + b"\n")
    sys.stdout.buffer.flush()


class Watcher:
    """One client."""

    def __init__(self, number: int, think_s: float, url: str, token: str) -> None:
        self._number = number
        self._think_s = think_s
        self._rng = random.Random(number)
        self._url = url
        self._token = token
        self._count = 0
        self._client = self._connected()

    def _connected(self) -> ConvexClient:
        client = ConvexClient(self._url)
        client.set_auth(self._token)
        return client

    async def watch(self) -> None:
        """Print all that is shown; until cancelled."""
        await self._again_and_again(self._watch)

    async def work(self) -> None:
        """Write, and look at what is not watched; until cancelled."""
        await self._again_and_again(self._work)

    async def _again_and_again(self, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await act()
            except Exception as error:
                # It has panicked, as it may when its connection is cut again and again. An app can
                # only begin anew.
                if str(error) != "channel closed":
                    raise
                self._client = self._connected()

    async def _watch(self) -> None:
        held = [self._client.subscribe(path, args) for path, args in WATCHED]
        asked = {each.id: query for each, query in zip(held, WATCHED, strict=True)}
        async for shown in self._client.watch_all():
            found = []
            for subscriber, result in (shown or {}).items():
                if subscriber in asked:
                    # This client's asynchronous iterator leaves out what its other one wraps.
                    is_wrapped = isinstance(result, dict) and "type" in result
                    value = result.get("value") if is_wrapped else result
                    found.append((*asked[subscriber], value))
            self._note(found, stream=self._number)

    def _note(self, shown: list[tuple[str, Mapping[str, Any], Any]], **more: Any) -> None:
        emit("read", how="pypi", c=self._number, w=time.time(), q=shown, **more)

    async def _work(self) -> None:
        while True:
            self._count += 1
            value = self._number * 1_000_000 + self._count
            topic = f"topic{self._rng.randrange(6)}"
            args = {"topic": topic, "value": value}
            emit("call", how="pypi", c=self._number, f="app:post", a=args)
            posted = self._client.mutation("app:post", {"topic": topic, "value": float(value)})
            emit("called", how="pypi", value=value, v=posted)
            if self._rng.random() < 0.3:
                self.look()
            await asyncio.sleep(self._rng.expovariate(1 / self._think_s))

    def look(self) -> None:
        """Ask once for something."""
        began, args = time.monotonic(), {"topic": f"topic{self._rng.randrange(6)}", "count": 7.0}
        self._note([("app:tail", args, self._client.query("app:tail", args))], t0=began)


async def run(mode: str, number: int, think_s: float, url: str, token: str) -> None:
    """Go on until told to settle."""
    watcher = Watcher(number, think_s, url, token)
    act = watcher.work() if mode == "work" else watcher.watch()
    acting = asyncio.create_task(act)
    told = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    await asyncio.wait([told, acting], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.2)  # what is on its way is shown
    acting.cancel()
    for outcome in await asyncio.gather(acting, return_exceptions=True):
        if isinstance(outcome, Exception):
            emit("violation", what=f"PyPI client {number}: {outcome!r}")
    if mode == "work":
        watcher.look()
    emit("settled")


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:]))
