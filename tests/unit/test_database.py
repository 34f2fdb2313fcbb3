"""`ctx.db`: reads through indexes, bounds, ids, and writes, as functions use them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypedDict

import pytest

from parley.errors import Internal, WriteRejected
from parley.functions.database import DatabaseWriter, NotUnique, Table, is_id
from parley.functions.validators import UNSET
from tests.support.running import Runner, Use
from tests.support.tables import note, uuid

DB = DatabaseWriter


class Note(TypedDict):
    owner: str


RANKS = [("notes", note(n, rank=rank)) for n, rank in enumerate((0, 1, 1, 2, None))]


def numbers_of(documents: Any) -> list[int]:
    return [int(document["_id"][-4:], 16) for document in documents]


def reading(describe: Callable[[Any], Any]) -> Use:
    """Return a function that collects what `describe` makes of ann's notes by rank."""

    async def use(db: DB) -> Any:
        return await describe(db.query("notes").with_index("by_owner_rank", owner="ann")).collect()

    return use


@pytest.mark.parametrize(
    ("describe", "expected"),
    [
        (lambda q: q, [0, 1, 2, 3, 4]),
        (lambda q: q.gt(rank=1), [3]),
        (lambda q: q.gte(rank=1), [1, 2, 3]),
        (lambda q: q.lt(rank=1), [0]),
        (lambda q: q.lte(rank=1), [0, 1, 2]),
        (lambda q: q.lt(rank=None), [0, 1, 2, 3]),
        (lambda q: q.lte(rank=None), [0, 1, 2, 3, 4]),
        (lambda q: q.gte(rank=None), [4]),
        (lambda q: q.gt(rank=None), []),
        (lambda q: q.range(rank=(1, 2)), [1, 2]),
        (lambda q: q.range(rank=(2, 1)), []),
        (lambda q: q.gt(rank=0).gt(rank=1), [3]),
        (lambda q: q.gt(rank=1).gt(rank=0), [3]),
        (lambda q: q.lt(rank=1).lte(rank=5), [0]),
        (lambda q: q.gte(rank=1.0).lte(rank=1.0), [1, 2]),
        (lambda q: q.gte(rank=0).order("desc"), [3, 2, 1, 0]),
        (lambda q: q.order("desc"), [4, 3, 2, 1, 0]),
    ],
)
def test_bounds_keep_the_rows_that_they_say(
    describe: Callable[[Any], Any], expected: list[int]
) -> None:
    assert numbers_of(Runner(*RANKS).value(reading(describe))) == expected


def test_behind_all_columns_of_an_index_rows_are_bounded_by_their_creation() -> None:
    async def use(db: DB) -> Any:
        return await db.query("notes").gt(_creationTime=1).lt(_creationTime=4).collect()

    assert numbers_of(Runner(*RANKS).value(use)) == [2, 3]


@pytest.mark.parametrize(
    ("index", "equal", "expected"),
    [
        ("by_owner_rank", {"owner": "ann", "rank": 1}, [1, 2]),
        ("by_owner_rank", {"owner": "ann", "rank": None}, [4]),
        ("by_owner_rank", {"rank": 1, "owner": "ann"}, [1, 2]),
        ("by_owner_rank", {"owner": "ann", "rank": 1.0}, [1, 2]),
        ("by_owner_rank", {}, [0, 1, 2, 3, 4]),
        ("by_id", {"_id": uuid(3)}, [3]),
    ],
)
def test_an_index_is_read_where_its_leading_fields_are_equal(
    index: str, equal: dict[str, Any], expected: list[int]
) -> None:
    async def use(db: DB) -> Any:
        return await db.query("notes").with_index(index, **equal).collect()

    assert numbers_of(Runner(*RANKS).value(use)) == expected


