"""What a node knows of the tables: ranges and rows, all exactly as of one commit, `ts`.

Memory moves only by `apply`, commit by commit. A loaded piece is true at its own ts; `install`
brings it to `ts` from the recent commits kept here, or refuses it. So all reads between two applies
see one snapshot, without locks or versions. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from enum import Enum
from typing import Any, Final

from parley.engine.ranges import Found, Range, Row, Suffix
from parley.store.rows import decode_row
from parley.store.tables import END, START, Cut, Index, Schema, Table, suffix_between
from parley.store.types import Change, Commit, LoadRequest, LoadResult, Order

_BY_ID: Final = "by_id"
_RANGE_BYTES: Final = 400
_MIN_LOAD: Final = 64
_FIRST_LOAD: Final = 1024  # few ranges are longer; of any length, not many could be loaded together
_MAX_HISTORY_BYTES: Final = 50 << 20
RangeKey = tuple[str, str, tuple[Any, ...]]


class CommitGap(Exception):
    """A commit that does not follow the one memory stands at."""


class Installed(Enum):
    """What became of a loaded piece."""

    DONE = "done"
    TOO_NEW = "too new"  # memory has to reach the piece's ts first
    TOO_OLD = "too old"  # what happened since is no longer known: load again


class Touched:
    """One row change as memory saw it.

    Attributes:
        before: the row as memory held it; None when memory did not hold it.
    """

    __slots__ = ("_after", "_is_made", "before", "change", "table")

    def __init__(self, table: Table, change: Change, before: Row | None) -> None:
        self.table = table
        self.change = change
        self.before = before
        self._is_made = False
        self._after: Row | None = None

    @property
    def after(self) -> Row | None:
        """The row after the commit; None when deleted. Made when somebody asks."""
        if not self._is_made:
            self._is_made, self._after = True, _row_of(self.table, self.change)
        return self._after


class Memory:
    """Rows and ranges at one `ts`.

    Attributes:
        ts: the commit that everything here is true at.
        schema: the tables; replaced by `reset` only.
        size_bytes: estimate of what is held.
        history_bytes: images of recent commits, beside that.
    """

    def __init__(
        self, schema: Schema, ts: int, *, max_bytes: int, max_history: int = 20_000
    ) -> None:
        self.max_bytes = max_bytes
        self._max_history = max_history
        self.reset(schema, ts)

    def reset(self, schema: Schema, ts: int) -> None:
        """Forget everything and stand at `ts`."""
        self.schema = schema
        self.ts = ts
        self.size_bytes = 0
        self._rows: dict[str, dict[str, Row]] = {name: {} for name in schema.tables}
        self._ranges: OrderedDict[RangeKey, Range] = OrderedDict()
        # How many ranges exist per (index, prefix length): only those need looking at in a change.
        self._shapes: dict[str, Counter[tuple[str, int]]] = {n: Counter() for n in schema.tables}
        self._history: deque[Commit] = deque()
        self._history_changes = 0
        self.history_bytes = 0
        self._history_start = ts

    # --- reading

    def row(self, table: Table, row_id: str) -> Row | LoadRequest | None:
        """Return a row by id, None when it does not exist, or what to load to know."""
        found = self._rows[table.name].get(row_id)
        if found is not None:
            return found
        key = (table.name, _BY_ID, (row_id,))
        if self.covers(*key, START, END):
            self._ranges.move_to_end(key)
            return None
        # One more than there can be: a load that its limit cut would not know that nothing follows.
        return LoadRequest(*key, START, END, "asc", 2)

    def read(
        self,
        table: Table,
        index: Index,
        prefix: tuple[Any, ...],
        lower: Cut,
        upper: Cut,
        order: Order,
        limit: int,
    ) -> Found | LoadRequest:
        """Return up to `limit` rows in `order`, or the piece that has to be loaded first.

        `prefix` holds order values; the cuts stand behind it.
        """
        if not lower.precedes(upper):
            return Found([], 0, [])
        key = (table.name, index.name, prefix)
        held = self._ranges.get(key)
        if held is None:
            limit = max(_MIN_LOAD, min(limit, _FIRST_LOAD))
            return LoadRequest(*key, lower, upper, order, limit)
        self._ranges.move_to_end(key)
        found, missing = held.read(lower, upper, order, limit)
        if missing is None:
            return found
        limit -= len(found.documents)
        return LoadRequest(*key, *missing, order, max(limit, _MIN_LOAD))

    def covers(
        self, table: str, index: str, prefix: tuple[Any, ...], lower: Cut, upper: Cut
    ) -> bool:
        """Tell whether all rows between the cuts are in memory."""
        held = self._ranges.get((table, index, prefix))
        return held is not None and held.covers(lower, upper)

    def is_unchanged(self, keys: frozenset[str], since: int, *, besides: int = 0) -> bool:
        """Tell whether nothing under these keys changed after `since`; False when not known.

        What the commit `besides` changed does not count.
        """
        if not self._history_start <= since <= self.ts:
            return False
        for commit in reversed(self._history):
            if commit.ts <= since:
                break
            if commit.ts != besides and _meets(commit, keys):
                return False
        return True

    # --- moving forward

    def apply(self, commit: Commit) -> list[Touched]:
        """Move to `commit.ts` and return what changed, in order.

        Raises:
            CommitGap: the commit does not follow; memory is unchanged.
        """
        if commit.ts <= self.ts or commit.prev_ts not in (None, self.ts):
            raise CommitGap(f"at {self.ts}, got {commit.prev_ts} -> {commit.ts}")
        for name in commit.resets:
            self._forget(name)
        touched = [
            self._apply_change(self.schema.tables[change.table], change)
            for change in commit.changes
            if change.table in self.schema.tables and change.table not in commit.resets
        ]
        self.ts = commit.ts
        self._remember(commit)
        return touched

    def install(self, result: LoadResult) -> Installed:
        """Add a loaded piece, brought from its own ts to memory's."""
        if result.ts > self.ts:
            return Installed.TOO_NEW
        request = result.request
        table = self.schema.tables.get(request.table)
        if table is None or request.index not in table.indexes or result.ts < self._history_start:
            return Installed.TOO_OLD
        since = [commit for commit in self._history if commit.ts > result.ts]
        if any(request.table in commit.resets for commit in since):
            return Installed.TOO_OLD
        index = table.indexes[request.index]
        loaded = [_decode(table, image) for image in result.images]
        lower, upper = _covered(request, table, index, loaded)
        rows = {row.id: row for row in loaded}
        for commit in since:
            for change in commit.changes:
                if change.table == request.table:
                    rows.pop(change.id, None)
                    row = _row_of(table, change)
                    if row is not None:
                        rows[change.id] = row
        self._fill(table, index, request.prefix, lower, upper, rows)
        return Installed.DONE

    def evict(self) -> None:
        """Let go of the ranges not read for longest until memory fits its budget."""
        while self.size_bytes > self.max_bytes and len(self._ranges) > 1:
            self._drop_range(next(iter(self._ranges.values())))

    # --- inside

    def _fill(
        self,
        table: Table,
        index: Index,
        prefix: tuple[Any, ...],
        lower: Cut,
        upper: Cut,
        rows: dict[str, Row],
    ) -> None:
        held = self._range(table.name, index.name, prefix)
        known = self._rows[table.name]
        placed: list[tuple[Suffix, Row]] = []
        for row in rows.values():
            position = table.position(index, row.document.fields)
            suffix = suffix_between(position, prefix, lower, upper)
            if suffix is not None:
                placed.append((suffix, known.get(row.id, row)))
        for _, row in placed:
            self._hold(table.name, row)
        for row in held.replace(lower, upper, placed):
            self._release(table.name, row)
        for row in rows.values():
            row.document.fold()  # its place is known; most rows are only sent

    def _apply_change(self, table: Table, change: Change) -> Touched:
        known = self._rows[table.name]
        touched = Touched(table, change, known.get(change.id))
        for index_name, length in self._shapes[table.name]:
            index = table.indexes[index_name]
            before, after = touched.before, touched.after
            if before is not None:
                self._leave(table, index, length, before)
            if after is not None:
                self._enter(table, index, length, after)
        return touched

    def _leave(self, table: Table, index: Index, length: int, row: Row) -> None:
        position = table.position(index, row.document.fields)
        held = self._ranges.get((table.name, index.name, position[:length]))
        if held is not None and held.drop(position[length:]):
            self._release(table.name, row)

    def _enter(self, table: Table, index: Index, length: int, row: Row) -> None:
        position = table.position(index, row.document.fields)
        held = self._ranges.get((table.name, index.name, position[:length]))
        if held is not None and held.contains(position[length:]):
            held.put(position[length:], row)
            self._hold(table.name, row)

    def _hold(self, table: str, row: Row) -> None:
        if row.holders == 0:
            self._rows[table][row.id] = row
            self.size_bytes += row.size_bytes
        row.holders += 1

    def _release(self, table: str, row: Row) -> None:
        row.holders -= 1
        if row.holders == 0:
            self.size_bytes -= row.size_bytes
            if self._rows[table].get(row.id) is row:
                del self._rows[table][row.id]

    def _range(self, table: str, index: str, prefix: tuple[Any, ...]) -> Range:
        key = (table, index, prefix)
        held = self._ranges.get(key)
        if held is None:
            held = self._ranges[key] = Range(*key)
            self._shapes[table][index, len(prefix)] += 1
            self.size_bytes += _RANGE_BYTES
        return held

    def _drop_range(self, held: Range) -> None:
        del self._ranges[held.table, held.index, held.prefix]
        shape = (held.index, len(held.prefix))
        self._shapes[held.table][shape] -= 1
        if not self._shapes[held.table][shape]:
            del self._shapes[held.table][shape]
        self.size_bytes -= _RANGE_BYTES
        for row in held.rows:
            self._release(held.table, row)

    def _forget(self, table: str) -> None:
        for held in [held for held in self._ranges.values() if held.table == table]:
            self._drop_range(held)

    def _remember(self, commit: Commit) -> None:
        self._history.append(commit)
        self._history_changes += 1 + len(commit.changes)
        self.history_bytes += _size_of(commit)
        while self._history_changes > self._max_history or self.history_bytes > _MAX_HISTORY_BYTES:
            oldest = self._history.popleft()
            self._history_changes -= 1 + len(oldest.changes)
            self.history_bytes -= _size_of(oldest)
            self._history_start = oldest.ts


def _row_of(table: Table, change: Change) -> Row | None:
    if change.document is not None:
        return Row(change.id, change.document, None)
    return None if change.image is None else _decode(table, change.image)


def _decode(table: Table, image: bytes) -> Row:
    return Row(*decode_row(table, image))


def _meets(commit: Commit, keys: frozenset[str]) -> bool:
    if commit.resets and any(key.partition("/")[0] in commit.resets for key in keys):
        return True
    return any(
        change.table in keys or not keys.isdisjoint(change.keys) for change in commit.changes
    )


def _size_of(commit: Commit) -> int:
    return sum(len(change.image) for change in commit.changes if change.image is not None)


def _covered(
    request: LoadRequest, table: Table, index: Index, loaded: list[Row]
) -> tuple[Cut, Cut]:
    """Return the part that a load made known: all of it, or up to the row where the limit cut."""
    if len(loaded) < request.limit:
        return request.after, request.before
    last = table.position(index, loaded[-1].document.fields)[len(request.prefix) :]
    if request.order == "asc":
        return request.after, Cut(last, 1)
    return Cut(last, -1), request.before
