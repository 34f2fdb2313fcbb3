"""Memory follows the log: contiguously, whatever the notifications say, or starts anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from parley.engine.engine import Engine
from parley.engine.follower import Follower
from parley.errors import DatabaseDown, TimedOut, Unavailable
from parley.store.tables import Schema
from parley.store.types import Batch, BatchOutcome, Commit, LogSlice, Transient
from tests.support.clock import FakeClock
from tests.support.modelstore import ModelStore
from tests.support.running import SECRET
from tests.support.tables import SCHEMA, note, uuid

TICK_S = 5.0  # a deadline for what takes milliseconds


class LogStore:
    """The part of a store that the follower needs, over a model database.

    Attributes:
        is_down: every call raises.
        is_schema_change: the next slice ends with one.
        reads: how often the log was read.
        wake: what `listen` was given.
    """

    def __init__(self, model: ModelStore) -> None:
        self.model = model
        self.horizon = 0
        self.incarnation = "first"
        self.followed = ""
        self.max_commits = 100
        self.is_down = False
        self.is_schema_change = False
        self.reads = 0
        self.has_read = asyncio.Event()
        self.wake: Callable[[int], None] = lambda ts: None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_listening = asyncio.Event()
        self.definition = SCHEMA

    def follow_identity(self, incarnation: str) -> None:
        self.followed = incarnation

    async def read_log(self, after_ts: int) -> LogSlice:
        self.reads += 1
        self.has_read.set()
        self._check()
        commits = self.model.log_after(after_ts)[: self.max_commits]
        newest = self.model.ts
        has_more = bool(commits) and commits[-1].ts < newest
        if self.is_schema_change and commits:
            last = commits[-1]
            commits = (*commits[:-1], Commit(last.ts, last.prev_ts, is_schema_change=True))
        return LogSlice(commits, has_more, newest, self.horizon, self.incarnation)

    async def head(self) -> int:
        self._check()
        return self.model.ts

    async def schema(self) -> Schema:
        self._check()
        return self.definition

    async def listen(self, wake: Callable[[int], None]) -> Awaitable[None]:
        self._check()
        self.wake = wake
        self.is_listening.set()
        return self.lost

    async def commit(self, batch: Batch) -> BatchOutcome:
        return self.model.commit(batch)

    def _check(self) -> None:
        if self.is_down:
            raise DatabaseDown("down")


class World:
    """A follower whose engine takes a step whenever it is woken."""

    def __init__(self) -> None:
        self.store = LogStore(ModelStore(SCHEMA))
        self.clock = FakeClock()
        self.engine = Engine(SCHEMA, self.store.model.ts, clock=self.clock, cursor_secret=SECRET)
        self.is_asleep = False
        store: Any = self.store
        self.follower = Follower(store, self.engine, self.clock, "first", self.step)

    def step(self) -> None:
        if self.is_asleep:
            return
        if self.engine.advance():
            self.follower.moved()
        self.engine.settle(1.0)
        self.follower.check()

    def write(self, number: int = 1) -> int:
        return self.store.model.write(("notes", uuid(number), note(number))).ts

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(work())
            for work in (self.follower.follow, self.follower.listen, self.follower.read_heads)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    async with found.following():
        yield found


async def test_memory_reaches_what_somebody_waits_for(world: World) -> None:
    ts = world.write()

    await world.follower.reach(ts, TICK_S)

    assert world.engine.memory.ts == ts
    await world.follower.reach(ts, TICK_S)


async def test_a_commit_that_nobody_told_of_is_found_by_looking(world: World) -> None:
    ts = world.write()
    reached = asyncio.create_task(world.follower.reach(ts, TICK_S))
    world.follower._target_ts = 0

    await reached

    assert world.engine.memory.ts == ts


async def test_a_notification_is_a_hint_to_look_now(world: World) -> None:
    await world.store.is_listening.wait()
    ts = world.write()

    world.store.wake(ts)
    world.store.has_read.clear()
    await asyncio.wait_for(world.store.has_read.wait(), TICK_S)
    await asyncio.sleep(0)

    assert world.engine.memory.ts == ts


async def test_a_forged_notification_is_looked_into_once(world: World) -> None:
    await world.store.is_listening.wait()
    world.store.has_read.clear()

    world.store.wake(1 << 60)
    await asyncio.wait_for(world.store.has_read.wait(), TICK_S)
    reads = world.store.reads
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert world.store.reads <= reads + 1


async def test_a_long_log_is_read_in_pieces(world: World) -> None:
    world.store.max_commits = 2
    for number in range(7):
        ts = world.write(number)

    await world.follower.reach(ts, TICK_S)

    assert world.store.reads >= 4


async def test_a_long_log_is_read_on_once_the_piece_before_is_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parley.engine.follower._POLL_BUSY_S", 10 * TICK_S)
    monkeypatch.setattr("parley.engine.follower._POLL_IDLE_S", 10 * TICK_S)
    world = World()
    world.store.max_commits = 1
    world.is_asleep = True
    newest = [world.write(number) for number in (1, 2, 3)][-1]
    async with world.following():
        await asyncio.wait_for(world.store.has_read.wait(), TICK_S)
        await asyncio.sleep(0)
        world.follower._target_ts = 0  # nobody asks for more

        world.is_asleep = False
        world.step()

        waiting = (newest, asyncio.get_running_loop().create_future())
        world.follower._waiting.append(waiting)
        await asyncio.wait_for(waiting[1], TICK_S)


async def test_who_waits_in_vain_is_told_so_and_forgotten() -> None:
    world = World()

    with pytest.raises(TimedOut, match="the log was not followed to"):
        await world.follower.reach(1 << 60, 0.0)

    assert world.follower._waiting == []


async def test_the_log_is_read_again_once_the_database_is_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley.engine.follower.RETRY_S", 0.001)
    world.store.is_down = True
    ts = world.write()
    world.follower.want(ts)
    world.store.has_read.clear()
    await asyncio.wait_for(world.store.has_read.wait(), TICK_S)

    world.store.is_down = False

    await world.follower.reach(ts, TICK_S)


async def test_a_lost_notification_channel_is_opened_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley.engine.follower.RETRY_S", 0.001)
    await world.store.is_listening.wait()
    world.store.is_listening.clear()
    lost, world.store.lost = world.store.lost, asyncio.get_running_loop().create_future()

    lost.set_result(None)

    await asyncio.wait_for(world.store.is_listening.wait(), TICK_S)


async def test_a_channel_that_cannot_be_opened_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parley.engine.follower.RETRY_S", 0.001)
    world = World()
    world.store.is_down = True
    async with world.following():
        await asyncio.sleep(0)
        world.store.is_down = False
        await asyncio.wait_for(world.store.is_listening.wait(), TICK_S)


async def test_nothing_is_read_while_commits_wait_to_be_applied(world: World) -> None:
    world.is_asleep = True
    ts = world.write()
    world.follower.want(ts)
    await asyncio.wait_for(world.store.has_read.wait(), TICK_S)
    await asyncio.sleep(0)
    reads = world.store.reads

    world.follower.want(ts)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert world.store.reads == reads

    world.is_asleep = False
    world.step()
    assert world.engine.memory.ts == ts


# --- starting anew


async def test_a_node_that_slept_past_the_end_of_the_log_reloads_everything(world: World) -> None:
    ts = world.write()
    world.store.horizon = ts

    await world.follower.reach(ts, TICK_S)

    assert world.engine.memory.ts == ts
    assert world.engine.stats.commits == 0


async def test_a_change_of_tables_is_read_before_going_on(world: World) -> None:
    world.store.definition = Schema({}, "epoch 2")
    world.store.is_schema_change = True
    ts = world.write()

    await world.follower.reach(ts, TICK_S)

    assert world.engine.memory.schema.epoch == "epoch 2"


async def test_another_database_is_noticed_and_said(world: World) -> None:
    noticed = asyncio.Event()
    world.follower.on_reincarnation = noticed.set
    world.engine.committer.min_ts = 1 << 50
    world.store.model = ModelStore(SCHEMA, ts=5)
    world.store.incarnation = "second"

    await asyncio.wait_for(noticed.wait(), TICK_S)

    assert world.engine.memory.ts == 5
    assert world.engine.committer.min_ts == 0
    assert world.store.followed == "second"


async def test_a_log_that_went_backwards_is_another_database(world: World) -> None:
    ts = world.write()
    await world.follower.reach(ts, TICK_S)
    noticed = asyncio.Event()
    world.follower.on_reincarnation = noticed.set

    world.store.model = ModelStore(SCHEMA, ts=5)

    await asyncio.wait_for(noticed.wait(), TICK_S)
    assert world.engine.memory.ts == 5


# --- the newest state


async def test_the_newest_state_holds_all_that_was_committed_before_it_was_asked_for(
    world: World,
) -> None:
    ts = world.write()

    assert await world.follower.fresh(TICK_S) == ts
    assert world.engine.memory.ts == ts


async def test_who_asks_together_shares_one_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    head = world.store.head

    async def counted() -> int:
        nonlocal looks
        looks += 1
        return await head()

    monkeypatch.setattr(world.store, "head", counted)

    await asyncio.gather(*[world.follower.fresh(TICK_S) for _ in range(20)])

    assert looks == 1


async def test_who_asks_while_the_database_is_down_is_told_so(world: World) -> None:
    world.store.is_down = True
    with pytest.raises(DatabaseDown):
        await world.follower.fresh(TICK_S)

    world.store.is_down = False
    assert await world.follower.fresh(TICK_S) == world.store.model.ts


# --- clients ahead of the log


async def test_a_client_that_has_seen_what_memory_has_is_let_in(world: World) -> None:
    await world.follower.admit(world.engine.memory.ts, TICK_S)

    assert world.store.model.log == []


async def test_a_client_ahead_of_memory_but_not_of_the_log_is_let_in(world: World) -> None:
    ts = world.write()

    await world.follower.admit(ts, TICK_S)

    assert world.engine.memory.ts == ts
    assert len(world.store.model.log) == 1


async def test_a_client_ahead_of_the_log_moves_it(world: World) -> None:
    await world.follower.admit(world.store.model.ts + 1, TICK_S)

    assert [commit.changes for commit in world.store.model.log] == [()]
    assert world.engine.memory.ts == world.store.model.ts


async def test_a_client_from_the_future_is_sent_away(world: World) -> None:
    with pytest.raises(Unavailable, match="lies in the future"):
        await world.follower.admit(1 << 63, TICK_S)

    assert world.store.model.log == []


async def test_a_log_that_cannot_be_moved_is_no_reason_to_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley.engine.follower._BUMP_EVERY_S", 0.0)

    with pytest.raises(Unavailable, match="clock is behind"):
        await world.follower.admit(world.store.model.ts + 1000, TICK_S)

    assert len(world.store.model.log) == 3


async def test_a_log_that_others_hold_is_no_reason_to_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(batch: Batch) -> BatchOutcome:
        return Transient("55P03", "held")

    monkeypatch.setattr(world.store, "commit", refuse)

    with pytest.raises(Unavailable, match="could not be moved"):
        await world.follower.admit(world.store.model.ts + 1, TICK_S)
