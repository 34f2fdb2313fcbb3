"""What clients hold and where they stand; those that hold the same are moved as one.

Every connection is in one cohort, mostly alone. When two are sent the very same Transition and then
hold the same queries with the same results, they become one cohort: from then on a push costs each
of them a write, and everything else is done once. As soon as anything happens to one of them alone
(its queries, its identity, a mutation, a response, a peer that does not read, another use of its
socket) it leaves with a copy of what it holds.

While there are two or more members, all stand at one link of the version chain, nothing but changed
results is owed to them, their outboxes are empty, their ports are clear, and none waits for a
mutation. No I/O.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from parley.engine.engine import Engine
from parley.engine.live import Call, LiveQuery, Result
from parley.engine.outgoing import FrameCache, Outgoing
from parley.engine.ports import Port
from parley.engine.results import failure_of
from parley.errors import LimitExceeded, ParleyError, ShuttingDown
from parley.identity import Identity
from parley.protocol import responses
from parley.protocol.connection import Chain, ChainBroken, Connection, frames

log = logging.getLogger(__name__)

MAX_HELD_BYTES: Final = 64 << 20  # of all results that a client holds at once
MAX_MEMBERS: Final = 500  # all are written to at once; timers and other sockets wait that long

Told = tuple[int, Result, bytes | None]  # query id, its result, the patch if that says it


class Member(Protocol):
    """One connection of a cohort.

    Attributes:
        cohort: the one it is in.
        connection: the protocol state machine; members of one cohort share its chain.
        outbox: frames to be written, oldest first.
        has_room: whether it may be sent a Transition.
        is_quiet: whether it waits for nothing: no answers, no room.
        is_overtaken: whether a Transition would show it a write before its answer.
    """

    cohort: Cohort
    connection: Connection
    outbox: list[Outgoing]

    @property
    def has_room(self) -> bool: ...  # noqa: D102

    @property
    def is_quiet(self) -> bool: ...  # noqa: D102

    @property
    def is_overtaken(self) -> bool: ...  # noqa: D102

    def keep(self, made: Outgoing) -> None:
        """Put a Transition into the outbox."""
        ...

    def ask_again(self, query_id: int) -> None:
        """Subscribe a query again as this client's own identity."""
        ...

    def fail(self, error: ParleyError) -> None:
        """Close the connection soon."""
        ...


