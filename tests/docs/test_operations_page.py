"""docs/operations.md says what the code does: settings, commands, endpoints, metrics, errors."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import typer.main
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route, WebSocketRoute

import parley.web.api  # noqa: F401 - its errors count too
from parley.cli import app as command_line
from parley.clock import SystemClock
from parley.config import settings_table
from parley.engine import alarm, cohort, committer, sync
from parley.errors import SURFACES, FunctionFailed, ParleyError, SetupError, Surface
from parley.functions import database  # noqa: F401 - as above
from parley.protocol import messages, responses
from parley.store import commit, hosting
from parley.store.migrations import migrate
from parley.values import rules
from parley.web.app import _routes
from parley.web.metrics import Metrics
from tests.support.app import serving
from tests.support.docs import ROOT, Page, code_in
from tests.support.postgres import Cluster

PAGE = Page("docs/operations.md")


def test_the_settings_are_those_of_the_code() -> None:
    assert settings_table() in PAGE.section("Settings")


def test_every_variable_that_any_page_names_is_a_setting() -> None:
    known = set(re.findall(r"`(\w+)`", settings_table()))
    named = {
        name
        for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for name in re.findall(r"\b(?:PARLEY|AUTH|SUPABASE)_[A-Z][A-Z_]*[A-Z]\b", path.read_text())
    }

    assert named <= known


def test_the_commands_and_their_options_are_those_of_the_code() -> None:
    group: Any = typer.main.get_command(command_line)
    known = {(f"parley {name}", "", "") for name in group.commands}
    for name, command in group.commands.items():
        for option in command.params:
            if option.param_type_name == "option":
                known.add((f"parley {name}", option.opts[0], _default(name, option)))

    documented, command_name = set(), ""
    for command_cell, option_cell, default, _ in PAGE.rows("Commands"):
        command_name = (code_in(command_cell) or [command_name])[0]
        documented.add((command_name, "".join(code_in(option_cell)), default))

    assert documented == known


def _default(command: str, option: Any) -> str:
    if option.required:
        return "required"
    if option.name == "functions":
        return "`PARLEY_FUNCTIONS`"
    return "" if option.default in (None, False) else str(option.default)


def test_the_endpoints_are_those_of_the_code() -> None:
    documented = {code_in(path)[0]: methods for path, methods, _ in PAGE.rows("Endpoints")}

    assert documented == {route.path: _methods(route) for route in _routes()}


def _methods(route: Route | WebSocketRoute) -> str:
    if isinstance(route, WebSocketRoute):
        return "WebSocket"
    return ", ".join(sorted((route.methods or set()) - {"HEAD"}))


async def test_the_metrics_are_those_that_are_exposed(dsn: str) -> None:
    async with serving(dsn, "parley.chat") as app:
        await app.node.fresh()
        metrics = Metrics(app.node, SystemClock(), lambda: 0)
        metrics.closed.labels("Overloaded").inc()
        metrics.http_seconds.labels("query").observe(0.1)
        page = metrics.page().decode()
    exposed = {
        (f"{family.name}_total" if family.type == "counter" else family.name, family.type)
        for family in text_string_to_metric_families(page)
        if not family.name.endswith("_created")
    }

    assert {(code_in(name)[0], kind) for name, kind, _ in PAGE.rows("Metrics")} == exposed


def all_errors(base: type[ParleyError] = ParleyError) -> Iterator[type[ParleyError]]:
    """Every error class of the product."""
    yield base
    for inner in base.__subclasses__():
        yield from all_errors(inner)


CODES = [row for row in PAGE.rows("Error codes") if len(row) == 6]
FAILURES = [row for row in PAGE.rows("Error codes") if len(row) == 3]


def test_the_codes_that_end_something_are_those_of_the_table_of_surfaces() -> None:
    documented = {
        code_in(code)[0]: Surface(
            int(status), fatal == "yes", None if close == "no status" else int(close)
        )
        for code, _, status, close, fatal, _ in CODES
    }

    assert documented == SURFACES


def test_every_error_has_its_code_on_the_page_with_whose_fault_it_is() -> None:
    faults: dict[tuple[bool, str], set[str]] = {}
    for error in all_errors():
        if error.__module__.startswith("parley.") and error is not SetupError:
            key = (issubclass(error, FunctionFailed), error.code)
            faults.setdefault(key, set()).add(error.fault)

    documented = {(False, code_in(code)[0]): fault for code, fault, *_ in CODES}
    documented |= {(True, code_in(code)[0]): fault for code, fault, _ in FAILURES}

    assert set(documented) == set(faults)
    assert all(documented[key] in found for key, found in faults.items())


def test_the_fixed_limits_are_those_of_the_code() -> None:
    limits = {what: limit for what, limit, _ in PAGE.rows("Fixed limits")}
    schema = (ROOT / "schema.sql").read_text()

    assert limits["Values"] == (
        f"{rules.MAX_DEPTH} deep, arrays of {rules.MAX_ARRAY}, "
        f"objects of {rules.MAX_OBJECT} entries"
    )
    assert limits["Message nesting"] == str(messages.MAX_ARGS_DEPTH)
    assert limits["Unread Transitions of a connection"] == (
        f"{sync.MAX_UNREAD_TRANSITIONS}, and {sync.MAX_UNREAD_BYTES >> 20} MiB"
    )
    waiting = limits["Unanswered mutations of a connection"]
    assert waiting.startswith(f"{sync.MAX_WAITING_BYTES >> 20} MiB")
    assert limits["Unread answers of a connection"] == f"{sync.MAX_UNREAD_BYTES >> 20} MiB"
    assert limits["One frame of a Transition"] == f"{responses.MAX_FRAME_BYTES:,} bytes"
    assert limits["Results that one connection holds"] == f"{cohort.MAX_HELD_BYTES >> 20} MiB"
    assert limits["One run of a query or mutation"].startswith(f"{alarm.MAX_RUN_S:.0f} s of wall")
    assert limits["Batch"] == (
        f"{committer.MAX_BATCH} mutations, about {committer.MAX_BATCH_BYTES >> 20} MiB"
    )
    assert limits["Conflicts of one mutation"].startswith(f"{committer.MAX_CONFLICTS};")
    assert limits["Result kept for repeats"] == f"{commit.MAX_KEPT_RESULT >> 20} MiB"
    assert "return 10000;" in schema
    assert "return 20000;" in schema
    assert "return 16777216;" in schema


async def test_a_dump_restored_as_the_page_says_is_served_and_seen_live(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with cluster.database(await cluster.template()) as old, cluster.database() as new:
        async with serving(old, "parley.chat") as app:
            alice = await app.sign_in("alice")
            await app.mutation("conversations:create", {"title": "kept"}, alice)
        await asyncio.to_thread(copy_database, old, new, tmp_path / "dump")
        connection = await asyncpg.connect(new)
        # As if it came from another server: its transaction numbers are about to be used here.
        await connection.execute(
            """update parley.log_tx
               set txid = (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + n)::text::xid8
               from (select ts as at, row_number() over (order by ts) as n from parley.log_tx) q
               where at = ts"""
        )
        await connection.close()
        await migrate(new)

        async with (
            serving(new, "parley.chat") as app,
            app.watching("conversations:list", {}, alice) as watcher,
        ):
            assert [each["title"] for each in watcher.value] == ["kept"]
            for title in ("one", "two", "three", "four", "five"):
                await app.database.execute("update conversations set title = $1", title)
                assert [each["title"] for each in await watcher.next()] == [title]


def copy_database(old: str, new: str, dump: Path) -> None:
    binaries = hosting.find_binaries()
    dumping = [binaries / "pg_dump", "--format=custom", f"--file={dump}", old]
    for command in (dumping, [binaries / "pg_restore", f"--dbname={new}", dump]):
        subprocess.run(command, check=True)


async def test_a_role_with_the_rights_of_the_page_can_serve(cluster: Cluster, dsn: str) -> None:
    [grant] = [block for block in PAGE.blocks("sql") if "grant_server" in block]
    connection = await asyncpg.connect(dsn)
    await connection.execute(grant.replace("parley_server", "docs_server").replace("…", "secret"))
    await connection.close()
    try:
        async with serving(_as_role(dsn, "docs_server"), "parley.chat") as app:
            alice = await app.sign_in("alice")
            await app.mutation("conversations:create", {"title": "by a mere server"}, alice)

            [found] = await app.query("conversations:list", {}, alice)
            assert found["title"] == "by a mere server"
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.database.execute("update conversations set title = 'past Parley'")
    finally:
        connection = await asyncpg.connect(dsn)
        await connection.execute("drop owned by docs_server; drop role docs_server")
        await connection.close()


def _as_role(dsn: str, role: str) -> str:
    return re.sub(r"//[^@]*@", f"//{role}:secret@", dsn)
