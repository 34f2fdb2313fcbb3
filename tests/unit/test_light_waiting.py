"""What tasks wait for: it behaves as asyncio's own does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from parley.web.waiting import LightEvent, LightQueue


async def _settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.fixture(params=[LightEvent, asyncio.Event])
def event(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture(params=[LightQueue, asyncio.Queue])
def queue(request: pytest.FixtureRequest) -> Any:
    return request.param()


async def test_all_who_wait_go_on_when_it_is_set(event: Any) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for _ in range(3)]
    await _settle()
    assert not any(task.done() for task in waiting)

    event.set()
    await _settle()

    assert all(task.done() for task in waiting)
    assert event.is_set()
    await event.wait()


async def test_who_waited_goes_on_though_it_is_cleared_at_once(event: Any) -> None:
    waiting = asyncio.ensure_future(event.wait())
    await _settle()

    event.set()
    event.clear()
    await _settle()

    assert waiting.done()
    assert not event.is_set()


async def test_a_wait_that_is_cancelled_holds_up_no_other(event: Any) -> None:
    first, second = (asyncio.ensure_future(event.wait()) for _ in range(2))
    await _settle()

    first.cancel()
    event.set()
    await _settle()

    assert first.cancelled()
    assert second.done()


async def test_items_are_taken_in_order_as_they_come(queue: Any) -> None:
    taken: list[int] = []

    async def take() -> None:
        while True:
            taken.append(await queue.get())

    task = asyncio.ensure_future(take())
    await _settle()
    queue.put_nowait(1)
    queue.put_nowait(2)
    assert not queue.empty()
    await _settle()
    assert queue.empty()
    queue.put_nowait(3)
    await _settle()

    assert taken == [1, 2, 3]
    task.cancel()


async def test_an_item_that_comes_as_its_taker_is_cancelled_is_left_for_the_next(
    queue: Any,
) -> None:
    task = asyncio.ensure_future(queue.get())
    await _settle()

    queue.put_nowait(1)
    task.cancel()
    await _settle()

    assert await queue.get() == 1
