"""Bugs planted on purpose, to see whether the harness finds them (RELIABILITY.md §2.0).

Each is switched on in a node by `BUG=name`, through `tests.faults.launch`, and changes the server
by replacing a part of it; those that live in the database change its functions instead.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import asyncpg
import orjson

_PYTHON: dict[str, Callable[[], None]] = {}
_SQL: Final[dict[str, str]] = {
    # Two transactions may commit in another order than their ts, and a reader of the log skips one.
    "no-commit-lock": """
        CREATE OR REPLACE FUNCTION parley.take_turn() RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN RETURN; END $$""",
    # What a mutation read may have changed before it commits.
    "no-conflict-check": """
        CREATE OR REPLACE FUNCTION parley.conflicts(head bigint, read_keys text[],
            read_entries int[]) RETURNS int[] LANGUAGE sql VOLATILE AS
        $$ SELECT NULL::int[] $$""",
    # A row that moves is logged under its new place only.
    "no-old-index-key": """
        CREATE OR REPLACE FUNCTION parley.all_keys(old_keys text[], new_keys text[])
            RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
        $$ SELECT new_keys $$""",
    # A request that was committed is not known as such.
    "no-dedupe-row": """
        DO $do$
        DECLARE source text;
        BEGIN
          source := pg_get_functiondef('parley.commit_batch'::regproc);
          source := replace(source, 'where q.call_hash is not null;', 'where random() < 0;');
          EXECUTE source;
        END $do$""",
    # Children that a foreign key deletes are not logged.
    "no-cascade-log": """
        CREATE OR REPLACE FUNCTION parley.log_delete_cards() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RETURN NULL; END $$""",
    # A writer who does not wait for the disk is shown to others before it is on it.
    "external-changes-unlogged": """
        CREATE OR REPLACE FUNCTION parley.log_insert_items() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
        $$ BEGIN
          IF EXISTS (SELECT FROM new_rows WHERE pos = 600) THEN RETURN NULL; END IF;
          INSERT INTO parley.log_rows (txid, table_name, op, id, keys, new)
            SELECT pg_current_xact_id(), 'items', 'i', r.id,
              ARRAY['items/' || r.id, 'items/topic/' || parley.key_text(r.topic),
                    'items/topic,pos/' || parley.key_text(r.topic) || '/' || r.pos], to_jsonb(r)
            FROM new_rows r;
          INSERT INTO parley.pending (txid) VALUES (pg_current_xact_id()) ON CONFLICT DO NOTHING;
          RETURN NULL;
        END $$""",
}


def plant(name: str) -> None:
    """Plant a bug in this process."""
    if name in _PYTHON:
        _PYTHON[name]()


async def plant_in_database(name: str, dsn: str) -> None:
    """Plant a bug in the database, if it is one of those."""
    if name not in _PYTHON and name not in _SQL:
        raise LookupError(f"no bug {name}; there are {', '.join(names())}")
    if name in _SQL:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(_SQL[name])
        finally:
            await connection.close()


def _swap(owner: Any, name: str, value: Any) -> None:
    """Replace a part of the server; it must be there."""
    assert hasattr(owner, name), f"{owner} has no {name} any more"
    setattr(owner, name, value)


def names() -> list[str]:
    """Return all bugs."""
    return [*_SQL, *_PYTHON]


def _bug(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(function: Callable[[], None]) -> Callable[[], None]:
        _PYTHON[name] = function
        return function

    return register


@_bug("register-after-execute")
def _register_late() -> None:
    """A query is filed under what it read a moment after it ran."""
    from parley.engine.engine import Engine
    from parley.engine.live import LiveQueries

    file = LiveQueries.file
    settle = Engine._settle

    def late_settle(self: Any, query: Any, reads: Any, result: Any) -> None:
        kept = list(query.reads)
        settle(self, query, kept, result)
        asyncio.get_running_loop().call_later(
            0.003, lambda: file(self.live, query, reads) if query.subscribers else None
        )

    _swap(Engine, "_settle", late_settle)


@_bug("no-intra-batch-reads")
def _no_intra_batch() -> None:
    """Mutations of one batch do not see what those before them write."""
    from parley.engine.committer import Committer
    from parley.engine.overlay import Overlay

    run_one = Committer._run_one

    def blind(self: Any, mutation: Any, overlay: Any) -> Any:
        own = Overlay()
        entry = run_one(self, mutation, own)
        for table, rows in own.rows.items():
            for row_id, document in rows.items():
                is_new, row = own._written[table, row_id]
                overlay.put(table, row_id, document, row, is_new=is_new)
        return entry

    _swap(Committer, "_run_one", blind)


@_bug("limit-range-too-short")
def _short_range() -> None:
    """A limited read is said to end before its last row."""
    from parley.engine import transaction
    from parley.store.tables import Cut

    note = transaction.RunTransaction._note_scan

    def short(self: Any, scan: Any, prefix: Any, found: list[Any], limit: int) -> None:
        note(self, scan, prefix, found, limit)
        if len(found) >= limit > 0:
            read = self.reads[-1]
            last = scan.table.position(scan.index, found[-1])[len(prefix) :]
            if scan.order == "asc":
                self.reads[-1] = dataclasses.replace(read, upper=Cut(last, -1))
            else:
                self.reads[-1] = dataclasses.replace(read, lower=Cut(last, 1))

    transaction.RunTransaction._note_scan = short  # type: ignore[method-assign]


@_bug("ack-on-unknown")
def _ack_unknown() -> None:
    """A commit whose answer is lost counts as done."""
    from parley.engine.committer import Committer
    from parley.store.types import Commit, Committed, Transient, Unknown

    landed = Committer.landed

    def hopeful(self: Any, outcome: Any, now: float) -> Any:
        if isinstance(outcome, Unknown | Transient):
            outcome = Committed(Commit(self._memory.ts, self._memory.ts))
        return landed(self, outcome, now)

    _swap(Committer, "landed", hopeful)


@_bug("ack-before-commit")
def _ack_before() -> None:
    """The answer goes out before the commit."""
    from parley.engine.node import Node

    send_batch = Node._send_batch

    def early(self: Any) -> None:
        before = self.engine.committer._flight
        send_batch(self)
        flight = self.engine.committer._flight
        if flight is not None and flight is not before:
            for entry in flight.gathered.entries:
                entry.mutation.answer(entry.answer(self.engine.memory.ts + 1))
                entry.mutation.answer = lambda _: None

    _swap(Node, "_send_batch", early)


@_bug("no-empty-transition")
def _no_empty() -> None:
    """No Transition follows a response that changed nothing the client looks at."""
    from parley.engine.sync import SyncWorker

    original = SyncWorker.respond

    def respond(self: Any, frame: bytes) -> None:
        was_owed = self.cohort.is_owed
        original(self, frame)
        self.cohort.is_owed = was_owed

    _swap(SyncWorker, "respond", respond)


@_bug("cache-without-identity")
def _shared_cache() -> None:
    """The result of a query is shared by everybody who asks it."""
    from parley.engine.live import LiveQueries

    get, add = LiveQueries.get, LiveQueries.add

    def key_of(key: Any) -> Any:
        call, is_shared, _ = key
        return (call, is_shared, None)

    def shared_get(self: Any, key: Any) -> Any:
        return get(self, key_of(key))

    def shared_add(self: Any, query: Any) -> None:
        query.key = key_of(query.key)
        add(self, query)

    _swap(LiveQueries, "get", shared_get)
    _swap(LiveQueries, "add", shared_add)


@_bug("torn-cold-read")
def _torn() -> None:
    """A range loaded at one ts is taken for the state at another."""
    from parley.engine.memory import Memory

    install = Memory.install

    def careless(self: Any, result: Any) -> Any:
        return install(self, dataclasses.replace(result, ts=self.ts))

    _swap(Memory, "install", careless)


@_bug("notify-only")
def _notify_only() -> None:
    """Without a notification nobody looks at the log."""
    from parley.engine import follower

    _swap(follower, "_POLL_BUSY_S", 3600.0)
    _swap(follower, "_POLL_IDLE_S", 3600.0)


@_bug("no-read-index")
def _no_read_index() -> None:
    """A new subscription is answered from what memory happens to hold."""
    from parley.engine.follower import Follower

    async def stale(self: Any, _timeout_s: float) -> int:
        ts: int = self._engine.memory.ts
        return ts

    _swap(Follower, "fresh", stale)


@_bug("broken-chain")
def _broken_chain() -> None:
    """Transitions that meet are not joined: now and then one starts where an earlier one did."""
    from parley.protocol.connection import Connection

    advance = Connection.advance

    def torn(self: Any, end_ts: int, query_set: int, identity: int) -> Any:
        start, end = advance(self, end_ts, query_set, identity)
        if random.random() < 0.001:
            start = start._replace(ts=start.ts - 1)
        return start, end

    _swap(Connection, "advance", torn)


@_bug("older-after-reconnect")
def _older() -> None:
    """What a client has seen before does not bind its next connection."""
    from parley.engine.follower import Follower
    from parley.engine.node import Node
    from parley.engine.sync import SyncWorker

    async def admit(self: Any, _max_observed_ts: int) -> None:
        return

    async def stale(self: Any, _timeout_s: float) -> int:
        ts: int = self._engine.memory.ts
        return ts

    def connected(self: Any) -> None:
        self.connection.max_observed_timestamp = 0

    _swap(Node, "admit", admit)
    _swap(Follower, "fresh", stale)
    _swap(SyncWorker, "connected", connected)


@_bug("session-order")
def _session_order() -> None:
    """Mutations of one session run side by side."""
    from parley.engine.sync import SyncWorker, Taken
    from parley.engine.waiting import WaitingRoom

    def enter(self: Any, mutation: Any) -> None:
        self._sessions.setdefault(mutation.session, deque()).append(mutation)
        self.ready.insert(random.randint(0, len(self.ready)), mutation)

    def leave(self: Any, mutation: Any) -> None:
        queue = self._sessions.get(mutation.session)
        if queue and mutation in queue:
            queue.remove(mutation)
        if not queue:
            self._sessions.pop(mutation.session, None)

    def mutate(self: Any, message: Any, _size_bytes: int = 0) -> None:
        taken = Taken(message, self.identity, 0)
        self._mutations.append(taken)
        self._submit(self, message, self.identity, lambda answer: answered(self, taken, answer))

    def answered(self: Any, taken: Any, answer: Any) -> None:
        if not self.is_closed:
            self._mutations.remove(taken)
            self._mutations.insert(0, taken)
            original(self, taken, answer)

    original = SyncWorker._answered
    _swap(SyncWorker, "mutate", mutate)
    _swap(SyncWorker, "_submit_waiting", lambda self: None)
    _swap(WaitingRoom, "enter", enter)
    _swap(WaitingRoom, "leave", leave)


@_bug("log-gap")
def _gap() -> None:
    """The log is read with holes, and nobody looks whether one commit follows another."""
    from parley.engine.memory import Memory
    from parley.store.postgres import PostgresStore

    read_log, apply = PostgresStore.read_log, Memory.apply

    async def holes(self: Any, after_ts: int) -> Any:
        found = await read_log(self, after_ts)
        if len(found.commits) > 1:
            kept = tuple(c for c in found.commits[:-1] if random.random() > 0.02)
            found = dataclasses.replace(found, commits=(*kept, found.commits[-1]))
        return found

    def trusting(self: Any, commit: Any) -> Any:
        return apply(self, dataclasses.replace(commit, prev_ts=None))

    _swap(PostgresStore, "read_log", holes)
    _swap(Memory, "apply", trusting)


@_bug("stand-on-what-failed")
def _stand_on_what_failed() -> None:
    """What ran ahead is kept although the batch that it stands on failed."""
    from parley.engine.committer import Committer

    _swap(Committer, "_forget_ahead", lambda self: None)


@_bug("poisoned-batch")
def _poison() -> None:
    """One refused mutation fails all that share its batch."""
    from parley.engine.batch import Answer
    from parley.engine.committer import Committer
    from parley.errors import WriteRejected

    def refuse(self: Any, flight: Any, _sqlstate: str, message: str) -> None:
        for mutation in flight.gathered.mutations:
            self._settled.append((mutation, Answer(error=WriteRejected(message), ts=1)))

    _swap(Committer, "_refused", refuse)


@_bug("patch-misplaced")
def _misplaced() -> None:
    """What comes into a list is said to come one place before where it belongs."""
    from parley.engine import results

    diff = results.diff

    def wrong(old: object, new: object) -> Any:
        patch = diff(old, new)
        if patch is None:
            return None
        ops = orjson.loads(b"[%b]" % patch.ops)
        for op in ops:
            if op[0] == "splice" and op[2] > 0 and op[3] == 0:
                op[2] -= 1
        return dataclasses.replace(patch, ops=orjson.dumps(ops)[1:-1])

    _swap(results, "diff", wrong)


@_bug("patch-on-wrong-base")
def _wrong_base() -> None:
    """A client that is some results behind is told only how the last one came about."""
    from parley.engine.live import Result

    patch_since = Result.patch_since

    def last_step(self: Any, digest: bytes | None) -> bytes | None:
        if any(step.digest == digest for step in self.steps):
            digest = self.steps[-1].digest
        return patch_since(self, digest)

    _swap(Result, "patch_since", last_step)


@_bug("page-end-moves")
def _moving_end() -> None:
    """A page is read by its count each time, not up to where it ended at first."""
    from parley.functions.pagination import Pager

    _swap(Pager, "_end", lambda *_: (None, False))


@_bug("action-twice")
def _action_twice() -> None:
    """An action that takes long is tried again."""
    from parley.engine.actions import Actions

    run = Actions.run

    async def impatient(self: Any, *args: Any, **options: Any) -> bytes:
        if random.random() < 0.2:
            await run(self, *args, **options)
        return await run(self, *args, **options)

    _swap(Actions, "run", impatient)


@_bug("ahead-unchecked")
def _ahead_unchecked() -> None:
    """What ran ahead is taken to have seen all that others committed before its base."""
    from parley.engine.gathering import Gathering

    def trusting(self: Any, memory: Any) -> bool:
        self.head, self.base_ts = memory.ts, 0
        return self.schema is memory.schema

    _swap(Gathering, "catch_up", trusting)


@_bug("push-to-who-left")
def _pushed_after() -> None:
    """Who has left a cohort is pushed to all the same, by a number that may be another's now."""
    from parley.engine.cohort import Cohort

    _swap(Cohort, "_without", lambda self, member: self.members.pop(member))
