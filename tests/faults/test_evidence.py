"""What the oracle is given of a run is what happened, in the order in which it did."""

from __future__ import annotations

import asyncpg

from tests.faults.cluster import APP_SQL
from tests.faults.evidence import read_database


async def test_the_requests_of_a_batch_come_as_they_ran_wherever_they_lie(dsn: str) -> None:
    database = await asyncpg.connect(dsn)
    await database.execute(APP_SQL.read_text())
    await database.execute(
        """
        INSERT INTO parley.log_tx (ts, prev_ts, txid) VALUES (5, 4, '1');
        INSERT INTO parley.requests
            (identity, session_id, request_id, call_hash, result, ts, created_at)
        VALUES ('i', 'second', 0, '', '2', 5, '2026-01-01 00:00:00.000002+00'),
               ('i', 'third', 0, '', '3', 5, '2026-01-01 00:00:00.000003+00'),
               ('i', 'first', 0, '', '1', 5, '2026-01-01 00:00:00.000001+00')
        """
    )

    found = await read_database(database)

    [commit] = [commit for commit in found.commits if commit.ts == 5]
    assert [settled.session for settled in commit.requests] == ["first", "second", "third"]
    await database.close()
