"""One run of a query or mutation on memory: what it read, what it wrote, and its limits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from parley.clock import Clock, uuid7
from parley.engine.memory import Memory
from parley.engine.overlay import Overlay
from parley.engine.ranges import Row
from parley.errors import LimitExceeded, ValueInvalid, WriteRejected
from parley.functions.context import Entropy
from parley.functions.transaction import Scan
from parley.store.rows import encode_document
from parley.store.tables import (
    CREATION_FIELD,
    END,
    ID_FIELD,
    START,
    Cut,
    Schema,
    Table,
    order_value,
    suffix_between,
)
from parley.store.types import LoadRequest
from parley.values import Document

_BY_ID: Final = "by_id"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use.

    Attributes:
        max_documents: rows read.
        max_bytes_read: bytes of wire JSON of the rows read.
        max_ranges: index ranges read.
        max_writes: rows written.
        max_bytes_written: bytes of wire JSON written.
        max_run_s: seconds on a processor; looked at whenever it reads or writes.
    """

    max_documents: int = 16_000
    max_bytes_read: int = 16 << 20
    max_ranges: int = 1024
    max_writes: int = 1000
    max_bytes_written: int = 4 << 20
    max_run_s: float = 1.0


class CpuTime:
    """The time that this thread has run for, asked for now and then only: it is a system call."""

    _EVERY_S: Final = 0.05

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked_at = clock.monotonic()
        self._cpu = clock.cpu()

    def at_most(self) -> float:
        """Return a bound: no thread runs for longer than time passes."""
        now = self._clock.monotonic()
        if now - self._asked_at > self._EVERY_S:
            self._asked_at, self._cpu = now, self._clock.cpu()
        return self._cpu + now - self._asked_at


@dataclass(slots=True)  # made for every read: frozen ones take three times as long
class Read:
    """What one scan learned: the rows of an index under a prefix, between two cuts."""

    key: str
    table: str
    index: str
    prefix: tuple[Any, ...]
    lower: Cut
    upper: Cut

    @classmethod
    def of_load(cls, request: LoadRequest) -> Read:
        """Return what somebody depends on who could not read what this asked for."""
        table, index, prefix = request.table, request.index, request.prefix
        return cls(table, table, index, prefix, request.after, request.before)


