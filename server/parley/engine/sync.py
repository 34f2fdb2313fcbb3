"""One client connection's sync worker: what it subscribed to, and what it is owed.

It joins the protocol's state machine (`protocol.connection`) to the engine. It decides when a
Transition may go: when nothing it holds is dirty, memory has reached what was promised, and the
client has fewer than two Transitions unread. Until then changes coalesce. No I/O: frames go to
`outbox`, and whoever owns the socket takes them from there.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from parley.engine.batch import Answer
from parley.engine.engine import Engine
from parley.engine.failures import report
from parley.engine.live import Call, LiveQuery, Result
from parley.engine.outgoing import FrameCache, Outgoing
from parley.engine.results import failure_of
from parley.errors import (
    FunctionFailed,
    LimitExceeded,
    Overloaded,
    ParleyError,
    ShuttingDown,
    TooManyMutations,
)
from parley.identity import Identity
from parley.protocol import responses
from parley.protocol.connection import ChainBroken, Connection, State, frames
from parley.protocol.error_text import error_text, request_id_for
from parley.protocol.messages import Add, ModifyQuerySet, Mutation, Remove

log = logging.getLogger(__name__)

MAX_UNREAD_TRANSITIONS: Final = 2
MAX_UNREAD_BYTES: Final = 8 << 20
MAX_HELD_BYTES: Final = 64 << 20  # of all results that a client holds at once
MAX_WAITING_BYTES: Final = 8 << 20
Told = tuple[int, Result, bytes | None]  # query id, its result, the patch if that says it
_REFUSED_FACTOR: Final = 2  # so many times the allowed queries get at least a refusal each


class SyncWorker:
    """The engine's side of one connection; fulfils `live.Subscriber` and `engine.Flushed`.

    Attributes:
        connection: the protocol state machine.
        identity: as whom the client speaks now.
        outbox: frames to be written, oldest first.
        is_closed: nothing is sent or taken any more.
        failure: why the connection has to be closed; the socket's owner looks at it.
    """

    def __init__(
        self,
        connection: Connection,
        engine: Engine,
        cache: FrameCache,
        *,
        prepare: Callable[[Add], Call],
        submit: Callable[[SyncWorker, Mutation, Identity | None, Callable[[Answer], None]], None],
        has_output: Callable[[], None],
        max_queries: int,
        max_mutations: int,
        redact_errors: bool,
    ) -> None:
        # At most 30 attributes: CPython shares their names between instances no further, and each
        # push would cost a fifth more.
        self.connection = connection
        self.identity: Identity | None = None
        self.outbox: deque[Outgoing] = deque()
        self.is_closed = False
        self.failure: ParleyError | None = None
        self._engine = engine
        self._cache = cache
        self._prepare = prepare
        self._submit = submit
        self._has_output = has_output
        self._max_queries = max_queries
        self._max_mutations = max_mutations
        self._redact = redact_errors
        self._queries: dict[int, LiveQuery] = {}
        self._sent: dict[int, bytes] = {}
        self._held: dict[int, int] = {}
        self._held_bytes = 0
        self._changed: set[int] = set()
        self._removed: set[int] = set()
        self._query_set = 0
        self._identity_version = 0
        self._is_owed = False
        self._min_ts = 0
        self._unread = 0
        self._unread_bytes = 0
        self._mutations: deque[tuple[Mutation, Identity | None, int]] = deque()
        self._waiting_bytes = 0
        self._is_running = False
        self._is_submitting = False

    @property
    def is_congested(self) -> bool:
        """Whether nothing more should be read from the client, until it has read more of its own.

        Else a client that comes back with thousands of mutations, or reads no answers, would make
        us keep it all. Whoever owns the socket looks again when something was written: an answer,
        after which there is room, always is.
        """
        return (
            len(self._mutations) + len(self.outbox) >= self._max_mutations
            or self._waiting_bytes > MAX_WAITING_BYTES
            or self._unread_bytes > MAX_UNREAD_BYTES
        )

    # --- from the client

    def connected(self) -> None:
        """Note what the client has seen: it must not be served anything older."""
        self._min_ts = max(self._min_ts, self.connection.max_observed_timestamp)

    def modify(self, message: ModifyQuerySet) -> None:
        """Change the set of queries; the next Transition answers it, even if it is empty.

        Raises:
            Overloaded: far more queries than allowed; the connection has to be closed.
        """
        for change in message.modifications:
            if isinstance(change, Remove):
                self._remove(change.query_id)
            else:
                self._add(change)
        self._query_set = message.new_version
        self._owe()

    def authenticated(self, identity: Identity | None) -> None:
        """Speak as `identity` from now on; all queries are asked again as it."""
        self.identity = identity
        self._identity_version = self.connection.received_identity
        for query_id in list(self._queries):
            self._resubscribe(query_id)
        self._owe()

    def mutate(self, message: Mutation, size_bytes: int = 0) -> None:
        """Take a mutation; it runs after those taken before, as the identity of this moment.

        Args:
            message: as it came.
            size_bytes: what it takes in memory, about; not before it is answered is that free.

        Raises:
            TooManyMutations: `is_congested` was not heeded; the connection has to be closed.
        """
        if len(self._mutations) >= self._max_mutations:
            raise TooManyMutations(f"{self._max_mutations} mutations are waiting on this socket")
        self._mutations.append((message, self.identity, size_bytes))
        self._waiting_bytes += size_bytes
        self._submit_waiting()

    def respond(self, frame: bytes) -> None:
        """Send a response; a Transition follows it, or some clients' promises hang (§6.3)."""
        self._put(Outgoing((frame,), is_transition=False))
        self._owe()

    def close(self) -> None:
        """Let go of everything; a mutation that runs already finishes, for a resend to find."""
        if self.is_closed:
            return
        self.is_closed = True
        self.connection.close()
        for query_id, query in self._queries.items():
            self._engine.unsubscribe(query, self, query_id)
        self._queries.clear()
        self._mutations.clear()
        self._engine.due.pop(self, None)
        self._engine.later.pop(self, None)

    # --- from the socket

    def written(self, outgoing: Outgoing) -> None:
        """Hear that frames have left for the client: there is room for more."""
        self._unread_bytes -= outgoing.size_bytes
        if outgoing.is_transition:
            self._unread -= 1
        if self._is_owed or self._changed:
            self._engine.due[self] = None
        self._submit_waiting()

    # --- from the engine

    def query_settled(self, query_id: int, *, is_new: bool) -> None:
        """Hear that a query ran."""
        if is_new:
            self._changed.add(query_id)
        if is_new or self._is_owed or self._changed:
            self._engine.due[self] = None

    def identity_needed(self, query_id: int) -> None:
        """Ask a query again as this client's own identity."""
        self._resubscribe(query_id)
        self._engine.due[self] = None  # others may have run that one already

    def flush(self) -> None:
        """Send a Transition to memory's ts, if one is owed and may go now."""
        # After a violation the connection is closed at once, and this worker a little later.
        if self.is_closed or self.connection.state is not State.OPEN:
            return
        if not (self._is_owed or self._changed) or not self._may_send():
            return
        lacking = self._lacking()
        if any(result.is_forgotten for _, _, result in lacking) and self._engine.recall(
            query for _, query, _ in lacking
        ):
            return
        changes = self._take_changes(lacking)
        if not changes and not self._removed and not self._is_owed:
            return
        try:
            self._send_transition(self._engine.memory.ts, changes)
        except ChainBroken as error:
            # Ours to mend, but this connection's alone: the others go on.
            log.critical("a version chain would have broken", exc_info=error)
            self.failure = ShuttingDown("this connection cannot go on")
            self._has_output()

    # --- inside

    def _may_send(self) -> bool:
        """Tell whether all that the client is to hold is here, and it can take it; else wait."""
        if self._unread >= MAX_UNREAD_TRANSITIONS or self._unread_bytes > MAX_UNREAD_BYTES:
            return False
        if self._engine.memory.ts < max(self._min_ts, self.connection.sent.ts):
            self._engine.later[self] = None
            return False
        for query in self._queries.values():
            if query.is_dirty:
                return False
        if self._mutations and self._engine.committer.is_overtaken:
            # The log was faster than the answer. A Transition that shows a write before its
            # response makes a client show it twice: its optimistic update is still on top.
            self._engine.due[self] = None
            return False
        return True

    def _lacking(self) -> list[tuple[int, LiveQuery, Result]]:
        """Return what the client does not hold, by query id."""
        lacking = []
        for query_id in sorted(self._changed) if len(self._changed) > 1 else self._changed:
            query = self._queries.get(query_id)
            result = None if query is None else query.result
            if query is None or result is None:
                continue
            if self._sent.get(query_id) != result.digest:
                lacking.append((query_id, query, result))
        return lacking

    def _take_changes(self, lacking: list[tuple[int, LiveQuery, Result]]) -> list[Told]:
        """Return what the client is to be told, by query id; from then on it holds that."""
        changes = []
        takes_patches = self.connection.client.is_parley
        for query_id, _, found in lacking:
            result = self._fitting(query_id, found)
            patch = result.patch_since(self._sent.get(query_id)) if takes_patches else None
            self._sent[query_id] = result.digest
            changes.append((query_id, result, patch))
        self._changed.clear()
        return changes

    def _fitting(self, query_id: int, result: Result) -> Result:
        """Return the result, or a failure where all that the client then held were too much."""
        size, before = result.size_bytes, self._held.get(query_id, 0)
        if self._held_bytes - before + size > MAX_HELD_BYTES:
            error = LimitExceeded(f"the results of a connection may be {MAX_HELD_BYTES} bytes")
            result = failure_of(error, redact=self._redact)
            size = result.size_bytes
        self._held[query_id] = size
        self._held_bytes += size - before
        return result

    def _send_transition(self, ts: int, changes: list[Told]) -> None:
        removed: list[int] = []
        if self._removed:
            removed = sorted(self._removed - self._queries.keys())
            self._removed.clear()
        client, is_first = self.connection.client, not self.connection.sent.ts
        is_news = is_first or self.connection.sent.identity != self._identity_version
        start, end = self.connection.advance(ts, self._query_set, self._identity_version)
        # Clients use our clock only to schedule token refreshes; left out elsewhere, the frame is
        # the same for everybody who stands here.
        stamp = self.connection.stamp() if is_news else None
        can_chunk = client.supports_chunks
        incarnation = self._engine.incarnation if is_first and client.is_parley else None

        def build() -> list[bytes]:
            parts = [(query_id, responses.query_removed(query_id)) for query_id in removed]
            parts += [
                (n, responses.modification(n, patch or new.tail)) for n, new, patch in changes
            ]
            return frames(
                start,
                end,
                [part for _, part in sorted(parts)],
                stamp,
                can_chunk=can_chunk,
                incarnation=incarnation,
            )

        if stamp is None:
            # The key holds the results, so that no other can stand for them by a reused id.
            key = (start, end, tuple(changes), tuple(removed), can_chunk, incarnation)
            made = self._cache.get(key, build)
        else:
            made = Outgoing(tuple(build()), is_transition=True)
        self._is_owed = False
        self._unread += 1
        self._put(made)

    def _put(self, outgoing: Outgoing) -> None:
        if self.is_closed:
            return
        self._unread_bytes += outgoing.size_bytes
        self.outbox.append(outgoing)
        self._has_output()

    def _owe(self) -> None:
        self._is_owed = True
        self._engine.due[self] = None

    def _add(self, add: Add) -> None:
        if len(self._queries) >= _REFUSED_FACTOR * self._max_queries:
            raise Overloaded(f"a connection may hold {self._max_queries} queries")
        call = self._prepare(add)
        if len(self._queries) >= self._max_queries:
            error = LimitExceeded(f"a connection may hold {self._max_queries} queries")
            call = Call(call.path, b"", refusal=error)
        query = self._subscribe(call, add.query_id)
        self._queries[add.query_id] = query
        self._changed.add(add.query_id)

    def _subscribe(self, call: Call, query_id: int) -> LiveQuery:
        is_parley = self.connection.client.is_parley
        return self._engine.subscribe(call, self.identity, self, query_id, takes_patches=is_parley)

    def _remove(self, query_id: int) -> None:
        self._engine.unsubscribe(self._queries.pop(query_id), self, query_id)
        self._sent.pop(query_id, None)
        self._held_bytes -= self._held.pop(query_id, 0)
        self._changed.discard(query_id)
        self._removed.add(query_id)

    def _resubscribe(self, query_id: int) -> None:
        before = self._queries[query_id]
        # With its journal: the borders of a page stay where the client knows them.
        query = self._subscribe(before.call, query_id)
        if query is not before:
            self._queries[query_id] = query
            self._engine.unsubscribe(before, self, query_id)
            self._changed.add(query_id)

    def _submit_waiting(self) -> None:
        """Submit the mutation whose turn it is, and the next as long as answers come at once.

        None runs for a client that does not read what the others gave.
        """
        if self._is_submitting:
            return  # further up the stack
        self._is_submitting = True
        while self._may_submit():
            self._is_running = True
            message, identity, _ = self._mutations[0]
            self._submit(self, message, identity, partial(self._answered, message))
        self._is_submitting = False

    def _may_submit(self) -> bool:
        is_free = not self._is_running and self.failure is None
        return bool(self._mutations) and is_free and self._unread_bytes <= MAX_UNREAD_BYTES

    def _answered(self, message: Mutation, answer: Answer) -> None:
        if self.is_closed:
            return
        *_, size_bytes = self._mutations.popleft()
        self._waiting_bytes -= size_bytes
        self._is_running = False
        error = answer.error
        if error is None:
            self._min_ts = max(self._min_ts, answer.ts or 0)
            value = answer.value or b"null"
            self.respond(responses.mutation_succeeded(message.request_id, value, answer.ts or 0))
        elif isinstance(error, FunctionFailed):
            name = request_id_for(self.connection.session_id, message.request_id)
            report(error, name, message.udf_path)
            text, data = error_text(error, name, redact=self._redact)
            self.respond(responses.mutation_failed(message.request_id, text, data))
        else:
            # Not an answer but the lack of one: closed with a reason on which clients send again.
            # Those behind it must not overtake it.
            self.failure = error
            self._has_output()
        self._submit_waiting()
