"""Every fixed SQL statement of the store. Range reads are built in `store.load`."""

from __future__ import annotations

from typing import Final

# Which database this is, beyond what is written in it: a restored copy has the same rows.
IDENTITY: Final = """
SELECT concat_ws('/',
    (SELECT system_identifier FROM pg_control_system()),
    left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
    (SELECT oid FROM pg_database WHERE datname = current_database()))
"""

# For a role that may not ask the cluster.
IDENTITY_OF_DATABASE: Final = """
SELECT oid::text FROM pg_database WHERE datname = current_database()
"""

# Not max(): of a table that is empty when the plan is made, that may be planned to read all.
NEWEST: Final = "SELECT ts FROM parley.log_tx ORDER BY ts DESC LIMIT 1"
HEAD: Final = f"SELECT ({NEWEST}) AS head"

CURSOR_SECRET: Final = "SELECT cursor_secret FROM parley.meta"  # noqa: S105

READ_LOG: Final = """
SELECT m.epoch::text AS epoch, m.horizon,
    (SELECT ts FROM parley.log_tx ORDER BY ts DESC LIMIT 1) AS newest,
    r.ts, r.prev_ts, r.table_name, r.op, r.id::text AS id, r.keys, r.image
FROM parley.meta m LEFT JOIN parley.read_log($1, $2) r ON true
"""

COMMIT: Final = """
SELECT ts, prev_ts, table_name, op, id::text AS id, keys, image
FROM parley.commit_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""

# One row for each request that is settled; `ts` is NULL where only a later one of its session is,
# or where only its number was kept.
FIND_SETTLED: Final = """
SELECT q.place::int AS place, CASE WHEN r.call_hash IS NOT NULL THEN r.ts END AS ts,
    r.call_hash, r.result
FROM unnest($1::text[], $2::text[], $3::bigint[])
    WITH ORDINALITY q (identity, session_id, request_id, place)
LEFT JOIN parley.requests r USING (identity, session_id, request_id)
WHERE r.ts IS NOT NULL OR EXISTS (
    SELECT FROM parley.requests later WHERE later.identity = q.identity
        AND later.session_id = q.session_id AND later.request_id > q.request_id)
"""

DEFINITIONS: Final = "SELECT definition::text FROM parley.watched ORDER BY name"

TRIM_LOG: Final = "SELECT parley.trim_log($1, $2) AS removed"
TRIM_REQUESTS: Final = "SELECT parley.trim_requests($1, $2, $3) AS removed"
ADOPT_LOG: Final = "SELECT parley.adopt_log() AS is_foreign"
RECHECK: Final = "SELECT name, finding FROM parley.recheck()"

TS_LOCK_HOLDER: Final = "SELECT pid, xact FROM parley.ts_lock_holder()"
END_TS_LOCK_HOLDER: Final = "SELECT parley.end_ts_lock_holder($1, $2) AS is_ended"

NOTIFY: Final = "SELECT pg_notify($1, '')"

IS_INSTALLED: Final = "SELECT to_regclass('parley.meta') IS NOT NULL"
SCHEMA_VERSION: Final = "SELECT schema_version FROM parley.meta"
SET_SCHEMA_VERSION: Final = "UPDATE parley.meta SET schema_version = $1"
LOCK_MIGRATION: Final = "SELECT pg_advisory_xact_lock(hashtextextended('parley migrate', 0))"
