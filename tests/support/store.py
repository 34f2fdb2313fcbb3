"""Rows, batches and replays for the tests of the store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg

from parley.store.postgres import PostgresStore
from parley.store.rows import encode_document
from parley.store.tables import Schema
from parley.store.types import Batch, BatchEntry, Commit, RequestId, RowWrite

NOW_MS = 1_700_000_000_000


@asynccontextmanager
async def connected(dsn: str, **settings: str) -> AsyncIterator[Any]:
    """Yield a plain connection, as somebody with psql has it."""
    connection = await asyncpg.connect(dsn, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()


async def add_user(connection: Any, subject: str = "alice") -> str:
    """Insert a user with SQL and return the id."""
    user: str = await connection.fetchval(
        "INSERT INTO users (supabase_user_id) VALUES ($1) RETURNING id::text", subject
    )
    return user


async def add_conversation(connection: Any, user: str, title: str = "a") -> str:
    """Insert a conversation with SQL and return the id."""
    conversation: str = await connection.fetchval(
        "INSERT INTO conversations (user_id, title) VALUES ($1::text::uuid, $2) RETURNING id::text",
        user,
        title,
    )
    return conversation


def user_fields(**fields: Any) -> dict[str, Any]:
    """Return the fields of a valid user."""
    return {
        "_id": str(uuid4()),
        "_creationTime": NOW_MS,
        "issuer": "",
        "supabaseUserId": str(uuid4()),
        "createdAt": NOW_MS,
        **fields,
    }


def write(schema: Schema, kind: Any, table: str, fields: Mapping[str, Any]) -> RowWrite:
    """Return the write of one row."""
    row = {} if kind == "delete" else encode_document(schema.tables[table], fields)[0]
    return RowWrite(table, fields["_id"], kind, row)


def entry(
    *reads: str, request: RequestId | None = None, call_hash: bytes = b"h", result: bytes = b"null"
) -> BatchEntry:
    """Return one mutation of a batch."""
    return BatchEntry(frozenset(reads), request, call_hash, result)


async def commit(store: PostgresStore, *writes: RowWrite, reads: tuple[str, ...] = ()) -> Any:
    """Commit these writes on top of the newest commit, as one mutation that read `reads`."""
    return await store.commit(Batch(await store.head(), (entry(*reads),), writes))


async def all_commits(store: PostgresStore) -> list[Commit]:
    """Return the whole log."""
    commits: list[Commit] = []
    after = 0
    while True:
        found = await store.read_log(after)
        commits += found.commits
        if not found.has_more:
            return commits
        after = commits[-1].ts


def replay(commits: list[Commit], until: int | None = None) -> dict[tuple[str, str], Any]:
    """Return (table, id) -> parsed image after these commits; a reset empties its table."""
    rows: dict[tuple[str, str], Any] = {}
    for commit in commits:
        if until is not None and commit.ts > until:
            break
        for key in [key for key in rows if key[0] in commit.resets]:
            del rows[key]
        for change in commit.changes:
            if change.image is None:
                rows.pop((change.table, change.id), None)
            else:
                rows[change.table, change.id] = json.loads(change.image)
    return rows
