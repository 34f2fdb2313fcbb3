"""Runs functions on a model database the way the engine does, but one at a time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from parley.engine.memory import Installed, Memory
from parley.engine.overlay import Overlay
from parley.engine.runner import Failed, Returned, RunOutcome, drive
from parley.engine.transaction import Limits, RunTransaction
from parley.functions.database import DatabaseWriter
from parley.functions.pagination import Pager
from parley.store.tables import Schema
from parley.store.types import LoadRequest
from tests.support.clock import FakeClock
from tests.support.modelstore import ModelStore
from tests.support.tables import SCHEMA, Fields, uuid

Use = Callable[[DatabaseWriter], Coroutine[Any, Any, Any]]

NEW_ID = uuid(0xABC)
SECRET = b"a secret of 32 bytes for cursors"


class Runner:
    """Runs one function after another; each sees what was written before.

    Attributes:
        store: the database.
        memory: follows it at once.
        overlay: what was written and not committed.
        last: the transaction of the last run.
        journal: of the last run.
    """

    def __init__(self, *rows: tuple[str, Fields], schema: Schema = SCHEMA, **limits: Any) -> None:
        self.store = ModelStore(schema)
        self.store.write(*[(table, fields["_id"], fields) for table, fields in rows])
        self.memory = Memory(schema, self.store.ts, max_bytes=1 << 20)
        self.limits = Limits(**limits)
        self.clock = FakeClock()
        self.overlay = Overlay()
        self.journal: str | None = None
        self.secret = SECRET
        self.creation_us = 1_000_000_000
        self.last = self._transaction()

    def write(self, *rows: tuple[str, str, Fields | None]) -> None:
        """Let somebody else commit."""
        self.memory.apply(self.store.write(*rows))

    def outcome(self, use: Use, journal: str | None = None) -> RunOutcome:
        """Run `use(db)`, loading what it lacks."""
        while True:
            self.last = self._transaction()
            pager = Pager(self.secret, journal, self.limits.max_documents)
            mark = self.overlay.mark()
            found = drive(use(DatabaseWriter(self.last, pager)), "m:f")
            self.journal = pager.journal
            if not isinstance(found, LoadRequest):
                return found
            self.overlay.roll_back(mark)
            assert self.memory.install(self.store.load(found)) is Installed.DONE

    def value(self, use: Use, journal: str | None = None) -> Any:
        """Return what `use(db)` returns."""
        found = self.outcome(use, journal)
        assert isinstance(found, Returned), found
        return found.value

    def error(self, use: Use, journal: str | None = None) -> Any:
        """Return the error in which `use(db)` ends."""
        found = self.outcome(use, journal)
        assert isinstance(found, Failed), found
        return found.error

    def _transaction(self) -> RunTransaction:
        return RunTransaction(
            self.memory,
            self.limits,
            self.clock,
            overlay=self.overlay,
            next_creation_us=self._next_creation_us,
            new_id=lambda: NEW_ID,
        )

    def _next_creation_us(self) -> int:
        self.creation_us += 1000
        return self.creation_us
