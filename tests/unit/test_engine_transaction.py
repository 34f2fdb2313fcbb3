"""One run on memory: its own writes show, its reads are recorded, its limits hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.errors import LimitExceeded, ValueInvalid, WriteRejected
from parley.functions.database import DatabaseWriter
from parley.store.rows import encode_document
from parley.store.tables import END, START, Cut
from parley.store.types import LoadRequest, RowWrite
from tests.support.running import NEW_ID, Runner, Use
from tests.support.tables import NOTES, SCHEMA, note, uuid

DB = DatabaseWriter


def notes(*numbers: int, owner: str = "ann", **fields: Any) -> list[tuple[str, dict[str, Any]]]:
    return [("notes", note(number, owner, **fields)) for number in numbers]


def numbers_of(documents: Any) -> list[int]:
    return [int(document["_id"][-4:], 16) for document in documents]


def scan(order: Any = "asc", count: int | None = None, owner: str = "ann") -> Use:
    async def use(db: DB) -> Any:
        query = db.query("notes").with_index("by_owner", owner=owner).order(order)
        return await (query.collect() if count is None else query.take(count))

    return use


def get(number: int) -> Use:
    async def use(db: DB) -> Any:
        return await db.get("notes", uuid(number))

    return use


def test_a_run_sees_what_it_wrote() -> None:
    runner = Runner(*notes(1, 2, 3))

    async def use(db: DB) -> Any:
        await db.delete("notes", uuid(1))
        await db.patch("notes", uuid(2), {"rank": 7})
        made = await db.insert("notes", {"owner": "ann"})
        rows = await db.query("notes").with_index("by_owner", owner="ann").collect()
        return [await db.get("notes", uuid(1)), await db.get("notes", made), rows]

    gone, made, rows = runner.value(use)

    assert gone is None
    assert made["_id"] == NEW_ID
    assert [row.get("rank") for row in rows] == [7, None, None]
    assert [row["_id"] for row in rows] == [uuid(2), uuid(3), NEW_ID]


def test_a_row_moved_to_another_prefix_is_read_there_only() -> None:
    runner = Runner(*notes(1, 2))

    async def use(db: DB) -> None:
        await db.patch("notes", uuid(1), {"owner": "bob"})

    runner.value(use)

    assert numbers_of(runner.value(scan())) == [2]
    assert numbers_of(runner.value(scan(owner="bob"))) == [1]


steps = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from(("ann", "bob", None)), st.integers(0, 3)),
    max_size=6,
)


@settings(deadline=None, max_examples=150)
@given(
    st.sets(st.integers(0, 7)),
    steps,
    st.sampled_from(("asc", "desc")),
    st.integers(1, 9),
)
def test_scans_give_what_they_would_if_the_writes_were_committed(
    stored: set[int], written: list[tuple[int, str | None, int]], order: str, count: int
) -> None:
    apart, together = Runner(*notes(*stored)), Runner(*notes(*stored))
    for number, owner, time in written:
        fields = None if owner is None else {**note(number, owner), "_creationTime": time}
        document = None if fields is None else as_document(fields)
        apart.overlay.put("notes", uuid(number), document)
        together.write(("notes", uuid(number), fields))

    found = apart.value(scan(order, count))

    assert numbers_of(found) == numbers_of(together.value(scan(order, count)))
    assert list(found) == list(together.value(scan(order, count)))
    last = apart.last.reads[-1]
    assert (last.lower, last.upper) == (
        together.last.reads[-1].lower,
        together.last.reads[-1].upper,
    )


def as_document(fields: dict[str, Any]) -> Any:
    return encode_document(NOTES, fields)[1]


# --- what a run depends on


def test_a_scan_that_its_limit_cut_depends_on_rows_up_to_its_last() -> None:
    runner = Runner(*notes(1, 2, 3))

    runner.value(scan("asc", 2))
    up = runner.last.reads[-1]
    runner.value(scan("desc", 2))
    down = runner.last.reads[-1]

    assert (up.lower, up.upper) == (START, Cut((2000, uuid(2)), 1))
    assert (down.lower, down.upper) == (Cut((2000, uuid(2)), -1), END)
    assert up.key == "notes/owner/ann"


@pytest.mark.parametrize("count", [None, 4])
def test_a_scan_that_found_all_depends_on_the_whole_range(count: int | None) -> None:
    runner = Runner(*notes(1, 2, 3))

    runner.value(scan("asc", count))

    [read] = runner.last.reads
    assert (read.lower, read.upper) == (START, END)


def test_finding_nothing_is_something_to_depend_on() -> None:
    runner = Runner()

    runner.value(scan())
    [read] = runner.last.reads
    runner.value(get(5))
    [other] = runner.last.reads

    assert (read.key, read.lower, read.upper) == ("notes/owner/ann", START, END)
    assert (other.key, other.prefix) == (f"notes/{uuid(5)}", (uuid(5),))


def test_reading_what_the_same_batch_wrote_is_a_read_too() -> None:
    runner = Runner()
    runner.overlay.put("notes", uuid(1), None)

    assert runner.value(get(1)) is None

    assert [read.key for read in runner.last.reads] == [f"notes/{uuid(1)}"]


def broken(runner: Runner, number: int) -> None:
    """Store a value that no client could decode, as only psql can."""
    [request] = [runner.memory.row(NOTES, uuid(number))]
    assert isinstance(request, LoadRequest)
    result = runner.store.load(request)
    bad = result.images[0].replace(b'"more":null', b'"more":{"$bad":1}')
    runner.memory.install(type(result)(request, result.ts, (bad,)))


@pytest.mark.parametrize("use", [get(1), scan()], ids=["get", "scan"])
def test_a_row_that_cannot_be_shown_fails_the_run_which_still_depends_on_it(use: Use) -> None:
    runner = Runner(*notes(1))
    broken(runner, 1)

    error = runner.error(use)

    assert isinstance(error, ValueInvalid)
    assert error.message.startswith(f"row notes/{uuid(1)} cannot be shown: column more")
    assert runner.last.reads


def test_a_row_that_cannot_be_shown_does_not_matter_where_it_is_not_shown() -> None:
    runner = Runner(*notes(1, 2, 3))
    broken(runner, 2)
    runner.overlay.put("notes", uuid(3), None)

    assert numbers_of(runner.value(scan("asc", 1))) == [1]


def test_a_row_that_cannot_be_shown_can_be_written_over() -> None:
    runner = Runner(*notes(1))
    broken(runner, 1)
    runner.overlay.put("notes", uuid(1), as_document(note(1)))

    assert numbers_of(runner.value(scan())) == [1]


# --- limits


def test_as_many_documents_as_allowed_may_be_read_and_no_more() -> None:
    runner = Runner(*notes(1, 2, 3), max_documents=3)
    assert len(runner.value(scan())) == 3

    runner.write(("notes", uuid(4), note(4)))

    error = runner.error(scan())
    assert isinstance(error, LimitExceeded)
    assert error.message == "a function may read 3 documents; use take() or paginate()"
    assert len(runner.value(scan("asc", 3))) == 3


def test_rows_read_by_id_count_as_documents() -> None:
    runner = Runner(*notes(1, 2), max_documents=1)

    async def use(db: DB) -> None:
        await db.get("notes", uuid(1))
        await db.get("notes", uuid(2))

    assert "may read 1 documents" in runner.error(use).message


def test_documents_of_several_scans_count_together() -> None:
    runner = Runner(*notes(1, 2), max_documents=3)

    async def use(db: DB) -> None:
        await db.query("notes").collect()
        await db.query("notes").collect()

    assert "may read 3 documents" in runner.error(use).message


def test_as_many_bytes_as_allowed_may_be_read_and_no_more() -> None:
    size = len(as_document(note(1)).json)

    assert Runner(*notes(1), max_bytes_read=size).value(get(1))
    error = Runner(*notes(1), max_bytes_read=size - 1).error(get(1))
    assert error.message == f"a function may read {size - 1} bytes"


def test_as_many_ranges_as_allowed_may_be_read_and_no_more() -> None:
    async def twice(db: DB) -> None:
        await db.get("notes", uuid(1))
        await db.get("notes", uuid(2))

    Runner(max_ranges=2).value(twice)
    error = Runner(max_ranges=1).error(twice)
    assert error.message == "a function may read 1 index ranges"


def insert_two(db: DB) -> Any:
    async def use() -> None:
        await db.insert("notes", {"owner": "ann"})
        await db.insert("notes", {"owner": "ann", "_id": uuid(2)})

    return use()


def test_as_many_rows_as_allowed_may_be_written_and_no_more() -> None:
    Runner(max_writes=2).value(insert_two)
    error = Runner(max_writes=1).error(insert_two)
    assert isinstance(error, LimitExceeded)
    assert error.message == "a mutation may write 1 documents"


def test_as_many_bytes_as_allowed_may_be_written_and_no_more() -> None:
    runner = Runner()
    runner.value(insert_two)
    size = sum(len(row.json) for row in runner.overlay.rows["notes"].values() if row is not None)

    Runner(max_bytes_written=size).value(insert_two)
    error = Runner(max_bytes_written=size - 1).error(insert_two)
    assert error.message == f"a mutation may write {size - 1} bytes"


def test_a_run_that_takes_too_long_ends_at_its_next_read() -> None:
    runner = Runner(max_run_s=1.0)

    async def use(db: DB) -> None:
        await db.query("notes").take(1)
        runner.clock.advance(1.0)
        await db.query("notes").take(1)
        runner.clock.advance(0.5)
        await db.query("notes").take(1)

    assert runner.error(use).message == "a function may run for 1.0 s"


def test_a_context_that_escaped_its_function_is_dead() -> None:
    runner = Runner(*notes(1))
    kept: list[DB] = []

    async def use(db: DB) -> None:
        kept.append(db)

    async def use_again(_: DB) -> None:
        await kept[0].query("notes").collect()

    runner.value(use)
    runner.last.close()

    assert "ctx.db was used after its function ended" in runner.error(use_again).message


# --- writes


def test_the_id_and_the_time_of_creation_are_not_for_functions_to_change() -> None:
    runner = Runner(*notes(1))

    async def use(db: DB) -> Any:
        await db.replace(
            "notes", uuid(1), {"_id": uuid(9), "_creationTime": 5, "owner": "x", "rank": None}
        )
        return await db.get("notes", uuid(1))

    assert dict(runner.value(use)) == {"_id": uuid(1), "_creationTime": 1, "owner": "x"}


def test_rows_that_are_inserted_are_created_one_after_another() -> None:
    runner = Runner()

    async def use(db: DB) -> Any:
        await insert_two(db)
        return await db.query("notes").collect()

    first, second = runner.value(use)

    assert first["_creationTime"] < second["_creationTime"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"owner": 5}, "notes.owner: expected a string, found int 5"),
        ({"owner": "a\0b"}, "notes.owner: expected a string without the character NUL"),
        ({}, "notes.owner is missing: it is required"),
        ({"owner": "ann", "colour": "red"}, "notes has no field colour"),
        ({"owner": "ann", "rank": 1.5}, "notes.rank: expected a whole number of 32 bits"),
        ({"owner": "ann", "_id": "1"}, "notes._id: expected an id"),
    ],
)
def test_what_postgres_would_refuse_is_refused_before_it_gets_there(
    fields: dict[str, Any], message: str
) -> None:
    runner = Runner()

    async def use(db: DB) -> None:
        await db.insert("notes", fields)

    error = runner.error(use)

    assert isinstance(error, WriteRejected)
    assert error.message.startswith(message)
    assert runner.overlay.rows == {}


# --- net effect


def effect(runner: Runner, use: Use) -> list[RowWrite]:
    runner.value(use)
    return list(runner.overlay.net_writes())


def test_a_row_made_and_deleted_again_is_no_write() -> None:
    async def use(db: DB) -> None:
        row_id = await db.insert("notes", {"owner": "ann"})
        await db.delete("notes", row_id)

    assert effect(Runner(), use) == []


def test_a_row_deleted_and_made_again_is_an_update() -> None:
    async def use(db: DB) -> None:
        await db.delete("notes", uuid(1))
        await db.insert("notes", {"owner": "bob", "_id": uuid(1)})

    [write] = effect(Runner(*notes(1)), use)

    assert (write.kind, write.row["owner"]) == ("update", "bob")


def test_many_writes_of_one_row_are_one() -> None:
    async def use(db: DB) -> None:
        await db.patch("notes", uuid(1), {"rank": 1})
        await db.patch("notes", uuid(1), {"rank": 2})
        await db.insert("notes", {"owner": "bob"})

    first, second = effect(Runner(*notes(1)), use)

    assert (first.kind, first.row["rank"]) == ("update", 2)
    assert (second.kind, second.id, second.row["owner"]) == ("insert", NEW_ID, "bob")


def test_a_deleted_row_is_a_delete() -> None:
    async def use(db: DB) -> None:
        await db.delete("notes", uuid(1))

    assert effect(Runner(*notes(1)), use) == [RowWrite("notes", uuid(1), "delete")]


def test_every_column_is_written() -> None:
    async def use(db: DB) -> None:
        await db.insert("notes", {"owner": "ann"})

    [write] = effect(Runner(), use)

    assert write.row.keys() <= SCHEMA.tables["notes"].by_name.keys()
    assert {"id", "creation_time", "owner"} <= write.row.keys()
