"""The order of commits under load: nothing missed, nothing torn, nobody deadlocked."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import asyncpg

from parley.store.postgres import PostgresStore
from parley.store.tables import END, START
from parley.store.types import Busy, Committed, LoadRequest, LoadResult, Transient
from tests.support.store import (
    add_conversation,
    add_user,
    all_commits,
    commit,
    connected,
    replay,
    user_fields,
    write,
)

ROUNDS = 40


async def hostile_writer(dsn: str, seed: int, done: asyncio.Event) -> None:
    """Write in every isolation, slowly, with rollbacks, until told to stop."""
    choose = random.Random(seed)
    async with connected(dsn) as connection:
        ids = [row["id"] for row in await connection.fetch("SELECT id FROM conversations")]
        while not done.is_set():
            isolation = choose.choice(["read_committed", "repeatable_read", "serializable"])
            transaction = connection.transaction(isolation=isolation)
            await transaction.start()
            try:
                for row_id in choose.sample(ids, choose.randint(1, 3)):
                    await connection.execute(
                        "UPDATE conversations SET title = $2, updated_at = clock_timestamp() "
                        "WHERE id = $1",
                        row_id,
                        f"{seed} {choose.random()}",
                    )
                await asyncio.sleep(choose.random() * 0.002)
            except asyncpg.PostgresError:
                await transaction.rollback()
                continue
            ending = transaction.rollback if choose.random() < 0.1 else transaction.commit
            try:
                await ending()
            except asyncpg.SerializationError:
                continue


async def test_a_loaded_range_is_what_the_log_says_at_its_ts(dsn: str) -> None:
    """RELIABILITY.md M13, I6: load = replay of the log up to the ts of the load."""
    async with connected(dsn) as connection:
        user = await add_user(connection)
        for n in range(8):
            await add_conversation(connection, user, str(n))
    request = LoadRequest("conversations", "by_user_updated", (user,), START, END, "desc", 100)
    done = asyncio.Event()
    async with await PostgresStore.connect(dsn) as store:
        writers = [asyncio.create_task(hostile_writer(dsn, seed, done)) for seed in range(4)]

        loads: list[LoadResult] = []
        while len({load.ts for load in loads}) < ROUNDS:
            loads += await store.load([request])
        done.set()
        await asyncio.gather(*writers)

        commits = await all_commits(store)
    for load in loads:
        rows = [image for key, image in replay(commits, load.ts).items() if key[0] != "users"]
        rows.sort(key=lambda row: (row["updated_at"], row["creation_time"], row["id"]))
        assert [json.loads(image) for image in load.images] == rows[::-1]


async def test_a_tail_that_only_asks_for_what_is_newer_misses_no_commit(dsn: str) -> None:
    """RELIABILITY.md M5: a sequence taken at write time missed most of them."""
    async with connected(dsn) as connection:
        user = await add_user(connection)
        for n in range(8):
            await add_conversation(connection, user, str(n))
    done = asyncio.Event()
    async with await PostgresStore.connect(dsn) as store:
        start = await store.head()
        writers = [asyncio.create_task(hostile_writer(dsn, seed, done)) for seed in range(6)]

        tailed: list[Any] = []
        while len(tailed) < 5 * ROUNDS:
            found = await store.read_log(tailed[-1].ts if tailed else start)
            tailed += found.commits
        done.set()
        await asyncio.gather(*writers)

        log = [commit for commit in await all_commits(store) if commit.ts > start]
    assert tailed == log[: len(tailed)]
    known = [commit for commit in log if commit.prev_ts is not None]
    before = {commit.ts: previous for previous, commit in zip([start, *(c.ts for c in log)], log)}  # noqa: B905
    assert all(commit.prev_ts == before[commit.ts] for commit in known)


async def test_batches_beside_hostile_writers_never_deadlock(dsn: str) -> None:
    """RELIABILITY.md M1, M2, H1: the ts lock comes after all row locks."""
    async with connected(dsn) as connection:
        users = [user_fields(_id=await add_user(connection, str(n))) for n in range(30)]
    outcomes: list[Any] = []

    async def node(seed: int) -> None:
        choose = random.Random(seed)
        async with await PostgresStore.connect(dsn) as store:
            schema = await store.schema()
            for _ in range(2 * ROUNDS):
                rows = choose.sample(users, 5)
                updates = [write(schema, "update", "users", {**row, "name": "n"}) for row in rows]
                outcomes.append(await commit(store, *updates))

    async def external(seed: int) -> None:
        choose = random.Random(seed)
        async with connected(dsn) as connection:
            for _ in range(ROUNDS):
                async with connection.transaction():
                    # Sorted, so that two of these writers do not deadlock with each other.
                    for row in sorted(user["_id"] for user in choose.sample(users, 2)):
                        await connection.execute(
                            "UPDATE users SET email = 'e' WHERE id = $1::text::uuid", row
                        )
                    await asyncio.sleep(choose.random() * 0.003)

    await asyncio.gather(node(1), node(2), *(external(seed) for seed in range(10, 15)))

    kinds = {type(outcome) for outcome in outcomes}
    assert kinds <= {Committed, Busy, Transient}
    assert Committed in kinds
    assert "40P01" not in {o.sqlstate for o in outcomes if isinstance(o, Transient)}
