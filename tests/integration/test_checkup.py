"""The facts that the doctor judges, read from real databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from parley.errors import SetupError
from parley.store.checkup import examine
from parley.store.migrations import migrate
from tests.support.postgres import Cluster


async def execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def test_a_migrated_database_has_nothing_wrong(dsn: str) -> None:
    facts = await examine(dsn)

    assert facts.major_version >= 15
    assert facts.schema_version == facts.newest_schema
    assert (facts.encoding, facts.is_standby) == ("UTF8", False)
    assert (facts.forbidden, facts.bad_triggers, facts.exposed) == ((), (), ())


async def test_an_empty_database_has_no_schema_yet(empty_dsn: str) -> None:
    facts = await examine(empty_dsn)

    assert facts.schema_version is None
    assert facts.may_create


async def test_triggers_that_are_gone_or_not_always_on_are_found(dsn: str) -> None:
    # Without the event trigger, which only a superuser's `migrate` can make, nothing heals them.
    await execute(
        dsn,
        """
        DROP EVENT TRIGGER IF EXISTS parley_on_ddl;
        DROP TRIGGER parley_insert ON messages;
        ALTER TABLE messages DISABLE TRIGGER parley_delete;
        ALTER TABLE users ENABLE TRIGGER parley_update;
        """,
    )

    facts = await examine(dsn)

    assert facts.bad_triggers == ("messages (delete)", "messages (insert)", "users (update)")


@pytest.mark.parametrize("change", ["RENAME TO letters", "SET SCHEMA app"])
async def test_triggers_that_log_under_an_old_name_are_found(dsn: str, change: str) -> None:
    await execute(dsn, "DROP EVENT TRIGGER IF EXISTS parley_on_ddl; CREATE SCHEMA app")
    await execute(dsn, f"ALTER TABLE messages {change}")

    renamed = await examine(dsn)
    await execute(dsn, "SELECT * FROM parley.recheck()")
    mended = await examine(dsn)

    assert len(renamed.bad_triggers) == 4
    assert mended.bad_triggers == ()


async def test_triggers_that_call_another_tables_functions_are_found(dsn: str) -> None:
    await execute(
        dsn,
        """
        DROP EVENT TRIGGER IF EXISTS parley_on_ddl;
        CREATE OR REPLACE TRIGGER parley_delete AFTER DELETE ON messages
          REFERENCING OLD TABLE AS old_rows
          FOR EACH STATEMENT EXECUTE FUNCTION parley.log_delete_users();
        ALTER TABLE messages ENABLE ALWAYS TRIGGER parley_delete
        """,
    )

    assert (await examine(dsn)).bad_triggers == ("messages (delete)",)


@pytest.fixture
async def supabase(cluster: Cluster) -> AsyncIterator[None]:
    """The roles as which Supabase's REST API lets anybody in."""
    await cluster.execute("CREATE ROLE anon; CREATE ROLE authenticated")
    yield
    await cluster.execute("DROP ROLE anon, authenticated")


@pytest.mark.usefixtures("supabase")
async def test_rights_of_roles_that_anybody_may_act_as_are_found(dsn: str) -> None:
    await execute(
        dsn,
        """
        GRANT SELECT ON messages, users TO anon;
        GRANT DELETE ON messages TO authenticated;
        GRANT UPDATE (title) ON conversations TO public;
        ALTER TABLE users ENABLE ROW LEVEL SECURITY;
        """,
    )

    facts = await examine(dsn)

    await execute(dsn, "DROP OWNED BY anon, authenticated")
    assert facts.exposed == (
        "conversations (anon, authenticated, public)",
        "messages (anon, authenticated)",
    )


@pytest.mark.usefixtures("supabase")
async def test_on_supabase_the_tables_of_the_chat_are_nobodys_from_the_start(
    empty_dsn: str,
) -> None:
    await execute(
        empty_dsn,
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated",
    )
    await migrate(empty_dsn)

    facts = await examine(empty_dsn)

    await execute(empty_dsn, "DROP OWNED BY anon, authenticated")
    assert facts.exposed == ()


async def test_a_role_without_rights_is_told_what_it_lacks(dsn: str) -> None:
    role = "parley_checkup_stranger"
    await execute(dsn, f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD 'p'")
    as_role = dsn.replace("parley@", f"{role}@", 1)

    facts = await examine(as_role)

    await execute(dsn, f"DROP ROLE {role}")
    assert facts.forbidden == ("commit_batch", "read_log")
    assert facts.schema_version is None
    assert not facts.may_create


@pytest.mark.parametrize("dsn", ["postgresql://u:p@127.0.0.1:1/d", "postgresql://u:p@h:port/d"])
async def test_a_database_out_of_reach_is_told_without_its_password(dsn: str) -> None:
    with pytest.raises(SetupError) as caught:
        await examine(dsn)

    assert "u:p" not in caught.value.message
