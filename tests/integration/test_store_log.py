"""Whoever writes, and however: the log says what happened (RELIABILITY.md I11, M3, M7)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from parley.store.postgres import PostgresStore
from parley.store.types import Commit
from tests.support.store import add_conversation, add_user, all_commits, connected, replay

ISOLATIONS = ["read committed", "repeatable read", "serializable"]

# Each leaves the tables as they are after it, and the log must agree. `{u}` is a user with two
# conversations `{a}` (one message `{m}`) and `{b}`.
STATEMENTS = {
    "insert": "INSERT INTO conversations (user_id) VALUES ('{u}')",
    "insert of many": "INSERT INTO conversations (user_id, title) "
    "SELECT '{u}', g::text FROM generate_series(1, 50) g",
    "update": "UPDATE conversations SET title = 'new' WHERE id = '{a}'",
    "update of all": "UPDATE conversations SET is_pinned = NOT is_pinned, tags = '{{x,y}}'",
    "update that moves rows": "UPDATE messages SET conversation_id = '{b}'",
    "delete": "DELETE FROM messages",
    "cascade": "DELETE FROM users WHERE id = '{u}'",
    "upsert": "INSERT INTO conversations (id, user_id, title) VALUES ('{a}', '{u}', 'up'), "
    "(parley.uuid7(), '{u}', 'in') ON CONFLICT (id) DO UPDATE SET title = excluded.title",
    "merge": "MERGE INTO conversations c USING (VALUES ('{a}'::uuid, 'm'), ('{b}', NULL), "
    "(parley.uuid7(), 'n')) v (id, title) ON c.id = v.id "
    "WHEN MATCHED AND v.title IS NULL THEN DELETE "
    "WHEN MATCHED THEN UPDATE SET title = v.title "
    "WHEN NOT MATCHED THEN INSERT (id, user_id, title) VALUES (v.id, '{u}', v.title)",
    "other id": "UPDATE messages SET id = parley.uuid7()",
    "swapped ids": "DELETE FROM messages; UPDATE conversations SET "
    "id = CASE id WHEN '{a}' THEN parley.uuid7() ELSE id END",
    "savepoint rolled back": "SAVEPOINT s; DELETE FROM users; ROLLBACK TO s; "
    "UPDATE conversations SET title = 'kept' WHERE id = '{b}'",
    "first write rolled back": "SAVEPOINT s; DELETE FROM messages; ROLLBACK TO s; RELEASE s; "
    "DELETE FROM messages",
    "constraints immediate": "SET CONSTRAINTS ALL IMMEDIATE; UPDATE conversations SET title = 'x'; "
    "DELETE FROM messages",
    "writable cte": "WITH d AS (DELETE FROM messages RETURNING conversation_id) "
    "UPDATE conversations SET title = 'd' FROM d WHERE id = d.conversation_id",
    "same row twice": "UPDATE conversations SET title = 'x'; UPDATE conversations SET title = 'y'",
    "insert and delete": "INSERT INTO messages (conversation_id, role, content) "
    "VALUES ('{a}', 'user', 'gone'); DELETE FROM messages WHERE content = 'gone'",
}


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.connect(dsn) as opened:
        yield opened


async def seeded(connection: Any) -> dict[str, str]:
    user = await add_user(connection)
    first = await add_conversation(connection, user, "a")
    second = await add_conversation(connection, user, "b")
    message = await connection.fetchval(
        "INSERT INTO messages (conversation_id, role, content, citations) "
        """VALUES ($1::text::uuid, 'user', 'hi', '[{"title": "t"}]') RETURNING id::text""",
        first,
    )
    return {"u": user, "a": first, "b": second, "m": message}


async def tables_now(connection: Any) -> dict[tuple[str, str], Any]:
    rows: dict[tuple[str, str], Any] = {}
    for table in ("users", "conversations", "messages"):
        for row in await connection.fetch(
            f"SELECT id::text, to_jsonb(t)::text AS image FROM {table} t"
        ):
            rows[table, row["id"]] = json.loads(row["image"])
    return rows


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("name", STATEMENTS)
async def test_the_log_replays_to_what_the_tables_hold(
    dsn: str, store: PostgresStore, isolation: str, name: str
) -> None:
    async with connected(dsn) as connection:
        ids = await seeded(connection)
        before = await store.head()

        await connection.execute(
            f"BEGIN ISOLATION LEVEL {isolation}; {STATEMENTS[name].format(**ids)}; COMMIT"
        )

        commits = await all_commits(store)
        assert replay(commits) == await tables_now(connection)
        assert len([commit for commit in commits if commit.ts > before]) == 1
        assert await connection.fetchval("SELECT count(*) FROM parley.pending") == 0
        assert await connection.fetchval("SELECT count(*) FROM parley.pending_last") == 0


async def test_copy_is_logged_row_by_row(dsn: str, store: PostgresStore) -> None:
    async with connected(dsn) as connection:
        await connection.copy_records_to_table(
            "users", columns=["supabase_user_id"], records=[(f"u{n}",) for n in range(5)]
        )

        assert replay(await all_commits(store)) == await tables_now(connection)


async def test_the_replica_role_cannot_write_past_the_log(cluster: Any, dsn: str) -> None:
    superuser = cluster.dsn_of(dsn.split("?")[0].rsplit("/")[-1])
    async with await PostgresStore.connect(dsn) as store, connected(superuser) as connection:
        ids = await seeded(connection)
        before = await store.head()

        await connection.execute("SET session_replication_role = replica")
        await connection.execute("UPDATE conversations SET title = 'r' WHERE id = $1", ids["a"])

        [commit] = (await store.read_log(before)).commits
        assert [change.id for change in commit.changes] == [ids["a"]]


async def test_truncate_forgets_the_table_and_those_that_depend_on_it(
    dsn: str, store: PostgresStore
) -> None:
    async with connected(dsn) as connection:
        await seeded(connection)

        await connection.execute("TRUNCATE conversations CASCADE")

        [*_, last] = await all_commits(store)
        assert set(last.resets) == {"conversations", "messages"}
        assert replay(await all_commits(store)) == await tables_now(connection)


async def test_a_statement_without_rows_leaves_no_trace(dsn: str, store: PostgresStore) -> None:
    async with connected(dsn) as connection:
        before = await store.head()

        await connection.execute("UPDATE users SET name = 'x' WHERE false")

        assert await store.head() == before


async def test_a_rolled_back_transaction_leaves_no_trace(dsn: str, store: PostgresStore) -> None:
    async with connected(dsn) as connection:
        before = await store.head()

        await connection.execute(
            "BEGIN; INSERT INTO users (supabase_user_id) VALUES ('x'); ROLLBACK"
        )

        assert await store.head() == before


async def test_an_update_carries_the_keys_of_both_places(dsn: str, store: PostgresStore) -> None:
    async with connected(dsn) as connection:
        ids = await seeded(connection)

        await connection.execute("UPDATE messages SET conversation_id = $1", ids["b"])

        [*_, last] = await all_commits(store)
        [change] = last.changes
        assert set(change.keys) == {
            f"messages/{ids['m']}",
            f"messages/conversation_id/{ids['a']}",
            f"messages/conversation_id/{ids['b']}",
        }


async def test_a_huge_statement_becomes_a_reset_without_images(
    dsn: str, store: PostgresStore
) -> None:
    async with connected(dsn) as connection:
        user = await add_user(connection)
        before = await store.head()

        await connection.execute(
            "INSERT INTO conversations (user_id, title) SELECT $1::text::uuid, g::text "
            "FROM generate_series(1, 100000) g",
            user,
        )
        await connection.execute("UPDATE conversations SET title = 'z'")

        found = await store.read_log(before)
        assert [(c.changes, c.resets) for c in found.commits] == [((), ("conversations",))] * 2
        logged = await connection.fetchval(
            "SELECT count(*) FROM parley.log_rows "
            "WHERE table_name = 'conversations' AND op <> 'schema'"
        )
        assert logged == 2


async def test_a_statement_of_huge_rows_becomes_a_reset(dsn: str, store: PostgresStore) -> None:
    async with connected(dsn) as connection:
        user = await add_user(connection)

        await connection.execute(
            "INSERT INTO conversations (user_id, title) "
            "SELECT $1::text::uuid, repeat('x', 9000000) FROM generate_series(1, 2)",
            user,
        )

        [*_, last] = await all_commits(store)
        assert (last.changes, last.resets) == ((), ("conversations",))


@pytest.mark.parametrize(("count", "size"), [(15_000, 10), (4, 9_000_000)])
async def test_a_parent_of_many_or_large_children_is_deleted_row_by_row(
    dsn: str, store: PostgresStore, count: int, size: int
) -> None:
    """Nodes need keys only of what is gone: nobody else has to load the table anew."""
    async with connected(dsn) as connection:
        ids = await seeded(connection)
        await connection.execute(
            "INSERT INTO messages (conversation_id, role, content) "
            "SELECT $1::text::uuid, 'user', repeat('x', $3) FROM generate_series(2, $2)",
            ids["a"],
            count,
            size,
        )
        before = await store.head()

        await connection.execute("DELETE FROM users WHERE id = $1", ids["u"])

        [commit] = (await store.read_log(before)).commits
        assert commit.resets == ()
        messages = [change for change in commit.changes if change.table == "messages"]
        assert len(messages) == count
        key = f"messages/conversation_id/{ids['a']}"
        assert all(change.image is None and key in change.keys for change in messages)
        olds = await connection.fetchval(
            "SELECT count(old) FROM parley.log_rows WHERE table_name = 'messages' AND op = 'd'"
        )
        assert olds == 0


async def test_a_delete_of_far_too_many_rows_becomes_a_reset(
    dsn: str, store: PostgresStore
) -> None:
    async with connected(dsn) as connection:
        await connection.execute(
            "INSERT INTO users (supabase_user_id) SELECT g FROM generate_series(1, 20001) g"
        )
        before = await store.head()

        await connection.execute("DELETE FROM users")

        [commit] = (await store.read_log(before)).commits
        assert (commit.changes, commit.resets) == ((), ("users",))


async def test_an_ordinary_delete_is_logged_with_what_was_there(
    dsn: str, store: PostgresStore
) -> None:
    async with connected(dsn) as connection:
        await seeded(connection)
        await connection.execute("DELETE FROM messages")

        old = await connection.fetchval(
            "SELECT old ->> 'content' FROM parley.log_rows WHERE op = 'd'"
        )
        assert old == "hi"


async def test_columns_may_be_called_like_what_the_triggers_count(
    dsn: str, store: PostgresStore
) -> None:
    async with connected(dsn) as connection:
        await connection.execute("""
            CREATE TABLE public.tallies (id uuid PRIMARY KEY DEFAULT parley.uuid7(),
              creation_time timestamptz NOT NULL DEFAULT clock_timestamp(),
              count int, bytes int, own text COLLATE "C");
            CREATE INDEX tallies_by_count ON tallies (count, own, creation_time, id);
            SELECT parley.watch('public.tallies')""")
        before = await store.head()

        await connection.execute("INSERT INTO tallies (count, bytes) VALUES (99999, 5)")
        await connection.execute("UPDATE tallies SET own = 'x'")
        await connection.execute("DELETE FROM tallies")

        commits = (await store.read_log(before)).commits
        assert [len(commit.changes) for commit in commits] == [1, 1, 1]
        assert "tallies/count,own/99999/x" in commits[-1].changes[0].keys


async def test_deletes_of_huge_keys_become_a_reset(dsn: str, store: PostgresStore) -> None:
    async with connected(dsn) as connection:
        await connection.execute(
            "INSERT INTO users (supabase_user_id) "
            "SELECT repeat(md5(g::text), 80) FROM generate_series(1, 4000) g"
        )
        before = await store.head()

        await connection.execute("DELETE FROM users")

        assert [commit.resets for commit in (await store.read_log(before)).commits] == [("users",)]


async def test_a_transaction_of_too_many_rows_is_read_as_resets(
    dsn: str, store: PostgresStore
) -> None:
    async with connected(dsn) as connection:
        user = await add_user(connection)
        insert = (
            f"""INSERT INTO conversations (user_id) SELECT '{user}' FROM generate_series(1, 6000)"""
        )

        await connection.execute(f"BEGIN; {insert}; {insert}; COMMIT")

        [*_, last] = await all_commits(store)
        assert (last.changes, last.resets) == ((), ("conversations",))


async def test_a_long_log_is_read_in_slices_of_whole_commits(
    dsn: str, store: PostgresStore
) -> None:
    async with connected(dsn) as connection:
        start = await store.head()
        insert = (
            "INSERT INTO users (supabase_user_id) SELECT $1 || g FROM generate_series(1, 3000) g"
        )
        for name in "abc":
            await connection.execute(insert, name)

        first = await store.read_log(start)
        second = await store.read_log(first.commits[-1].ts)

        assert ([len(c.changes) for c in first.commits], first.has_more) == ([3000, 3000], True)
        assert ([len(c.changes) for c in second.commits], second.has_more) == ([3000], False)


async def test_two_transactions_with_stale_snapshots_get_different_ts(
    dsn: str, store: PostgresStore
) -> None:
    """RELIABILITY.md M3: max(ts) + 1 gave both the same."""
    async with connected(dsn) as stale, connected(dsn) as other:
        await add_user(other)
        transaction = stale.transaction(isolation="repeatable_read")
        await transaction.start()
        await stale.execute("UPDATE users SET name = 's'")
        between = await add_user(other, "bob")

        await transaction.commit()

        commits = await all_commits(store)
        assert len({commit.ts for commit in commits}) == len(commits)
        assert commits[-2].changes[0].id == between
        assert [commit.prev_ts for commit in commits[-2:]] == [commits[-3].ts, None]


async def test_each_commit_names_the_one_before(dsn: str, store: PostgresStore) -> None:
    async with connected(dsn) as connection:
        for name in "abcd":
            await add_user(connection, name)

        commits = await all_commits(store)

        assert [c.prev_ts for c in commits] == [None, *(c.ts for c in commits[:-1])]


async def test_deferred_triggers_of_the_app_write_into_the_same_commit(
    dsn: str, store: PostgresStore
) -> None:
    """RELIABILITY.md M10: also those that write while other deferred triggers already run."""
    async with connected(dsn) as connection:
        await connection.execute("""
            CREATE FUNCTION rename_all() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
              UPDATE users SET name = concat(name, 'x') WHERE length(concat(name, '')) < 5;
              RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER rename_all AFTER INSERT OR UPDATE ON users
              DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rename_all()""")
        before = await store.head()

        await add_user(connection)

        [commit] = (await store.read_log(before)).commits
        assert json.loads(commit.changes[-1].image or b"")["name"] == "xxxxx"
        assert len(commit.changes) == 6


async def test_a_writer_who_does_not_care_for_durability_gets_it(dsn: str) -> None:
    """RELIABILITY.md M8: others see its commit, so it must not vanish in a crash."""
    async with connected(dsn, synchronous_commit="off") as connection, connection.transaction():
        await add_user(connection)

        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")

        assert await connection.fetchval("SHOW synchronous_commit") == "on"


async def test_an_image_does_not_depend_on_the_settings_of_its_writer(dsn: str) -> None:
    settings = {"bytea_output": "escape", "extra_float_digits": "-10", "timezone": "Asia/Kathmandu"}
    async with connected(dsn) as owner, connected(dsn, **settings) as odd:
        await owner.execute("""
            CREATE TABLE public.things (id uuid PRIMARY KEY DEFAULT parley.uuid7(),
              creation_time timestamptz NOT NULL DEFAULT clock_timestamp(),
              data bytea, number float8, at timestamptz);
            SELECT parley.watch('public.things')""")
        await odd.execute(
            "INSERT INTO things (data, number, at) VALUES ('\\x5c00ff', 0.1::float8 + 0.2, "
            "'2024-02-29 12:00:00.123456+00')"
        )
        await odd.execute("UPDATE things SET number = number / 3")
        async with await PostgresStore.connect(dsn) as store:
            [*_, last] = await all_commits(store)

        image = json.loads(last.changes[0].image or b"")
        assert (image["data"], image["number"]) == ("\\x5c00ff", (0.1 + 0.2) / 3)
        assert image["at"] == "2024-02-29T17:45:00.123456+05:45"


async def test_preparing_a_transaction_with_changes_is_refused(dsn: str) -> None:
    """RELIABILITY.md M6: it would keep the ts lock until somebody finishes it."""
    async with connected(dsn) as connection:
        if await connection.fetchval("SHOW max_prepared_transactions") == "0":
            pytest.skip("this server has no prepared transactions")
        await connection.execute("BEGIN")
        await add_user(connection)

        with pytest.raises(asyncpg.PostgresError, match="NOTIFY"):
            await connection.execute("PREPARE TRANSACTION 'p'")

        await asyncio.wait_for(add_user(connection, "next"), 10)
        assert await connection.fetchval("SELECT count(*) FROM users") == 1


def test_replay_is_a_fair_judge() -> None:
    """The helper of this file forgets on resets."""
    reset = Commit(2, 1, resets=("users",))

    assert replay([Commit(1, None), reset]) == {}