@pytest.mark.parametrize(
    ("index", "equal"),
    [
        ("by_owner", {"owner": None}),
        ("by_owner", {"owner": 5}),
        ("by_owner", {"owner": "a\0"}),
        ("by_id", {"_id": "1"}),
        ("by_id", {"_id": uuid(0xA).upper()}),
        ("by_owner_rank", {"owner": "ann", "rank": 1.5}),
        ("by_owner_rank", {"owner": "ann", "rank": True}),
        ("by_owner_rank", {"owner": "ann", "rank": math.inf}),
        ("by_owner_rank", {"owner": "ann", "rank": 2**63}),
        ("by_score", {"score": math.nan}),
        ("by_score", {"score": "1"}),
        ("by_open", {"isOpen": 1}),
        ("by_owner_data", {"owner": "ann", "data": "text"}),
    ],
)
def test_a_value_that_a_column_cannot_hold_equals_no_row(index: str, equal: Any) -> None:
    runner = Runner(*RANKS)

    async def use(db: DB) -> Any:
        return await db.query("notes").with_index(index, **equal).collect()

    assert runner.value(use) == []
    assert runner.last.reads == []


def test_text_with_spaces_is_text() -> None:
    async def use(db: DB) -> Any:
        return await db.query("notes").with_index("by_owner", owner="ann b").collect()

    assert len(Runner(("notes", note(1, "ann b"))).value(use)) == 1


@pytest.mark.parametrize(
    ("describe", "message"),
    [
        (lambda q: q.with_index("by_colour"), "table notes has no index by_colour; it has by_big"),
        (
            lambda q: q.with_index("by_owner_rank", rank=1),
            "index by_owner_rank is on (owner, rank)",
        ),
        (lambda q: q.with_index("by_owner", owner="a", rank=1), "index by_owner is on (owner)"),
        (lambda q: q.gt(rank=1), "index by_creation_time: the next field is _creationTime"),
        (lambda q: q.gt(_creationTime="x"), "_creationTime is compared with time, not 'x'"),
        (lambda q: q.gt(_creationTime=1e18), "_creationTime is compared with time"),
        (lambda q: q.gt(_creationTime=None), "_creationTime is compared with time, not None"),
        (lambda q: q.gt(), "a bound takes one field"),
        (lambda q: q.gt(_creationTime=1, rank=2), "a bound takes one field"),
        (lambda q: q.order("up"), 'order is "asc" or "desc"'),
        (lambda q: q.gt(_creationTime=1).with_index("by_owner"), "comes before gt, gte, lt, lte"),
        (lambda q: q.lt(_creationTime=1).with_index("by_owner"), "comes before gt, gte, lt, lte"),
    ],
)
def test_a_read_that_makes_no_sense_is_an_error_that_says_why(
    describe: Callable[[Any], Any], message: str
) -> None:
    async def use(db: DB) -> Any:
        return await describe(db.query("notes")).collect()

    error = Runner().error(use)

    assert isinstance(error, Internal)
    assert message in error.message


@pytest.mark.parametrize(("count", "expected"), [(0, []), (2, [0, 1]), (9, [0, 1, 2, 3, 4])])
def test_take_gives_the_first_rows(count: int, expected: list[int]) -> None:
    async def use(db: DB) -> Any:
        return await db.query("notes").take(count)

    assert numbers_of(Runner(*RANKS).value(use)) == expected


def test_take_of_less_than_nothing_is_an_error() -> None:
    async def use(db: DB) -> Any:
        return await db.query("notes").take(-1)

    assert "take needs a count of at least 0" in Runner().error(use).message


def test_first_is_the_first_row_or_none() -> None:
    async def use(db: DB) -> Any:
        return await db.query("notes").order("desc").first()

    assert Runner(*RANKS).value(use)["_id"] == uuid(4)
    assert Runner().value(use) is None


def test_unique_is_the_only_row_or_none_or_an_error() -> None:
    async def use(db: DB) -> Any:
        return await db.query("notes").unique()

    assert Runner(*RANKS[:1]).value(use)["_id"] == uuid(0)
    assert Runner().value(use) is None
    assert isinstance(Runner(*RANKS).error(use), NotUnique)


# --- by id


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (uuid(1), True),
        (uuid(0xA).upper(), False),
        (uuid(1) + "\n", False),
        ("", False),
        ("1", False),
        (None, False),
        (5, False),
        (b"x", False),
    ],
)
def test_only_the_canonical_text_of_a_uuid_is_an_id(value: object, expected: bool) -> None:
    assert is_id(value) is expected


