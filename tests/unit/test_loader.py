"""What the engine lacks is loaded, together where it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import pytest

from parley.engine.loader import Loader, Work
from parley.errors import DatabaseDown, ParleyError
from parley.store.tables import END, START
from parley.store.types import LoadRequest, LoadResult

MANY = 100


def piece(number: int, index: str = "by_owner", limit: int = 64) -> LoadRequest:
    return LoadRequest("notes", index, (f"owner {number}",), START, END, "asc", limit)


class Engine:
    """Lacks what it is told to, and writes down what it gets."""

    def __init__(self) -> None:
        self.lacking: list[LoadRequest] = []
        self.got: list[LoadRequest] = []
        self.failed: list[LoadRequest] = []

    def take_loads(self) -> list[LoadRequest]:
        taken, self.lacking = self.lacking, []
        return taken

    def loaded(self, result: LoadResult) -> None:
        self.got.append(result.request)

    def load_failed(self, request: LoadRequest, error: ParleyError) -> None:
        assert "unreadable" in error.message
        self.failed.append(request)


class Store:
    """Answers when it is let, and refuses what is named."""

    def __init__(self) -> None:
        self.calls: list[list[LoadRequest]] = []
        self.at_once = self.most_at_once = 0
        self.is_open = asyncio.Event()
        self.unreadable: set[LoadRequest] = set()
        self.times_down = 0

    async def load(self, requests: Sequence[LoadRequest]) -> list[LoadResult]:
        self.calls.append(list(requests))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.is_open.wait()
        self.at_once -= 1
        if self.times_down:
            self.times_down -= 1
            raise DatabaseDown("gone")
        if self.unreadable.intersection(requests):
            raise ValueError("unreadable")
        return [LoadResult(request, 7, ()) for request in requests]


class Rig:
    """A loader, and what it works for."""

    def __init__(self, max_loads: int = 2) -> None:
        self.engine, self.store = Engine(), Store()
        self.heard: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.loader = Loader(
            self.store,  # type: ignore[arg-type]
            self.engine,  # type: ignore[arg-type]
            self._spawn,
            self.heard.append,
            max_loads=max_loads,
        )

    def _spawn(self, work: Work, _name: str) -> None:
        self.tasks.append(asyncio.create_task(work()))

    async def lack(self, pieces: Iterable[LoadRequest]) -> None:
        self.engine.lacking += pieces
        self.loader.load_missing()
        await asyncio.sleep(0)

    async def done(self) -> None:
        self.store.is_open.set()
        await asyncio.gather(*self.tasks)


async def test_what_waits_for_a_loader_goes_together_and_nothing_is_asked_twice() -> None:
    rig = Rig()
    await rig.lack([piece(0)])
    await rig.lack([piece(1)])
    for number in range(2, MANY):
        await rig.lack([piece(number)])

    assert [len(call) for call in rig.store.calls] == [1, 1]
    await rig.done()

    assert [len(call) for call in rig.store.calls] == [1, 1, 32, 32, 32, 2]
    assert sorted(rig.engine.got, key=str) == sorted(map(piece, range(MANY)), key=str)
    assert rig.store.most_at_once == 2
    assert rig.heard == [7] * 6


async def test_pieces_that_are_loaded_together_are_of_one_index_in_turn() -> None:
    rig = Rig(max_loads=1)
    await rig.lack([piece(0)])
    await rig.lack(piece(n, index) for n in range(1, 40) for index in ("by_owner", "by_id"))

    await rig.done()

    found = [({each.index for each in call}, len(call)) for call in rig.store.calls]
    assert found == [
        ({"by_owner"}, 1),
        ({"by_owner"}, 32),
        ({"by_id"}, 32),
        ({"by_owner"}, 7),
        ({"by_id"}, 7),
    ]


async def test_of_pieces_that_may_be_large_few_go_together() -> None:
    rig = Rig(max_loads=1)
    await rig.lack([piece(0)])
    await rig.lack(piece(number, limit=30_000) for number in range(1, 6))
    await rig.lack([piece(6, limit=100_000)])

    await rig.done()

    assert [len(call) for call in rig.store.calls] == [1, 2, 2, 1, 1]


async def test_one_that_cannot_be_had_fails_alone() -> None:
    rig = Rig(max_loads=1)
    rig.store.unreadable = {piece(3)}
    await rig.lack([piece(0)])
    await rig.lack(map(piece, range(1, 6)))

    await rig.done()

    assert rig.engine.failed == [piece(3)]
    assert rig.engine.got == [piece(number) for number in (0, 1, 2, 4, 5)]


async def test_while_postgres_is_down_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parley.engine.loader.RETRY_S", 0)
    rig = Rig()
    rig.store.times_down = 3
    await rig.lack([piece(0)])

    await rig.done()

    assert rig.engine.got == [piece(0)]
    assert rig.store.calls == [[piece(0)]] * 4


async def test_a_loader_that_has_nothing_more_to_do_makes_room_for_the_next() -> None:
    rig = Rig(max_loads=1)
    for number in range(3):
        await rig.lack([piece(number)])
        await rig.done()

    assert len(rig.engine.got) == 3
