"""A commit finds exactly the live queries whose results it may alter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.engine.live import Call, LiveQueries, LiveQuery, Result, digest_of
from parley.engine.memory import Memory
from parley.engine.transaction import Read
from parley.errors import FunctionNotFound
from parley.store.tables import END, START, Cut, order_value
from parley.store.types import LoadRequest
from tests.support.modelstore import ModelStore
from tests.support.tables import NOTES, PARENTS, SCHEMA, Fields, note, rows_between, uuid


class Listener:
    """A subscriber that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, bool]] = []

    def query_settled(self, query_id: int, *, is_new: bool) -> None:
        self.heard.append((query_id, is_new))

    def identity_needed(self, query_id: int) -> None:
        raise AssertionError


def read_of(index: str, equal: tuple[Any, ...], lower: Cut = START, upper: Cut = END) -> Read:
    found = NOTES.indexes[index]
    columns = found.columns[: len(equal)]
    prefix = tuple(order_value(c, v) for c, v in zip(columns, equal, strict=True))
    return Read(NOTES.key(found, equal), "notes", index, prefix, lower, upper)


def clean(name: str) -> LiveQuery:
    query = LiveQuery(name, Call(name, b"{}"), None, is_shared=True)
    query.is_dirty = False
    return query


class World:
    """Live queries over a model database."""

    def __init__(self, *rows: Fields) -> None:
        self.store = ModelStore(SCHEMA)
        self.store.write(*[("notes", fields["_id"], fields) for fields in rows])
        self.memory = Memory(SCHEMA, self.store.ts, max_bytes=1 << 20)
        self.live = LiveQueries()

    def follow(self, name: str, *reads: Read, load: bool = True) -> LiveQuery:
        """File a clean query that made these reads, with their ranges in memory or not."""
        query = clean(name)
        self.live.add(query)
        self.live.file(query, reads)
        for read in reads if load else ():
            request = LoadRequest(
                read.table, read.index, read.prefix, read.lower, read.upper, "asc", 100
            )
            self.memory.install(self.store.load(request))
        return query

    def touched(self, *rows: tuple[str, str, Fields | None]) -> set[object]:
        """Commit rows; return the names of the queries that they touch."""
        changes = self.memory.apply(self.store.write(*rows))
        return {
            query.key for change in changes for query in self.live.touched_by(change, self.memory)
        }


def test_a_row_touches_the_queries_that_read_its_range() -> None:
    world = World(note(1), note(2, "bob"))
    world.follow("ann's", read_of("by_owner", ("ann",)))
    world.follow("bob's", read_of("by_owner", ("bob",)))

    assert world.touched(("notes", uuid(3), note(3))) == {"ann's"}
    assert world.touched(("notes", uuid(1), note(1, rank=5))) == {"ann's"}
    assert world.touched(("notes", uuid(2), None)) == {"bob's"}


def test_a_row_that_moves_touches_where_it_was_and_where_it_is() -> None:
    world = World(note(1))
    world.follow("ann's", read_of("by_owner", ("ann",)))
    world.follow("bob's", read_of("by_owner", ("bob",)))
    world.follow("cat's", read_of("by_owner", ("cat",)))

    assert world.touched(("notes", uuid(1), note(1, "bob"))) == {"ann's", "bob's"}


def test_a_row_behind_what_a_limit_cut_touches_nobody() -> None:
    world = World(note(1), note(2), note(3))
    first = read_of("by_owner", ("ann",), START, Cut((1000, uuid(1)), 1))
    world.follow("first", first)

    assert world.touched(("notes", uuid(3), None)) == set()
    assert world.touched(("notes", uuid(1), None)) == {"first"}


def test_a_row_that_appears_touches_who_found_nothing() -> None:
    world = World()
    world.follow("get", read_of("by_id", (uuid(1),)))
    world.follow("other", read_of("by_id", (uuid(2),)))

    assert world.touched(("notes", uuid(1), note(1))) == {"get"}


def test_an_index_without_keys_is_known_by_its_table_and_looked_at_closely() -> None:
    world = World(note(1, score=0.5))
    score = NOTES.columns["score"]
    low = read_of("by_score", (), START, Cut((order_value(score, 1.0),), -1))
    high = read_of("by_score", (), Cut((order_value(score, 1.0),), -1), END)
    world.follow("low", low)
    world.follow("high", high)

    assert low.key == "notes"
    assert world.touched(("notes", uuid(1), note(1, score=0.7))) == {"low"}
    assert world.touched(("notes", uuid(1), note(1, score=7.0))) == {"low", "high"}


def test_a_row_that_memory_let_go_of_touches_whoever_may_have_read_it() -> None:
    world = World(note(1))
    world.follow("ann's", read_of("by_owner", ("ann",)), load=False)

    assert world.touched(("notes", uuid(1), note(1, "bob"))) == {"ann's"}


def test_a_change_of_another_table_touches_nobody_here() -> None:
    world = World()
    world.follow("notes", read_of("by_score", ()), read_of("by_owner", ("ann",)))
    parents = Read("parents", "parents", "by_id", (), START, END)
    world.follow("parents", parents, load=False)
    parent = {"_id": uuid(1), "_creationTime": 1, "name": "ann"}

    assert world.touched(("parents", uuid(1), parent)) == {"parents"}
    assert PARENTS.name == "parents"


