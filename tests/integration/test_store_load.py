"""Memory and Postgres agree on order, on keys, and on what lies between two cuts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley.store import rows
from parley.store.catalog import build_schema
from parley.store.load import build_load
from parley.store.postgres import PostgresStore
from parley.store.tables import END, START, Cut, Table, index_key
from parley.store.types import LoadRequest
from parley.values import Document, Int64
from tests.support.store import add_user, all_commits, connected

THINGS = """
CREATE TABLE public.things (
  id uuid PRIMARY KEY DEFAULT parley.uuid7(),
  creation_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  owner text COLLATE "C", name varchar(40) COLLATE "C" NOT NULL, is_done boolean,
  rank integer, big bigint, score double precision, due timestamptz, data bytea, parent uuid
);
CREATE INDEX things_by_owner ON public.things (owner, name, creation_time, id);
CREATE INDEX things_by_rank ON public.things (is_done, rank, due, creation_time, id);
CREATE INDEX things_by_score ON public.things (score, data, creation_time, id);
CREATE INDEX things_by_big ON public.things (big, parent, owner);
SELECT parley.watch('public.things');
"""

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4
) | st.sampled_from(["", "a", "a\\", "a/b", "\\N", "é", "Z", "_", "😀", "￿"])
IDS = st.integers(0, 5).map(lambda n: str(UUID(int=n)))
TIMES = st.integers(-3, 3).map(lambda n: n * 86_400_000 + 0.001)
THING = st.fixed_dictionaries(
    {
        "_id": st.uuids().map(str),
        "_creationTime": TIMES,
        "name": TEXTS,
    },
    optional={
        "owner": TEXTS,
        "isDone": st.booleans(),
        "rank": st.integers(-3, 3),
        "big": st.sampled_from([-(2**63), -1, 0, 2**63 - 1]).map(Int64),
        "score": st.floats(allow_nan=True) | st.sampled_from([0.0, -0.0, 1.5]),
        "due": TIMES,
        "data": st.binary(max_size=3),
        "parent": IDS,
    },
)
INDEXES = ["by_owner", "by_rank", "by_score", "by_big", "by_creation_time", "by_id"]


class Database:
    """A connection in a transaction that is never committed, and the table under test."""

    def __init__(self, connection: Any, table: Table) -> None:
        self.connection = connection
        self.table = table

    async def fill(self, things: list[dict[str, Any]]) -> list[Document]:
        """Replace the table's rows and return them as documents."""
        await self.connection.execute("DELETE FROM public.things")
        encoded = [rows.encode_document(self.table, thing)[0] for thing in things]
        images = await self.connection.fetch(
            "INSERT INTO public.things SELECT * FROM "
            "jsonb_populate_recordset(NULL::public.things, $1) RETURNING to_jsonb(things)::text",
            json.dumps(encoded),
        )
        return [rows.decode_row(self.table, row[0].encode())[1] for row in images]

    async def load(self, request: LoadRequest) -> list[str]:
        """Return the ids of a request's rows, in order."""
        sql, values = build_load(self.table, request)
        [row] = await self.connection.fetch(sql, *([value] for value in values))
        return [json.loads(image)["id"] for image in row["images"]]


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    async with connected(dsn) as connection:
        await connection.execute(THINGS)
        found = await connection.fetch("SELECT definition::text FROM parley.watched")
        table = build_schema(row["definition"] for row in found).tables["things"]
        transaction = connection.transaction()
        await transaction.start()
        yield Database(connection, table)
        await transaction.rollback()


def expected(
    table: Table, index_name: str, documents: list[Document], request: LoadRequest
) -> list[str]:
    """Return what memory would answer to a request over these documents."""
    index = table.indexes[index_name]
    width = len(request.prefix)
    found = []
    for document in documents:
        position = table.position(index, document)
        suffix = position[width:]
        inside = request.after.is_before(suffix) and not request.before.is_before(suffix)
        if position[:width] == request.prefix and inside:
            found.append((position, document["_id"]))
    found.sort(reverse=request.order == "desc")
    return [row_id for _, row_id in found][: request.limit]


HYPOTHESIS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@HYPOTHESIS
@given(data=st.data())
async def test_a_load_gives_what_memory_would(database: Database, data: st.DataObject) -> None:
    things = data.draw(st.lists(THING, max_size=12, unique_by=lambda thing: thing["_id"]))
    documents = await database.fill(things)
    name = data.draw(st.sampled_from(INDEXES))
    index = database.table.indexes[name]
    model = data.draw(THING)
    positions = [database.table.position(index, document) for document in documents]
    positions.append(database.table.position(index, model))
    width = data.draw(st.integers(0, len(index.columns)))

    def cut(default: Cut) -> st.SearchStrategy[Cut]:
        places = st.tuples(st.sampled_from(positions), st.integers(1, 8), st.sampled_from([-1, 1]))
        return st.just(default) | places.map(lambda p: Cut(p[0][width : width + p[1]], p[2]))

    request = LoadRequest(
        table="things",
        index=name,
        prefix=data.draw(st.sampled_from(positions))[:width],
        after=data.draw(cut(START)),
        before=data.draw(cut(END)),
        order=data.draw(st.sampled_from(["asc", "desc"])),
        limit=data.draw(st.integers(1, 15)),
    )

    found = await database.load(request)

    assert found == expected(database.table, name, documents, request)


