"""One client connection's sync worker: what it subscribed to, and what it is owed.

It joins the protocol's state machine (`protocol.connection`) to the engine: mutations in, answers
and Transitions out. What the client holds, and when a Transition may go, is `engine.cohort`'s. No
I/O: answers, and Transitions that the peer does not take at once, go to `outbox`, and whoever owns
the socket takes them from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from parley.engine.batch import Answer
from parley.engine.cohort import Cohort
from parley.engine.engine import Engine
from parley.engine.failures import report
from parley.engine.live import Call
from parley.engine.outgoing import FrameCache, Outgoing
from parley.engine.ports import NoPort, Port, nothing
from parley.errors import (
    FunctionFailed,
    LimitExceeded,
    Overloaded,
    ParleyError,
    TooManyMutations,
)
from parley.identity import Identity
from parley.protocol import responses
from parley.protocol.connection import Connection, State
from parley.protocol.error_text import error_text, request_id_for
from parley.protocol.messages import Add, ModifyQuerySet, Mutation, Remove

MAX_UNREAD_TRANSITIONS: Final = 2
MAX_UNREAD_BYTES: Final = 8 << 20
MAX_WAITING_BYTES: Final = 8 << 20
_REFUSED_FACTOR: Final = 2  # so many times the allowed queries get at least a refusal each


Submit: TypeAlias = (
    "Callable[[SyncWorker, Mutation, Identity | None, Callable[[Answer], None]], bool]"
)


@dataclass(eq=False, slots=True)
class Taken:
    """A mutation of the client that has not been answered: answers go out in order."""

    message: Mutation
    identity: Identity | None
    size_bytes: int
    answer: Answer | None = None


class SyncWorker:
    """The engine's side of one connection; fulfils `cohort.Member`.

    Attributes:
        connection: the protocol state machine.
        identity: as whom the client speaks now.
        outbox: frames to be written, oldest first.
        cohort: what the client holds, with those who hold the same.
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
        submit: Submit,
        has_output: Callable[[], None],
        max_queries: int,
        max_mutations: int,
        redact_errors: bool,
    ) -> None:
        # At most 30 attributes: CPython shares their names between instances no further, and each
        # push would cost a fifth more.
        self.connection = connection
        self.identity: Identity | None = None
        # Lists, though taken from at the front: an empty deque takes 0.75 KB, and these are short.
        self.outbox: list[Outgoing] = []
        self.cohort = Cohort(self, NoPort(), engine, cache, redact=redact_errors)
        connection.on_close = self._alone
        self.is_closed = False
        self.failure: ParleyError | None = None
        self._engine = engine
        self._prepare = prepare
        self._submit = submit
        self._has_output = has_output
        self._max_queries = max_queries
        self._max_mutations = max_mutations
        self._redact = redact_errors
        self._unread = 0
        self._unread_bytes = 0
        self._mutations: list[Taken] = []
        self._waiting_bytes = 0
        self._submitted = 0  # of these, the first so many
        self._lets_follow = False
        self._is_submitting = False

    def attach(self, port: Port) -> None:
        """Let Transitions be written to `port` at once while the outbox is empty."""
        self._alone().members[self] = port
        port.on_other_use = self._alone

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
        cohort = self._alone()
        cohort.min_ts = max(cohort.min_ts, self.connection.max_observed_timestamp)

    def modify(self, message: ModifyQuerySet) -> None:
        """Change the set of queries; the next Transition answers it, even if it is empty.

        Raises:
            Overloaded: far more queries than allowed; the connection has to be closed.
        """
        cohort = self._alone()
        for change in message.modifications:
            if isinstance(change, Remove):
                cohort.remove(change.query_id)
            else:
                cohort.add(change.query_id, self._call(change, len(cohort.queries)), self.identity)
        cohort.query_set = message.new_version
        cohort.owe()

    def authenticated(self, identity: Identity | None) -> None:
        """Speak as `identity` from now on; all queries are asked again as it."""
        self.identity = identity
        cohort = self._alone()
        cohort.identity_version = self.connection.received_identity
        for query_id in list(cohort.queries):
            cohort.ask_again(query_id, identity)
        cohort.owe()

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
        self._alone()
        self._mutations.append(Taken(message, self.identity, size_bytes))
        self._waiting_bytes += size_bytes
        self._submit_waiting()

    def respond(self, frame: bytes) -> None:
        """Send a response; a Transition follows it, or some clients' promises hang (§6.3)."""
        if not self.is_closed:
            self._alone().owe()
            self._put(Outgoing((frame,), is_transition=False))

    def close(self) -> None:
        """Let go of everything; a mutation that runs already finishes, for a resend to find."""
        if self.is_closed:
            return
        self.is_closed = True
        self.cohort.members[self].on_other_use = nothing
        self.connection.close()
        self.cohort.leave(self)
        self._mutations.clear()
        # So that it goes at once, not with the next look for cycles, which may be hours away.
        self.connection.on_close = self._has_output = nothing

    # --- from the socket

    def written(self, outgoing: Outgoing) -> None:
        """Hear that frames have left for the client: there is room for more."""
        self._unread_bytes -= outgoing.size_bytes
        if outgoing.is_transition:
            self._unread -= 1
        self.cohort.room()
        self._submit_waiting()

    # --- from the cohort

    @property
    def has_room(self) -> bool:
        """Whether the client may be sent a Transition: fewer than two are unread."""
        return (
            self._unread < MAX_UNREAD_TRANSITIONS
            and self._unread_bytes <= MAX_UNREAD_BYTES
            and self.connection.state is State.OPEN
        )

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits: no answer, no frame."""
        return not self._mutations and not self.outbox and self.connection.state is State.OPEN

    @property
    def is_overtaken(self) -> bool:
        """Whether memory may hold writes of this client that were not answered yet."""
        return bool(self._mutations) and self._engine.committer.is_overtaken

    def ask_again(self, query_id: int) -> None:
        """Ask a query again as this client's own identity."""
        cohort = self._alone()
        cohort.ask_again(query_id, self.identity)
        self._engine.due[cohort] = None  # others may have run that one already

    def keep(self, made: Outgoing) -> None:
        """Put a Transition into the outbox."""
        self._unread += 1
        self._put(made)

    def fail(self, error: ParleyError) -> None:
        """Let the owner of the socket close the connection."""
        self.failure = error
        self._has_output()

    # --- inside

    def _alone(self) -> Cohort:
        """Return what this client holds, for it to change without the others."""
        if len(self.cohort.members) > 1:
            self.cohort.release(self)
        return self.cohort

    def _put(self, outgoing: Outgoing) -> None:
        self._unread_bytes += outgoing.size_bytes
        self.outbox.append(outgoing)
        self._has_output()

    def _call(self, add: Add, held: int) -> Call:
        if held >= _REFUSED_FACTOR * self._max_queries:
            raise Overloaded(f"a connection may hold {self._max_queries} queries")
        call = self._prepare(add)
        if held >= self._max_queries:
            error = LimitExceeded(f"a connection may hold {self._max_queries} queries")
            call = Call(call.path, b"", refusal=error)
        return call

    def _submit_waiting(self) -> None:
        """Submit the mutation whose turn it is, and the next as long as answers come at once.

        The next also where the one before lets it follow: such are committed together. None runs
        for a client that does not read what the others gave.
        """
        if self._is_submitting:
            return  # further up the stack
        self._is_submitting = True
        while self._may_submit():
            taken = self._mutations[self._submitted]
            self._submitted += 1
            answer = partial(self._answered, taken)
            self._lets_follow = self._submit(self, taken.message, taken.identity, answer)
        self._is_submitting = False

    def _may_submit(self) -> bool:
        is_free = (self._submitted == 0 or self._lets_follow) and self.failure is None
        is_there = self._submitted < len(self._mutations)
        return is_there and is_free and self._unread_bytes <= MAX_UNREAD_BYTES

    def _answered(self, taken: Taken, answer: Answer) -> None:
        taken.answer = answer
        while not self.is_closed and self.failure is None and self._mutations:
            first = self._mutations[0]
            if first.answer is None:
                break
            self._mutations.pop(0)
            self._submitted -= 1
            self._waiting_bytes -= first.size_bytes
            self._tell(first.message, first.answer)
        if not self.is_closed:
            self._submit_waiting()

    def _tell(self, message: Mutation, answer: Answer) -> None:
        error = answer.error
        if error is None:
            cohort = self._alone()
            cohort.min_ts = max(cohort.min_ts, answer.ts or 0)
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
            self.fail(error)
