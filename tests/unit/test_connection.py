"""One socket's protocol: every message in every state, and what may be sent."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from parley.errors import BadMessage, BadSequence, BadVersion, ProtocolViolation, TooLarge
from parley.protocol import responses
from parley.protocol.client_version import ClientVersion, Version
from parley.protocol.connection import ACCEPTS, ChainBroken, Connection, State, frames
from parley.protocol.messages import ClientMessage, Connect, ModifyQuerySet
from parley.protocol.responses import MAX_FRAME_BYTES, ZERO_VERSION, Stamp, StateVersion
from parley.values import ts_to_wire
from tests.support.wire import (
    MESSAGES,
    NOW_US,
    NPM,
    OTHER_SESSION,
    RUST,
    SESSION,
    WireClient,
    authenticate,
    connect,
    fresh,
    modify,
    opened,
    transition,
)


def closed() -> Connection:
    connection = opened()
    connection.close()
    return connection


IN_STATE: dict[State, Callable[[], Connection]] = {
    State.FRESH: fresh,
    State.OPEN: opened,
    State.CLOSED: closed,
}


# Receiving


def test_the_table_has_every_state() -> None:
    assert set(ACCEPTS) == set(State)


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("state", State)
def test_every_state_takes_or_refuses_every_message_as_the_table_says(
    state: State, name: str
) -> None:
    connection = IN_STATE[state]()
    following = {kind.__name__: then for kind, then in ACCEPTS[state].items()}.get(name)

    result = attempt(connection, MESSAGES[name])

    assert connection.state is (following or State.CLOSED)
    assert type(result).__name__ == (name if following else "BadSequence")


@pytest.mark.parametrize(
    ("state", "accepted"),
    [
        (State.FRESH, {"Connect", "Event"}),
        (State.OPEN, set(MESSAGES)),
        (State.CLOSED, set()),
    ],
)
def test_only_connect_and_telemetry_may_come_first(state: State, accepted: set[str]) -> None:
    assert {kind.__name__ for kind in ACCEPTS[state]} == accepted


def attempt(connection: Connection, text: str) -> ClientMessage | ProtocolViolation:
    try:
        return connection.receive(text)
    except ProtocolViolation as refused:
        return refused


DEEP = '{"type":"Mutation","requestId":1,"udfPath":"a:b","args":[{"a":%s}]}' % (
    "[" * 100 + "]" * 100
)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("nonsense", BadMessage),
        (DEEP, TooLarge),
    ],
    ids=["nonsense", "too deep"],
)
def test_what_is_no_message_closes_the_connection_in_every_state(
    state: State, text: str, error: type[ProtocolViolation]
) -> None:
    connection = IN_STATE[state]()

    with pytest.raises(error):
        connection.receive(text)

    assert connection.state is State.CLOSED


def test_connect_tells_session_clock_and_what_was_seen() -> None:
    connection = opened(clientTs=NOW_US // 1000 - 12, maxObservedTimestamp=ts_to_wire(77))

    assert connection.session_id == SESSION
    assert connection.client_clock_skew_ms == -12
    assert connection.max_observed_timestamp == 77
    assert connection.stamp() == Stamp(-12, NOW_US * 1000)


def test_a_client_without_a_clock_gets_no_stamp() -> None:
    connection = opened()

    assert connection.client_clock_skew_ms is None
    assert connection.stamp() is None
    assert connection.max_observed_timestamp == 0


def test_a_second_connect_changes_the_session_id_and_nothing_else() -> None:
    connection = opened(clientTs=0, maxObservedTimestamp=ts_to_wire(77))
    skew = connection.client_clock_skew_ms
    connection.receive(modify(0, 1, 4))

    message = connection.receive(connect(OTHER_SESSION, clientTs=5_000))

    assert isinstance(message, Connect)
    assert connection.session_id == OTHER_SESSION
    assert connection.client_clock_skew_ms == skew
    assert connection.max_observed_timestamp == 77
    assert connection.received_query_set == 1


def test_each_authenticate_raises_the_received_identity() -> None:
    connection = opened()

    connection.receive(authenticate(0))
    connection.receive(authenticate(1))

    assert connection.received_identity == 2
    assert connection.sent.identity == 0


@pytest.mark.parametrize("base", [0, 2])
def test_an_authenticate_with_another_base_is_out_of_sequence(base: int) -> None:
    connection = opened()
    connection.receive(authenticate(0))

    with pytest.raises(BadSequence, match="expected 1"):
        connection.receive(authenticate(base))

    assert connection.received_identity == 1
    assert connection.state is State.CLOSED


def test_the_query_set_is_what_was_added_and_not_removed() -> None:
    connection = opened()

    message = connection.receive(modify(0, 1, 3, 9, 41))
    connection.receive(modify(1, 5, -10, 0))

    assert isinstance(message, ModifyQuerySet)
    assert connection._query_ids == {0, 3, 41}
    assert connection.received_query_set == 5


def test_an_empty_query_set_still_counts() -> None:
    connection = opened()

    connection.receive(modify(0, 1))

    assert connection.received_query_set == 1


def test_one_message_may_add_and_remove_a_query_in_order() -> None:
    connection = opened()

    connection.receive(modify(0, 1, 5, -6, 5))

    assert connection._query_ids == {5}


@pytest.mark.parametrize(("base", "new"), [(0, 2), (2, 3), (1, 1), (1, 0)])
def test_a_query_set_that_does_not_continue_the_chain_is_a_bad_version(base: int, new: int) -> None:
    connection = opened()
    connection.receive(modify(0, 1, 4))

    with pytest.raises(BadVersion):
        connection.receive(modify(base, new, 5))

    assert connection.received_query_set == 1
    assert connection._query_ids == {4}
    assert connection.state is State.CLOSED


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ([4], "Query 4 is in the query set already"),
        ([7, 7], "Query 7 is in the query set already"),
        ([-8], "Query 7 is not in the query set"),
        ([-5, -5], "Query 4 is not in the query set"),
    ],
)
def test_an_impossible_change_is_out_of_sequence(changes: list[int], complaint: str) -> None:
    connection = opened()
    connection.receive(modify(0, 1, 4))

    with pytest.raises(BadSequence, match=complaint):
        connection.receive(modify(1, 2, *changes))

    assert connection.state is State.CLOSED


# Sending


def test_transitions_follow_one_another() -> None:
    connection, client = opened(), WireClient()
    connection.receive(modify(0, 1, 4))
    connection.receive(authenticate(0))
    updated = (4, responses.updated_tail(b'"x"'))

    sent = transition(connection, 10, [updated], 1, 1, None)
    sent += transition(connection, 10, [], 1, 1, connection.stamp())
    sent += transition(connection, 12, [], 1, 1, None)
    for frame in sent:
        client.take(frame)

    assert client.version == connection.sent == StateVersion(1, 1, 12)
    assert client.results == {4: "x"}


def test_a_transition_carries_the_stamp() -> None:
    connection = opened(clientTs=NOW_US // 1000 + 3)

    (frame,) = transition(connection, 1, [], 0, 0, connection.stamp())

    assert json.loads(frame)["clientClockSkew"] == 3
    assert json.loads(frame)["serverTs"] == NOW_US * 1000


@pytest.mark.parametrize(
    ("end_ts", "query_set", "identity"),
    [
        (9, 2, 1),  # ts runs back
        (10, 0, 1),  # query set runs back
        (10, 2, 0),  # identity runs back
        (10, 4, 1),  # query set was not received
        (10, 2, 3),  # identity was not received
    ],
)
def test_a_transition_that_breaks_the_chain_is_refused_and_changes_nothing(
    end_ts: int, query_set: int, identity: int
) -> None:
    connection = opened()
    connection.receive(modify(0, 2, 4))
    connection.receive(authenticate(0))
    transition(connection, 10, [], 2, 1, None)
    connection.receive(modify(2, 3))
    connection.receive(authenticate(1))

    with pytest.raises(ChainBroken):
        transition(connection, end_ts, [], query_set, identity, None)

    assert connection.sent == StateVersion(2, 1, 10)


def test_no_transition_is_older_than_what_the_client_has_seen() -> None:
    connection = opened(maxObservedTimestamp=ts_to_wire(77))

    with pytest.raises(ChainBroken, match="max_observed_timestamp=77"):
        transition(connection, 76, [], 0, 0, None)

    assert transition(connection, 77, [], 0, 0, None)


@pytest.mark.parametrize("state", [State.FRESH, State.CLOSED])
def test_no_transition_goes_out_unless_open(state: State) -> None:
    with pytest.raises(ChainBroken, match=state.value):
        transition(IN_STATE[state](), 1, [], 0, 0, None)


def test_several_received_versions_fold_into_one_transition() -> None:
    connection = opened()
    connection.receive(modify(0, 1, 4))
    connection.receive(modify(1, 4, 5))

    start, end = connection.advance(8, 4, 0)

    assert (start, end) == (ZERO_VERSION, StateVersion(4, 0, 8))


# Chunks


def big_frames(client: ClientVersion, size: int) -> list[bytes]:
    connection = opened(client)
    connection.receive(modify(0, 1, 4))
    value = b'"' + "é\\n".encode() * (size // 4) + b'"'
    updated = (4, responses.updated_tail(value))
    return transition(connection, 10, [updated], 1, 0, None)


def test_a_big_transition_reaches_npm_in_chunks_with_nothing_but_ping_between() -> None:
    client = WireClient()

    parts = big_frames(NPM, 2 * MAX_FRAME_BYTES)
    for part in parts:
        client.take(part)
        client.take(responses.PING)

    assert len(parts) == 3
    assert client.version == StateVersion(1, 0, 10)
    assert client.results == {4: "é\n" * (MAX_FRAME_BYTES // 2)}


@pytest.mark.parametrize("client", [RUST, ClientVersion(), ClientVersion("npm", Version(1, 27, 3))])
def test_a_big_transition_reaches_other_clients_whole(client: ClientVersion) -> None:
    (frame,) = big_frames(client, 2 * MAX_FRAME_BYTES)

    assert json.loads(frame)["type"] == "Transition"
    assert len(frame) > 2 * MAX_FRAME_BYTES


@pytest.mark.parametrize(("excess", "count"), [(0, 1), (1, 2)])
def test_a_transition_is_cut_only_above_the_limit(excess: int, count: int) -> None:
    start, end = ZERO_VERSION, StateVersion(0, 0, 1)
    room = MAX_FRAME_BYTES - len(responses.transition(start, end, [(4, b"")]))

    sent = frames(start, end, [(4, b"x" * (room + excess))], None, can_chunk=True)

    assert len(sent) == count


def test_connections_in_one_state_can_share_frames() -> None:
    first, second = opened(), opened()

    assert first.advance(10, 0, 0) == second.advance(10, 0, 0)
    assert frames(*first.advance(11, 0, 0), [], None, can_chunk=True) == frames(
        *second.advance(11, 0, 0), [], None, can_chunk=False
    )