@HYPOTHESIS
@given(things=st.lists(THING, min_size=1, max_size=8, unique_by=lambda thing: thing["_id"]))
async def test_the_keys_in_the_log_are_those_that_readers_ask_for(
    database: Database, things: list[dict[str, Any]]
) -> None:
    last = await database.connection.fetchval("SELECT coalesce(max(n), 0) FROM parley.log_rows")

    documents = await database.fill(things)

    logged = await database.connection.fetch(
        "SELECT id::text, keys FROM parley.log_rows WHERE n > $1 AND op = 'i'", last
    )
    table = database.table
    assert {row["id"]: set(row["keys"]) for row in logged} == {
        document["_id"]: {f"things/{document['_id']}"}.union(
            table.key(index, [document.get(column.field) for column in index.columns[:length]])
            for index in table.indexes.values()
            for length in index.key_lengths
        )
        for document in documents
    }


@HYPOTHESIS
@given(values=st.lists(TEXTS | st.none(), min_size=1, max_size=4))
async def test_key_text_is_the_same_in_sql_and_python(
    database: Database, values: list[str | None]
) -> None:
    columns = [f"c{n}" for n in range(len(values))]

    texts = await database.connection.fetchval(
        "SELECT array_agg(parley.key_text(v) ORDER BY n) "
        "FROM unnest($1::text[]) WITH ORDINALITY u (v, n)",
        values,
    )

    assert "/".join(("t", ",".join(columns), *texts)) == index_key("t", columns, values)


@HYPOTHESIS
@given(thing=THING)
async def test_a_document_comes_back_from_postgres_as_it_was_shown_before_the_commit(
    database: Database, thing: dict[str, Any]
) -> None:
    [stored] = await database.fill([thing])

    assert stored.json == rows.encode_document(database.table, thing)[1].json


async def test_indexes_are_used_and_the_rows_come_sorted_out_of_them(database: Database) -> None:
    request = LoadRequest("things", "by_owner", ((0, "o"),), Cut(("n",), 1), END, "desc", 10)
    sql, values = build_load(database.table, request)

    await database.connection.execute("SET LOCAL enable_seqscan = off")
    plan = await database.connection.fetch(f"EXPLAIN {sql}", *([value] for value in values))

    text = "\n".join(row[0] for row in plan)
    assert "Index Scan Backward using things_by_owner" in text
    assert "Index Cond: ((owner = q.p1) AND" in text
    assert "Sort" not in text


async def test_a_load_says_as_of_which_commit_it_is_true(dsn: str) -> None:
    async with connected(dsn) as connection, await PostgresStore.connect(dsn) as store:
        await add_user(connection)

        [loaded] = await store.load(
            [LoadRequest("users", "by_supabase_id", ("alice",), START, END, "asc", 5)]
        )

        [*_, last] = await all_commits(store)
        assert loaded.ts == last.ts
        assert loaded.images == (last.changes[0].image,)


@HYPOTHESIS
@given(things=st.lists(THING, max_size=8, unique_by=lambda t: t["_id"]), data=st.data())
async def test_pieces_of_one_shape_that_are_read_together_are_what_each_is_alone(
    database: Database, things: list[dict[str, Any]], data: st.DataObject
) -> None:
    await database.fill(things)
    owners = data.draw(st.lists(TEXTS, min_size=1, max_size=5))
    limits = data.draw(st.lists(st.integers(1, 4), min_size=len(owners), max_size=len(owners)))
    requests = [
        LoadRequest("things", "by_owner", ((0, owner),), START, END, "desc", limit)
        for owner, limit in zip(owners, limits, strict=True)
    ]
    built = [build_load(database.table, request) for request in requests]

    [statement] = {statement for statement, _ in built}
    columns = zip(*(values for _, values in built), strict=True)
    together = await database.connection.fetch(statement, *map(list, columns))

    found = [[json.loads(image)["id"] for image in row["images"]] for row in together]
    assert found == [await database.load(request) for request in requests]


async def test_pieces_of_any_shapes_are_read_in_one_call(dsn: str) -> None:
    async with connected(dsn) as connection, await PostgresStore.connect(dsn) as store:
        alice = await add_user(connection)
        await connection.execute(
            "INSERT INTO conversations (user_id) VALUES ($1::text::uuid), ($1::text::uuid)", alice
        )
        nobody = str(UUID(int=0))
        requests = [
            LoadRequest("users", "by_id", (alice,), START, END, "asc", 2),
            LoadRequest("conversations", "by_user", (nobody,), START, END, "asc", 5),
            LoadRequest("users", "by_id", (nobody,), START, END, "asc", 2),
            LoadRequest("conversations", "by_user", (alice,), START, END, "asc", 5),
        ]

        loaded = {result.request: len(result.images) for result in await store.load(requests)}

        assert [loaded[request] for request in requests] == [1, 0, 0, 2]


async def test_times_beyond_the_calendar_of_python_lie_outside_all_rows(dsn: str) -> None:
    async with connected(dsn) as connection, await PostgresStore.connect(dsn) as store:
        user = await add_user(connection)
        await connection.execute(
            "INSERT INTO conversations (user_id, updated_at) VALUES ($1::text::uuid, '9999-12-31')",
            user,
        )
        between = (Cut((-(10**18),), 1), Cut((10**18,), -1))

        [loaded] = await store.load(
            [LoadRequest("conversations", "by_user_updated", (user,), *between, "asc", 5)]
        )

        assert len(loaded.images) == 1
