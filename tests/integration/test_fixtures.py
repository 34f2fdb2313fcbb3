"""The database fixtures themselves."""

from __future__ import annotations

import asyncpg
import pytest

from tests.support.postgres import Cluster


@pytest.mark.parametrize("run", [1, 2])
async def test_every_test_gets_a_database_without_the_rows_of_another(
    empty_dsn: str, run: int
) -> None:
    connection = await asyncpg.connect(empty_dsn)

    await connection.execute("CREATE TABLE only_once (n int)")

    await connection.close()


async def test_a_database_is_dropped_although_a_connection_stays_open(cluster: Cluster) -> None:
    async with cluster.database() as dsn:
        forgotten = await asyncpg.connect(dsn)
    connection = await asyncpg.connect(cluster.dsn)

    left = await connection.fetchval(
        "SELECT count(*) FROM pg_database WHERE datname = $1", dsn.split("?")[0].rsplit("/")[-1]
    )

    assert left == 0
    forgotten.terminate()
    await connection.close()
