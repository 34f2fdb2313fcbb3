"""The processes that a run needs: Postgres, Parley, and what it is compared with."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil

from parley.store import embedded, hosting
from parley.store.migrations import migrate
from tests.support.postgres import shared_temp_dir
from tests.support.server import ROOT, free_port, running_server

MANY = "1000000"
UNLIMITED = {
    "PARLEY_MAX_CONNECTIONS": MANY,
    "PARLEY_MAX_CONNECTIONS_PER_USER": MANY,
    "PARLEY_MAX_CONNECTIONS_PER_ADDRESS": MANY,
    "PARLEY_MAX_SILENT_CONNECTIONS_PER_ADDRESS": MANY,
    "PARLEY_MAX_VERIFICATIONS_PER_S": MANY,
    "LOG_LEVEL": "warning",
}

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


@dataclass(frozen=True)
class Postgres:
    """A server with fsync on; `dsn` is Parley's database, `floor` one with bare tables."""

    dsn: str
    floor: str
    binaries: Path


@contextlib.contextmanager
def running_postgres(*, is_system: bool) -> Iterator[Postgres]:
    """Yield a fresh server, set as Parley sets its own."""
    binaries = hosting.find_system_binaries() if is_system else hosting.find_binaries()
    with (
        shared_temp_dir() as path,
        embedded.start(path / "pg", binaries=binaries) as server,
    ):
        yield Postgres(server.dsn, urlsplit(server.dsn)._replace(path="/floor").geturl(), binaries)


async def prepare(postgres: Postgres) -> None:
    """Fill both databases."""
    await migrate(postgres.dsn)
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute("create database floor")
    await connection.close()
    await migrate(postgres.floor)
    connection = await asyncpg.connect(postgres.floor)
    for statement in _FLOOR.split(";"):
        await connection.execute(statement)
    await connection.close()


class Process:
    """A running server.

    Attributes:
        port: where it listens.
    """

    def __init__(self, pid: int, port: int) -> None:
        self.port = port
        self._process = psutil.Process(pid)

    def cpu_s(self) -> float:
        """Return the processor time that it, and what it started, has used so far."""
        family = [self._process, *self._process.children(recursive=True)]
        times = [each.cpu_times() for each in family]
        return float(sum(each.user + each.system for each in times))


@contextlib.contextmanager
def running_parley(
    postgres: Postgres, workers: int = 1, environ: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Yield `parley serve` with the chat."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        running_server(
            postgres.dsn,
            functions="parley.chat",
            environ={**UNLIMITED, **(environ or {})},
            arguments=("--workers", str(workers)) if workers > 1 else (),
        ) as server,
    ):
        yield Process(server.process.pid, server.port)


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[Process]:
    """Yield a server that takes a port as its last argument and prints a line when it listens."""
    port = free_port()
    process = subprocess.Popen([*command, str(port)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline(), f"{command} ended"
        yield Process(process.pid, port)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def running_raw(postgres: Postgres) -> Iterator[Process]:
    """Yield the servers' floor; see `tests.load.raw`."""
    with running([sys.executable, "-m", "tests.load.raw", postgres.floor]) as process:
        yield process


@contextlib.contextmanager
def running_node() -> Iterator[Process]:
    """Yield Node's `ws`, which broadcasts as `tests.load.raw` does."""
    with running(["node", str(Path(__file__).with_name("raw.mjs"))]) as process:
        yield process


def pgbench(postgres: Postgres, clients: int, seconds: float, script: str) -> dict[str, float]:
    """Run pgbench on the bare tables; return transactions per second and their mean latency."""
    path = Path(__file__).with_name(script)
    done = subprocess.run(
        [
            *(postgres.binaries / "pgbench", "-n", "-M", "prepared", "-f", path),
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
