"""Writes that memory does not hold yet, and what Postgres is to make of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from parley.store.rows import is_image_of
from parley.store.tables import Schema
from parley.store.types import Change, Commit, RowWrite
from parley.values import Document

_Key = tuple[str, str]


class _Written(NamedTuple):
    """What this overlay does to one row.

    Attributes:
        is_new: the row did not exist before.
        row: the newest version by columns; empty when deleted.
    """

    is_new: bool
    row: Mapping[str, Any]


class _Before(NamedTuple):
    """How to undo a `put`."""

    table: str
    row_id: str
    had_version: bool
    version: Document | None
    written: _Written | None


_NOTHING: Final[Mapping[str, Any]] = {}


class Overlay:
    """Writes of one run, of earlier ones in the same batch, and of the batch it stands on.

    Args:
        base: of the batch in flight, whose writes memory does not hold yet either.

    Attributes:
        rows: table -> row id -> newest version; None says that it is deleted.
    """

    def __init__(self, base: Overlay | None = None) -> None:
        self.rows: dict[str, dict[str, Document | None]] = {}
        self._written: dict[_Key, _Written] = {}
        self._undo: list[_Before] = []
        if base is not None:
            self.rows = {table: dict(versions) for table, versions in base.rows.items()}

    def put(
        self,
        table: str,
        row_id: str,
        version: Document | None,
        row: Mapping[str, Any] | None = None,
        *,
        is_new: bool = False,
    ) -> None:
        """Set the newest version of a row.

        Args:
            table: of the row.
            row_id: of the row.
            version: the row as functions see it; None deletes it.
            row: the same by columns, ready to be sent.
            is_new: whether there is no such row now.
        """
        versions, key = self.rows.setdefault(table, {}), (table, row_id)
        written = self._written.get(key)
        self._undo.append(_Before(table, row_id, row_id in versions, versions.get(row_id), written))
        versions[row_id] = version
        self._written[key] = _Written(
            is_new if written is None else written.is_new, row or _NOTHING
        )

    def mark(self) -> int:
        """Return a place to roll back to."""
        return len(self._undo)

    def written_since(self, mark: int) -> frozenset[_Key]:
        """Return the (table, id) of every row put since `mark`."""
        return frozenset([(before.table, before.row_id) for before in self._undo[mark:]])

    def roll_back(self, mark: int) -> None:
        """Undo every `put` since `mark`."""
        while len(self._undo) > mark:
            table, row_id, had_version, version, written = self._undo.pop()
            if had_version:
                self.rows[table][row_id] = version
            else:
                del self.rows[table][row_id]
            if written is not None:
                self._written[table, row_id] = written
            else:
                del self._written[table, row_id]

    def forget_base(self) -> None:
        """Keep only what was put here: memory holds the rest, or is about to."""
        rows: dict[str, dict[str, Document | None]] = {}
        for table, row_id in self._written:
            rows.setdefault(table, {})[row_id] = self.rows[table][row_id]
        self.rows = rows

    def net_writes(self) -> tuple[RowWrite, ...]:
        """Return the effect of all writes: one for each row that differs."""
        writes = []
        for (table, row_id), (is_new, row) in self._written.items():
            if self.rows[table][row_id] is not None:
                writes.append(RowWrite(table, row_id, "insert" if is_new else "update", row))
            elif not is_new:
                writes.append(RowWrite(table, row_id, "delete"))
        return tuple(writes)

    def recognised(self, commit: Commit, writes: int, schema: Schema) -> Commit | None:
        """Return the commit with its documents, if Postgres made of `writes` rows what was sent.

        None where it made anything else: a trigger of the app may change a row, or write others.
        """
        if commit.resets or commit.is_schema_change or len(commit.changes) != writes:
            return None
        known = []
        for change in commit.changes:
            found = self._recognised(change, schema)
            if found is None:
                return None
            known.append(found)
        return replace(commit, changes=tuple(known))

    def _recognised(self, change: Change, schema: Schema) -> Change | None:
        written = self._written.get((change.table, change.id))
        if written is None:
            return None
        version = self.rows[change.table][change.id]
        if version is None or change.image is None:
            return change if version is None and change.image is None else None
        if not is_image_of(schema.tables[change.table], change.image, written.row):
            return None
        return Change(change.table, change.id, change.keys, change.image, version)
