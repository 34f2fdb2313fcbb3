"""What one call of commit_batch costs: `python -m tests.load.commits [mutations …]`.

Batches as addMessage makes them, through the store alone. Prints the processor time of the backend
and of this process per call: the least of several rounds, as others use the machine.
"""

from __future__ import annotations

import sys
import time
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import uvloop

from parley.store.migrations import migrate
from parley.store.postgres import PostgresStore
from parley.store.rows import encode_document
from parley.store.tables import Schema
from parley.store.types import Batch, BatchEntry, Committed, RequestId, RowWrite
from tests.load import databases

SIZES = (1, 16, 64, 256)
ROUNDS = 12
ROUND_S = 0.05
NOW_MS = 1_700_000_000_000
FILL = """
insert into users (supabase_user_id) select 'user ' || n from generate_series(1, 300) n;
insert into conversations (user_id, title)
  select id, 'About things' from users, generate_series(1, 10);
vacuum analyze users;
vacuum analyze conversations"""


def add_messages(
    schema: Schema, head: int, rows: list[Any], numbers: count[int], size: int
) -> Batch:
    """Return a batch of `size` addMessage, each in a conversation of its own."""
    entries = []
    writes = []
    for _ in range(size):
        number = next(numbers)
        conversation, user = rows[number % len(rows)]
        message = str(uuid4())
        times = {"createdAt": NOW_MS, "updatedAt": NOW_MS + number}
        parent = {"_id": conversation, "userId": user, "title": "t", "isPinned": False, "tags": []}
        child = {"_id": message, "conversationId": conversation, "role": "user"}
        fields = {
            "conversations": {**parent, **times, "_creationTime": NOW_MS},
            "messages": {
                **child,
                "content": "x" * 200,
                "_creationTime": NOW_MS,
                "timestamp": NOW_MS + number,
            },
        }
        for table, kind in (("conversations", "update"), ("messages", "insert")):
            row, _ = encode_document(schema.tables[table], fields[table])
            writes.append(RowWrite(table, fields[table]["_id"], kind, row))  # type: ignore[arg-type]
        reads = frozenset({f"users/{user}", f"conversations/{conversation}", f"messages/{message}"})
        request = RequestId(user, f"session of {user}", number)
        entries.append(BatchEntry(reads, request, b"h" * 32, f'"{message}"'.encode()))
    return Batch(head, tuple(entries), tuple(writes))


def backend_us(pid: int) -> float:
    """Return the processor time that a process has used."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1000


async def measure(dsn: str, sizes: tuple[int, ...]) -> None:
    """Print the cost of a call for each number of mutations."""
    connection = await asyncpg.connect(dsn)
    for statement in FILL.split(";"):
        await connection.execute(statement)
    found = await connection.fetch("select id::text, user_id::text from conversations order by id")
    await connection.close()
    rows = [tuple(row) for row in found]
    numbers = count()
    async with await PostgresStore.connect(dsn) as store:
        schema = await store.schema()
        head = await store.head()
        for size in sizes:
            least = (float("inf"), float("inf"))
            for _ in range(ROUNDS):
                calls, here, there = 0, 0.0, 0.0
                end = time.monotonic() + ROUND_S
                while time.monotonic() < end or not calls:
                    batch = add_messages(schema, head, rows, numbers, size)
                    pids = [*store._committers_seen]
                    before = [backend_us(pid) for pid in pids]
                    began = time.process_time()
                    outcome = await store.commit(batch)
                    if pids:
                        here += (time.process_time() - began) * 1e6
                        there += sum(map(backend_us, pids)) - sum(before)
                        calls += 1
                    assert isinstance(outcome, Committed), outcome
                    head = outcome.commit.ts
                least = (min(least[0], there / calls), min(least[1], here / calls))
            print(f"{size:4} mutations: Postgres {least[0]:.0f} us, Python {least[1]:.0f} us")  # noqa: T201


async def run(dsn: str, sizes: tuple[int, ...]) -> None:
    """Make the database, then measure."""
    await migrate(dsn)
    await measure(dsn, sizes)


def main() -> None:
    """Measure on a fresh server with fsync on."""
    sizes = tuple(map(int, sys.argv[1:])) or SIZES
    with databases.running_postgres(is_system=False) as postgres:
        uvloop.run(run(postgres.dsn, sizes))


if __name__ == "__main__":
    main()
