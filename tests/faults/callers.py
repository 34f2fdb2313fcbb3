"""Somebody without a socket: single HTTP requests, at one node after another.

What is answered is judged by the oracle: a result was true at some moment between what was known
when it was asked for and its answer; what was written is there, once, for whoever asks next.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import httpx

from parley.values import ts_from_wire
from tests.faults.history import History
from tests.faults.workloads import ACCOUNTS, NOTES, TOPICS

FIRST_NUMBER: Final = 1000
TIMEOUT_S: Final = 8.0
# The node has no room, is stopping, or has no database: what became of a write is not known.
UNAVAILABLE: Final = frozenset({429, 503})
_TOO_LATE: Final = 400  # what query_at_ts says when it has no such state any more
_CANARY: Final = re.compile(rb"canary-")

Query = tuple[str, Mapping[str, Any]]


class Lost(Exception):
    """No answer came, or none that says what became of the call."""


class Caller:
    """One of them."""

    def __init__(
        self,
        number: int,
        urls: Sequence[str],
        token: str,
        history: History,
        rng: random.Random,
        pause_s: float,
    ) -> None:
        self.number = number
        self.is_stopped = False
        self._urls = urls
        self._headers = {"authorization": f"Bearer {token}"}
        self._history = history
        self._rng = rng
        self._pause_s = pause_s
        self._count = 0

    async def run(self) -> None:
        """Go on until `is_stopped`, and end what was begun."""
        acts: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self._post_here_and_look_there,
            self._look,
            self._look_at_a_ts,
            self._relay,
        ]
        self.is_stopped = False
        async with httpx.AsyncClient(
            trust_env=False, timeout=TIMEOUT_S, headers=self._headers
        ) as self._http:
            while not self.is_stopped:
                with contextlib.suppress(Lost):
                    await self._rng.choice(acts)()
                await asyncio.sleep(self._rng.expovariate(1 / self._pause_s))

    async def _post_here_and_look_there(self) -> None:
        here, there = self._rng.choice(self._urls), self._rng.choice(self._urls)
        args = self._new_item()
        await self._call("http", here, "mutation", "app:post", args)
        await self._batch(there, [("app:topic", {"topic": args["topic"]}), *self._some(2)])

    async def _relay(self) -> None:
        began, args = time.monotonic(), self._new_item()
        url = self._rng.choice(self._urls)
        value = await self._call("action", url, "action", "app:relay", args)
        shown = ("app:tail", {"topic": args["topic"], "count": 3}, value["tail"])
        self._note("action", began, [shown], after=args["value"])

    async def _look(self) -> None:
        began, url = time.monotonic(), self._rng.choice(self._urls)
        [(path, args)] = self._some(1)
        value = self._value(await self._request(url, "query", _body(path, args)))
        self._note("http", began, [(path, args, value)])

    async def _look_at_a_ts(self) -> None:
        here, there = self._rng.choice(self._urls), self._rng.choice(self._urls)
        began = time.monotonic()
        ts = (await self._request(here, "query_ts", {}))["ts"]
        [(path, args)] = self._some(1)
        found = await self._request(there, "query_at_ts", {**_body(path, args), "ts": ts})
        self._note("http, at a ts", began, [(path, args, self._value(found))], at=ts_from_wire(ts))

    def _new_item(self) -> dict[str, Any]:
        self._count += 1
        value = self.number * 1_000_000 + self._count
        return {"topic": self._rng.choice(TOPICS), "value": value}

    def _some(self, count: int) -> list[Query]:
        rng = self._rng
        return rng.sample(
            [
                ("app:total", {}),
                ("app:ring", {}),
                ("app:tail", {"topic": rng.choice(TOPICS), "count": rng.randint(1, 5)}),
                ("app:balance", {"name": rng.randint(0, ACCOUNTS)}),
                ("app:note", {"name": rng.choice(NOTES)}),
                ("app:mine", {}),
            ],
            count,
        )

    async def _call(self, how: str, url: str, kind: str, path: str, args: dict[str, Any]) -> Any:
        """Run what posts a value, at most once; return what it returned."""
        self._history.add("call", how=how, c=self.number, f="app:post", a=args)
        value = self._value(await self._request(url, kind, _body(path, args)))
        posted = value["posted"] if kind == "action" else value
        self._history.add("called", how=how, value=args["value"], v=posted)
        return value

    async def _batch(self, url: str, queries: list[Query]) -> None:
        began = time.monotonic()
        body = {"queries": [_body(path, args) for path, args in queries]}
        found = (await self._request(url, "query_batch", body))["results"]
        shown = [(*query, self._value(each)) for query, each in zip(queries, found, strict=True)]
        self._note("http", began, shown)

    async def _request(self, url: str, route: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await self._http.post(f"{url}/api/{route}", json=body)
        except httpx.HTTPError as error:
            raise Lost from error
        if _CANARY.search(answer.content):
            self._violation(f"it was sent a secret by {route}")
        if answer.status_code == httpx.codes.OK:
            found: dict[str, Any] = answer.json()
            return found
        is_late = route == "query_at_ts" and answer.status_code == _TOO_LATE
        if answer.status_code not in UNAVAILABLE and not is_late:
            self._violation(f"{route} answered {answer.status_code} {answer.text[:200]}")
        raise Lost

    def _value(self, found: dict[str, Any]) -> Any:
        if found["status"] != "success":
            self._violation(f"a call failed: {found}")
            raise Lost
        return found["value"]

    def _note(
        self, how: str, began: float, shown: list[tuple[str, Mapping[str, Any], Any]], **more: Any
    ) -> None:
        self._history.add("read", how=how, c=self.number, t0=began, w=time.time(), q=shown, **more)

    def _violation(self, text: str) -> None:
        self._history.violation(f"caller {self.number}: {text}")


def _body(path: str, args: Mapping[str, Any]) -> dict[str, Any]:
    return {"path": path, "args": args, "format": "convex_encoded_json"}
