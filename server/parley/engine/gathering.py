"""Mutations that have run and wait to be sent together, and the batch that is on its way. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from parley.engine.batch import Entry, Mutation, SpacingKey, batch_entry
from parley.engine.memory import Memory
from parley.engine.overlay import Overlay
from parley.store.tables import Schema
from parley.store.types import Batch, Commit


@dataclass(slots=True)
class Gathering:
    """Mutations that ran one after another, to be sent as one batch.

    They ran on memory at `head`, and on the writes of the batch in flight where there is one.

    Attributes:
        head: ts of a state in which all they read is as they read it.
        schema: the tables they know.
        overlay: what they wrote.
        entries: in the order they ran.
        size_bytes: about what they add to the batch.
        is_closed: no more may join.
        may_cascade: Postgres may delete more rows than they did.
        base_ts: the commit that they stand on beside `head`; 0 when there is none.
        spacings: for each spacing key of theirs, the seconds between its commits.
    """

    head: int
    schema: Schema
    overlay: Overlay = field(default_factory=Overlay)
    entries: list[Entry] = field(default_factory=list)
    size_bytes: int = 0
    is_closed: bool = False
    may_cascade: bool = False
    base_ts: int = 0
    spacings: dict[SpacingKey, float] = field(default_factory=dict)

    @classmethod
    def on(cls, memory: Memory, base: Overlay | None = None) -> Gathering:
        """Return an empty one that stands on memory, and on the writes of `base`."""
        return cls(memory.ts, memory.schema, Overlay(base))

    @property
    def mutations(self) -> list[Mutation]:
        """What ran."""
        return [entry.mutation for entry in self.entries]

    def add(self, entry: Entry) -> None:
        """Let a mutation that just ran join."""
        self.entries.append(entry)
        self.size_bytes += entry.size_bytes
        key = entry.mutation.spacing_key
        if key is not None:
            self.spacings[key] = entry.mutation.spacing_s

    def stands_on(self, memory: Memory) -> bool:
        """Tell whether memory is as it was when these ran, so that more may join."""
        return self.head == memory.ts and self.schema is memory.schema

    def base_landed(self, flight: Flight, commit: Commit) -> None:
        """Hear that the batch they stand on was committed, just as they saw it."""
        self.overlay.forget_base()
        if not flight.batch.must_commit:
            return  # it wrote nothing
        if commit.prev_ts == flight.batch.head:
            self.head = commit.ts  # nobody came in between
        else:
            self.base_ts = commit.ts

    def catch_up(self, memory: Memory) -> bool:
        """Move `head` to memory's ts, if that is behind the commit they stand on.

        False if something they read has changed meanwhile, or is not known not to have: they have
        to run again.
        """
        if self.schema is not memory.schema:
            return False
        if self.base_ts == 0:
            return True  # Postgres looks at what came after `head`
        keys = frozenset().union(*[entry.reads for entry in self.entries])
        if not memory.is_unchanged(keys, self.head, besides=self.base_ts):
            return False
        self.head, self.base_ts = memory.ts, 0
        return True

    def batch(self) -> Batch:
        """Return the batch to send."""
        sent = tuple([batch_entry(entry) for entry in self.entries])
        must_commit = any(entry.is_kept for entry in sent)
        return Batch(self.head, sent, self.overlay.net_writes(), must_commit=must_commit)


@dataclass(slots=True)
class Flight:
    """A batch that Postgres has been asked to commit.

    Attributes:
        batch: what was sent.
        gathered: the runs it was made of.
        is_of_another_past: the database was replaced since; whatever it says counts for nothing.
    """

    batch: Batch
    gathered: Gathering
    is_of_another_past: bool = False

    def recognised(self, commit: Commit, schema: Schema) -> Commit | None:
        """Return the commit with its documents, if it is just what was sent; see `Overlay`.

        Never where the tables are others by now: a new column may have a default.
        """
        if self.gathered.schema is not schema:
            return None
        if not self.batch.must_commit:
            return commit
        gathered, writes = self.gathered, len(self.batch.writes)
        return gathered.overlay.recognised(commit, writes, gathered.schema)
