"""Postgres, and what is in it when a measurement begins."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

import asyncpg

from parley.auth.verifier import FALLBACK_ISSUER
from parley.store import embedded, hosting
from parley.store.migrations import migrate
from tests.support.postgres import shared_temp_dir

HERE = Path(__file__).parent
ACCOUNTS = 10_000
T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[Any]"

# The same tables without Parley: bare, and full of conversations to choose from.
_FLOOR = """
select parley.unwatch('public.messages');
select parley.unwatch('public.conversations');
select parley.unwatch('public.users');
insert into users (supabase_user_id) values ('somebody');
insert into conversations (id, user_id)
  select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, u.id
  from users u, generate_series(1, 20000) n;
vacuum analyze conversations;
checkpoint"""

_ID = "('00000000-0000-7000-8000-' || lpad(to_hex({}), 12, '0'))::uuid"
_USERS = f"""
insert into users (id, issuer, supabase_user_id)
  select {_ID.format("n")}, $1, 'user ' || n
  from generate_series($2::bigint, $2::bigint + $3::bigint - 1) n"""
_CONVERSATIONS = f"""
insert into conversations (id, user_id, title)
  select {_ID.format("u * 1000000 + n")}, {_ID.format("u")}, 'Conversation ' || n
  from generate_series($1::bigint, $1::bigint + $2::bigint - 1) u,
    generate_series(0, $3::bigint - 1) n"""
_MESSAGES = f"""
insert into messages (conversation_id, role, content, "timestamp")
  select {_ID.format("u * 1000000")}, 'user', repeat('x', 200),
    now() - interval '1 hour' + n * interval '1 millisecond'
  from generate_series($1::bigint, $1::bigint + $2::bigint - 1) u,
    generate_series(1, $3::bigint) n"""


@dataclass(frozen=True)
class Postgres:
    """A server with fsync on; `floor` is a database with the chat's tables and no triggers."""

    dsn: str
    floor: str
    binaries: Path


@contextlib.contextmanager
def running_postgres(*, is_system: bool) -> Iterator[Postgres]:
    """Yield a fresh server, set as Parley sets its own."""
    binaries = hosting.find_system_binaries() if is_system else hosting.find_binaries()
    with (
        shared_temp_dir() as path,
        embedded.start(
            path / "pg", binaries=binaries, settings={"max_connections": "200"}
        ) as server,
    ):
        postgres = Postgres(server.dsn, _named(server.dsn, "floor"), binaries)
        create_database(postgres, "floor", _FLOOR)
        yield postgres


def create_database(postgres: Postgres, name: str, sql: str = "") -> str:
    """Make a database with the newest schema, run `sql` in it, and return its DSN."""
    execute(postgres.dsn, f"create database {name}")
    dsn = _named(postgres.dsn, name)
    asyncio.run(migrate(dsn))
    execute(dsn, *(statement for statement in sql.split(";\n") if statement.strip()))
    return dsn


def execute(dsn: str, *statements: str) -> None:
    """Run statements, one after another, each in its own transaction."""

    async def run(connection: Connection) -> None:
        for statement in statements:
            await connection.execute(statement)

    connected(dsn, run)


def connected(dsn: str, use: Callable[[Connection], Awaitable[T]]) -> T:
    """Return what `use` returns, given a connection."""

    async def run() -> T:
        connection = await asyncpg.connect(dsn)
        try:
            return await use(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def seed_chat(dsn: str, *, first: int, users: int, conversations: int, messages: int) -> None:
    """Add users `user_name(first)` and so on, each with conversations; the first has messages."""

    async def insert(connection: Connection) -> None:
        await connection.execute(_USERS, FALLBACK_ISSUER, first, users)
        await connection.execute(_CONVERSATIONS, first, users, conversations)
        await connection.execute(_MESSAGES, first, users, messages)

    connected(dsn, insert)
    execute(dsn, "vacuum analyze", "checkpoint")


def user_name(number: int) -> str:
    """Return the subject of a seeded user."""
    return f"user {number}"


def conversation_id(user: int, number: int = 0) -> str:
    """Return the id of a seeded conversation."""
    return row_id(user * 1_000_000 + number)


def row_id(number: int) -> str:
    """Return the id of the row of that number."""
    return f"00000000-0000-7000-8000-{number:012x}"


def pgbench(postgres: Postgres, clients: int, seconds: float, script: str) -> dict[str, float]:
    """Run pgbench on the bare tables; return transactions per second and their mean latency."""
    done = subprocess.run(
        [
            *(postgres.binaries / "pgbench", "-n", "-M", "prepared", "-f", HERE / script),
            *("-c", str(clients), "-j", "1", "-T", str(max(1, round(seconds))), postgres.floor),
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    words = {
        line.split(" = ")[0]: line.split(" = ")[1] for line in done.splitlines() if " = " in line
    }
    return {
        "per_s": float(words["tps"].split()[0]),
        "mean_ms": float(words["latency average"].split()[0]),
    }


def _named(dsn: str, database: str) -> str:
    return urlsplit(dsn)._replace(path=f"/{database}").geturl()
