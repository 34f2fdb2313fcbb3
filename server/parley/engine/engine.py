"""The reactive core of a node, without I/O: memory, live queries and the committer, step by step.

                     commits (tail, own batches)           loaded pieces
                                |                                |
    submit -> Committer      Memory.apply ----------------- Memory.install
                 |              |  touched rows                  |  waiting runs
                 |              v                                v
              batch out     LiveQueries: dirty ---- run on memory at ts ---> results
                                                                              |
                                                    subscribers hear, then flush at one ts

Everything here happens inside one step of the event loop; between two steps memory may move. A
result is true at memory's ts as long as its query is not dirty, so a subscriber that holds no dirty
query may be told "all of this is true at ts".
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Any, Final, Protocol

from parley.clock import Clock
from parley.engine.batch import Mutation
from parley.engine.committer import Committer
from parley.engine.failures import report
from parley.engine.held import HeldResults
from parley.engine.live import Call, LiveQueries, LiveQuery, Result
from parley.engine.memory import Installed, Memory
from parley.engine.overlay import Overlay
from parley.engine.results import failure_of, result_of
from parley.engine.runner import Ended, Failed, NeedsIdentity, Returned, drive
from parley.engine.stats import Stats
from parley.engine.transaction import CpuTime, Limits, MutationIds, Read, RunTransaction
from parley.errors import FunctionFailed, Internal, LimitExceeded, ParleyError
from parley.functions.context import Auth, Entropy, MutationCtx, QueryCtx
from parley.functions.database import DatabaseReader, DatabaseWriter
from parley.functions.pagination import Pager
from parley.identity import Identity
from parley.store.tables import Schema
from parley.store.types import Batch, BatchOutcome, Commit, LoadRequest, LoadResult

_MAX_LOADS_PER_RUN: Final = 1100


class Flushed(Protocol):
    """A subscriber that is told when memory is settled, so that it can send what it owes."""

    def flush(self) -> None:
        """Send what is owed, if nothing that it holds is dirty."""
        ...


class Engine:
    """The core of one node. Not thread-safe; no method blocks or suspends.

    Attributes:
        memory: rows at one ts.
        live: the live queries.
        committer: the mutations.
        due: subscribers that want a flush in this step.
        later: subscribers that wait for ts to move.
        incarnation: which life of the database memory is of, as clients may see it: opaque text.
        settled_at: monotonic time at which live queries last began to be run and told.
        stats: counters that the metrics page shows.
        held: results that are kept for whoever lacks them.
    """

    def __init__(
        self,
        schema: Schema,
        ts: int,
        *,
        clock: Clock,
        cursor_secret: bytes,
        query_limits: Limits | None = None,
        mutation_limits: Limits | None = None,
        max_memory_bytes: int = 256 << 20,
        max_result_bytes: int = 8 << 20,
        max_waiting_mutations: int = 1024,
        redact_errors: bool = True,
    ) -> None:
        self._clock = clock
        self._cursor_secret = cursor_secret
        self._query_limits = query_limits or Limits(max_run_s=0.25)
        self._mutation_limits = mutation_limits or Limits()
        self._max_result_bytes = max_result_bytes
        self._redact = redact_errors
        self.memory = Memory(schema, ts, max_bytes=max_memory_bytes)
        self.live = LiveQueries()
        self.committer = Committer(
            self.memory,
            self._run_mutation,
            self._want,
            max_queue=max_waiting_mutations,
            max_result_bytes=max_result_bytes,
            monotonic=clock.monotonic,
        )
        self.held = HeldResults(max_bytes=max_memory_bytes // 2)
        self.due: dict[Flushed, None] = {}
        self.later: dict[Flushed, None] = {}
        self.incarnation = ""
        self.settled_at = clock.monotonic()
        self.stats = Stats()
        self._dirty: deque[LiveQuery] = deque()
        self._identity_paths: set[str] = set()
        self._waiting: dict[LoadRequest, list[LiveQuery | Mutation]] = {}
        self._new_loads: list[LoadRequest] = []
        self._early: list[LoadResult] = []
        self._incoming: deque[Commit] = deque()
        self._last_creation_us = 0
        self._last_now_ms = 0
        self._cpu = CpuTime(clock)
        self._chance = random.Random()  # noqa: S311 (ids and ctx.random, which keep no secrets)
        self.max_loads = _MAX_LOADS_PER_RUN

    # --- queries

    def subscribe(
        self,
        call: Call,
        identity: Identity | None,
        subscriber: Any,
        query_id: int,
        *,
        takes_patches: bool = False,
    ) -> LiveQuery:
        """Let `subscriber` follow a call; a call that others follow already is not run again.

        Running and registering are one step, so no commit falls between them (H3).
        """
        is_shared = call.function is None or call.function.path not in self._identity_paths
        who = None if is_shared or identity is None else identity.cache_key
        key = (call.key, is_shared, who)
        query = self.live.get(key)
        if query is None:
            query = LiveQuery(key, call, None if is_shared else identity, is_shared=is_shared)
            self.live.add(query)
            self._dirty.append(query)
        else:
            self.recall([query])
        query.add(subscriber, query_id, takes_patches=takes_patches)
        return query

    def recall(self, queries: Iterable[LiveQuery]) -> bool:
        """Run queries again if the result of one was let go of; tell whether that was so.

        All of them, for else the other results might be let go of before that one is here, and so
        on in turns for ever. Their digests will not change by it.
        """
        queries = list(queries)
        if not any(query.result is not None and query.result.is_forgotten for query in queries):
            return False
        for query in queries:
            if not query.is_dirty:
                self._mark(query)
        return True

    def unsubscribe(self, query: LiveQuery, subscriber: Any, query_id: int) -> None:
        """Undo `subscribe`; a live query without subscribers is forgotten."""
        query.remove(subscriber, query_id)
        if not query.subscribers:
            self.live.remove(query)
            self.held.leave(query)

    def now_ms(self) -> int:
        """Return the time in whole milliseconds; it never goes back on this node."""
        self._last_now_ms = max(self._last_now_ms, self._clock.wall_us() // 1000)
        return self._last_now_ms

    def entropy(self) -> Entropy:
        """Return time and chance for a new call."""
        return Entropy(self.now_ms(), self._chance.getrandbits(64))

    # --- inputs from the store

    @property
    def wants_commits(self) -> bool:
        """Whether the log should be read on: what was read before has been applied."""
        return not self._incoming

    def take_commits(self, commits: Iterable[Commit]) -> None:
        """Take what follows in the log; what memory has from its own batches is skipped."""
        self._incoming.extend(commits)

    def batch_landed(self, outcome: BatchOutcome) -> None:
        """Take what became of the batch in flight, and its log entry if it follows memory's ts."""
        own = self.committer.landed(outcome, self._clock.monotonic())
        newest = self._incoming[-1].ts if self._incoming else self.memory.ts
        if own is not None and own.prev_ts == newest:
            self._incoming.append(own)

    def loaded(self, result: LoadResult) -> None:
        """Take a loaded piece; what waited for it runs again."""
        match self.memory.install(result):
            case Installed.DONE:
                self._resume(self._waiting.pop(result.request, []))
            case Installed.TOO_NEW:
                self._early.append(result)
            case Installed.TOO_OLD if result.request in self._waiting:
                self._new_loads.append(result.request)

    def load_failed(self, request: LoadRequest, error: ParleyError) -> None:
        """Fail whatever waits for a piece that cannot be had."""
        failure = error if isinstance(error, FunctionFailed) else Internal(error.message)
        table = self.memory.schema.tables.get(request.table)
        is_known = table is not None and request.index in table.indexes
        # Tried again when the table changes next.
        reads = [Read.of_load(request)] if is_known else []
        for waiter in self._waiting.pop(request, []):
            if isinstance(waiter, Mutation):
                self.committer.load_failed(waiter, error)
            else:
                self._settle(waiter, reads, failure_of(failure, redact=self._redact))

    def reset(self, schema: Schema, ts: int) -> None:
        """Begin anew at `ts`: the log was lost, the tables changed, or the database is another."""
        self.memory.reset(schema, ts)
        self._incoming.clear()
        self._early.clear()
        for query in self.live:
            self._mark(query)
        waiting, self._waiting = self._waiting, {}
        for waiters in waiting.values():
            self._resume(waiters)

    # --- outputs

    def take_loads(self) -> list[LoadRequest]:
        """Return the pieces to load; each is asked for once, however many wait for it."""
        loads, self._new_loads = self._new_loads, []
        return loads

    def next_batch(self) -> Batch | None:
        """Return the next batch to commit, if one is ready and none is in flight."""
        batch = self.committer.next_batch(self._clock.monotonic())
        if batch is not None:
            self.stats.batches += 1
            self.stats.batched += len(batch.entries)
        return batch

    def next_wake(self) -> float | None:
        """Return the monotonic time at which there is something to do unasked, if any."""
        times = (self.committer.next_wake(), self.held.next_wake())
        return min((at for at in times if at is not None), default=None)

    # --- the step

    def advance(self) -> bool:
        """Apply what follows in the log and give the answers it completes; tell if ts moved."""
        start = self.memory.ts
        while self._incoming and not self._dirty:
            # All that is there at once: queries run on the newest state only.
            while self._incoming:
                self._apply(self._incoming.popleft())
        early, self._early = self._early, []
        for result in early:
            self.loaded(result)
        if self.memory.ts != start:
            self.due.update(self.later)
            self.later.clear()
        self.committer.finish(self._clock.monotonic())
        return self.memory.ts != start

    def settle(self, budget_s: float) -> bool:
        """Run dirty queries, then flush, for up to `budget_s`; return whether to go on at once."""
        self.settled_at = self._clock.monotonic()
        deadline = self.settled_at + budget_s
        while self._dirty:
            query = self._dirty.popleft()
            if query.is_dirty and query.subscribers:
                self._run_query(query)
            if self._clock.monotonic() > deadline:
                break
        if self._dirty:
            return True
        due, self.due = self.due, {}
        for number, subscriber in enumerate(due, 1):
            subscriber.flush()
            if number < len(due) and self._clock.monotonic() > deadline:
                # Who has waited, goes first.
                self.due = dict.fromkeys(islice(due, number, None)) | self.due
                return True
        self.memory.evict()
        self.held.let_go(self.live, self.settled_at)
        # Commits that came while queries were dirty wait for a step of their own.
        return bool(self._dirty or self._incoming)

    # --- inside

    def _apply(self, commit: Commit) -> None:
        if commit.ts <= self.memory.ts:
            return
        touched = self.memory.apply(commit)
        self.stats.commits += 1
        for table in commit.resets:
            for query in self.live.on_table(table):
                self._mark(query)
        for change in touched:
            for query in self.live.touched_by(change, self.memory):
                self._mark(query)

    def _mark(self, query: LiveQuery) -> None:
        query.is_dirty = True
        query.loads = 0
        self._dirty.append(query)

    def _run_query(self, query: LiveQuery) -> None:
        call = query.call
        if call.refusal is not None:
            self._settle(query, [], failure_of(call.refusal, redact=self._redact))
            return
        assert call.function is not None  # noqa: S101
        pager = Pager(self._cursor_secret, query.call.journal, self._query_limits.max_documents)
        transaction = RunTransaction(
            self.memory, self._query_limits, self._clock, started_cpu=self._cpu.at_most()
        )
        ctx = QueryCtx(
            DatabaseReader(transaction, pager),
            Auth(query.identity, is_shared=query.is_shared),
            self.entropy(),
        )
        self.stats.query_runs += 1
        outcome = drive(call.function.handler(ctx, **call.args), call.function.path)
        transaction.close()
        if isinstance(outcome, LoadRequest):
            self._wait(query, outcome, transaction.reads)
        elif isinstance(outcome, NeedsIdentity):
            self._split(query)
        elif pager.journal is None or self._go_on(query, pager.journal):
            result = result_of(
                outcome,
                pager.journal,
                max_bytes=self._max_result_bytes,
                redact=self._redact,
                before=query.result,
                takes_patches=bool(query.patched),
            )
            self._settle(query, transaction.reads, result)

    def _wait(self, query: LiveQuery, request: LoadRequest, reads: list[Read]) -> None:
        query.loads += 1
        if query.loads > self.max_loads:
            error = LimitExceeded("a function had to load too many ranges; memory is too small")
            self._settle(
                query, [*reads, Read.of_load(request)], failure_of(error, redact=self._redact)
            )
        else:
            self._want(request, query)

    def _go_on(self, query: LiveQuery, journal: str) -> bool:
        """Let a page keep its end; whoever asks for it anew begins with a page of their own.

        Returns False where another query keeps the same page already: the subscribers go there.
        """
        if query.call.journal == journal:
            return True
        query.call = replace(query.call, journal=journal)
        key = (query.call.key, query.is_shared, query.identity and query.identity.cache_key)
        if self.live.get(key) is None:
            self.live.move(query, key)
            return True
        for (_, query_id), subscriber in list(query.subscribers.items()):
            subscriber.identity_needed(query_id)
        return False

    def _split(self, query: LiveQuery) -> None:
        """Give each subscriber of a shared run that asked who calls a run of their own."""
        assert query.call.function is not None  # noqa: S101
        self._identity_paths.add(query.call.function.path)
        for (_, query_id), subscriber in list(query.subscribers.items()):
            subscriber.identity_needed(query_id)

    def _settle(self, query: LiveQuery, reads: Iterable[Read], result: Result) -> None:
        self.live.file(query, reads)
        query.is_dirty = False
        query.loads = 0
        is_new = query.result is None or query.result.digest != result.digest
        if is_new or (query.result is not None and query.result.is_forgotten):
            self.held.put(query, result, self.settled_at)
        if is_new and result.error is not None:
            report(result.error, result.request_id, query.call.path)
        query.tell(is_new=is_new)

    def _run_mutation(
        self, mutation: Mutation, overlay: Overlay
    ) -> tuple[Ended | LoadRequest, frozenset[str]]:
        """Run a mutation on memory and the overlay; return its end and the keys it read."""
        if isinstance(mutation.args, FunctionFailed):
            return Failed(mutation.args), frozenset()
        ids = MutationIds(mutation.entropy)
        transaction = RunTransaction(
            self.memory,
            self._mutation_limits,
            self._clock,
            overlay=overlay,
            next_creation_us=self._next_creation_us,
            new_id=ids.next,
            started_cpu=self._cpu.at_most(),
        )
        pager = Pager(self._cursor_secret, None, self._mutation_limits.max_documents)
        ctx = MutationCtx(
            DatabaseWriter(transaction, pager), Auth(mutation.identity), mutation.entropy
        )
        self.stats.mutation_runs += 1
        outcome = drive(mutation.function.handler(ctx, **mutation.args), mutation.function.path)
        transaction.close()
        assert isinstance(outcome, (Returned, Failed, LoadRequest))  # noqa: S101
        return outcome, frozenset(read.key for read in transaction.reads)

    def _next_creation_us(self) -> int:
        # Strictly rising in commit order on a node, so rows of one millisecond keep their order.
        self._last_creation_us = max(self._last_creation_us + 1, self._clock.wall_us())
        return self._last_creation_us

    def _want(self, request: LoadRequest, waiter: LiveQuery | Mutation) -> None:
        waiters = self._waiting.get(request)
        if waiters is None:
            self._waiting[request] = [waiter]
            self._new_loads.append(request)
            self.stats.loads += 1
        elif waiter not in waiters:
            waiters.append(waiter)

    def _resume(self, waiters: list[LiveQuery | Mutation]) -> None:
        # The last first: each mutation goes to the front, so that they run in the order they came.
        for waiter in reversed(waiters):
            if isinstance(waiter, Mutation):
                self.committer.loaded(waiter)
            else:
                self._dirty.append(waiter)
