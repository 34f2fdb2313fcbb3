"""Memory reads what sorting all rows at its ts gives, whatever came in whatever order."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parley.engine.memory import CommitGap, Installed, Memory
from parley.engine.ranges import Found, Row
from parley.store.tables import END, START, Cut, order_value
from parley.store.types import Commit, LoadRequest, LoadResult
from tests.support.modelstore import ModelStore, fields_of
from tests.support.tables import NOTES, SCHEMA, change, image, note, rows_between, uuid

values = st.fixed_dictionaries(
    {"owner": st.sampled_from(("ann", "ann/x"))},
    optional={
        "rank": st.integers(0, 2),
        "score": st.sampled_from((-1.0, 0.5, math.inf, math.nan)),
        "data": st.sampled_from((b"", b"a", b"\xff")),
        "isOpen": st.booleans(),
    },
)
writes = st.tuples(st.integers(0, 3), st.one_of(st.none(), values), st.integers(0, 2))
sides = st.sampled_from((-1, 1))


@st.composite
def reads(draw: Any) -> dict[str, Any]:
    """What can be asked of memory: any index, prefix, cuts, order and limit."""
    name = draw(st.sampled_from(("by_owner_rank", "by_score", "by_creation_time", "by_id")))
    index = NOTES.indexes[name]
    fields = note(draw(st.integers(0, 3)), **draw(values))
    length = draw(st.integers(0, len(index.columns)))
    position = NOTES.position(index, fields)
    lower = draw(st.one_of(st.just(START), places(position[length:])))
    upper = draw(st.one_of(st.just(END), st.just(END), places(position[length:])))
    return {
        "index": name,
        "prefix": position[:length],
        "lower": lower,
        "upper": upper,
        "order": draw(st.sampled_from(("asc", "desc"))),
        "limit": draw(st.integers(1, 3)),
    }


def places(suffix: tuple[Any, ...]) -> Any:
    return st.builds(lambda n, side: Cut(suffix[:n], side), st.integers(0, len(suffix)), sides)


class MemoryMachine(RuleBasedStateMachine):
    """Commits, loads that arrive late, evictions, and reads in between."""

    def __init__(self) -> None:
        super().__init__()
        self.store = ModelStore(SCHEMA)
        self.memory = Memory(SCHEMA, self.store.ts, max_bytes=1 << 20, max_history=8)
        self.on_their_way: list[LoadResult] = []
        self.asked: list[dict[str, Any]] = []

    @rule(rows=st.lists(writes, max_size=3), blind=st.booleans())
    def somebody_commits(self, rows: list[Any], *, blind: bool) -> None:
        versions = [
            ("notes", uuid(n), None if v is None else {**note(n, **v), "_creationTime": time})
            for n, v, time in rows
        ]
        self.store.write(*versions, blind=blind)

    @rule(rows=st.lists(writes, max_size=2))
    def somebody_changes_too_much_to_list(self, rows: list[Any]) -> None:
        versions = [("notes", uuid(n), None if v is None else note(n, **v)) for n, v, _ in rows]
        self.store.write(*versions, resets=["notes"])

    @precondition(lambda self: self.memory.ts < self.store.ts)
    @rule(data=st.data())
    def memory_follows(self, data: st.DataObject) -> None:
        commits = self.store.log_after(self.memory.ts)
        for commit in commits[: data.draw(st.integers(1, len(commits)))]:
            self.memory.apply(commit)

    @rule(read=reads())
    def somebody_reads(self, read: dict[str, Any]) -> None:
        self.asked = [*self.asked[-7:], read]
        self.somebody_reads_again(read)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def somebody_needs_what_is_missing(self, data: st.DataObject) -> None:
        self.somebody_reads_again(data.draw(st.sampled_from(self.asked)))

    def somebody_reads_again(self, read: dict[str, Any]) -> None:
        found = self.memory.read(NOTES, NOTES.indexes[read["index"]], *list(read.values())[1:])
        if isinstance(found, LoadRequest):
            # Less than memory asks for in one go, so that few rows make bounded pieces.
            self.on_their_way.append(self.store.load(replace(found, limit=read["limit"])))

    @invariant()
    def reads_are_right_or_ask_for_more(self) -> None:
        rows = self.store.table_at(self.memory.ts, "notes")
        for read in self.asked:
            found = self.memory.read(NOTES, NOTES.indexes[read["index"]], *list(read.values())[1:])
            if not isinstance(found, LoadRequest):
                expected = rows_between(NOTES, rows, **read)
                assert [image(NOTES, fields_of(document)) for document in found.documents] == [
                    image(NOTES, fields) for fields in expected
                ]
                assert found.json_bytes == sum(len(document.json) for document in found.documents)

    @rule(number=st.integers(0, 3))
    def somebody_gets_a_row(self, number: int) -> None:
        found = self.memory.row(NOTES, uuid(number))
        if isinstance(found, LoadRequest):
            self.on_their_way.append(self.store.load(found))
            return
        known = self.store.states[self.memory.ts].get(("notes", uuid(number)))
        assert (found is None) == (known is None)
        assert found is None or known is None or found.document["owner"] == known["owner"]

    @rule(read=reads(), rows=st.lists(writes, max_size=3))
    def somebody_reads_while_others_write(self, read: dict[str, Any], rows: list[Any]) -> None:
        self.everything_arrives()
        self.somebody_reads(read)
        self.somebody_commits(rows, blind=False)
        self.everything_arrives()

    @rule()
    def everything_arrives(self) -> None:
        for commit in self.store.log_after(self.memory.ts):
            self.memory.apply(commit)
        while self.on_their_way:
            self.a_load_arrives(0)

    @precondition(lambda self: self.on_their_way)
    @rule(data=st.data())
    def some_load_arrives(self, data: st.DataObject) -> None:
        self.a_load_arrives(data.draw(st.integers(0, len(self.on_their_way) - 1)))

    def a_load_arrives(self, at: int) -> None:
        result = self.on_their_way[at]
        installed = self.memory.install(result)
        assert (installed is Installed.TOO_NEW) == (result.ts > self.memory.ts)
        if installed is not Installed.TOO_NEW:
            del self.on_their_way[at]
        if installed is Installed.TOO_OLD:
            self.on_their_way.append(self.store.load(result.request))

    @rule(budget=st.sampled_from((500, 6000, 6000, 9000)))
    def memory_gets_tight(self, budget: int) -> None:
        self.memory.max_bytes = budget
        self.memory.evict()
        assert self.memory.size_bytes <= budget or len(self.memory._ranges) <= 1

    @invariant()
    def every_row_is_held_once_and_counted_once(self) -> None:
        ranges = self.memory._ranges.values()
        held = [row for piece in ranges for row in piece.rows]
        known = self.memory._rows["notes"]
        assert {id(row) for row in held} == {id(row) for row in known.values()}
        assert all(row.holders == held.count(row) for row in known.values())
        sizes = sum(row.size_bytes for row in known.values())
        assert self.memory.size_bytes == sizes + 400 * len(ranges)


MemoryMachine.TestCase.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, database=None
)
TestMemoryReadsWhatIsThere = MemoryMachine.TestCase


def filled(*notes: dict[str, Any], **options: Any) -> tuple[ModelStore, Memory]:
    store = ModelStore(SCHEMA)
    store.write(*[("notes", fields["_id"], fields) for fields in notes])
    return store, Memory(SCHEMA, store.ts, max_bytes=1 << 20, **options)


def ids(found: Found) -> list[str]:
    return [document["_id"] for document in found.documents]


def read_all(memory: Memory, owner: str = "ann", limit: int = 10) -> Any:
    return memory.read(NOTES, NOTES.indexes["by_owner"], (owner,), START, END, "asc", limit)


def load(store: ModelStore, memory: Memory, request: Any) -> Installed:
    assert isinstance(request, LoadRequest)
    return memory.install(store.load(request))


def test_a_commit_that_does_not_follow_is_refused_and_changes_nothing() -> None:
    store, memory = filled(note(1))
    store.write(("notes", uuid(2), note(2)))
    later = store.write(("notes", uuid(3), note(3)))

    with pytest.raises(CommitGap):
        memory.apply(later)

    assert memory.ts < later.ts


def test_a_commit_is_applied_once() -> None:
    store, memory = filled()
    commit = store.write(("notes", uuid(1), note(1)))
    memory.apply(commit)

    with pytest.raises(CommitGap):
        memory.apply(commit)


def test_a_commit_whose_writer_could_not_know_the_one_before_is_taken() -> None:
    store, memory = filled()

    memory.apply(store.write(("notes", uuid(1), note(1)), blind=True))

    assert memory.ts == store.ts


def test_an_id_that_is_used_again_is_found_at_its_new_place() -> None:
    store, memory = filled(note(1))
    load(store, memory, memory.row(NOTES, uuid(1)))
    memory.apply(store.write(("notes", uuid(1), None)))
    assert memory.row(NOTES, uuid(1)) is None

    memory.apply(store.write(("notes", uuid(1), {**note(1), "_creationTime": 999})))

    found = memory.row(NOTES, uuid(1))
    assert isinstance(found, Row)
    assert found.document["_creationTime"] == 999


def test_a_part_of_a_row_s_own_range_does_not_say_that_the_row_is_missing() -> None:
    store, memory = filled(note(1))
    behind = Cut((1000, uuid(1)), 1)
    by_id = NOTES.indexes["by_id"]
    load(store, memory, memory.read(NOTES, by_id, (uuid(1),), behind, END, "asc", 1))

    assert isinstance(memory.row(NOTES, uuid(1)), LoadRequest)


def test_a_load_that_its_limit_cut_covers_up_to_its_last_row_only() -> None:
    store, memory = filled(*[note(n) for n in range(100)])
    request = read_all(memory, limit=2)

    load(store, memory, request)

    assert request.limit == 64
    assert ids(read_all(memory, limit=64)) == [uuid(n) for n in range(64)]
    missing = read_all(memory, limit=65)
    assert missing.after == Cut((63_000, uuid(63)), 1)
    assert missing.limit == 64


def test_of_a_range_nobody_knows_a_bounded_piece_is_asked_for_then_all_that_is_left() -> None:
    store, memory = filled(*[note(n) for n in range(1030)])
    first = read_all(memory, limit=16_001)

    load(store, memory, first)

    assert first.limit == 1024
    missing = read_all(memory, limit=16_001)
    assert missing.limit == 16_001 - 1024
    load(store, memory, missing)
    assert len(read_all(memory, limit=16_001).documents) == 1030


def test_a_read_without_room_between_its_cuts_finds_nothing() -> None:
    _, memory = filled(note(1))

    found = memory.read(NOTES, NOTES.indexes["by_owner"], ("ann",), END, START, "asc", 5)

    assert found == Found([], 0, [])


def test_a_load_of_a_table_that_was_reset_since_is_asked_again() -> None:
    store, memory = filled(note(1))
    result = store.load(read_all(memory))

    memory.apply(store.write(resets=["notes"]))

    assert memory.install(result) is Installed.TOO_OLD


def test_a_load_from_before_what_is_remembered_is_asked_again() -> None:
    store, memory = filled(note(1), max_history=1)
    result = store.load(read_all(memory))

    memory.apply(store.write(("notes", uuid(2), note(2))))

    assert memory.install(result) is Installed.TOO_OLD


@pytest.mark.parametrize(("table", "index"), [("gone", "by_id"), ("notes", "gone")])
def test_a_load_of_what_the_schema_no_longer_has_is_refused(table: str, index: str) -> None:
    _, memory = filled()
    request = LoadRequest(table, index, (), START, END, "asc", 1)

    assert memory.install(LoadResult(request, memory.ts, ())) is Installed.TOO_OLD


def test_a_change_of_a_table_that_memory_does_not_know_is_passed_over() -> None:
    store, _memory = filled()
    stray = Commit(store.ts + 1, store.ts, (change(NOTES, None, note(1)),))
    other = Memory(type(SCHEMA)({}, "empty"), store.ts, max_bytes=1)

    assert other.apply(stray) == []


def test_a_row_with_a_value_that_cannot_travel_keeps_its_place() -> None:
    store, memory = filled(note(1), note(2))
    request = read_all(memory)
    [first, second] = store.load(request).images
    broken = first.replace(b'"more":null', b'"more":{"$bad":1}')

    memory.install(LoadResult(request, memory.ts, (broken, second)))

    found = read_all(memory)
    assert ids(found) == [uuid(1), uuid(2)]
    assert [row.id for row in found.faulty] == [uuid(1)]


def test_the_least_recently_read_range_goes_first() -> None:
    store, memory = filled(note(1, "ann"), note(2, "bob"), note(3, "cat"))
    for owner in ("ann", "bob", "cat"):
        load(store, memory, read_all(memory, owner))
    read_all(memory, "ann")
    memory.max_bytes = memory.size_bytes - 1

    memory.evict()

    assert isinstance(read_all(memory, "bob"), LoadRequest)
    assert not isinstance(read_all(memory, "ann"), LoadRequest)


def test_the_range_of_a_missing_row_counts_as_read_when_it_is_asked_for() -> None:
    store, memory = filled()
    load(store, memory, memory.row(NOTES, uuid(1)))
    load(store, memory, memory.row(NOTES, uuid(2)))
    assert memory.row(NOTES, uuid(1)) is None
    memory.max_bytes = memory.size_bytes - 1

    memory.evict()

    assert memory.row(NOTES, uuid(1)) is None
    assert isinstance(memory.row(NOTES, uuid(2)), LoadRequest)


def test_what_was_read_is_unchanged_until_a_commit_names_its_key() -> None:
    store, memory = filled(note(1))
    start = memory.ts
    memory.apply(store.write(("notes", uuid(2), note(2, "bob"))))

    assert memory.is_unchanged(frozenset({"notes/owner/ann"}), start)
    assert not memory.is_unchanged(frozenset({"notes/owner/bob"}), start)
    assert not memory.is_unchanged(frozenset({"notes"}), start)
    assert memory.is_unchanged(frozenset({"notes"}), memory.ts)


def test_a_reset_changes_all_of_its_table_and_nothing_else() -> None:
    store, memory = filled(note(1))
    start = memory.ts
    memory.apply(store.write(resets=["notes"]))

    assert not memory.is_unchanged(frozenset({"notes/owner/ann"}), start)
    assert memory.is_unchanged(frozenset({"parents/name/x"}), start)


@pytest.mark.parametrize("since", [0, 1 << 60])
def test_what_is_not_known_counts_as_changed(since: int) -> None:
    _, memory = filled()

    assert not memory.is_unchanged(frozenset(), since)


def test_a_key_s_order_value_is_the_prefix_that_is_looked_up() -> None:
    store, memory = filled(note(1, rank=3), note(2))
    rank = NOTES.columns["rank"]
    by_rank = NOTES.indexes["by_owner_rank"]
    prefix = ("ann", order_value(rank, None))
    load(store, memory, memory.read(NOTES, by_rank, prefix, START, END, "asc", 5))

    found = memory.read(NOTES, by_rank, prefix, START, END, "asc", 5)

    assert isinstance(found, Found)
    assert ids(found) == [uuid(2)]


def test_rows_outside_what_is_loaded_are_not_kept() -> None:
    store, memory = filled(*[note(n) for n in range(64)])
    load(store, memory, read_all(memory, limit=1))
    size = memory.size_bytes

    memory.apply(store.write(("notes", uuid(99), note(99))))

    assert memory.size_bytes == size


def test_a_late_load_minds_only_changes_of_its_own_table() -> None:
    store, memory = filled(note(1))
    result = store.load(read_all(memory))
    parent = {"_id": uuid(1), "_creationTime": 1, "name": "ann"}
    memory.apply(store.write(("parents", uuid(1), parent)))

    assert memory.install(result) is Installed.DONE
    assert ids(read_all(memory)) == [uuid(1)]


def test_what_was_loaded_is_kept_as_it_is_sent_until_somebody_reads_it() -> None:
    store, memory = filled(note(1), note(2))
    memory.install(store.load(read_all(memory)))

    found = read_all(memory)
    assert isinstance(found, Found)
    assert [document._fields for document in found.documents] == [None, None]
    assert found.documents[0]["owner"] == "ann"
    assert found.documents[0]._fields is not None
    assert found.documents[1]._fields is None