class MutationIds:
    """Fresh row ids of one call: the same sequence on every run of it."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._count = 0

    def next(self) -> str:
        """Return the next id: ordered within the call, random otherwise."""
        self._count += 1
        # 12 bits of order in front of 62 bits of chance: rows of one call sort as they were made.
        order = min(self._count, 0xFFF) << 62
        seed = b"%d/%d" % (self._entropy.seed, self._count)
        digest = hashlib.blake2b(seed, digest_size=8).digest()
        chance = int.from_bytes(digest, "big") & ((1 << 62) - 1)
        return uuid7(self._entropy.now_ms, order | chance)


class RunTransaction:
    """Fulfils `functions.transaction.Transaction` on memory plus an overlay.

    Args:
        started_cpu: `clock.cpu()` at the start, or a little more; asked for if None.

    Attributes:
        reads: every read so far; together they decide what can change the outcome.
        overlay: None in a query, which cannot write.
    """

    def __init__(
        self,
        memory: Memory,
        limits: Limits,
        clock: Clock,
        *,
        overlay: Overlay | None = None,
        next_creation_us: Callable[[], int] | None = None,
        new_id: Callable[[], str] | None = None,
        started_cpu: float | None = None,
    ) -> None:
        self._memory = memory
        self._limits = limits
        self._clock = clock
        self._started_cpu = clock.cpu() if started_cpu is None else started_cpu
        self._look_at = clock.monotonic() + limits.max_run_s
        self._next_creation_us = next_creation_us
        self._new_id = new_id
        self._documents = self._bytes_read = self._writes = self._bytes_written = 0
        self._is_closed = False
        self.overlay = overlay
        self._deleted: set[tuple[str, str]] = set()
        self.reads: list[Read] = []

    @property
    def schema(self) -> Schema:
        """The watched tables."""
        return self._memory.schema

    def close(self) -> None:
        """End the run: a context that escaped it can neither read nor write any more."""
        self._is_closed = True

    # --- reads

    def get(self, table: Table, row_id: str) -> Document | LoadRequest | None:
        """Return one row by its id."""
        self._check()
        read = Read(f"{table.name}/{row_id}", table.name, _BY_ID, (row_id,), START, END)
        if self.overlay is not None:
            written = self.overlay.rows.get(table.name)
            if written is not None and row_id in written:
                self._note(read)
                return written[row_id]
        row = self._memory.row(table, row_id)
        if isinstance(row, LoadRequest):
            return row
        self._note(read)
        if row is None:
            return None
        self._count(1, len(row.document.json))
        self._check_faults(table, [row], [row.document])
        return row.document

    def scan(self, scan: Scan) -> list[Document] | LoadRequest:
        """Return the rows of a scan in its order."""
        self._check()
        allowed = self._limits.max_documents - self._documents + 1
        limit = allowed if scan.limit is None else min(scan.limit, allowed)
        columns = scan.index.columns[: len(scan.prefix)]
        prefix = tuple(order_value(c, v) for c, v in zip(columns, scan.prefix, strict=True))
        written = self.overlay.rows.get(scan.table.name) if self.overlay is not None else None
        read = self._memory.read(
            scan.table,
            scan.index,
            prefix,
            scan.lower,
            scan.upper,
            scan.order,
            limit + len(written or ()),
        )
        if isinstance(read, LoadRequest):
            return read
        found, json_bytes, faulty = read
        if written:
            faulty = [row for row in faulty if row.id not in written]
            found = [document for document in found if document[ID_FIELD] not in written]
            found = _merge(scan, prefix, found, written)[:limit]
            json_bytes = sum([len(document.json) for document in found])
        # First of all what was looked at: a run that fails depends on it too.
        self._note_scan(scan, prefix, found, limit)
        self._count(len(found), json_bytes)
        self._check_faults(scan.table, faulty, found)
        return found

    def _note_scan(
        self, scan: Scan, prefix: tuple[Any, ...], found: list[Document], limit: int
    ) -> None:
        """Record what part of the index decided `found`: up to its last row if the limit cut."""
        lower, upper = scan.lower, scan.upper
        if len(found) >= limit:
            last = scan.table.position(scan.index, found[-1].fields)[len(prefix) :]
            lower, upper = (lower, Cut(last, 1)) if scan.order == "asc" else (Cut(last, -1), upper)
        key = scan.table.key(scan.index, scan.prefix)
        self._note(Read(key, scan.table.name, scan.index.name, prefix, lower, upper))

    def _count(self, documents: int, json_bytes: int) -> None:
        self._documents += documents
        self._bytes_read += json_bytes
        if self._documents > self._limits.max_documents:
            raise LimitExceeded(
                f"a function may read {self._limits.max_documents} documents; "
                "use take() or paginate()"
            )
        if self._bytes_read > self._limits.max_bytes_read:
            raise LimitExceeded(f"a function may read {self._limits.max_bytes_read} bytes")

    def _note(self, read: Read) -> None:
        self.reads.append(read)
        if len(self.reads) > self._limits.max_ranges:
            raise LimitExceeded(f"a function may read {self._limits.max_ranges} index ranges")

    def _check_faults(self, table: Table, rows: Iterable[Row], found: Sequence[Document]) -> None:
        for row in rows:
            if row.fault is not None and any(row.document is each for each in found):
                raise ValueInvalid(f"row {table.name}/{row.id} cannot be shown: {row.fault}")

    # --- writes

    def insert(self, table: Table, fields: Mapping[str, Any]) -> str:
        """Add a row and return its id."""
        assert self._next_creation_us is not None  # noqa: S101
        assert self._new_id is not None  # noqa: S101
        row_id = fields.get(ID_FIELD) or self._new_id()
        if (table.name, row_id) in self._deleted and table.name in self.schema.referenced:
            # Their net effect would be an update, which leaves what a delete cascades to.
            raise WriteRejected(f"{table.name}/{row_id} was deleted by this mutation")
        creation = self._next_creation_us() / 1000
        made = {**fields, ID_FIELD: row_id, CREATION_FIELD: creation}
        self._write(table, row_id, made, is_new=True)
        return str(row_id)

    def update(self, table: Table, document: Document, fields: Mapping[str, Any]) -> None:
        """Give a row exactly `fields`, and its own id and creation time."""
        kept = {ID_FIELD: document[ID_FIELD], CREATION_FIELD: document[CREATION_FIELD]}
        self._write(table, document[ID_FIELD], {**fields, **kept}, before=document)

    def delete(self, table: Table, document: Document) -> None:
        """Remove a row."""
        self._write(table, document[ID_FIELD], None)
        self._deleted.add((table.name, document[ID_FIELD]))

    def _write(
        self,
        table: Table,
        row_id: str,
        fields: dict[str, Any] | None,
        *,
        before: Document | None = None,
        is_new: bool = False,
    ) -> None:
        self._check()
        assert self.overlay is not None  # noqa: S101 (a query's ctx.db has no method that writes)
        row, document = None, None
        if fields is not None:
            row, document = encode_document(table, fields, before)
            self._bytes_written += len(document.json)
        self._writes += 1
        if self._writes > self._limits.max_writes:
            raise LimitExceeded(f"a mutation may write {self._limits.max_writes} documents")
        if self._bytes_written > self._limits.max_bytes_written:
            raise LimitExceeded(f"a mutation may write {self._limits.max_bytes_written} bytes")
        self.overlay.put(table.name, row_id, document, row, is_new=is_new)

    def _check(self) -> None:
        if self._is_closed:
            raise RuntimeError("ctx.db was used after its function ended")
        # Nobody uses more of a processor than time passes; asking for the latter costs a tenth.
        if self._clock.monotonic() > self._look_at:
            self._check_time()

    def _check_time(self) -> None:
        left = self._limits.max_run_s - (self._clock.cpu() - self._started_cpu)
        if left < 0:
            raise LimitExceeded(f"a function may run for {self._limits.max_run_s} s")
        self._look_at = self._clock.monotonic() + left


def _merge(
    scan: Scan,
    prefix: tuple[Any, ...],
    documents: list[Document],
    written: dict[str, Document | None],
) -> list[Document]:
    """Return memory's unwritten documents with the overlay's in their places, in scan order."""
    placed = [
        (scan.table.position(scan.index, document.fields)[len(prefix) :], document)
        for document in documents
    ]
    for newest in written.values():
        if newest is None:
            continue
        position = scan.table.position(scan.index, newest.fields)
        suffix = suffix_between(position, prefix, scan.lower, scan.upper)
        if suffix is not None:
            placed.append((suffix, newest))
    placed.sort(key=lambda pair: pair[0], reverse=scan.order == "desc")
    return [document for _, document in placed]
