"""commit_batch: every outcome, and that nothing stays of a batch that did not commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from parley.store.commit import MAX_KEPT_RESULT
from parley.store.postgres import PostgresStore
from parley.store.tables import Schema
from parley.store.types import (
    AlreadySettled,
    Batch,
    Busy,
    Committed,
    Conflicted,
    Refused,
    RequestId,
    RowWrite,
    Settled,
    Transient,
    Unknown,
)
from tests.support.store import (
    NOW_MS,
    add_conversation,
    add_user,
    all_commits,
    commit,
    connected,
    entry,
    user_fields,
    write,
)


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.connect(dsn) as opened:
        yield opened


@pytest.fixture
async def schema(store: PostgresStore) -> Schema:
    return await store.schema()


@pytest.fixture
async def psql(dsn: str) -> AsyncIterator[Any]:
    async with connected(dsn) as connection:
        yield connection


async def unsettled(psql: Any) -> list[int]:
    """Return what a failed batch might have left behind."""
    return [
        await psql.fetchval("SELECT count(*) FROM parley.pending"),
        await psql.fetchval("SELECT count(*) FROM parley.requests"),
        await psql.fetchval(
            "SELECT count(*) FROM parley.log_rows r "
            "WHERE NOT EXISTS (SELECT FROM parley.log_tx t WHERE t.txid = r.txid)"
        ),
    ]


async def test_the_answer_is_the_entry_that_everyone_reads_in_the_log(
    store: PostgresStore, schema: Schema
) -> None:
    user = user_fields(email="a@b.c")
    before = await store.head()

    outcome = await commit(store, write(schema, "insert", "users", user))

    assert isinstance(outcome, Committed)
    assert outcome.commit == (await store.read_log(before)).commits[0]
    assert outcome.commit.prev_ts == before
    assert await store.head() == outcome.commit.ts


async def test_a_batch_writes_parents_before_children_and_deletes_children_first(
    store: PostgresStore, schema: Schema, psql: Any
) -> None:
    user = user_fields()
    conversation = {
        "_id": str(uuid4()),
        "_creationTime": NOW_MS,
        "userId": user["_id"],
        "title": "t",
        "isPinned": False,
        "tags": ["a", 'b"'],
        "createdAt": NOW_MS,
        "updatedAt": NOW_MS,
    }
    message = {
        "_id": str(uuid4()),
        "_creationTime": NOW_MS,
        "conversationId": conversation["_id"],
        "role": "user",
        "content": "hello",
        "timestamp": NOW_MS,
        "tools": [{"name": "x", "args": {"n": 1.5}}],
    }
    rows = [("messages", message), ("conversations", conversation), ("users", user)]

    inserted = await commit(store, *(write(schema, "insert", t, f) for t, f in rows))
    deleted = await commit(store, *(write(schema, "delete", t, f) for t, f in reversed(rows)))

    assert isinstance(inserted, Committed)
    assert isinstance(deleted, Committed)
    assert {(c.table, c.image) for c in deleted.commit.changes} == {
        ("users", None),
        ("conversations", None),
        ("messages", None),
    }
    assert await psql.fetchval("SELECT count(*) FROM users") == 0


async def test_an_update_sets_what_is_given_and_clears_what_is_not(
    store: PostgresStore, schema: Schema, psql: Any
) -> None:
    user = user_fields(name="n", email="e")
    await commit(store, write(schema, "insert", "users", user))

    await commit(store, write(schema, "update", "users", {**user, "name": "m", "email": None}))

    row = await psql.fetchrow("SELECT name, email FROM users")
    assert tuple(row) == ("m", None)


async def test_a_delete_reports_the_rows_that_went_with_it(
    store: PostgresStore, schema: Schema, psql: Any
) -> None:
    user = await add_user(psql)
    conversation = await add_conversation(psql, user)

    outcome = await commit(store, write(schema, "delete", "users", {"_id": user}))

    deleted = {(change.table, change.id) for change in outcome.commit.changes}
    assert deleted == {("conversations", conversation), ("users", user)}


CHANGES = {
    "row key": ("UPDATE conversations SET title = 'x'", "conversations/{c}"),
    "index key": (
        "INSERT INTO conversations (user_id) SELECT user_id FROM conversations",
        "conversations/user_id/{u}",
    ),
    "key that a row has left": (
        "UPDATE conversations SET user_id = (SELECT id FROM users WHERE id <> user_id)",
        "conversations/user_id/{u}",
    ),
    "whole table": ("DELETE FROM conversations", "conversations"),
    "truncate, of a row": ("TRUNCATE conversations CASCADE", "conversations/{c}"),
    "truncate, of a range": ("TRUNCATE conversations CASCADE", "conversations/user_id/{u}"),
    "truncate, of the table": ("TRUNCATE conversations CASCADE", "conversations"),
    "another definition": (
        "ALTER TABLE conversations ADD note text; SELECT parley.watch('conversations')",
        "conversations/{c}",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_what_others_changed_since_is_a_conflict_for_those_who_read_it(
    store: PostgresStore, schema: Schema, psql: Any, name: str
) -> None:
    user = await add_user(psql)
    await add_user(psql, "other")
    conversation = await add_conversation(psql, user)
    head = await store.head()
    change, key = CHANGES[name]
    reader = entry(key.format(u=user, c=conversation))
    bystander = entry("users/supabase_user_id/nobody", "conversation", "message")
    insert = write(schema, "insert", "users", user_fields())

    await psql.execute(change)
    outcome = await store.commit(Batch(head, (bystander, reader, bystander), (insert,)))
    alone = await store.commit(Batch(head, (bystander,), (insert,)))

    assert outcome == Conflicted(frozenset({1}), await head_before(store))
    assert isinstance(alone, Committed)
    assert await unsettled(psql) == [0, 0, 0]


async def head_before(store: PostgresStore) -> int:
    """Return the ts of the newest commit but one."""
    return (await all_commits(store))[-2].ts


async def test_a_head_that_the_log_does_not_reach_back_to_conflicts_with_everything(
    store: PostgresStore, psql: Any
) -> None:
    head = await store.head()
    await add_user(psql)
    await psql.execute("UPDATE parley.meta SET horizon = $1", head + 1)

    outcome = await store.commit(Batch(head, (entry("x"), entry("y")), ()))

    assert outcome == Conflicted(frozenset({0, 1}), await store.head())


async def test_a_head_from_another_past_conflicts_with_everything(store: PostgresStore) -> None:
    head = await store.head()

    outcome = await store.commit(Batch(head + 1, (entry("x"),), ()))

    assert outcome == Conflicted(frozenset({0}), head)


async def test_rows_that_others_hold_are_named_and_not_waited_for(
    store: PostgresStore, schema: Schema, psql: Any
) -> None:
    users = [user_fields(_id=await add_user(psql, name)) for name in "abc"]
    updates = [write(schema, "update", "users", {**user, "name": "n"}) for user in users[:2]]
    delete = write(schema, "delete", "users", users[2])

    async with psql.transaction():
        await psql.execute("UPDATE users SET name = 'held' WHERE supabase_user_id IN ('b', 'c')")
        outcome = await commit(store, *updates, delete)
    later = await commit(store, *updates, delete)

    assert outcome == Busy(frozenset({("users", users[1]["_id"]), ("users", users[2]["_id"])}))
    assert isinstance(later, Committed)


async def test_a_row_that_others_merely_refer_to_is_not_busy(
    store: PostgresStore, schema: Schema, psql: Any
) -> None:
    user = user_fields(_id=await add_user(psql), supabaseUserId="alice")

    async with psql.transaction():
        await add_conversation(psql, user["_id"])
        outcome = await commit(store, write(schema, "update", "users", {**user, "name": "n"}))

    assert isinstance(outcome, Committed)


async def test_a_row_deleted_meanwhile_is_a_conflict_for_the_mutation_that_read_it(
    store: PostgresStore, schema: Schema, psql: Any
) -> None:
    user = user_fields(_id=await add_user(psql))
    update = write(schema, "update", "users", {**user, "name": "n"})
    head = await store.head()

    await psql.execute("DELETE FROM users")
    outcome = await store.commit(Batch(head, (entry(f"users/{user['_id']}"),), (update,)))

    assert outcome == Conflicted(frozenset({0}), await store.head())


async def test_a_row_that_never_was_is_refused(store: PostgresStore, schema: Schema) -> None:
    outcome = await commit(store, write(schema, "update", "users", user_fields()))

    assert isinstance(outcome, Refused)
    assert outcome.sqlstate == "PY004"


async def test_a_lock_that_is_not_released_soon_is_transient(
    store: PostgresStore, schema: Schema, psql: Any
) -> None:
    async with psql.transaction():
        await psql.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        outcome = await commit(store, write(schema, "insert", "users", user_fields()))

    assert outcome == Transient("55P03", "canceling statement due to lock timeout")


REFUSED = {
    "unique": ("23505", {"supabaseUserId": "taken"}, {}),
    "bad uuid": ("22P02", {}, {"id": "no-uuid"}),
    "null": ("23502", {}, {"supabase_user_id": None}),
    "time out of range": ("22008", {}, {"created_at": "300000-01-01T00:00:00+00:00"}),
    "NUL": ("22P05", {}, {"name": "a\0b"}),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_row_that_postgres_refuses_refuses_the_batch(
    store: PostgresStore, schema: Schema, psql: Any, name: str
) -> None:
    await add_user(psql, "taken")
    sqlstate, fields, columns = REFUSED[name]
    row = write(schema, "insert", "users", user_fields(**fields))
    bad = RowWrite("users", row.id, "insert", {**row.row, **columns})
    good = write(schema, "insert", "users", user_fields())
    request = RequestId("i", "s", 1)

    outcome = await store.commit(Batch(await store.head(), (entry(request=request),), (good, bad)))

    assert isinstance(outcome, Refused)
    assert outcome.sqlstate == sqlstate
    assert "taken" not in outcome.message
    assert await psql.fetchval("SELECT count(*) FROM users") == 1
    assert await unsettled(psql) == [0, 0, 0]


async def test_a_missing_parent_is_refused(store: PostgresStore, schema: Schema, psql: Any) -> None:
    user = await add_user(psql)
    conversation = await add_conversation(psql, user)
    message = {
        "_id": str(uuid4()),
        "_creationTime": NOW_MS,
        "conversationId": conversation,
        "role": "nobody",
        "content": "",
        "timestamp": NOW_MS,
    }

    wrong_role = await commit(store, write(schema, "insert", "messages", message))
    orphan = {**message, "role": "user", "conversationId": str(uuid4())}
    wrong_parent = await commit(store, write(schema, "insert", "messages", orphan))

    assert isinstance(wrong_role, Refused)
    assert isinstance(wrong_parent, Refused)
    assert (wrong_role.sqlstate, wrong_parent.sqlstate) == ("23514", "23503")


async def test_an_empty_batch_that_must_not_commit_only_tells_whether_its_reads_hold(
    store: PostgresStore, psql: Any
) -> None:
    head = await store.head()
    user = await add_user(psql)
    newest = await store.head()
    log = await all_commits(store)

    stale = await store.commit(Batch(head, (entry(f"users/{user}"),), (), must_commit=False))
    valid = await store.commit(Batch(head, (entry("users/x"),), (), must_commit=False))

    assert stale == Conflicted(frozenset({0}), newest)
    assert isinstance(valid, Committed)
    assert (valid.commit.ts, valid.commit.changes) == (newest, ())
    assert await all_commits(store) == log


async def test_a_repeat_finds_what_the_first_run_left(store: PostgresStore) -> None:
    first, second = RequestId("i", "s", 5), RequestId("i", "s", 6)
    entries = (entry(request=first, call_hash=b"\0\xff", result=b'"r"'),)
    outcome = await store.commit(Batch(await store.head(), entries, ()))

    repeat = await store.commit(
        Batch(await store.head(), (entry(), entry(request=first), entry(request=second)), ())
    )
    next_one = await store.commit(Batch(await store.head(), (entry(request=second),), ()))

    assert isinstance(outcome, Committed)
    assert repeat == AlreadySettled((Settled(first, outcome.commit.ts, b"\0\xff", b'"r"'),))
    assert isinstance(next_one, Committed)


async def test_an_earlier_request_is_settled_by_a_later_one_of_its_session(
    store: PostgresStore,
) -> None:
    late, early = RequestId("i", "s", 7), RequestId("i", "s", 6)
    others = (RequestId("j", "s", 6), RequestId("i", "t", 6))
    await store.commit(Batch(await store.head(), (entry(request=late),), ()))

    outcome = await store.commit(Batch(await store.head(), (entry(request=early),), ()))
    unrelated = await store.commit(
        Batch(await store.head(), tuple(entry(request=request) for request in others), ())
    )

    assert outcome == AlreadySettled((Settled(early, None, b"", None),))
    assert isinstance(unrelated, Committed)


async def test_a_request_that_failed_asks_whether_it_was_settled_and_leaves_nothing(
    store: PostgresStore,
) -> None:
    request = RequestId("i", "s", 1)
    failed = replace(entry(request=request), is_kept=False)

    first = await store.commit(Batch(await store.head(), (failed,), ()))
    unsettled_yet = await store.find_settled([request])
    await store.commit(Batch(await store.head(), (entry(request=request),), ()))
    again = await store.commit(Batch(await store.head(), (failed,), (), must_commit=False))

    assert isinstance(first, Committed)
    assert unsettled_yet == []
    assert isinstance(again, AlreadySettled)


async def test_a_result_too_large_to_keep_is_settled_without_it(store: PostgresStore) -> None:
    request = RequestId("i", "s", 1)
    large = entry(request=request, result=b'"' + b"x" * MAX_KEPT_RESULT + b'"')
    outcome = await store.commit(Batch(await store.head(), (large,), ()))

    [settled] = await store.find_settled([request, RequestId("i", "s", 2)])

    assert settled == Settled(request, outcome.commit.ts, b"h", None)  # type: ignore[union-attr]


async def test_the_same_request_on_two_nodes_happens_once(dsn: str, psql: Any) -> None:
    request = RequestId("i", "s", 1)
    async with (
        await PostgresStore.connect(dsn) as one,
        await PostgresStore.connect(dsn) as two,
    ):
        schema = await one.schema()
        head = await one.head()

        outcomes = await asyncio.gather(
            *(
                store.commit(
                    Batch(
                        head,
                        (entry(request=request),),
                        (write(schema, "insert", "users", user_fields()),),
                    )
                )
                for store in (one, two)
            )
        )

    assert {type(outcome) for outcome in outcomes} == {Committed, AlreadySettled}
    assert await psql.fetchval("SELECT count(*) FROM users") == 1


async def test_cancelling_the_caller_does_not_cancel_the_commit(
    store: PostgresStore, schema: Schema, psql: Any
) -> None:
    """RELIABILITY.md H7: a client that goes away must not take a batch with it."""
    started = asyncio.Event()

    async def caller() -> None:
        task = asyncio.ensure_future(commit_it())
        started.set()
        await task

    async def commit_it() -> Any:
        return await store.commit(Batch(head, (), (write(schema, "insert", "users", user),)))

    head = await store.head()
    user = user_fields()
    task = asyncio.create_task(caller())
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.close()

    assert (
        await psql.fetchval("SELECT count(*) FROM users WHERE id = $1::text::uuid", user["_id"])
        == 1
    )


async def test_a_connection_lost_while_committing_leaves_the_outcome_unknown(
    store: PostgresStore, schema: Schema, psql: Any
) -> None:
    async with psql.transaction():
        # Taken without the lock timeout of commit_batch in its way: hold the ts lock ourselves.
        await psql.execute("SELECT pg_advisory_xact_lock(lock_key) FROM parley.meta")
        user = user_fields()
        task = asyncio.create_task(commit(store, write(schema, "insert", "users", user)))
        killed = 0
        while not killed and not task.done():
            killed = await psql.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE wait_event_type = 'Lock' AND application_name = 'parley'"
            )
        outcome = await task

    assert isinstance(outcome, Unknown)
    assert isinstance(await commit(store, write(schema, "insert", "users", user)), Committed)


async def test_commit_batch_insists_on_seeing_what_commits_while_it_runs(psql: Any) -> None:
    """RELIABILITY.md H12."""
    with pytest.raises(asyncpg.RaiseError, match="READ COMMITTED"):
        async with psql.transaction(isolation="repeatable_read"):
            await psql.fetch(
                "SELECT * FROM parley.commit_batch(0, '{}', '{}', NULL, '{}', '{}', '{}', '{}', "
                "'{}', true)"
            )
