"""What a connection is owed, when it goes out, and that it is always true."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.engine.outgoing import Outgoing
from parley.engine.sync import MAX_UNREAD_BYTES, MAX_UNREAD_TRANSITIONS, MAX_WAITING_BYTES
from parley.errors import Overloaded, ShuttingDown, TimedOut, TooManyMutations
from parley.protocol import responses
from parley.store.types import Transient, Unknown
from parley.values import ts_from_wire, ts_to_wire
from tests.support.rig import ANN, BOB, Client, Rig
from tests.support.tables import note, uuid
from tests.support.wire import SESSION


def shown(client: Client) -> dict[int, Any]:
    client.read()
    return client.results


def unchecked(client: Client) -> list[Outgoing]:
    """Take what is sent without looking at it."""
    taken = list(client.worker.outbox)
    client.worker.outbox.clear()
    for outgoing in taken:
        client.worker.written(outgoing)
    return taken


def transitions(taken: list[Outgoing]) -> list[dict[str, Any]]:
    return [json.loads(outgoing.frames[0]) for outgoing in taken if outgoing.is_transition]


def settled(rig: Rig, *clients: Client) -> None:
    """Go on until every client has read everything."""
    rig.run()
    while any(client.worker.outbox for client in clients):
        for client in clients:
            client.read()
        rig.run()


# --- query sets


def test_a_query_is_answered_at_memory_s_ts() -> None:
    rig = Rig(note(1))
    client = rig.client()

    client.add(3, "allOf", owner="ann")
    rig.run()

    [first] = transitions(client.read())
    assert first["endVersion"] == {"querySet": 1, "identity": 0, "ts": ts_to_wire(rig.store.ts)}
    assert [row["_id"] for row in client.results[3]] == [uuid(1)]


def test_an_empty_change_of_queries_is_answered_too() -> None:
    rig = Rig()
    client = rig.client()

    client.modify()
    rig.run()

    [first] = transitions(client.read())
    assert (first["endVersion"]["querySet"], first["modifications"]) == (1, [])


def test_several_changes_are_answered_at_once_by_ascending_query_id() -> None:
    rig = Rig()
    client = rig.client()

    client.add(7, "nothing")
    client.add(3, "nothing")
    rig.run()

    [only] = transitions(client.read())
    assert only["endVersion"]["querySet"] == 2
    assert [change["queryId"] for change in only["modifications"]] == [3, 7]


def test_all_queries_of_a_client_move_together() -> None:
    rig = Rig(note(1))
    client = rig.client()
    client.modify((0, rig.call("allOf", owner="ann")), (1, rig.call("allOf", owner="bob")))
    settled(rig, client)

    rig.write(note(1, "bob"))
    rig.run()

    [moved] = transitions(client.read())
    assert [change["queryId"] for change in moved["modifications"]] == [0, 1]


def test_nothing_goes_out_while_one_of_the_queries_is_dirty() -> None:
    rig = Rig(note(1))
    client = rig.client()
    client.add(0, "nothing")
    settled(rig, client)

    client.modify((1, rig.call("nothing")), (2, rig.call("allOf", owner="ann")))
    rig.step()
    assert not client.worker.outbox

    rig.run()
    assert shown(client).keys() == {0, 1, 2}


def test_a_query_removed_while_it_is_dirty_holds_up_nobody() -> None:
    rig = Rig()
    client = rig.client()
    client.modify((0, rig.call("allOf", owner="ann")), (1, rig.call("nothing")))
    rig.step()

    client.modify((0, None))
    rig.step()

    [only] = transitions(client.read())
    assert [(c["queryId"], c["type"]) for c in only["modifications"]] == [
        (0, "QueryRemoved"),
        (1, "QueryUpdated"),
    ]


def test_a_query_added_and_removed_before_any_transition_is_confirmed_as_removed() -> None:
    rig = Rig()
    client = rig.client()

    client.modify((0, rig.call("nothing")), (0, None))
    rig.run()

    [only] = transitions(client.read())
    assert [change["type"] for change in only["modifications"]] == ["QueryRemoved"]


def test_a_query_removed_and_added_again_is_sent_again_and_not_removed() -> None:
    rig = Rig()
    client = rig.client()
    client.add(0, "nothing")
    settled(rig, client)

    client.modify((0, None), (0, rig.call("nothing")))
    rig.run()

    [only] = transitions(client.read())
    assert [change["type"] for change in only["modifications"]] == ["QueryUpdated"]


def test_a_transition_tells_of_queries_by_their_ids_in_order() -> None:
    rig = Rig(note(1, rank=1))
    client = rig.client()
    client.modify(*[(query_id, rig.call("allOf", owner="ann")) for query_id in (11, 7, 3, 8)])
    settled(rig, client)

    client.modify((8, None), (9, rig.call("nothing")), (7, None), (2, rig.call("nothing")))
    rig.write(note(1, rank=2))
    rig.run()

    told = [
        [change["queryId"] for change in each["modifications"]]
        for each in transitions(client.read())
    ]
    assert max(map(len, told)) >= 4
    assert told == [sorted(each) for each in told]


def test_a_query_that_fails_recovers_when_its_rows_do() -> None:
    rig = Rig(note(1, rank=1), note(2, rank=2))
    client = rig.client()
    client.add(0, "fragile", owner="ann")
    settled(rig, client)
    assert client.results[0] == "unique() found more than one row of notes"

    rig.write({"_id": uuid(2)})
    settled(rig, client)

    assert client.results[0] == 1


@pytest.mark.parametrize(
    ("path", "args", "message"),
    [
        ("missing", {}, "Could not find public function for 'notes:missing'."),
        ("put", {}, "but it is defined as Mutation."),
        ("hidden", {}, "Could not find public function"),
        ("allOf", {}, "ArgumentValidationError"),
        ("allOf", {"owner": "x" * 11_000}, "arguments may be 10000 bytes"),
    ],
)
def test_a_call_that_cannot_be_run_fails_like_a_query(
    path: str, args: dict[str, Any], message: str
) -> None:
    rig = Rig()
    client = rig.client()
    client.worker.modify(
        client.connection.receive(  # type: ignore[arg-type]
            json.dumps(
                {
                    "type": "ModifyQuerySet",
                    "baseVersion": 0,
                    "newVersion": 1,
                    "modifications": [
                        {"type": "Add", "queryId": 0, "udfPath": f"notes:{path}", "args": [args]}
                    ],
                }
            )
        )
    )
    rig.run()

    [only] = transitions(list(client.worker.outbox))
    assert message in only["modifications"][0]["errorMessage"]


def test_a_query_too_many_fails_alone() -> None:
    rig = Rig()
    client = rig.client(max_queries=1)

    client.modify((0, rig.call("nothing")), (1, rig.call("nothing")))
    rig.run()

    [only] = transitions(list(client.worker.outbox))
    kept, refused = only["modifications"]
    assert kept["value"] == "nothing"
    assert "a connection may hold 1 queries" in refused["errorMessage"]


def test_far_too_many_queries_end_the_connection() -> None:
    rig = Rig()
    client = rig.client(max_queries=2)
    client.modify(*[(n, rig.call("nothing")) for n in range(4)])

    with pytest.raises(Overloaded):
        client.modify((4, rig.call("nothing")))


# --- what goes out, and what does not


def test_a_result_that_did_not_change_is_not_sent_again() -> None:
    rig = Rig(note(1, rank=5), note(2, rank=1))
    client = rig.client()
    client.add(0, "top", owner="ann", count=1)
    settled(rig, client)

    rig.write(note(1, rank=6))
    rig.run()

    assert client.read() == []


def test_a_result_that_changed_back_before_it_could_be_sent_is_not_sent() -> None:
    rig = Rig(note(1))
    client = rig.client()
    client.add(0, "allOf", owner="ann")
    settled(rig, client)
    make_deaf(rig, client)

    rig.write(note(1, rank=1))
    rig.run()
    rig.write(note(1))
    rig.run()

    client.read()
    rig.run()
    assert transitions(client.read()) == []


def make_deaf(rig: Rig, client: Client) -> None:
    """Leave as many transitions unread as may be."""
    for number in range(MAX_UNREAD_TRANSITIONS):
        client.add(100 + number, "nothing")
        rig.run()
    assert len(client.worker.outbox) == MAX_UNREAD_TRANSITIONS


def test_a_client_that_does_not_read_gets_two_transitions_and_then_one_for_all_the_rest() -> None:
    rig = Rig()
    client = rig.client()
    client.add(0, "allOf", owner="ann")
    settled(rig, client)

    for number in range(5):
        rig.write(note(number))
        rig.run()
    assert len(client.worker.outbox) == MAX_UNREAD_TRANSITIONS

    settled(rig, client)
    assert client.order.count("transition") == 1 + MAX_UNREAD_TRANSITIONS + 1
    assert len(client.results[0]) == 5


def test_reading_one_makes_room_for_one() -> None:
    rig = Rig()
    client = rig.client()
    client.add(0, "allOf", owner="ann")
    settled(rig, client)
    make_deaf(rig, client)
    rig.write(note(1))
    rig.run()

    client.read(1)
    rig.run()

    assert len(client.worker.outbox) == MAX_UNREAD_TRANSITIONS


def test_a_client_with_too_many_bytes_unread_gets_no_transition() -> None:
    rig = Rig()
    client = rig.client()
    client.worker.respond(b"x" * (MAX_UNREAD_BYTES + 1))
    rig.run()
    assert [outgoing.is_transition for outgoing in client.worker.outbox] == [False]

    client.worker.written(client.worker.outbox.pop(0))
    rig.run()

    assert [outgoing.is_transition for outgoing in client.worker.outbox] == [True]


def test_only_transitions_that_bring_news_of_identity_tell_our_clock() -> None:
    rig = Rig()
    client = rig.client(clientTs=5)
    client.add(0, "allOf", owner="ann")
    settled(rig, client)
    rig.write(note(1))
    rig.run()
    plain = transitions(client.read())
    client.authenticate(ANN)
    rig.run()
    news = transitions(client.read())

    assert ["serverTs" in transition for transition in (*plain, *news)] == [False, True]


def test_connections_that_stand_at_the_same_place_share_their_frames() -> None:
    rig = Rig()
    clients = [rig.client(), rig.client(), rig.client()]
    for client in clients[:2]:
        client.add(0, "allOf", owner="ann")
    clients[2].add(1, "allOf", owner="ann")
    settled(rig, *clients)

    rig.write(note(1))
    rig.run()

    [one], [two], [three] = [client.read() for client in clients]
    assert one.frames is two.frames
    assert three.frames != one.frames
    assert all(len(client.results) == 1 for client in clients)


def test_frames_of_one_tick_are_not_those_of_the_next() -> None:
    rig = Rig()
    client, late = rig.client(), rig.client()
    client.add(0, "allOf", owner="ann")
    late.add(0, "allOf", owner="bob")
    settled(rig, client, late)

    rig.write(note(1), note(2, "bob"))
    rig.run()

    assert client.read()[0].frames != late.read()[0].frames
    assert (client.results[0][0]["owner"], late.results[0][0]["owner"]) == ("ann", "bob")


def test_a_large_transition_goes_in_chunks_to_clients_that_take_them() -> None:
    rig = Rig(*[note(n, more="x" * 900_000) for n in range(7)])
    client = rig.client()
    client.add(0, "allOf", owner="ann")
    rig.run()

    [only] = client.read()

    assert len(only.frames) == 2
    assert only.size_bytes > responses.MAX_FRAME_BYTES
    assert len(client.wire.results[0]) == 7


def test_what_a_client_holds_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parley.engine.cohort.MAX_HELD_BYTES", 250)
    rig = Rig(note(1), note(2, "bob"))
    client = rig.client()
    client.add(0, "allOf", owner="ann")
    rig.run()
    [first] = transitions(unchecked(client))
    client.add(1, "allOf", owner="bob")
    rig.run()
    [refused] = transitions(unchecked(client))
    client.modify((0, None))
    rig.run()
    unchecked(client)
    rig.write(note(2, "bob", rank=1))
    rig.run()
    [fits] = transitions(unchecked(client))

    assert [change["type"] for change in first["modifications"]] == ["QueryUpdated"]
    [failure] = refused["modifications"]
    assert "the results of a connection may be 250 bytes" in failure["errorMessage"]
    assert [change["type"] for change in fits["modifications"]] == ["QueryUpdated"]


def test_a_broken_chain_ends_one_connection_and_no_other() -> None:
    rig = Rig()
    broken, other = rig.client(), rig.client()
    broken.add(0, "nothing")
    other.add(0, "nothing")

    broken.worker.cohort.query_set = 99
    rig.run()

    assert isinstance(broken.worker.failure, ShuttingDown)
    assert shown(other) == {0: "nothing"}


def test_a_client_is_served_nothing_older_than_it_has_seen() -> None:
    rig = Rig()
    client = rig.client(maxObservedTimestamp=ts_to_wire(rig.store.ts + 5))
    client.add(0, "nothing")
    rig.run()
    assert not client.worker.outbox

    rig.write(note(1))
    rig.run()

    [only] = transitions(client.read())
    assert ts_from_wire(only["endVersion"]["ts"]) == rig.store.ts


def test_a_client_waits_while_memory_is_set_back() -> None:
    rig = Rig()
    client = rig.client()
    client.add(0, "nothing")
    settled(rig, client)
    rig.write(note(1))
    settled(rig, client)
    client.modify()
    settled(rig, client)

    rig.engine.reset(rig.store.schema, rig.store.ts - 10)
    client.modify()
    rig.step()
    assert not client.worker.outbox

    settled(rig, client)
    assert client.worker.failure is None
    assert client.wire.version.ts == rig.store.ts


def test_nothing_is_sent_on_a_connection_that_was_violated() -> None:
    rig = Rig()
    client = rig.client()
    client.add(0, "nothing")

    client.connection.close()
    rig.run()

    assert not client.worker.outbox


def test_a_closed_worker_hears_and_says_nothing() -> None:
    rig = Rig()
    client = rig.client()
    client.add(0, "allOf", owner="ann")
    client.mutate(0, "bump", id=uuid(1))
    client.mutate(1, "bump", id=uuid(1))

    client.worker.close()
    client.worker.close()
    client.worker.respond(b"{}")
    rig.run()

    assert not client.worker.outbox
    assert len(rig.engine.live) == 0
    assert rig.store.rows == {}
    assert rig.engine.committer.is_idle


# --- identities


def test_queries_that_look_at_the_caller_are_run_for_each() -> None:
    rig = Rig(note(1, "ann"), note(2, "bob"))
    ann, bob, nobody = rig.client(identity=ANN), rig.client(identity=BOB), rig.client()
    for client in (ann, bob, nobody):
        client.add(0, "mine")
    settled(rig, ann, bob, nobody)

    assert [client.results[0] for client in (ann, bob, nobody)] == [[uuid(1)], [uuid(2)], None]


def test_queries_that_do_not_look_are_run_once_for_all() -> None:
    rig = Rig(note(1))
    ann, bob = rig.client(identity=ANN), rig.client(identity=BOB)
    for client in (ann, bob):
        client.add(0, "allOf", owner="ann")
    settled(rig, ann, bob)

    assert len(rig.engine.live) == 1
    assert rig.engine.stats.query_runs == 2  # once to find out what to load


def test_a_change_of_identity_asks_again_and_sends_only_what_differs() -> None:
    rig = Rig(note(1, "ann"))
    client = rig.client(identity=ANN)
    client.modify((0, rig.call("mine")), (1, rig.call("allOf", owner="ann")))
    settled(rig, client)

    client.authenticate(BOB)
    rig.run()

    [only] = transitions(client.read())
    assert only["endVersion"]["identity"] == 1
    assert [(c["queryId"], c["value"]) for c in only["modifications"]] == [(0, [])]


def test_a_change_of_identity_that_changes_nothing_is_confirmed_all_the_same() -> None:
    rig = Rig()
    client = rig.client(identity=ANN)
    client.add(0, "mine")
    settled(rig, client)

    client.authenticate(ANN)
    rig.run()

    [only] = transitions(client.read())
    assert (only["endVersion"]["identity"], only["modifications"]) == (1, [])


def test_a_result_of_the_identity_before_is_never_sent_under_the_next() -> None:
    rig = Rig(note(1, "ann"), note(2, "bob"))
    client = rig.client(identity=ANN)
    client.add(0, "mine")
    rig.step()
    rig.load()

    client.authenticate(BOB)
    rig.arrive()
    settled(rig, client)

    assert client.results[0] == [uuid(2)]
    assert client.order == ["transition"]


def test_a_page_keeps_its_border_when_the_identity_changes() -> None:
    rig = Rig(note(1), note(2), note(3))
    client = rig.client()
    options = {"numItems": 2, "cursor": None}
    client.add(0, "page", owner="ann", paginationOpts=options)
    settled(rig, client)
    border = client.results[0]["continueCursor"]
    rig.write({"_id": uuid(1)}, note(4))
    rig.engine._identity_paths.add("notes:page")

    client.authenticate(ANN)
    settled(rig, client)

    assert client.results[0]["continueCursor"] == border
    assert [row["_id"] for row in client.results[0]["page"]] == [uuid(2)]


def test_a_split_that_finds_its_result_made_already_is_sent_at_once() -> None:
    rig = Rig(note(1))
    slow, quick, other = rig.client(identity=ANN), rig.client(identity=ANN), rig.client()
    slow.add(0, "mineIfAny", owner="ann")
    rig.step()
    [request] = rig.loads
    rig.loads.clear()
    rig.write(note(2, "cat"))
    rig.tail()
    other.add(0, "mineIfAny", owner="cat")
    rig.step()
    rig.load()
    rig.arrive()
    rig.step()
    other.read()

    quick.add(0, "mineIfAny", owner="ann")
    rig.loads = []
    rig.step()
    rig.engine.loaded(rig.store.load(request))
    rig.run()

    quick.read()
    slow.read()
    assert (slow.results, quick.results) == ({0: "ann"}, {0: "ann"})


# --- mutations


def test_a_transition_that_reaches_its_ts_follows_every_response() -> None:
    rig = Rig()
    client = rig.client()
    client.mutate(0, "put", id=uuid(1), owner="ann", rank=1)
    settled(rig, client)

    assert client.order == ["response 0", "transition"]
    assert client.responses[0]["success"]
    assert client.wire.version.ts >= ts_from_wire(client.responses[0]["ts"])


def test_a_transition_follows_a_failure_too() -> None:
    rig = Rig()
    client = rig.client()
    client.mutate(0, "remove", id=uuid(1))
    settled(rig, client)

    assert client.order == ["response 0", "transition"]
    assert client.responses[0]["errorData"] == "no such note"
    assert client.responses[0]["ts"] is None


def test_a_write_is_not_shown_before_its_response() -> None:
    rig = Rig()
    client = rig.client()
    client.add(0, "allOf", owner="ann")
    settled(rig, client)
    client.mutate(0, "put", id=uuid(1), owner="ann", rank=1)
    rig.step()
    rig.load()
    rig.arrive()
    rig.step()
    outcome = rig.store.commit(rig.batches[-1])
    rig.tail()
    rig.step()
    assert not client.worker.outbox

    rig.land(outcome)
    settled(rig, client)

    assert client.order == ["transition", "response 0", "transition"]


def test_mutations_of_a_connection_run_in_the_order_they_came() -> None:
    rig = Rig()
    client = rig.client()
    for request in range(5):
        client.mutate(request, "bump", id=uuid(1))
    settled(rig, client)

    assert [client.responses[n]["result"] for n in range(5)] == [1, 2, 3, 4, 5]
    assert [step for step in client.order if step != "transition"] == [
        f"response {n}" for n in range(5)
    ]


def test_a_mutation_speaks_as_who_sent_it() -> None:
    rig = Rig()
    client = rig.client(identity=ANN)
    client.mutate(0, "bump", id=uuid(1))
    client.mutate(1, "bump", id=uuid(1))
    client.authenticate(BOB)
    settled(rig, client)

    assert {request.identity for request in rig.store.requests} == {"https://issuer|ann"}


def test_any_number_of_mutations_can_be_refused_one_after_another() -> None:
    rig = Rig()
    client = rig.client(max_mutations=5000)
    client.mutate(0, "bump", id=uuid(1))
    for request in range(1, 2000):
        client.mutate(request, "missing")
    settled(rig, client)

    assert len(client.responses) == 2000
    assert list(client.responses) == list(range(2000))


def test_as_many_mutations_as_allowed_may_wait_and_no_more() -> None:
    rig = Rig()
    client = rig.client(max_mutations=2)
    client.mutate(0, "bump", id=uuid(1))
    client.mutate(1, "bump", id=uuid(1))

    with pytest.raises(TooManyMutations):
        client.mutate(2, "bump", id=uuid(1))


def test_a_client_that_is_ahead_of_its_answers_is_not_read_any_more() -> None:
    rig = Rig()
    client = rig.client(max_mutations=2)
    assert not client.worker.is_congested

    client.mutate(0, "bump", id=uuid(1))
    client.mutate(1, "bump", id=uuid(1))
    assert client.worker.is_congested

    settled(rig, client)
    assert not client.worker.is_congested


@pytest.mark.parametrize("is_over", [False, True])
def test_a_client_whose_mutations_take_too_much_room_is_not_read_any_more(is_over: bool) -> None:
    rig = Rig()
    client = rig.client()
    [message] = [client.connection.receive('{"type":"Mutation","requestId":0,"udfPath":"notes:x"}')]
    client.worker._submitted = 1

    client.worker.mutate(message, MAX_WAITING_BYTES + is_over)  # type: ignore[arg-type]

    assert client.worker.is_congested is is_over


def test_spaced_mutations_follow_one_another_and_are_answered_in_order() -> None:
    rig = Rig(note(1, rank=0))
    client = rig.client()
    for number in range(4):
        client.mutate(number, "stretch", id=uuid(1))
    client.mutate(4, "no such function")
    client.mutate(5, "stretch", id=uuid(1))

    rig.run()
    client.read()

    responses = [each for each in client.order if each.startswith("response")]
    assert responses == [f"response {number}" for number in range(6)]
    assert [client.responses[n]["result"] for n in (0, 1, 2, 3, 5)] == [1, 2, 3, 4, 5]
    assert not client.responses[4]["success"]
    assert max(len(batch.entries) for batch in rig.batches) == 4


def test_none_runs_behind_a_spaced_mutation_that_got_no_answer() -> None:
    rig = Rig(note(1, rank=0))
    client = rig.client()
    client.mutate(0, "stretch", id=uuid(1))
    client.mutate(1, "stretch", id=uuid(1))
    rig.engine.committer._waiting.ready[0].deadline = 0.0

    rig.run()

    assert isinstance(client.worker.failure, TimedOut)
    assert not client.worker.outbox
    assert rig.store.rows["notes", uuid(1)]["rank"] == 0


def test_no_mutation_runs_for_a_client_that_does_not_read_what_the_others_gave() -> None:
    rig = Rig()
    client = rig.client()
    client.worker.respond(b"x" * (MAX_UNREAD_BYTES + 1))
    client.mutate(0, "bump", id=uuid(1))
    rig.run()
    assert rig.store.rows == {}

    client.worker.written(client.worker.outbox.pop(0))
    settled(rig, client)

    assert client.responses[0]["result"] == 1


def test_a_mutation_without_an_answer_ends_the_connection_and_none_overtakes_it() -> None:
    rig = Rig()
    client = rig.client()
    client.mutate(0, "bump", id=uuid(1))
    rig.step()
    rig.clock.advance(20.0)
    rig.step()

    client.mutate(1, "bump", id=uuid(1))
    client.mutate(2, "bump", id=uuid(1))
    rig.run()

    assert isinstance(client.worker.failure, TimedOut)
    assert client.responses == {}
    assert rig.store.rows == {}


def test_an_answer_from_a_commit_that_memory_has_not_seen_holds_the_transition_back() -> None:
    rig = Rig(note(1, rank=0))
    client = rig.client()
    client.mutate(0, "bump", id=uuid(1))
    rig.step()
    rig.load()
    rig.arrive()
    rig.step()
    rig.store.commit(rig.batches[-1])
    rig.land(Unknown("connection lost"))
    rig.clock.advance(1.0)
    rig.step()
    rig.land()

    rig.step()
    client.read()
    assert client.order == ["response 0"]

    settled(rig, client)
    assert client.order == ["response 0", "transition"]
    assert client.wire.version.ts == ts_from_wire(client.responses[0]["ts"])


def test_a_repeat_after_a_reconnect_gets_its_answer_and_a_transition() -> None:
    rig = Rig()
    before = rig.client()
    before.mutate(0, "bump", id=uuid(1))
    settled(rig, before)
    before.worker.close()

    after = rig.client(maxObservedTimestamp=ts_to_wire(before.wire.version.ts))
    after.mutate(0, "bump", id=uuid(1))
    settled(rig, after)

    assert after.responses == before.responses
    assert after.order == ["response 0", "transition"]


# --- patches


def kinds(client: Client) -> list[str]:
    """How the results came that a client reads now."""
    return [change["type"] for one in transitions(client.read()) for change in one["modifications"]]


def patching(rig: Rig, path: str = "allOf", **args: Any) -> Client:
    """A client that takes patches, with a first result of enough notes to be worth one."""
    client = rig.client(is_parley=True)
    client.add(0, path, **(args or {"owner": "ann"}))
    settled(rig, client)
    return client


def test_a_client_that_asked_is_told_what_changed_and_others_the_whole() -> None:
    rig = Rig(*map(note, range(9)))
    ours, official = patching(rig), rig.client()
    official.add(0, "allOf", owner="ann")
    settled(rig, official)

    rig.write(note(3, rank=1))
    rig.run()

    assert kinds(ours) == ["QueryPatched"]
    assert kinds(official) == ["QueryUpdated"]
    assert ours.results == official.results


def test_who_stands_at_one_place_gets_one_patch() -> None:
    rig = Rig(*map(note, range(9)))
    clients = [patching(rig) for _ in range(3)]

    rig.write(note(3, rank=1))
    rig.run()

    [only] = {id(client.worker.outbox[0]) for client in clients}
    assert only == id(clients[0].worker.outbox[0])


def test_a_client_that_reads_slowly_gets_what_changed_since_it_was_told() -> None:
    rig = Rig(*map(note, range(9)))
    client = patching(rig)

    for rank in range(MAX_UNREAD_TRANSITIONS + 3):
        rig.write(note(3, rank=rank))
        rig.run()

    assert kinds(client) == ["QueryPatched"] * MAX_UNREAD_TRANSITIONS
    rig.run()
    assert kinds(client) == ["QueryPatched"]
    assert client.results[0][3]["rank"] == MAX_UNREAD_TRANSITIONS + 2


def test_a_client_that_is_too_far_behind_gets_the_whole() -> None:
    rig = Rig(*map(note, range(9)))
    client = patching(rig)

    for rank in range(60):
        rig.write(note(rank % 9, rank=rank))
        rig.run()

    assert kinds(client) == ["QueryPatched"] * MAX_UNREAD_TRANSITIONS
    rig.run()
    assert kinds(client) == ["QueryUpdated"]


def test_a_change_of_nearly_all_is_told_as_the_whole() -> None:
    rig = Rig(*map(note, range(9)))
    client = patching(rig)

    rig.write(*[{"_id": uuid(n)} for n in range(9)], *[note(n) for n in range(10, 19)])
    rig.run()

    assert kinds(client) == ["QueryUpdated"]


def test_after_a_failure_the_whole_is_told() -> None:
    rig = Rig(*[note(n, rank=n) for n in range(9)])
    client = patching(rig, "fragileList", owner="ann")

    rig.write(note(3, rank=-1))
    rig.run()
    assert kinds(client) == ["QueryFailed"]

    rig.write(note(3, rank=3))
    rig.run()
    assert kinds(client) == ["QueryUpdated"]

    rig.write(note(3, rank=4))
    rig.run()
    assert kinds(client) == ["QueryPatched"]


def test_a_query_asked_for_again_under_its_id_is_told_whole() -> None:
    rig = Rig(*map(note, range(9)))
    client, other = patching(rig), patching(rig)

    client.modify((0, None))
    client.modify((0, rig.call("allOf", owner="ann")))
    rig.write(note(3, rank=1))
    rig.run()

    assert kinds(client) == ["QueryUpdated", "QueryPatched"]
    assert kinds(other) == ["QueryPatched"]


def test_another_identity_s_result_is_told_whole() -> None:
    rig = Rig(*map(note, range(9)), *[note(n, "bob") for n in range(10, 19)])
    client = rig.client(is_parley=True, identity=ANN)
    client.add(0, "mine")
    settled(rig, client)

    client.authenticate(BOB)
    rig.run()
    assert kinds(client) == ["QueryUpdated"]

    rig.write(note(20, "bob"))
    rig.run()
    assert kinds(client) == ["QueryPatched"]


def test_a_result_that_was_let_go_of_is_told_whole_only_to_those_who_lack_it() -> None:
    rig = Rig(*map(note, range(9)))
    client = patching(rig)
    rig.write(note(3, rank=1))
    settled(rig, client)
    rig.engine.held.max_bytes = 0
    rig.run()
    assert client.worker.cohort.queries[0].result.is_forgotten  # type: ignore[union-attr]

    rig.engine.held.max_bytes = 1 << 20
    late = patching(rig)

    assert late.results == client.results
    assert kinds(client) == []
    rig.write(note(3, rank=2))
    rig.run()
    assert [kinds(client), kinds(late)] == [["QueryPatched"], ["QueryPatched"]]


def test_an_equal_result_wakes_nobody_whoever_follows_it() -> None:
    rig = Rig(*[note(n, rank=n) for n in range(9)])
    ours, official = patching(rig, "top", owner="ann", count=3), rig.client()
    official.add(0, "top", owner="ann", count=3)
    settled(rig, official)
    rig.write(note(9, rank=9))
    settled(rig, ours, official)

    rig.write(note(1, rank=0))
    rig.run()
    ours.worker.close()
    rig.write(note(1, rank=1))
    rig.run()

    assert kinds(official) == []


# --- everything at once

CALLS = (
    ("allOf", {"owner": "ann"}),
    ("allOf", {"owner": "bob"}),
    ("top", {"owner": "ann", "count": 1}),
    ("one", {"id": uuid(1)}),
    ("scored", {"above": 0.5}),
    ("mine", {}),
    ("mineIfAny", {"owner": "bob"}),
    ("fragile", {"owner": "bob"}),
    ("fragileList", {"owner": "ann"}),
    ("page", {"owner": "ann", "paginationOpts": {"numItems": 1, "cursor": None}}),
    ("missing", {}),
)
numbers = st.integers(0, 2)
rows = st.one_of(
    st.builds(
        lambda n, owner, rank, score: note(n, owner, rank=rank, score=score),
        numbers,
        st.sampled_from(("ann", "bob")),
        st.sampled_from((None, -1, 1, 2)),
        st.sampled_from((None, 0.1, 0.9)),
    ),
    numbers.map(lambda n: {"_id": uuid(n)}),
)


def happenings(clients: int) -> Any:
    """What may happen to so many clients of a node."""
    who = st.integers(0, clients - 1)
    mutations = st.tuples(
        st.just("mutate"), who, st.sampled_from(("bump", "remove", "fail")), numbers
    )
    writes = st.tuples(st.just("write"), st.lists(rows, min_size=1, max_size=2))
    adds = st.tuples(st.just("add"), who, st.integers(0, 3), st.sampled_from(CALLS))
    reads = st.tuples(st.just("read"), who)
    return st.one_of(
        *(writes, writes, adds, adds, reads, reads, mutations, mutations),
        st.tuples(st.just("reset"), rows),
        st.tuples(st.just("remove"), who, st.integers(0, 3)),
        st.tuples(st.just("authenticate"), who, st.sampled_from((ANN, BOB, None))),
        *[st.tuples(st.just(name)) for name in ("load", "arrive", "evict", "turn")],
        *[st.tuples(st.just(name)) for name in ("step", "step", "step", "load", "arrive")],
        st.tuples(
            st.just("land"),
            st.sampled_from((None, Unknown("lost"), Transient("08", ""))),
            st.booleans(),
        ),
        st.tuples(st.just("land"), st.just(None), st.just(False)),
        st.tuples(st.just("tail"), st.sampled_from((1, None))),
        st.tuples(st.just("reconnect"), who),
        st.tuples(st.just("squeeze"), st.sampled_from((0, 300, 1 << 20))),
        st.tuples(st.just("rest"), st.sampled_from((0.1, 0.3))),
    )


def crowd_happenings(clients: int) -> Any:
    """The same, and what makes clients alike: they ask the same and take what they get."""
    who = st.integers(0, clients - 1)
    return st.one_of(
        happenings(clients),
        st.tuples(st.just("turn")),
        st.tuples(st.just("turn")),
        st.tuples(st.just("write"), st.lists(rows, min_size=1, max_size=2)),
        st.tuples(st.just("write"), st.lists(rows, min_size=1, max_size=2)),
        st.tuples(st.just("all_add"), st.integers(0, 3), st.sampled_from(CALLS)),
        st.tuples(st.just("hear"), who, st.booleans()),
        st.tuples(st.just("violate"), who),
    )


class Commotion:
    """Clients, psql, and a node, each doing what it likes."""

    def __init__(self) -> None:
        self.rig = Rig(note(0), note(1, "bob"))
        self.clients = [self.rig.client(identity=ANN, is_parley=True), self.rig.client()]
        self.sent = [0, 0]
        self.begin()

    def begin(self) -> None:
        self.add(0, 0, CALLS[0])
        self.add(1, 0, CALLS[0])
        self.add(1, 1, CALLS[5])
        self.rig.run()

    def write(self, written: list[Any]) -> None:
        self.rig.write(*written)

    def reset(self, row: Any) -> None:
        self.rig.write(row, resets=["notes"])

    def add(self, at: int, query_id: int, call: tuple[str, dict[str, Any]]) -> None:
        path, args = call
        if query_id not in self.clients[at].asked[-1].queries:
            self.clients[at].modify((query_id, self.call(path, args)))

    def call(self, path: str, args: dict[str, Any]) -> Any:
        return self.rig.call(path, **args)

    def remove(self, at: int, query_id: int) -> None:
        if query_id in self.clients[at].asked[-1].queries:
            self.clients[at].modify((query_id, None))

    def authenticate(self, at: int, identity: Any) -> None:
        self.clients[at].authenticate(identity)

    def mutate(self, at: int, path: str, number: int) -> None:
        # Numbers of a session go on across its reconnects.
        self.clients[at].mutate(self.sent[at], path, id=uuid(number))
        self.sent[at] += 1

    def read(self, at: int) -> None:
        self.clients[at].read()

    def land(self, outcome: Any, is_unheard: bool) -> None:
        if self.rig.is_flying:
            if is_unheard:
                self.rig.store.commit(self.rig.batches[-1])
                outcome = Unknown("nobody heard")
            self.rig.land(outcome)

    def step(self) -> None:
        self.rig.step()

    def tail(self, count: int | None) -> None:
        self.rig.tail(count)

    def load(self) -> None:
        self.rig.load()

    def arrive(self) -> None:
        self.rig.arrive()

    def evict(self) -> None:
        budget = self.rig.engine.memory.max_bytes
        self.rig.engine.memory.max_bytes = 0
        self.rig.engine.memory.evict()
        self.rig.engine.memory.max_bytes = budget

    def turn(self) -> None:
        self.rig.turn()

    def squeeze(self, budget: int) -> None:
        self.rig.engine.held.max_bytes = budget

    def rest(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)

    def reconnect(self, at: int) -> None:
        old = self.clients[at]
        old.read()
        old.worker.close()
        self.come_back(at)

    def come_back(self, at: int) -> None:
        old = self.clients[at]
        session = f"{SESSION[:-2]}{at}{self.sent[at] % 10}"
        new = self.rig.client(
            session=session,
            identity=old.worker.identity,
            is_parley=old.connection.client.is_parley,
            maxObservedTimestamp=ts_to_wire(old.wire.version.ts),
        )
        for query_id, call in old.asked[-1].queries.items():
            new.modify((query_id, call))
        new.is_prompt = old.is_prompt
        self.clients[at] = new


class Crowd(Commotion):
    """Clients that ask the same and take what they get, until something happens to one of them."""

    def begin(self) -> None:
        kinds = [(ANN, True), (None, False), (ANN, True), (BOB, False), (None, False)]
        self.clients = [
            self.rig.client(identity=identity, is_parley=is_parley) for identity, is_parley in kinds
        ]
        self.sent = [0] * len(kinds)
        for client in self.clients:
            client.is_prompt = True
        self.all_add(0, CALLS[0])
        self.all_add(1, CALLS[5])
        self.rig.run()

    def all_add(self, query_id: int, call: tuple[str, dict[str, Any]]) -> None:
        for at in range(len(self.clients)):
            self.add(at, query_id, call)

    def hear(self, at: int, is_prompt: bool) -> None:
        self.clients[at].is_prompt = is_prompt

    def violate(self, at: int) -> None:
        """Make a mistake; the worker hears of it a little later."""
        self.clients[at].read()
        self.clients[at].connection.close()
        self.rig.step()
        assert not any(made.is_transition for made in self.clients[at].worker.outbox)
        self.clients[at].worker.close()
        self.come_back(at)

    def check(self) -> None:
        """Check what must hold of everybody who does not stand alone."""
        engine = self.rig.engine
        for client in self.clients:
            cohort = client.worker.cohort
            assert client.worker in cohort.members
            for member in cohort.members:
                assert member.cohort is cohort
                assert member.connection.chain is client.connection.chain
                if len(cohort.members) > 1:
                    assert member.is_quiet
                    assert member.connection.client == client.connection.client
            for query_id, query in cohort.queries.items():
                assert query.subscribers[id(cohort), query_id] is cohort
        held = {id(client.worker.cohort) for client in self.clients}
        for query in engine.live:
            assert {of for of, _ in query.subscribers} <= held


@settings(max_examples=60, deadline=None)
@given(st.lists(crowd_happenings(5), min_size=30, max_size=60))
def test_whatever_happens_to_one_of_a_crowd_is_its_own_affair(happens: list[Any]) -> None:
    crowd = Crowd()
    for name, *details in happens:
        getattr(crowd, name)(*details)
        crowd.check()
    assert_all_is_true(crowd)


@settings(max_examples=60, deadline=None)
@given(st.lists(happenings(2), min_size=30, max_size=60))
def test_whatever_happens_clients_show_what_was_true_at_one_moment_and_end_at_the_newest(
    happens: list[Any],
) -> None:
    commotion = Commotion()
    for name, *details in happens:
        getattr(commotion, name)(*details)
    assert_all_is_true(commotion)


def assert_all_is_true(commotion: Commotion) -> None:
    settled(commotion.rig, *commotion.clients)

    engine = commotion.rig.engine
    results = [query.result for query in engine.live if query.result is not None]
    kept = [result for result in results if not result.is_forgotten]
    assert engine.held.size_bytes == sum(len(result.tail) for result in kept)
    for client in commotion.clients:
        client.check(commotion.rig.store.ts)
        assert client.order[-1:] in ([], ["transition"])
        for response in client.responses.values():
            assert client.wire.version.ts >= ts_from_wire(response["ts"] or ts_to_wire(0))


# --- what a client costs


def test_a_worker_has_no_more_attributes_than_python_keeps_compact() -> None:
    assert len(vars(Rig().client().worker)) <= 30


# --- how much a client holds


def test_a_result_above_what_a_client_may_hold_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(note(1), note(2, owner="bob"))
    client = rig.client()
    client.add(0, "allOf", owner="ann")
    rig.run()
    size = len(client.worker.cohort.queries[0].result.tail)  # type: ignore[union-attr]
    monkeypatch.setattr("parley.engine.cohort.MAX_HELD_BYTES", size + 10)

    client.read()
    client.add(1, "allOf", owner="bob")
    rig.run()

    [last] = transitions(list(client.worker.outbox))
    [failed] = last["modifications"]
    assert (failed["type"], failed["queryId"]) == ("QueryFailed", 1)
    assert "the results of a connection may be" in failed["errorMessage"]
