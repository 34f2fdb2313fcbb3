"""The function API serves an app of another domain: its own tables, types, indexes and actions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from parley import AppError, Int64
from parley.errors import ArgumentsInvalid, FunctionNotFound, WriteRejected
from parley.identity import Identity
from tests.support import todo
from tests.support.app import App, serving

SCHEMA = Path(todo.__file__).with_name("todo.sql")


@pytest.fixture
async def app(dsn: str) -> AsyncIterator[App]:
    connection = await asyncpg.connect(dsn)
    await connection.execute(SCHEMA.read_text())
    await connection.close()
    async with serving(dsn, "tests.support.todo") as app:
        yield app


@pytest.fixture
async def ann(app: App) -> Identity:
    return await app.sign_in("ann")


@pytest.fixture
async def list_id(app: App, ann: Identity) -> str:
    created: str = await app.mutation("todos:createList", {"title": "Home"}, ann)
    return created


async def add(app: App, who: Identity, list_id: str, what: str, **fields: Any) -> str:
    todo = {"listId": list_id, "what": what, "rank": 1.0, "effort": 1, **fields}
    added: str = await app.mutation("todos:add", todo, who)
    return added


def names(todos: list[dict[str, Any]]) -> list[str]:
    return [todo["what"] for todo in todos]


async def test_every_column_type_comes_back_as_it_was_written(
    app: App, ann: Identity, list_id: str
) -> None:
    todo_id = await add(
        app, ann, list_id, "paint", rank=0.5, effort=3, cost=Int64(2**60), due=5.5, photo=b"\0\xff"
    )

    [found] = await app.query("todos:open", {"listId": list_id}, ann)

    del found["_creationTime"]
    assert found == {
        "_id": todo_id,
        "listId": list_id,
        "what": "paint",
        "isDone": False,
        "rank": 0.5,
        "effort": 3,
        "cost": 2**60,
        "due": 5.5,
        "photo": b"\0\xff",
    }
    assert isinstance(found["cost"], Int64)


async def test_an_absent_optional_column_is_an_absent_field(
    app: App, ann: Identity, list_id: str
) -> None:
    await add(app, ann, list_id, "rest")

    [found] = await app.query("todos:open", {"listId": list_id}, ann)

    assert {"cost", "due", "photo"}.isdisjoint(found)


async def test_compound_equality_orders_by_the_next_column_and_takes_a_few(
    app: App, ann: Identity, list_id: str
) -> None:
    ids = {rank: await add(app, ann, list_id, f"r{rank}", rank=rank) for rank in (4, -2.5, 1, 3, 2)}
    await app.mutation("todos:change", {"todoId": ids[1], "isDone": True}, ann)

    first = await app.query("todos:open", {"listId": list_id}, ann)
    later = await app.query("todos:open", {"listId": list_id, "above": 2}, ann)

    assert names(first) == ["r-2.5", "r2", "r3"]
    assert names(later) == ["r3", "r4"]


async def test_a_range_takes_its_start_and_not_its_end_and_no_nulls(
    app: App, ann: Identity, list_id: str
) -> None:
    for due in (10, 20, 20, 30):
        await add(app, ann, list_id, f"at {due}", due=due)
    await add(app, ann, list_id, "some day")

    found = await app.query("todos:due", {"listId": list_id, "since": 10, "until": 30}, ann)

    assert names(found) == ["at 20", "at 20", "at 10"]


async def test_null_is_a_value_of_an_index_and_follows_patches(
    app: App, ann: Identity, list_id: str
) -> None:
    todo_id = await add(app, ann, list_id, "moved", due=10)

    async with app.watching("todos:whenever", {"listId": list_id}, ann) as undated:
        before = undated.value
        await app.mutation("todos:change", {"todoId": todo_id, "due": None}, ann)
        without = await undated.next()
        await app.mutation("todos:change", {"todoId": todo_id, "due": 11}, ann)
        after = await undated.next()

    assert (before, names(without), after) == ([], ["moved"], [])


async def test_an_action_runs_an_internal_mutation_and_then_sees_its_effect(
    app: App, ann: Identity, list_id: str
) -> None:
    done = await add(app, ann, list_id, "done")
    await add(app, ann, list_id, "open")
    await app.mutation("todos:change", {"todoId": done, "isDone": True}, ann)

    told = await app.action("todos:tidy", {"listId": list_id}, ann)

    assert told == {"dropped": 1, "undated": 1}


async def test_a_client_cannot_call_an_internal_mutation(
    app: App, ann: Identity, list_id: str
) -> None:
    with pytest.raises(FunctionNotFound):
        await app.mutation("todos:dropDone", {"listId": list_id}, ann)


async def test_an_action_acts_as_its_caller(app: App, list_id: str) -> None:
    bob = await app.sign_in("bob")

    with pytest.raises(AppError) as refused:
        await app.action("todos:tidy", {"listId": list_id}, bob)

    assert refused.value.data == {"code": "NotAllowed"}


async def test_a_member_sees_a_shared_list_from_the_moment_it_is_shared(
    app: App, ann: Identity, list_id: str
) -> None:
    await add(app, ann, list_id, "shared")
    bob = await app.sign_in("bob")

    async with app.watching("todos:open", {"listId": list_id}, bob) as seen:
        refused = seen.value
        share = {"listId": list_id, "member": "bob", "canEdit": False}
        await app.mutation("todos:share", share, ann)
        shown = await seen.next()

    assert isinstance(refused, AppError)
    assert names(shown) == ["shared"]
    with pytest.raises(AppError):
        await add(app, bob, list_id, "not an editor")


async def test_a_unique_index_refuses_a_second_row_and_nothing_is_written(
    app: App, ann: Identity, list_id: str
) -> None:
    share = {"listId": list_id, "member": "bob", "canEdit": False}
    await app.mutation("todos:share", share, ann)

    with pytest.raises(WriteRejected, match="23505"):
        await app.mutation("todos:share", share, ann)

    assert await app.database.fetchval("select count(*) from todo_members") == 2


async def test_a_check_constraint_refuses_a_row(app: App, ann: Identity, list_id: str) -> None:
    with pytest.raises(WriteRejected, match="23514"):
        await add(app, ann, list_id, "no effort", effort=0)

    assert await app.query("todos:open", {"listId": list_id}, ann) == []


async def test_a_fraction_is_no_int(app: App, ann: Identity, list_id: str) -> None:
    with pytest.raises(ArgumentsInvalid, match=r"\.effort"):
        await add(app, ann, list_id, "half", effort=0.5)


async def test_a_row_written_by_sql_is_seen_live(app: App, ann: Identity, list_id: str) -> None:
    async with app.watching("todos:open", {"listId": list_id}, ann) as seen:
        await app.database.execute(
            "insert into todos (list_id, what, rank, effort) values ($1, 'by hand', 1, 1)", list_id
        )
        shown = await seen.next()

    assert names(shown) == ["by hand"]


async def test_a_table_without_a_schema_is_public_and_one_in_ours_is_refused_in_words(
    app: App,
) -> None:
    columns = "(id uuid primary key, creation_time timestamptz not null)"
    await app.database.execute("set search_path to default")
    await app.database.execute(f"create table plain {columns}; create table parley.lost {columns}")

    await app.database.execute("select parley.watch('plain')")
    with pytest.raises(asyncpg.RaiseError, match="the schema parley is its own"):
        await app.database.execute("select parley.watch('parley.lost')")

    assert await app.database.fetchval("select parley.table_name('plain')") == "plain"


async def test_a_table_renamed_while_it_is_served_is_read_written_and_seen_live(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(SCHEMA.read_text().replace("public.todos", "public.chores"))
    await connection.close()
    async with serving(dsn, "tests.support.todo") as app:
        ann = await app.sign_in("ann")
        list_id = await app.mutation("todos:createList", {"title": "Home"}, ann)

        await app.database.execute("ALTER TABLE chores RENAME TO todos")
        await app.database.execute("SELECT * FROM parley.recheck()")

        added = await add(app, ann, list_id, "sweep")
        async with app.watching("todos:open", {"listId": list_id}, ann) as watcher:
            assert names(watcher.value) == ["sweep"]
            await app.database.execute("UPDATE todos SET what = 'mop' WHERE id = $1", added)
            assert names(await watcher.next()) == ["mop"]