def test_one_query_may_read_both_tables_and_is_found_once() -> None:
    world = World()
    by_name = Read("parents/name/ann", "parents", "by_name", ("ann",), START, END)
    world.follow("both", by_name, read_of("by_owner", ("ann",)), read_of("by_score", ()))

    changes = world.memory.apply(world.store.write(("notes", uuid(1), note(1))))

    assert [query.key for query in world.live.touched_by(changes[0], world.memory)] == ["both"]


def test_a_query_that_is_dirty_already_is_not_found_again() -> None:
    world = World()
    world.follow("ann's", read_of("by_owner", ("ann",))).is_dirty = True

    assert world.touched(("notes", uuid(1), note(1))) == set()


def test_a_query_is_filed_under_its_newest_reads_only() -> None:
    world = World()
    query = world.follow("moves", read_of("by_owner", ("ann",)))

    world.live.file(query, [read_of("by_owner", ("bob",))])

    assert world.touched(("notes", uuid(1), note(1, "ann"))) == set()
    assert world.touched(("notes", uuid(2), note(2, "bob"))) == {"moves"}
    assert query in world.live.on_table("notes")


def test_a_query_that_is_removed_leaves_nothing_behind() -> None:
    world = World()
    twice = read_of("by_owner", ("ann",))
    query = world.follow("ann's", twice, twice, read_of("by_score", ()))
    assert world.live.get("ann's") is query
    assert list(world.live) == [query]

    world.live.remove(query)

    assert (len(world.live), world.live.on_table("notes")) == (0, [])
    assert world.live.get("ann's") is None
    assert world.touched(("notes", uuid(1), note(1))) == set()
    assert not world.live._filed
    assert not world.live._tables


def test_a_query_that_is_removed_takes_nothing_from_others() -> None:
    world = World()
    gone = world.follow("gone", read_of("by_owner", ("ann",)))
    world.follow("kept", read_of("by_owner", ("ann",)))

    world.live.remove(gone)

    assert world.touched(("notes", uuid(1), note(1))) == {"kept"}


def test_removing_a_query_twice_does_not_remove_its_successor() -> None:
    world = World()
    gone = world.follow("same", read_of("by_owner", ("ann",)))
    world.live.remove(gone)
    successor = world.follow("same", read_of("by_owner", ("ann",)))

    world.live.remove(gone)

    assert world.live.get("same") is successor


def test_subscribers_hear_by_their_own_query_ids() -> None:
    query, one, other = clean("q"), Listener(), Listener()
    query.add(one, 1)
    query.add(one, 2)
    query.add(other, 1)
    query.remove(one, 2)
    query.remove(one, 99)

    query.tell(is_new=True)

    assert (one.heard, other.heard) == ([(1, True)], [(1, True)])


@pytest.mark.parametrize(
    "other",
    [
        Call("m:g", b"{}"),
        Call("m:f", b'{"a":1}'),
        Call("m:f", b"{}", journal="j"),
        Call("m:f", b"{}", refusal=FunctionNotFound("no")),
    ],
)
def test_calls_that_differ_in_anything_are_not_shared(other: Call) -> None:
    assert Call("m:f", b"{}").key != other.key


def test_calls_that_are_refused_alike_are_shared() -> None:
    one = Call("m:f", b"{}", refusal=FunctionNotFound("no"))
    other = Call("m:f", b"{}", refusal=FunctionNotFound("no"))

    assert one.key == other.key


def test_a_result_s_value_is_cut_from_its_tail() -> None:
    assert Result(digest_of(b"[1]"), value=[b"[1]"], journal='"value":').value == b"[1]"


owners = st.sampled_from(("ann", "bob"))
ranks = st.one_of(st.none(), st.integers(0, 2))
notes = st.builds(
    lambda n, owner, rank: note(n, owner, rank=rank), st.integers(0, 4), owners, ranks
)
deletions = st.integers(0, 4).map(lambda n: {"_id": uuid(n)})


@st.composite
def some_reads(draw: Any) -> Read:
    index = NOTES.indexes[draw(st.sampled_from(("by_owner_rank", "by_owner", "by_score", "by_id")))]
    fields = draw(notes)
    length = draw(st.integers(0, len(index.columns)))
    position = NOTES.position(index, fields)
    ends = [
        draw(st.sampled_from((START, END, Cut(position[length : length + 1], side))))
        for side in (-1, 1)
    ]
    equal = tuple(fields.get(column.field) for column in index.columns[:length])
    return read_of(index.name, equal, *sorted(ends, key=Cut.sort_key))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(notes, max_size=4),
    st.lists(some_reads(), min_size=1, max_size=3),
    st.booleans(),
    st.lists(st.one_of(notes, deletions), min_size=1, max_size=3),
)
def test_a_read_whose_rows_a_commit_alters_is_always_found(
    stored: list[Fields], reads: list[Read], is_loaded: bool, writes: list[Fields]
) -> None:
    world = World(*stored)
    for number, read in enumerate(reads):
        world.follow(str(number), read, load=is_loaded)
    before = [rows_of(world, read) for read in reads]

    touched = world.touched(
        *[("notes", fields["_id"], fields if "owner" in fields else None) for fields in writes]
    )

    altered = {
        str(number) for number, read in enumerate(reads) if rows_of(world, read) != before[number]
    }
    assert altered <= touched


def rows_of(world: World, read: Read) -> list[Fields]:
    rows = world.store.table_at(world.store.ts, read.table)
    return rows_between(NOTES, rows, read.index, read.prefix, read.lower, read.upper, "asc", None)
