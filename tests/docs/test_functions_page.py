"""The app in docs/functions.md runs, and does what the page says."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from parley.errors import AppError, ArgumentsInvalid, Internal, WriteRejected
from parley.functions.codegen import generate
from parley.functions.registry import Registry
from parley.identity import Identity
from parley.store.sql import DEFINITIONS
from tests.support.app import App, serving
from tests.support.docs import ROOT, Page, code_in

PAGE = Page("docs/functions.md")
DAY_MS = 86_400_000.0


@pytest.fixture
def myapp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The page's Python blocks as the modules that their first lines name."""
    for block in PAGE.blocks("python"):
        [name] = re.findall(r"\A# (\S+)\n", block)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    yield "myapp"
    for module in [name for name in sys.modules if name.split(".")[0] == "myapp"]:
        del sys.modules[module]


@pytest.fixture
async def app(dsn: str, myapp: str) -> AsyncIterator[App]:
    connection = await asyncpg.connect(dsn)
    for block in PAGE.blocks("sql"):
        await connection.execute(block)
    await connection.close()
    async with serving(dsn, "parley.chat", myapp) as app:
        yield app


@pytest.fixture
async def ann(app: App) -> Identity:
    return await app.sign_in("ann")


def bodies(notes: list[dict[str, Any]]) -> list[str]:
    return [note["body"] for note in notes]


def test_the_app_registers_under_the_paths_that_the_page_names(myapp: str) -> None:
    paths = {function.path for function in Registry.from_modules([myapp])}

    assert {"notes:list", "notes:add", "reading:page", "writing:change"} <= paths
    assert {"assistant:summarize", "assistant:keep"} <= paths


def test_the_types_of_the_app_are_as_the_page_says(myapp: str) -> None:
    text = generate(Registry.from_modules([myapp]))["api.d.ts"]

    assert 'list: Reference<"query", { done?: boolean }, Note[]>;' in text
    assert 'add: Reference<"mutation", { body: string; due?: number }, Id<"notes">>;' in text
    assert "  due?: number;\n" in text
    assert "keep" not in text


async def test_notes_are_added_listed_and_changed(app: App, ann: Identity) -> None:
    note_id = await app.mutation("notes:add", {"body": "milk", "due": DAY_MS}, ann)
    await app.mutation("notes:add", {"body": "bread"}, ann)

    assert bodies(await app.query("notes:list", {}, ann)) == ["bread", "milk"]
    assert (await app.query("reading:get", {"noteId": note_id}, ann))["due"] == DAY_MS
    await app.mutation("writing:change", {"noteId": note_id, "isDone": True, "due": None}, ann)
    assert bodies(await app.query("notes:list", {"done": True}, ann)) == ["milk"]
    assert "due" not in await app.query("reading:get", {"noteId": note_id}, ann)
    assert await app.mutation("writing:clear", {}, ann) == 1
    assert bodies(await app.query("notes:list", {}, ann)) == ["bread"]


async def test_what_is_not_theirs_looks_absent(app: App, ann: Identity) -> None:
    note_id = await app.mutation("notes:add", {"body": "mine"}, ann)
    bob = await app.sign_in("bob")

    assert await app.query("notes:list", {}, bob) == []
    assert await app.query("reading:get", {"noteId": note_id}, bob) is None
    with pytest.raises(AppError, match="Note not found"):
        await app.mutation("writing:change", {"noteId": note_id, "isDone": True}, bob)
    with pytest.raises(AppError, match="Not authenticated"):
        await app.query("notes:list")


async def test_a_range_takes_its_start_and_leaves_out_its_end_and_what_is_absent(
    app: App, ann: Identity
) -> None:
    for body, fields in {"no": {}, "first": {"due": 0.0}, "second": {"due": DAY_MS}}.items():
        await app.mutation("notes:add", {"body": body, **fields}, ann)

    found = await app.query("reading:due", {"since": 0.0, "until": DAY_MS}, ann)

    assert bodies(found) == ["first"]


async def test_a_page_continues_at_its_cursor(app: App, ann: Identity) -> None:
    for body in ("a", "b", "c"):
        await app.mutation("notes:add", {"body": body}, ann)

    options: dict[str, Any] = {"numItems": 2.0, "cursor": None}
    first = await app.query("reading:page", {"paginationOpts": options}, ann)
    options = {"numItems": 2.0, "cursor": first["continueCursor"]}
    second = await app.query("reading:page", {"paginationOpts": options}, ann)

    assert (bodies(first["page"]), first["isDone"]) == (["c", "b"], False)
    assert (bodies(second["page"]), second["isDone"]) == (["a"], True)


async def test_an_action_calls_functions_as_its_caller(app: App, ann: Identity) -> None:
    await app.mutation("notes:add", {"body": "milk"}, ann)

    kept = await app.action("assistant:summarize", {}, ann)

    assert (await app.query("reading:get", {"noteId": kept}, ann))["body"] == "1 to do"


async def test_an_insert_by_sql_gets_the_defaults_and_is_seen_live(app: App, ann: Identity) -> None:
    async with app.watching("notes:list", {}, ann) as watcher:
        await app.database.execute(
            "insert into notes (owner, body) values ($1, 'by psql')", ann.token_identifier
        )

        assert bodies(await watcher.next()) == ["by psql"]


async def test_wrong_arguments_and_broken_constraints_are_refused(app: App, ann: Identity) -> None:
    await app.database.execute("alter table notes add check (body <> '')")

    with pytest.raises(ArgumentsInvalid, match="extra field `colour`"):
        await app.mutation("notes:add", {"body": "x", "colour": "red"}, ann)
    with pytest.raises(WriteRejected, match="notes_body_check"):
        await app.mutation("notes:add", {"body": ""}, ann)


async def test_a_query_that_sleeps_fails_at_once(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impure = "import asyncio\nfrom parley import QueryCtx, query\n\n\n@query\n"
    impure += "async def nap(ctx: QueryCtx) -> None:\n    await asyncio.sleep(1)\n"
    (tmp_path / "impure_functions.py").write_text(impure)
    monkeypatch.syspath_prepend(tmp_path)

    async with serving(dsn, "impure_functions") as app:
        with pytest.raises(Internal, match=r"may await only ctx\.db and ctx\.auth"):
            await app.query("impure_functions:nap")


async def test_the_table_of_column_types_is_what_parley_sees(dsn: str) -> None:
    rows = PAGE.rows("Tables")
    types = [name for row in rows for name in code_in(row[0])]
    columns = ", ".join(f"c{n} {name}" for n, name in enumerate(types))
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "create table every (id uuid primary key default parley.uuid7(), "
        f"creation_time timestamptz not null default clock_timestamp(), {columns}, "
        "n1 numeric, n2 date, n3 json, n4 inet); select parley.watch('every')"
    )
    definitions = await connection.fetch(DEFINITIONS)
    await connection.close()

    [every] = [row["definition"] for row in definitions if '"name": "every"' in row["definition"]]
    seen = re.findall(r'"name": "([cn]\d+)"', every)
    assert sorted(seen) == sorted(f"c{n}" for n in range(len(types)))
    schema = (ROOT / "schema.sql").read_text()
    known = re.findall(
        r"\('[\w\[\]]+'(?:::regtype)?, '\w+', (?:true|false), (?:true|false)\)", schema
    )
    assert len(types) == len(known)
