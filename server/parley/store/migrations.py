"""Bringing a database to the schema of this version of Parley."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from parley.errors import SetupError
from parley.store import sql
from parley.store.pool import CONNECTION_ERRORS, database_down

# Files beside this module: the schema of this version, whole (in a checkout a link to the one at
# the top of the repository), and what leads an older database to it, by the version that each
# upgrade ends with. Upgrades never change once released; tests prove that both give the same.
SCHEMA: Final = "schema.sql"
UPGRADES: Final = {2: "upgrade_2.sql", 3: "upgrade_3.sql", 4: "upgrade_4.sql"}
NEWEST: Final = max(UPGRADES)


async def migrate(dsn: str) -> None:
    """Make the schema, or apply every upgrade that the database lacks, all in one transaction.

    Safe to run at every start and from many processes at once: they take turns. Needs the owner of
    the database, not a superuser.

    Raises:
        DatabaseDown: the database cannot be reached.
        SetupError: the database is newer than this program, or Postgres is older than 15.
    """
    try:
        connection = await asyncpg.connect(
            dsn, timeout=10, target_session_attrs=SessionAttribute.primary
        )
    except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
        raise database_down(error) from error
    try:
        if connection.get_server_version().major < 15:
            raise SetupError("Parley needs Postgres 15 or newer")
        async with connection.transaction():
            await _apply(connection)
    finally:
        await connection.close()


async def _apply(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await connection.execute(sql.LOCK_MIGRATION)
    if not await connection.fetchval(sql.IS_INSTALLED):
        await connection.execute(_text(SCHEMA))
    version = await connection.fetchval(sql.SCHEMA_VERSION)
    if version > NEWEST:
        raise SetupError(
            f"the database has schema version {version}, this program knows {NEWEST}: upgrade it"
        )
    for number in range(version + 1, NEWEST + 1):
        await connection.execute(_text(UPGRADES[number]))
        await connection.execute(sql.SET_SCHEMA_VERSION, number)
    await connection.execute(sql.ADOPT_LOG)


def _text(name: str) -> str:
    return files("parley.store").joinpath(name).read_text()
