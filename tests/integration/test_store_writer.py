"""write_all, the function that is made for all watched tables, and the keys of updates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from parley.store.postgres import PostgresStore
from parley.store.types import Batch, Committed, Refused, RowWrite
from tests.support.store import (
    NOW_MS,
    add_conversation,
    add_user,
    all_commits,
    commit,
    connected,
    entry,
    write,
)

NOTES = (
    "CREATE TABLE public.{name} (id uuid PRIMARY KEY DEFAULT parley.uuid7(), "
    "creation_time timestamptz NOT NULL DEFAULT clock_timestamp(), body text)"
)


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.connect(dsn) as opened:
        yield opened


@pytest.fixture
async def psql(dsn: str) -> AsyncIterator[Any]:
    async with connected(dsn) as connection:
        yield connection


async def note(store: PostgresStore, name: str, number: int) -> RowWrite:
    """Return the insert of a row into a table of `NOTES`."""
    fields = {"_id": f"01890000-0000-7000-8000-{number:012}", "_creationTime": NOW_MS, "body": "b"}
    return write(await store.schema(), "insert", name, fields)


async def test_a_batch_for_a_table_that_is_not_watched_is_refused(
    store: PostgresStore, psql: Any
) -> None:
    await psql.execute(NOTES.format(name="notes") + "; SELECT parley.watch('notes')")
    row = await note(store, "notes", 1)
    await psql.execute("SELECT parley.unwatch('notes')")

    outcome = await commit(store, row)

    assert isinstance(outcome, Refused)
    assert outcome.sqlstate == "42P01"
    assert await psql.fetchval("SELECT count(*) FROM notes") == 0


async def test_a_table_whose_name_needs_quotes_is_written(store: PostgresStore, psql: Any) -> None:
    await psql.execute(
        'CREATE SCHEMA "Odd"; '
        + NOTES.format(name="x").replace("public.x", '"Odd"."Select"')
        + """; SELECT parley.watch('"Odd"."Select"')"""
    )

    outcome = await commit(store, await note(store, "Odd.Select", 1))

    assert isinstance(outcome, Committed)
    assert await psql.fetchval('SELECT count(*) FROM "Odd"."Select"') == 1


async def test_tables_that_join_at_the_same_time_can_both_be_written(
    dsn: str, store: PostgresStore, psql: Any
) -> None:
    await psql.execute(NOTES.format(name="one") + "; " + NOTES.format(name="two"))
    async with connected(dsn) as other:
        async with psql.transaction():
            await psql.execute("SELECT parley.watch('one')")
            joining = asyncio.create_task(other.execute("SELECT parley.watch('two')"))
            while not await psql.fetchval(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            ):
                assert not joining.done()
        await joining

    rows = [await note(store, "one", 1), await note(store, "two", 2)]
    assert isinstance(await commit(store, *rows), Committed)


async def test_the_self_check_makes_good_a_writer_that_lacks_a_table(
    dsn: str, store: PostgresStore, psql: Any
) -> None:
    """Who watches on a snapshot older than another table's joining does not know that one."""
    await psql.execute(NOTES.format(name="one") + "; " + NOTES.format(name="two"))
    async with connected(dsn) as other, other.transaction(isolation="repeatable_read"):
        await other.fetchval("SELECT count(*) FROM parley.watched")
        await psql.execute("SELECT parley.watch('one')")
        await other.execute("SELECT parley.watch('two')")
    rows = [await note(store, "one", 1), await note(store, "two", 2)]
    lacking = await commit(store, *rows)

    assert await store.check_tables() == []

    assert isinstance(lacking, Refused)
    assert isinstance(await commit(store, *rows), Committed)


async def test_an_update_that_moves_a_row_is_logged_with_both_places(
    store: PostgresStore, psql: Any
) -> None:
    users = [await add_user(psql, name) for name in "ab"]
    conversation = await add_conversation(psql, users[0])
    before = await store.head()

    await psql.execute("UPDATE conversations SET user_id = $1", users[1])

    [found] = (await store.read_log(before)).commits
    assert set(found.changes[0].keys) == {
        f"conversations/{conversation}",
        *(f"conversations/user_id/{user}" for user in users),
    }


@pytest.mark.parametrize(
    ("old", "new"), [("a", "A"), ("a", None), (None, "a"), (None, "\\N"), ("/", "\\/")]
)
async def test_text_that_its_column_takes_for_equal_is_another_place(
    store: PostgresStore, psql: Any, old: str | None, new: str | None
) -> None:
    await psql.execute(NOTES.format(name="tags"))
    with suppress(asyncpg.FeatureNotSupportedError):  # a server without ICU has no such columns
        await psql.execute(
            "CREATE COLLATION public.any_case "
            "(provider = icu, locale = 'und-u-ks-level2', deterministic = false); "
            "ALTER TABLE tags ALTER body TYPE text COLLATE public.any_case"
        )
    await psql.execute(
        'CREATE INDEX tags_by_body ON tags (body COLLATE "C", creation_time, id); '
        "SELECT parley.watch('tags')"
    )
    await psql.execute("INSERT INTO tags (body) VALUES ($1)", old)
    inserted = (await all_commits(store))[-1].changes[0].keys

    await psql.execute("UPDATE tags SET body = $1", new)

    updated = (await all_commits(store))[-1].changes[0].keys
    assert set(updated) > set(inserted)
    assert len(updated) == len(inserted) + 1


async def test_a_conflict_is_found_where_a_row_was_before_it_moved(
    store: PostgresStore, psql: Any
) -> None:
    users = [await add_user(psql, name) for name in "ab"]
    await add_conversation(psql, users[0])
    head = await store.head()
    await psql.execute("UPDATE conversations SET user_id = $1", users[1])

    readers = tuple(entry(f"conversations/user_id/{user}") for user in users)
    outcome = await store.commit(Batch(head, (*readers, entry("users/x")), ()))

    assert outcome.entries == {0, 1}  # type: ignore[union-attr]
