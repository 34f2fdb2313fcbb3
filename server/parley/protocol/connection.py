"""One socket's side of the protocol: what may come now, and the chain of versions that goes out.

            Connect                 violation, close()
    FRESH ────────────▶ OPEN ─────────────────────────▶ CLOSED
      │  ▲ Event          │  ▲ everything                  ▲
      └──┘                └──┘                             │
      └──────────────── violation, close() ────────────────┘

Rules (PROTOCOL.md §3, §5)

1. Connect comes first; before it only an Event may come, and no Transition may go. A socket may
   stay FRESH for minutes while its client fetches a token.
2. A `baseVersion` is the last version received, or the client lost count. In ModifyQuerySet that is
   provably its own fault (`BadVersion`, FatalError). In Authenticate, and for a query id added
   twice or removed unknown, Convex says `BadSequence`: close 1011, and the client comes back.
3. Each Transition starts where the last one ended, in all three parts, or a JS client freezes for
   good without closing. So only `advance` makes versions, and it refuses, before anything changes,
   to end below its start, above what was received, or below what the client has seen (§3.1).
4. After a violation nothing is accepted and nothing more is sent but the closing (`closing.py`).

No I/O and no tasks: calls must not overlap, and frames must be written in the order they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

from parley.clock import Clock
from parley.errors import BadSequence, BadVersion, ProtocolViolation
from parley.protocol import responses
from parley.protocol.client_version import ClientVersion
from parley.protocol.messages import (
    Action,
    Add,
    Authenticate,
    ClientMessage,
    Connect,
    Event,
    ModifyQuerySet,
    Mutation,
    Remove,
    parse,
)
from parley.protocol.responses import ZERO_VERSION, Stamp, StateVersion


class State(Enum):
    """Where a connection is in its life."""

    FRESH = "waiting for Connect"
    OPEN = "open"
    CLOSED = "closed"


# state -> message -> next state; a message that is not listed is refused.
ACCEPTS: Final[dict[State, dict[type[ClientMessage], State]]] = {
    State.FRESH: {
        Connect: State.OPEN,
        Event: State.FRESH,
    },
    State.OPEN: {
        Connect: State.OPEN,
        Authenticate: State.OPEN,
        ModifyQuerySet: State.OPEN,
        Mutation: State.OPEN,
        Action: State.OPEN,
        Event: State.OPEN,
    },
    State.CLOSED: {},
}


class ChainBroken(RuntimeError):
    """We, not the client, were about to break the version chain; the connection must be closed."""


class Chain:
    """Where clients stand: connections that are sent the same Transitions may share one.

    Attributes:
        sent: end version of the last Transition.
    """

    __slots__ = ("sent",)

    def __init__(self, sent: StateVersion = ZERO_VERSION) -> None:
        self.sent = sent


class Connection:
    """The protocol state of one socket.

    Args:
        client: what the client said of itself in the handshake.
        clock: stamps the client's clock skew.

    Attributes:
        client: as given.
        state: see the drawing.
        session_id: lower-case UUID; empty before Connect.
        max_observed_timestamp: u64 that Transitions must reach; 0 when the client saw none.
        client_clock_skew_ms: client clock minus ours at Connect; None when it did not tell.
        received_query_set: version of the last ModifyQuerySet received.
        received_identity: number of Authenticates received. One that is then rejected ends the
            connection, so all of them count.
        chain: where the client stands.
        on_close: called when nothing may be sent any more.
    """

    def __init__(self, client: ClientVersion, clock: Clock) -> None:
        self.client = client
        self.state = State.FRESH
        self.session_id = ""
        self.max_observed_timestamp = 0
        self.client_clock_skew_ms: int | None = None
        self.received_query_set = 0
        self.received_identity = 0
        self.chain = Chain()
        self.on_close: Callable[[], object] = lambda: None
        self._clock = clock
        self._query_ids: set[int] = set()

    @property
    def sent(self) -> StateVersion:
        """End version of the last Transition."""
        return self.chain.sent

    def receive(self, text: str | bytes) -> ClientMessage:
        """Return the message in a text frame, once it is known to be possible now.

        An error leaves the connection CLOSED; send `closing_for(error)`.

        Raises:
            BadMessage: see `messages.parse`.
            TooLarge: see `messages.parse`.
            BadVersion: rule 2.
            BadSequence: rules 1, 2 and 4.
        """
        try:
            message = parse(text)
            self._admit(message)
        except ProtocolViolation:
            self.close()
            raise
        return message

    def close(self) -> None:
        """Accept and send nothing from now on. May be called again."""
        self.state = State.CLOSED
        self.on_close()

    def stamp(self) -> Stamp | None:
        """Return the clock fields of a Transition written now; None if the client told no clock."""
        if self.client_clock_skew_ms is None:
            return None
        return Stamp(self.client_clock_skew_ms, self._clock.wall_us() * 1000)

    def advance(
        self, end_ts: int, query_set: int, identity: int
    ) -> tuple[StateVersion, StateVersion]:
        """Move the chain on and return (start, end) of the Transition that must now be sent.

        Args:
            end_ts: u64; every result that the client then holds is true exactly at it.
            query_set: the received version that the Transition answers.
            identity: the received version as which its results were computed.

        Raises:
            ChainBroken: rules 1, 3 and 4; nothing has changed.
        """
        start, end = self.chain.sent, StateVersion(query_set, identity, end_ts)
        if self.state is not State.OPEN:
            raise ChainBroken(f"A Transition while the connection is {self.state.value}")
        if not start.query_set <= query_set <= self.received_query_set:
            raise ChainBroken(f"{end} after {start}: {self.received_query_set=}")
        if not start.identity <= identity <= self.received_identity:
            raise ChainBroken(f"{end} after {start}: {self.received_identity=}")
        if end_ts < max(start.ts, self.max_observed_timestamp):
            raise ChainBroken(f"{end} after {start}: {self.max_observed_timestamp=}")
        self.chain.sent = end
        return start, end

    def _admit(self, message: ClientMessage) -> None:
        following = ACCEPTS[self.state].get(type(message))
        if following is None:
            name = type(message).__name__
            raise BadSequence(f"{name} is not possible while the connection is {self.state.value}")
        if isinstance(message, Connect):
            self._connect(message)
        elif isinstance(message, Authenticate):
            self._authenticate(message)
        elif isinstance(message, ModifyQuerySet):
            self._modify_query_set(message)
        self.state = following

    def _connect(self, message: Connect) -> None:
        self.session_id = message.session_id
        if self.state is State.OPEN:
            return  # Convex: a second Connect changes the session id and nothing else
        self.max_observed_timestamp = message.max_observed_timestamp or 0
        if message.client_ts is not None:
            self.client_clock_skew_ms = message.client_ts - self._clock.wall_us() // 1000

    def _authenticate(self, message: Authenticate) -> None:
        if message.base_version != self.received_identity:
            raise BadSequence(
                f"Authenticate has base version {message.base_version}, "
                f"expected {self.received_identity}"
            )
        self.received_identity += 1

    def _modify_query_set(self, message: ModifyQuerySet) -> None:
        if message.base_version != self.received_query_set:
            raise BadVersion(
                f"ModifyQuerySet has base version {message.base_version}, "
                f"expected {self.received_query_set}"
            )
        if message.new_version <= message.base_version:
            raise BadVersion(f"ModifyQuerySet does not raise its version {message.base_version}")
        for change in message.modifications:
            self._modify(change)
        self.received_query_set = message.new_version

    def _modify(self, change: Add | Remove) -> None:
        is_known = change.query_id in self._query_ids
        if isinstance(change, Add):
            if is_known:
                raise BadSequence(f"Query {change.query_id} is in the query set already")
            self._query_ids.add(change.query_id)
        else:
            if not is_known:
                raise BadSequence(f"Query {change.query_id} is not in the query set")
            self._query_ids.remove(change.query_id)


def frames(
    start: StateVersion,
    end: StateVersion,
    modifications: Iterable[tuple[int, bytes]],
    stamp: Stamp | None,
    *,
    can_chunk: bool,
    incarnation: str | None = None,
) -> list[bytes]:
    """Return the frames of a Transition: a pure function, so connections may share them.

    One frame, or TransitionChunks where the client understands them and one frame would be above
    `responses.MAX_FRAME_BYTES`.
    """
    frame = responses.transition(start, end, modifications, stamp, incarnation)
    if can_chunk and len(frame) > responses.MAX_FRAME_BYTES:
        return responses.chunks(frame)
    return [frame]
