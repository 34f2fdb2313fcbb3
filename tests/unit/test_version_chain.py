"""The version chain as a client sees it, whatever the order of events."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from parley.errors import ProtocolViolation
from parley.protocol import responses
from parley.protocol.connection import ChainBroken, State
from parley.values import ts_to_wire
from tests.support.wire import (
    MESSAGES,
    WireClient,
    authenticate,
    fresh,
    modify,
    opened,
    transition,
)

step = st.one_of(
    st.tuples(st.just("authenticate")),
    st.tuples(st.just("event")),
    st.tuples(st.just("mutation")),
    st.tuples(st.just("toggle"), st.lists(st.integers(0, 5), max_size=4)),
    st.tuples(
        st.just("transition"),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(0, 3),
        st.booleans(),
    ),
    st.tuples(st.just("ping")),
)


class Driver:
    """A correct client and a correct engine around one connection; steps choose their order."""

    def __init__(self, seen: int) -> None:
        self.connection = opened(clientTs=5, maxObservedTimestamp=ts_to_wire(seen))
        self.client = WireClient()
        self.on: set[int] = set()
        self.query_set = 0
        self.identity = 0
        self.ts = seen

    def authenticate(self) -> None:
        self.connection.receive(authenticate(self.identity))
        self.identity += 1

    def event(self) -> None:
        self.connection.receive(MESSAGES["Event"])

    def mutation(self) -> None:
        self.connection.receive(MESSAGES["Mutation"])

    def toggle(self, query_ids: list[int]) -> None:
        changes = []
        for query_id in query_ids:
            changes.append(-query_id - 1 if query_id in self.on else query_id)
            self.on ^= {query_id}
        self.connection.receive(modify(self.query_set, self.query_set + 1 + len(changes), *changes))
        self.query_set += 1 + len(changes)

    def transition(self, later: int, behind: int, identity_behind: int, stamped: bool) -> None:
        """Answer what was received, or only a part of it, at the same ts or a later one."""
        sent = self.connection.sent
        self.ts += later
        updated = (later, responses.updated_tail(b'"%d"' % self.ts))
        for frame in transition(
            self.connection,
            self.ts,
            [updated],
            max(sent.query_set, self.query_set - behind),
            max(sent.identity, self.identity - identity_behind),
            self.connection.stamp() if stamped else None,
        ):
            self.client.take(frame)

    def ping(self) -> None:
        self.client.take(responses.PING)


@given(seen=st.integers(0, 2**62), steps=st.lists(step, max_size=40))
def test_any_order_of_correct_events_keeps_the_chain(seen: int, steps: list[Any]) -> None:
    driver = Driver(seen)

    for name, *arguments in steps:
        getattr(driver, name)(*arguments)

    assert driver.client.version == driver.connection.sent
    assert driver.connection._query_ids == driver.on
    assert driver.connection.received_query_set == driver.query_set
    assert driver.connection.received_identity == driver.identity
    assert driver.connection.state is State.OPEN


@given(
    events=st.lists(
        st.sampled_from(sorted(MESSAGES.values()))
        | st.builds(authenticate, st.integers(0, 3))
        | st.builds(modify, st.integers(0, 3), st.integers(0, 3), st.integers(-3, 3))
        | st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 3)),
        max_size=30,
    )
)
def test_any_order_of_any_events_keeps_the_chain_or_is_refused(events: list[Any]) -> None:
    connection, client = fresh(), WireClient()

    for event in events:
        try:
            if isinstance(event, str):
                connection.receive(event)
            else:
                end_ts, query_set, identity = event
                for frame in transition(connection, end_ts, [], query_set, identity, None):
                    client.take(frame)
        except (ProtocolViolation, ChainBroken):
            pass

    assert client.version == connection.sent
    assert connection.sent.query_set <= connection.received_query_set
    assert connection.sent.identity <= connection.received_identity
