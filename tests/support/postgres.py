"""Postgres for tests: one cluster per test process, one fresh database per test.

`PARLEY_TEST_DSN` names a server to use instead; `PARLEY_TEST_POSTGRES=system` takes the newest
Postgres installed on the machine instead of the wheel's 18.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from parley.store import embedded, hosting

# A power cut during the tests may cost the tests' data.
TEST_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "max_prepared_transactions": "2",  # to see what becomes of them
}


class Cluster:
    """A server that databases can be made on; `dsn` is one of a role that may."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._template: str | None = None

    def dsn_of(self, database: str) -> str:
        return urlsplit(self.dsn)._replace(path=f"/{database}").geturl()

    async def execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def template(self) -> str:
        """Return the name of a database with Parley's schema, made at the first call."""
        # Imported here: the tests of the server itself must run without any schema.
        from parley.store.migrations import migrate

        if self._template is None:
            name = f"parley_template_{uuid4().hex}"
            await self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            await migrate(self.dsn_of(name))
            self._template = name
        return self._template

    @asynccontextmanager
    async def database(self, template: str = "template0") -> AsyncIterator[str]:
        """Yield the DSN of a fresh database, dropped afterwards with whoever is still connected."""
        name = f"parley_test_{uuid4().hex}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield self.dsn_of(name)
        finally:
            await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def close(self) -> None:
        if self._template:
            await self.execute(f"DROP DATABASE {self._template} WITH (FORCE)")


@contextmanager
def shared_temp_dir() -> Iterator[Path]:
    """Yield a directory that Postgres's user can pass through, as it cannot through tmp_path."""
    path = Path(tempfile.mkdtemp(prefix="parley-test-", dir="/tmp"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def chosen_binaries() -> Path:
    """Return the Postgres that the environment asks for."""
    if os.environ.get("PARLEY_TEST_POSTGRES") == "system":
        return hosting.find_system_binaries()
    return hosting.find_binaries()


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Yield the cluster that the environment asks for; ours is ended afterwards."""
    if dsn := os.environ.get("PARLEY_TEST_DSN"):
        yield Cluster(dsn)
        return
    with (
        shared_temp_dir() as path,
        embedded.start(path / "pg", settings=TEST_SETTINGS, binaries=chosen_binaries()) as server,
    ):
        yield Cluster(server.dsn)
