"""Plans that are made when tables are empty, and are still used when they are full."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from parley.store import sql
from parley.store.pool import PoolSettings, session_settings
from parley.store.postgres import PostgresStore
from parley.store.tables import END, START
from parley.store.types import Batch, Committed, LoadRequest, RequestId
from tests.support.store import add_user, connected, entry, user_fields, write

MANY = 60
GROWING = ("log_tx", "log_rows", "requests", "users")

# A table or an index that is read whole each time: MANY * MANY / 2 rows at least.
TOO_MANY = MANY * 10
READ = """
SELECT relname AS name, seq_tup_read AS rows FROM pg_stat_user_tables
UNION ALL SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes
"""


@pytest.fixture
async def psql(dsn: str) -> AsyncIterator[Any]:
    """A connection to a database whose tables were vacuumed while they were empty."""
    async with connected(dsn) as connection:
        await connection.execute("VACUUM ANALYZE")
        yield connection


async def rows_read(psql: Any) -> dict[str, int]:
    """Return how many rows were read of each table as a whole, and by each index."""
    found = dict(await psql.fetch(READ))
    return {name: rows for name, rows in found.items() if name.startswith(GROWING)}


async def read_since(psql: Any, before: dict[str, int]) -> dict[str, int]:
    """Return what was read more often since than follows from what was done."""
    after = await rows_read(psql)  # the others told the statistics as they ended
    more = {name: after[name] - before[name] for name in before}
    return {name: rows for name, rows in more.items() if rows > TOO_MANY}


async def commit_users(store: PostgresStore) -> list[str]:
    """Commit MANY new users, one by one, each for a request of one session; return their ids."""
    schema, head, ids = await store.schema(), await store.head(), []
    for number in range(MANY):
        fields = user_fields()
        batch = Batch(
            head,
            (entry(f"users/{fields['_id']}", request=RequestId("i", "session", number)),),
            (write(schema, "insert", "users", fields),),
        )
        outcome = await store.commit(batch)
        assert isinstance(outcome, Committed)
        head = outcome.commit.ts
        ids.append(fields["_id"])
    return ids


async def test_a_node_that_met_empty_tables_reads_none_of_them_whole_later(
    psql: Any, dsn: str
) -> None:
    before = await rows_read(psql)
    async with await PostgresStore.connect(dsn) as store:
        schema = await store.schema()
        for number, user in enumerate(await commit_users(store)):
            rename = write(schema, "update", "users", user_fields(_id=user, name="new"))
            head = await store.head()
            await store.commit(Batch(head, (entry(f"users/{user}"),), (rename,)))
            await store.find_settled([RequestId("i", "session", number)])
            await store.load([LoadRequest("users", "by_id", (user,), START, END, "asc", 10)])
            await store.read_log(head)

    assert await read_since(psql, before) == {}


async def test_a_batch_behind_others_reads_of_the_log_what_is_new_to_it(
    psql: Any, dsn: str
) -> None:
    before = await rows_read(psql)
    async with await PostgresStore.connect(dsn) as store:
        schema = await store.schema()
        for _ in range(MANY):
            head = await store.head()
            await add_user(psql, f"{head}")
            insert = write(schema, "insert", "users", user_fields())
            assert isinstance(
                await store.commit(Batch(head, (entry("users/other"),), (insert,))), Committed
            )

    assert await read_since(psql, before) == {}


async def test_whoever_writes_with_sql_reads_none_of_the_log_whole(psql: Any, dsn: str) -> None:
    before = await rows_read(psql)
    async with connected(dsn) as writer:
        for number in range(MANY):
            await add_user(writer, str(number))

    assert await read_since(psql, before) == {}


async def test_of_what_is_young_upkeep_reads_nothing(psql: Any, dsn: str) -> None:
    async with await PostgresStore.connect(dsn) as store:
        await commit_users(store)
    before = await rows_read(psql)
    hour = timedelta(hours=1)
    async with connected(dsn, **session_settings(PoolSettings())) as keeper:
        for _ in range(MANY):
            assert await keeper.fetchval(sql.TRIM_LOG, hour, MANY) == 0
            assert await keeper.fetchval(sql.TRIM_REQUESTS, hour, hour, MANY) == 0

    assert await read_since(psql, before) == {}


async def test_no_statement_reads_all_of_the_table_with_one_row(psql: Any) -> None:
    """Else a session with jit = on, in Postgres 15 to 17, compiles it anew for each commit."""
    sources = await psql.fetch(
        "SELECT prosrc FROM pg_proc WHERE pronamespace = 'parley'::regnamespace"
    )
    text = " ".join(source for (source,) in sources).lower()

    assert text.count("from parley.meta") == text.count("from parley.meta where only_row") > 0


async def test_what_is_trimmed_in_steps_is_read_once(psql: Any, dsn: str) -> None:
    before = await rows_read(psql)
    none = timedelta(0)
    async with connected(dsn, **session_settings(PoolSettings())) as keeper:

        async def trim() -> int:
            log = await keeper.fetchval(sql.TRIM_LOG, none, 1)
            return int(log + await keeper.fetchval(sql.TRIM_REQUESTS, none, none, 1))

        for _ in range(10):  # what is run often has its plan kept
            await trim()
        async with await PostgresStore.connect(dsn) as store:
            await commit_users(store)
        removed = 0
        for _ in range(3 * MANY):
            removed += await trim()

    assert removed >= 2 * MANY
    assert await read_since(psql, before) == {}
