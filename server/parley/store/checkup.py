"""What `parley doctor` wants to know of a database: facts only, judged elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import asyncpg

from parley.errors import SetupError
from parley.store import sql
from parley.store.migrations import NEWEST

CONNECT_TIMEOUT_S: Final = 10.0

_SERVER: Final = """
SELECT current_setting('server_version_num')::int / 10000 AS major_version,
    pg_is_in_recovery() AS is_standby,
    current_setting('server_encoding') AS encoding,
    current_setting('synchronous_commit') AS synchronous_commit,
    (SELECT count(*) FROM pg_prepared_xacts) AS prepared_transactions,
    current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int AS max_connections,
    has_database_privilege(current_database(), 'CREATE') AS may_create
"""

_MAY_READ_META: Final = """
SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'parley' AND c.relname = 'meta'
"""

# Functions that a server role has to be allowed to call (schema.sql, part 8).
_FORBIDDEN: Final = """
SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'parley' AND p.proname IN ('commit_batch', 'read_log')
    AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE'))
ORDER BY 1
"""

# Enabled ALWAYS ('A'), or a replication role writes past the log; and calling the function of the
# table's present name, or what is logged is told of another table.
_BAD_TRIGGERS: Final = """
SELECT w.name || ' (' || e.event || ')' FROM parley.watched w
CROSS JOIN unnest('{insert,update,delete,truncate}'::text[]) e (event)
LEFT JOIN pg_class c ON c.oid = w.relation
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_trigger t ON t.tgrelid = w.relation AND t.tgname = 'parley_' || e.event
    AND t.tgenabled = 'A'
LEFT JOIN pg_proc f ON f.oid = t.tgfoid AND f.pronamespace = 'parley'::regnamespace
    AND f.proname = 'log_' || e.event || '_' || w.name
    AND w.name = concat(nullif(n.nspname, 'public') || '.', c.relname)
WHERE f.oid IS NULL ORDER BY 1
"""

# As these roles PostgREST (Supabase's REST API) lets anybody in. Row-level security may stop them.
_EXPOSED: Final = """
SELECT w.name || ' (' || string_agg(r.name, ', ' ORDER BY r.name) || ')' FROM parley.watched w
JOIN pg_class c ON c.oid = w.relation AND NOT c.relrowsecurity
JOIN (
    SELECT rolname AS name FROM pg_roles WHERE rolname IN ('anon', 'authenticated')
    UNION ALL SELECT 'public'
) r ON has_any_column_privilege(r.name, c.oid, 'SELECT, INSERT, UPDATE')
    OR has_table_privilege(r.name, c.oid, 'DELETE, TRUNCATE')
GROUP BY w.name ORDER BY w.name
"""


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What a role sees of its server and database.

    Attributes:
        major_version: of Postgres.
        max_connections: those that roles without superuser rights can have.
        prepared_transactions: two-phase transactions that wait for their second phase, of anybody.
        may_create: whether the role may make schemas in the database, as `migrate` must.
        schema_version: None when `parley migrate` never ran here.
        newest_schema: what this program's `migrate` leads to.
        forbidden: functions that the role would have to call but may not.
        bad_triggers: `table (event)` of watched tables whose trigger is gone, not always on, or
            logs under another name.
        exposed: `table (roles)` of watched tables, without row-level security, on which roles have
            rights that anybody may act as.
    """

    major_version: int
    is_standby: bool
    encoding: str
    synchronous_commit: str
    prepared_transactions: int
    max_connections: int
    may_create: bool
    schema_version: int | None
    newest_schema: int
    forbidden: tuple[str, ...]
    bad_triggers: tuple[str, ...]
    exposed: tuple[str, ...]


async def examine(dsn: str) -> DatabaseFacts:
    """Look at a database without changing anything.

    Raises:
        SetupError: it cannot be reached, or refuses the role; with what was said.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    except ValueError:  # its text may quote a piece of the password
        raise SetupError("the URL of the database is malformed") from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise SetupError(str(error) or type(error).__name__) from error
    try:
        (server,) = await connection.fetch(_SERVER)
        forbidden = [row[0] for row in await connection.fetch(_FORBIDDEN)]
        version, bad_triggers, exposed = None, [], []
        # Asked of the catalog: a role without rights on the schema gets an error from its name.
        if await connection.fetchval(_MAY_READ_META):
            version = await connection.fetchval(sql.SCHEMA_VERSION)
            bad_triggers = [row[0] for row in await connection.fetch(_BAD_TRIGGERS)]
            exposed = [row[0] for row in await connection.fetch(_EXPOSED)]
    finally:
        await connection.close()
    return DatabaseFacts(
        **dict(server),
        schema_version=version,
        newest_schema=NEWEST,
        forbidden=tuple(forbidden),
        bad_triggers=tuple(bad_triggers),
        exposed=tuple(exposed),
    )