class Cohort:
    """The clients that hold the same; fulfils `live.Subscriber` and `engine.Flushed`.

    Methods that change what is held are for a member that is alone.

    Attributes:
        members: the connections, in no order, each with its port, which is for empty outboxes.
        queries: what they subscribed to, by query id.
        query_set: version of it.
        identity_version: as which the queries were asked.
        min_ts: they must not be served anything older.
        is_owed: a Transition must follow, even an empty one.
        pushed_at: monotonic time at which a Transition was last written at once.
    """

    __slots__ = (
        "_cache",
        "_changed",
        "_engine",
        "_held",
        "_held_bytes",
        "_numbers",
        "_redact",
        "_removed",
        "_sent",
        "identity_version",
        "is_owed",
        "members",
        "min_ts",
        "pushed_at",
        "queries",
        "query_set",
    )

    def __init__(
        self,
        member: Member,
        port: Port,
        engine: Engine,
        cache: FrameCache,
        *,
        redact: bool,
    ) -> None:
        self.members = {member: port}
        self._numbers: list[int] | None = None  # of the ports; made when it is needed
        self.queries: dict[int, LiveQuery] = {}
        self.query_set = 0
        self.identity_version = 0
        self.min_ts = 0
        self.is_owed = False
        self.pushed_at = 0.0
        self._engine = engine
        self._cache = cache
        self._redact = redact
        self._changed: set[int] = set()
        self._removed: set[int] = set()
        self._sent: dict[int, bytes] = {}
        self._held: dict[int, int] = {}
        self._held_bytes = 0

    # --- what is held

    def add(self, query_id: int, call: Call, identity: Identity | None) -> None:
        """Follow a call."""
        self.queries[query_id] = self._subscribe(query_id, call, identity)
        self._changed.add(query_id)

    def remove(self, query_id: int) -> None:
        """Undo `add`; the next Transition confirms it."""
        self._engine.unsubscribe(self.queries.pop(query_id), self, query_id)
        self._sent.pop(query_id, None)
        self._held_bytes -= self._held.pop(query_id, 0)
        self._changed.discard(query_id)
        self._removed.add(query_id)

    def ask_again(self, query_id: int, identity: Identity | None) -> None:
        """Follow the same call as `identity`."""
        before = self.queries[query_id]
        # With its journal: the borders of a page stay where the client knows them.
        query = self._subscribe(query_id, before.call, identity)
        if query is not before:
            self.queries[query_id] = query
            self._engine.unsubscribe(before, self, query_id)
            self._changed.add(query_id)

    def owe(self) -> None:
        """Let a Transition follow."""
        self.is_owed = True
        self._engine.due[self] = None

    def room(self) -> None:
        """Hear that a member has room for more."""
        if self.members and (self.is_owed or self._changed):
            self._engine.due[self] = None

    # --- who is in it

    def release(self, member: Member) -> None:
        """Let one of several members go on alone, holding what it holds."""
        alone = Cohort(
            member, self._without(member), self._engine, self._cache, redact=self._redact
        )
        alone.queries = self.queries.copy()
        alone.query_set, alone.identity_version = self.query_set, self.identity_version
        alone.min_ts, alone.is_owed = self.min_ts, self.is_owed
        alone.pushed_at = self.pushed_at
        alone._changed, alone._removed = self._changed.copy(), self._removed.copy()
        alone._sent, alone._held = self._sent.copy(), self._held.copy()
        alone._held_bytes = self._held_bytes
        for query_id, query in self.queries.items():
            query.add(alone, query_id, takes_patches=member.connection.client.is_parley)
        for waiting in (self._engine.due, self._engine.later):
            if self in waiting:
                waiting[alone] = None
        member.connection.chain = Chain(member.connection.sent)
        member.cohort = alone

    def leave(self, member: Member) -> None:
        """Forget a member whose connection has ended."""
        self._without(member)
        if not self.members:
            self._dissolve()

    def _without(self, member: Member) -> Port:
        self._numbers = None
        return self.members.pop(member)

    def _dissolve(self) -> None:
        for query_id, query in self.queries.items():
            self._engine.unsubscribe(query, self, query_id)
        self._engine.due.pop(self, None)
        self._engine.later.pop(self, None)

    def _join(self, other: Cohort) -> None:
        """Become part of `other`, if all that is held is the same."""
        if other is self or not self._is_like(other):
            return
        [chain] = {member.connection.chain for member in other.members}
        for member in self.members:
            member.cohort = other
            member.connection.chain = chain
        other.members.update(self.members)
        other._numbers = None
        other.pushed_at = max(self.pushed_at, other.pushed_at)
        self.members = {}
        self._dissolve()

    def _is_like(self, other: Cohort) -> bool:
        return (
            other._is_settled()
            and self._is_settled()
            and len(self.members) + len(other.members) <= MAX_MEMBERS
            and self._place() == other._place()
            and self.queries == other.queries
            and self._sent == other._sent
        )

    def _is_settled(self) -> bool:
        is_owed = self.is_owed or self._changed or self._removed
        if not self.members or is_owed or not self._leader.is_quiet:
            return False
        return len(self.members) > 1 or self.members[self._leader].is_clear

    def _place(self) -> tuple[object, ...]:
        connection = self._leader.connection
        return (connection.sent, connection.client.is_parley, connection.client.supports_chunks)

    @property
    def _leader(self) -> Member:
        """Any member: one stands for all."""
        return next(iter(self.members))

    # --- from the engine

    def query_settled(self, query_id: int, *, is_new: bool) -> None:
        """Hear that a query ran."""
        if is_new:
            self._changed.add(query_id)
        if is_new or self.is_owed or self._changed:
            self._engine.due[self] = None

    def identity_needed(self, query_id: int) -> None:
        """Ask a query again, as each member's own identity."""
        for member in list(self.members):
            member.ask_again(query_id)

    def flush(self) -> None:
        """Send a Transition to memory's ts, if one is owed and may go now."""
        if not (self.is_owed or self._changed) or not self._may_send():
            return
        lacking = self._lacking()
        if any(result.is_forgotten for _, _, result in lacking) and self._engine.recall(
            query for _, query, _ in lacking
        ):
            return
        changes = self._take_changes(lacking)
        if not changes and not self._removed and not self.is_owed:
            return
        try:
            self._send_transition(self._engine.memory.ts, changes)
        except ChainBroken as error:
            # Ours to mend, but these connections' alone: the others go on.
            log.critical("a version chain would have broken", exc_info=error)
            for member in self.members:
                member.fail(ShuttingDown("this connection cannot go on"))

    # --- inside

    def _may_send(self) -> bool:
        """Tell whether all that is to be held is here, and can be taken; else wait."""
        if not self._leader.has_room:
            return False
        if self._engine.memory.ts < max(self.min_ts, self._leader.connection.sent.ts):
            self._engine.later[self] = None
            return False
        for query in self.queries.values():
            if query.is_dirty:
                return False
        if self._leader.is_overtaken:
            # The log was faster than the answer. A Transition that shows a write before its
            # response makes a client show it twice: its optimistic update is still on top.
            self._engine.due[self] = None
            return False
        return True

    def _lacking(self) -> list[tuple[int, LiveQuery, Result]]:
        """Return what is not held yet, by query id."""
        lacking = []
        for query_id in sorted(self._changed) if len(self._changed) > 1 else self._changed:
            query = self.queries.get(query_id)
            result = None if query is None else query.result
            if query is None or result is None:
                continue
            if self._sent.get(query_id) != result.digest:
                lacking.append((query_id, query, result))
        return lacking

    def _take_changes(self, lacking: list[tuple[int, LiveQuery, Result]]) -> list[Told]:
        """Return what is to be told, by query id; from then on that is held."""
        changes = []
        takes_patches = self._leader.connection.client.is_parley
        for query_id, _, found in lacking:
            result = self._fitting(query_id, found)
            patch = result.patch_since(self._sent.get(query_id)) if takes_patches else None
            self._sent[query_id] = result.digest
            changes.append((query_id, result, patch))
        self._changed.clear()
        return changes

    def _fitting(self, query_id: int, result: Result) -> Result:
        """Return the result, or a failure where all that a client then held were too much."""
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
            removed = sorted(self._removed - self.queries.keys())
            self._removed.clear()
        connection = self._leader.connection
        client, is_first = connection.client, not connection.sent.ts
        is_news = is_first or connection.sent.identity != self.identity_version
        start, end = connection.advance(ts, self.query_set, self.identity_version)
        # Clients use our clock only to schedule token refreshes; left out elsewhere, the frame is
        # the same for everybody who stands here.
        stamp = connection.stamp() if is_news else None
        can_chunk = client.supports_chunks
        incarnation = self._engine.incarnation if is_first and client.is_parley else None

        def build() -> list[bytes]:
            tails = [(query_id, responses.REMOVED_TAIL) for query_id in removed]
            tails += [(query_id, patch or new.tail) for query_id, new, patch in changes]
            return frames(
                start, end, sorted(tails), stamp, can_chunk=can_chunk, incarnation=incarnation
            )

        self.is_owed = False
        if stamp is not None:
            self._send(Outgoing(tuple(build()), is_transition=True))
            return
        # The key holds the results, so that no other can stand for them by a reused id.
        key = (start, end, tuple(changes), tuple(removed), can_chunk, incarnation)
        self._send(self._cache.get(key, build))
        self._join(self._cache.meet(key, self))

    def _send(self, made: Outgoing) -> None:
        """Write to whoever can take it; the others go on alone, with it in their outboxes."""
        pushed = self._push_to_all(made) if len(self.members) > 1 else self._push_to_one(made)
        if pushed:
            self.pushed_at = self._engine.settled_at
            self._engine.stats.pushed_frames += pushed * len(made.frames)
            self._engine.stats.pushed_bytes += pushed * made.size_bytes

    def _push_to_one(self, made: Outgoing) -> int:
        [(member, port)] = self.members.items()
        if not member.outbox and port.write_now(made.wire):
            return 1
        member.keep(made)
        return 0

    def _push_to_all(self, made: Outgoing) -> int:
        """Write to all; return how many took at least the beginning."""
        # Nothing of a member is touched: with thousands, each touch is a wait for memory.
        if self._numbers is None:
            self._numbers = [port.number for port in self.members.values()]
        pushed = len(self._numbers)
        short = self.members[self._leader].write_all(self._numbers, made.wire)
        all_members = list(self.members.items()) if short else []
        for at, written in short:
            member, port = all_members[at]
            if len(self.members) > 1:
                self.release(member)
            if written:
                port.go_on(memoryview(made.wire)[written:])
            else:
                member.keep(made)
                pushed -= 1
        return pushed

    def _subscribe(self, query_id: int, call: Call, identity: Identity | None) -> LiveQuery:
        takes_patches = self._leader.connection.client.is_parley
        return self._engine.subscribe(call, identity, self, query_id, takes_patches=takes_patches)
