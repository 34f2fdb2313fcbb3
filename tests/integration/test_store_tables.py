"""watch, unwatch, and what happens to a watched table behind Parley's back (H11, H28)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from parley.store.postgres import PostgresStore
from parley.store.types import Batch, Committed, Conflicted
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

TODOS = """
CREATE SCHEMA app;
CREATE TABLE app.todos (
  id uuid PRIMARY KEY DEFAULT parley.uuid7(),
  creation_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  owner text COLLATE "C" NOT NULL, note text, rank integer, due timestamptz,
  shout text GENERATED ALWAYS AS (upper(note)) STORED, area point, "odd name" text
);
CREATE INDEX todos_by_owner ON app.todos (owner, due, creation_time, id);
CREATE INDEX todos_by_rank ON app.todos (rank, id);
CREATE INDEX todos_partial ON app.todos (note) WHERE rank > 5;
CREATE INDEX todos_expression ON app.todos (lower(note));
CREATE INDEX todos_backwards ON app.todos (rank DESC);
CREATE INDEX todos_hashed ON app.todos USING hash (note);
CREATE INDEX todos_by_age ON app.todos (creation_time, id);
CREATE INDEX strange ON app.todos (note) INCLUDE (rank);
CREATE INDEX todos_pattern ON app.todos (note text_pattern_ops);
"""


@pytest.fixture
async def psql(dsn: str) -> AsyncIterator[Any]:
    async with connected(dsn) as connection:
        yield connection


@pytest.fixture
async def quiet(psql: Any) -> Any:
    """A connection to a database where no event trigger helps, as for most owners."""
    await psql.execute("DROP EVENT TRIGGER IF EXISTS parley_on_ddl")
    return psql


@pytest.fixture
async def store(dsn: str, psql: Any) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.connect(dsn) as opened:
        yield opened


async def test_a_table_of_the_app_joins_with_one_statement(psql: Any, store: PostgresStore) -> None:
    await psql.execute(TODOS)

    await psql.execute("SELECT parley.watch('app.todos')")

    [*_, last] = await all_commits(store)
    assert (last.resets, last.is_schema_change) == (("app.todos",), True)
    table = (await store.schema()).tables["app.todos"]
    assert list(table.columns) == ["_id", "_creationTime", "owner", "note", "rank", "due"]
    indexes = {
        index.name: ([column.name for column in index.columns], index.key_lengths)
        for index in table.indexes.values()
    }
    assert indexes == {
        "by_id": (["id"], ()),
        "by_creation_time": ([], ()),
        "by_owner": (["owner", "due"], (1,)),
        "by_rank": (["rank", "id"], (1, 2)),
        "strange": (["note"], (1,)),
    }


async def test_rows_of_an_apps_table_are_written_and_logged(
    psql: Any, store: PostgresStore
) -> None:
    await psql.execute(TODOS + "SELECT parley.watch('app.todos')")
    schema = await store.schema()
    todo = {"_id": await new_id(psql), "_creationTime": NOW_MS, "owner": "o/1", "note": "n"}

    ours = await commit(store, write(schema, "insert", "app.todos", todo))
    await psql.execute("INSERT INTO app.todos (owner) VALUES ('o/2')")

    assert isinstance(ours, Committed)
    [*_, theirs] = await all_commits(store)
    assert r"app.todos/owner/o\/1" in ours.commit.changes[0].keys
    assert r"app.todos/owner/o\/2" in theirs.changes[0].keys
    assert await psql.fetchval("SELECT shout FROM app.todos WHERE owner = 'o/1'") == "N"


async def new_id(psql: Any) -> str:
    row_id: str = await psql.fetchval("SELECT parley.uuid7()::text")
    return row_id


@pytest.mark.parametrize(
    "create",
    [
        "CREATE TABLE public.t (id int PRIMARY KEY, creation_time timestamptz NOT NULL)",
        "CREATE TABLE public.t (id uuid, creation_time timestamptz NOT NULL)",
        "CREATE TABLE public.t (id uuid PRIMARY KEY, creation_time timestamptz)",
        "CREATE TABLE public.t (id uuid PRIMARY KEY)",
        "CREATE UNLOGGED TABLE public.t (id uuid PRIMARY KEY, creation_time timestamptz NOT NULL)",
        "CREATE VIEW public.t AS SELECT id, creation_time FROM public.users",
        "CREATE TABLE public.t (id uuid PRIMARY KEY, creation_time timestamptz NOT NULL) "
        "PARTITION BY HASH (id)",
        "CREATE TABLE public.t (LIKE public.users INCLUDING ALL) INHERITS (public.users)",
    ],
)
async def test_a_table_that_could_not_be_kept_true_is_not_watched(psql: Any, create: str) -> None:
    await psql.execute(create)

    with pytest.raises(asyncpg.RaiseError, match=r"parley cannot watch public\.t: it "):
        await psql.execute("SELECT parley.watch('public.t')")


async def test_unwatch_leaves_the_table_and_takes_everything_else(
    psql: Any, store: PostgresStore
) -> None:
    await psql.execute(TODOS + "SELECT parley.watch('app.todos')")

    await psql.execute("SELECT parley.unwatch('app.todos')")

    assert "app.todos" not in (await store.schema()).tables
    assert (await all_commits(store))[-1].is_schema_change
    head = await store.head()
    await psql.execute("INSERT INTO app.todos (owner) VALUES ('free')")
    assert await store.head() == head
    left = await psql.fetchval("SELECT count(*) FROM pg_proc WHERE proname LIKE '%app.todos'")
    assert left == 0


CHANGES = {
    "a new column": ("ALTER TABLE public.messages ADD stars int", "has other columns or indexes"),
    "a column gone": ("ALTER TABLE public.messages DROP tools", "has other columns or indexes"),
    "an indexed column gone": (
        'ALTER TABLE public.messages DROP "timestamp"',
        "has other columns or indexes",
    ),
    "another name": (
        "ALTER TABLE public.messages RENAME content TO body",
        "has other columns or indexes",
    ),
    "a new index": (
        "CREATE INDEX messages_by_role ON public.messages (role)",
        "has other columns or indexes",
    ),
    "a rewrite": (
        "ALTER TABLE public.messages ALTER content TYPE text USING content || '!'",
        "was rewritten",
    ),
    "a trigger gone": (
        "DROP TRIGGER parley_update ON public.messages",
        "had lost triggers, or had them disabled",
    ),
    "a trigger disabled": (
        "ALTER TABLE public.messages DISABLE TRIGGER ALL",
        "had lost triggers, or had them disabled",
    ),
    "a trigger for replicas only": (
        "ALTER TABLE public.messages ENABLE REPLICA TRIGGER parley_delete",
        "had lost triggers, or had them disabled",
    ),
    "a trigger that calls another table's functions": (
        "CREATE OR REPLACE TRIGGER parley_delete AFTER DELETE ON public.messages "
        "REFERENCING OLD TABLE AS old_rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION parley.log_delete_users()",
        "had lost triggers, or had them disabled",
    ),
    "the table gone": ("DROP TABLE public.messages", "was dropped"),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_the_self_check_sees_what_no_trigger_can(
    quiet: Any, store: PostgresStore, name: str
) -> None:
    change, finding = CHANGES[name]
    assert await store.check_tables() == []
    before = await store.head()

    await quiet.execute(change)
    findings = await store.check_tables()

    assert findings == [f"table messages {finding}"]
    assert [commit.resets for commit in (await store.read_log(before)).commits] == [("messages",)]
    assert await store.check_tables() == []


async def test_after_the_self_check_a_changed_table_is_logged_again(
    quiet: Any, store: PostgresStore
) -> None:
    await quiet.execute("ALTER TABLE public.users DROP name; DROP TRIGGER parley_insert ON users")
    await store.check_tables()
    before = await store.head()

    await quiet.execute("INSERT INTO public.users (supabase_user_id) VALUES ('x')")

    [commit] = (await store.read_log(before)).commits
    assert "users/supabase_user_id/x" in commit.changes[0].keys
    assert "name" not in (await store.schema()).tables["users"].columns


RENAMES = {
    "ALTER TABLE public.messages RENAME TO letters": "letters",
    "CREATE SCHEMA app; ALTER TABLE public.messages SET SCHEMA app": "app.messages",
}


@pytest.fixture(params=["by itself", "at the self-check"])
async def mend(request: pytest.FixtureRequest, psql: Any, store: PostgresStore) -> Any:
    """What makes good a change of a table: the event trigger, or the self-check without it."""
    if request.param == "at the self-check":
        await psql.execute("DROP EVENT TRIGGER IF EXISTS parley_on_ddl")
    elif not await psql.fetchval("SELECT count(*) FROM pg_event_trigger"):
        pytest.skip("migrated without a superuser")

    async def run() -> None:
        if request.param == "at the self-check":
            await store.check_tables()
        assert await store.check_tables() == []

    return run


@pytest.mark.parametrize("change", RENAMES)
async def test_a_table_under_another_name_is_logged_loaded_and_written_by_that_name(
    psql: Any, store: PostgresStore, mend: Any, change: str
) -> None:
    user = await add_user(psql)
    conversation = await add_conversation(psql, user)
    name = RENAMES[change]

    await psql.execute(change)
    await mend()
    head = await store.head()
    row_id = await psql.fetchval(
        f"INSERT INTO {name} (conversation_id, role, content) "
        "VALUES ($1::text::uuid, 'user', 'psql') RETURNING id::text",
        conversation,
    )
    schema = await store.schema()
    ours = await commit(store, write(schema, "delete", name, {"_id": row_id}))

    [theirs, own] = (await store.read_log(head)).commits
    [before] = theirs.changes
    assert (before.table, before.id) == (name, row_id)
    assert f"{name}/conversation_id/{conversation}" in before.keys
    assert own == ours.commit
    assert set(schema.tables) == {"users", "conversations", name}
    left = await psql.fetch("SELECT proname FROM pg_proc WHERE proname ~ '_messages$'")
    assert [row[0] for row in left if name == "letters"] == []


@pytest.mark.parametrize("change", RENAMES)
async def test_a_batch_that_read_a_table_by_its_old_name_conflicts(
    psql: Any, store: PostgresStore, mend: Any, change: str
) -> None:
    head = await store.head()

    await psql.execute(change)
    await mend()

    outcome = await store.commit(Batch(head, (entry("messages/conversation_id/1"),), ()))
    assert isinstance(outcome, Conflicted)


async def test_tables_that_swap_their_names_keep_their_own_logs(
    psql: Any, store: PostgresStore, mend: Any
) -> None:
    await psql.execute(TODOS + "SELECT parley.watch('app.todos')")
    await psql.execute("CREATE TABLE app.done (LIKE app.todos INCLUDING ALL)")
    await psql.execute("ALTER TABLE app.done ADD finished boolean; SELECT parley.watch('app.done')")

    await psql.execute(
        "ALTER TABLE app.todos RENAME TO x; ALTER TABLE app.done RENAME TO todos; "
        "ALTER TABLE app.x RENAME TO done"
    )
    await mend()

    schema = await store.schema()
    assert "finished" in schema.tables["app.todos"].columns
    assert "finished" not in schema.tables["app.done"].columns
    for name in ("app.todos", "app.done"):
        head = await store.head()
        await psql.execute(f"INSERT INTO {name} (owner) VALUES ('o')")
        [commit] = (await store.read_log(head)).commits
        [change] = commit.changes
        assert change.table == name
        assert (b"finished" in (change.image or b"")) == (name == "app.todos")


async def test_a_new_table_takes_the_name_of_one_that_was_renamed(
    quiet: Any, store: PostgresStore
) -> None:
    """The usual way to replace a table, seen by nobody until the new one joins."""
    await quiet.execute(TODOS + "SELECT parley.watch('app.todos')")
    await quiet.execute("ALTER TABLE app.todos RENAME TO old_todos")
    await quiet.execute("CREATE TABLE app.todos (LIKE app.old_todos INCLUDING ALL)")

    await quiet.execute("SELECT parley.watch('app.todos')")

    assert await store.check_tables() == []
    for name in ("app.todos", "app.old_todos"):
        head = await store.head()
        await quiet.execute(f"INSERT INTO {name} (owner) VALUES ('o')")
        [commit] = (await store.read_log(head)).commits
        assert [change.table for change in commit.changes] == [name]


async def test_a_new_table_takes_the_name_of_one_that_was_dropped(
    quiet: Any, store: PostgresStore
) -> None:
    await quiet.execute(TODOS + "SELECT parley.watch('app.todos')")
    await quiet.execute("CREATE TABLE app.next (LIKE app.todos INCLUDING ALL)")
    await quiet.execute("DROP TABLE app.todos; ALTER TABLE app.next RENAME TO todos")

    await quiet.execute("SELECT parley.watch('app.todos')")

    assert await store.check_tables() == []
    head = await store.head()
    await quiet.execute("INSERT INTO app.todos (owner) VALUES ('o')")
    [commit] = (await store.read_log(head)).commits
    assert [change.table for change in commit.changes] == ["app.todos"]


async def test_a_table_renamed_to_what_cannot_be_served_is_no_longer_watched(
    psql: Any, store: PostgresStore, mend: Any
) -> None:
    await psql.execute('ALTER TABLE public.messages RENAME TO "old messages"')
    await mend()

    assert set((await store.schema()).tables) == {"users", "conversations"}
    triggers = await psql.fetchval(
        """SELECT count(*) FROM pg_trigger WHERE tgrelid = '"old messages"'::regclass
           AND NOT tgisinternal"""
    )
    assert triggers == 0


async def test_a_table_that_can_no_longer_be_served_is_dropped_from_the_schema_loudly(
    quiet: Any, store: PostgresStore
) -> None:
    await quiet.execute("ALTER TABLE public.messages ALTER creation_time DROP NOT NULL")

    [finding] = await store.check_tables()

    assert finding.startswith("table messages is no longer watched: parley cannot watch")
    assert "messages" not in (await store.schema()).tables


async def test_truncating_is_not_mistaken_for_a_rewrite(quiet: Any, store: PostgresStore) -> None:
    await quiet.execute("TRUNCATE public.messages")

    assert await store.check_tables() == []


@pytest.mark.parametrize("name", CHANGES)
async def test_for_a_superuser_ddl_is_noticed_at_once(
    psql: Any, store: PostgresStore, name: str
) -> None:
    if not await psql.fetchval("SELECT count(*) FROM pg_event_trigger"):
        pytest.skip("migrated without a superuser")
    before = await store.head()

    await psql.execute(CHANGES[name][0])

    [commit] = (await store.read_log(before)).commits
    assert commit.resets == ("messages",)
    assert await store.check_tables() == []


async def test_writers_meet_no_window_while_a_table_joins(dsn: str, psql: Any) -> None:
    """A row is either there when the table joins, or in the log."""
    await psql.execute(TODOS)
    async with connected(dsn) as watcher, await PostgresStore.connect(dsn) as store:
        await psql.execute("INSERT INTO app.todos (owner) VALUES ('before')")
        async with watcher.transaction():
            await watcher.execute("SELECT parley.watch('app.todos')")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await psql.execute(
                    "SET lock_timeout = '10ms'; INSERT INTO app.todos (owner) VALUES ('during')"
                )
        await psql.execute("INSERT INTO app.todos (owner) VALUES ('after')")

        [*_, joined, after] = await all_commits(store)
        assert joined.is_schema_change
        assert [change.table for change in after.changes] == ["app.todos"]