@pytest.mark.parametrize("row_id", [uuid(77), "not an id", None, uuid(0xA).upper()])
def test_an_id_without_a_row_reads_as_none(row_id: Any) -> None:
    async def use(db: DB) -> Any:
        return await db.get("notes", row_id)

    assert Runner(*RANKS).value(use) is None


def test_tables_can_be_named_with_the_shape_of_their_documents() -> None:
    typed = Table("notes", Note)

    async def use(db: DB) -> Any:
        made = await db.insert(typed, {"owner": "zoe"})
        await db.patch(typed, made, {"owner": "yan"})
        return [await db.get(typed, made), await db.query(typed).first()]

    got, first = Runner().value(use)

    assert got["owner"] == first["owner"] == "yan"


def test_a_table_that_is_not_watched_is_an_error_that_says_how_to() -> None:
    async def use(db: DB) -> Any:
        return await db.get("secrets", uuid(1))

    message = Runner().error(use).message

    assert "table secrets is not watched (select parley.watch('secrets'))" in message
    assert "children, notes, parents" in message


# --- writes


def written(*steps: Callable[[DB], Any], row: int = 1) -> Use:
    async def use(db: DB) -> Any:
        for step in steps:
            await step(db)
        return await db.get("notes", uuid(row))

    return use


def test_patch_changes_what_is_given_and_removes_what_is_none() -> None:
    runner = Runner(("notes", note(1, rank=1, score=0.5)))

    found = runner.value(
        written(lambda db: db.patch("notes", uuid(1), {"rank": None, "isOpen": True, "big": UNSET}))
    )

    assert dict(found) == note(1, score=0.5, isOpen=True)


def test_patch_that_leaves_a_field_unset_leaves_it() -> None:
    runner = Runner(("notes", note(1, rank=1)))

    found = runner.value(written(lambda db: db.patch("notes", uuid(1), {"rank": UNSET})))

    assert found["rank"] == 1


def test_replace_leaves_nothing_else() -> None:
    runner = Runner(("notes", note(1, rank=1)))

    found = runner.value(written(lambda db: db.replace("notes", uuid(1), {"owner": "bob"})))

    assert dict(found) == note(1, "bob")


def test_insert_may_name_its_id() -> None:
    fields = {"_id": uuid(5), "owner": "bob", "rank": UNSET}

    found = Runner().value(written(lambda db: db.insert("notes", fields), row=5))

    assert found["owner"] == "bob"
    assert "rank" not in found


@pytest.mark.parametrize(
    "before", [[], [lambda db: db.patch("notes", uuid(1), {"rank": 9})]], ids=["stored", "written"]
)
def test_insert_never_writes_over_a_row(before: list[Callable[[DB], Any]]) -> None:
    runner = Runner(("notes", note(1)))
    insert = lambda db: db.insert("notes", {"_id": uuid(1), "owner": "thief"})  # noqa: E731

    error = runner.error(written(*before, insert))

    assert isinstance(error, WriteRejected)
    assert error.message == f"notes has a row {uuid(1)} already"
    assert f"notes/{uuid(1)}" in {read.key for read in runner.last.reads}


def test_an_id_is_free_again_once_its_row_is_deleted() -> None:
    runner = Runner(("notes", note(1)))

    found = runner.value(
        written(
            lambda db: db.delete("notes", uuid(1)),
            lambda db: db.insert("notes", {"_id": uuid(1), "owner": "bob"}),
        )
    )

    assert found["owner"] == "bob"


@pytest.mark.parametrize(
    "step",
    [
        lambda db: db.patch("notes", uuid(9), {}),
        lambda db: db.replace("notes", uuid(9), {"owner": "bob"}),
        lambda db: db.delete("notes", uuid(9)),
        lambda db: db.delete("notes", "x" * 100),
    ],
)
def test_a_row_that_is_not_there_cannot_be_changed(step: Callable[[DB], Any]) -> None:
    runner = Runner()

    error = runner.error(written(step))

    assert "LookupError: notes has no row" in error.message
    assert "x" * 65 not in error.message
    assert runner.overlay.rows == {}
