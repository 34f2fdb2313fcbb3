"""Clients that hold the same stand together, and part as soon as anything happens to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from parley.engine.cohort import MAX_MEMBERS
from parley.protocol.framing import text_frame
from tests.support.rig import ANN, BOB, Client, Rig
from tests.support.tables import note, uuid


def crowd(rig: Rig, size: int = 3, **options: Any) -> list[Client]:
    """Return clients that follow the same and have been sent one Transition together."""
    clients = [rig.client(**options) for _ in range(size)]
    for client in clients:
        client.is_prompt = True
        client.add(0, "allOf", owner="ann")
    rig.run()
    rig.write(note(1, rank=1))
    rig.run()
    return clients


def cohorts(*clients: Client) -> list[int]:
    """Return the number of members of each cohort, the largest first."""
    found = {id(client.worker.cohort): client.worker.cohort for client in clients}
    return sorted((len(cohort.members) for cohort in found.values()), reverse=True)


def test_clients_that_were_sent_the_same_and_hold_the_same_are_one() -> None:
    rig = Rig()
    clients = crowd(rig)
    [query] = rig.engine.live

    assert cohorts(*clients) == [3]
    assert len(query.subscribers) == 1

    rig.write(note(2))
    rig.run()

    assert {len(client.results[0]) for client in clients} == {2}
    assert len({client.wire.version for client in clients}) == 1
    assert all(not client.worker.outbox for client in clients)


def test_clients_that_differ_stand_apart() -> None:
    rig = Rig()
    plain = crowd(rig)
    another = rig.client()
    another.is_prompt = True
    another.modify((0, rig.call("allOf", owner="ann")), (1, rig.call("allOf", owner="bob")))
    ours = rig.client(is_parley=True)
    ours.is_prompt = True
    ours.add(0, "allOf", owner="ann")
    rig.run()
    for rank in (2, 3):
        rig.write(note(1, rank=rank))
        rig.run()

    assert cohorts(*plain, another, ours) == [3, 1, 1]


def respond(client: Client) -> None:
    client.worker.respond(b'{"type":"ActionResponse","requestId":1}')


def authenticate(client: Client) -> None:
    client.authenticate(ANN)


def mutate(client: Client) -> None:
    client.mutate(0, "bump", id=uuid(1))


def modify(client: Client) -> None:
    client.modify()


def violate(client: Client) -> None:
    client.connection.close()


def stop_reading(client: Client) -> None:
    client.is_prompt = False
    client.rig.write(note(3))
    client.rig.run()


@pytest.mark.parametrize("happens", [respond, authenticate, mutate, modify, violate, stop_reading])
def test_what_happens_to_one_alone_takes_it_out(happens: Callable[[Client], None]) -> None:
    rig = Rig()
    clients = crowd(rig)
    one, *others = clients

    happens(one)

    assert cohorts(*clients) == [2, 1]
    assert one.worker.cohort is not others[0].worker.cohort
    rig.write(note(2))
    rig.run()
    assert all(len(client.results[0]) == len(rig.store.rows) for client in others)


def test_who_left_comes_back_with_the_next_change() -> None:
    rig = Rig()
    clients = crowd(rig)

    mutate(clients[0])
    rig.run()
    assert cohorts(*clients) == [2, 1]
    clients[0].read()
    rig.write(note(2))
    rig.run()

    assert cohorts(*clients) == [3]
    assert clients[0].responses[0]["success"]


def test_who_does_not_keep_up_gets_two_transitions_and_then_one_for_all_the_rest() -> None:
    rig = Rig()
    clients = crowd(rig)
    slow, *others = clients
    slow.is_prompt = False

    for number in range(2, 7):
        rig.write(note(number))
        rig.run()
    assert len(slow.worker.outbox) == 2
    assert {len(client.results[0]) for client in others} == {6}

    slow.read()
    rig.run()
    slow.read()
    assert slow.results == others[0].results
    assert slow.wire.version == others[0].wire.version


@pytest.mark.parametrize("slow_ones", [1, 2, 3])
@pytest.mark.parametrize("taken", [0, 1, 40])
def test_who_takes_a_part_of_a_push_gets_the_rest_before_anything_else(
    slow_ones: int, taken: int
) -> None:
    rig = Rig()
    clients = crowd(rig)
    slow = clients[:slow_ones]
    for client in slow:
        client.port.takes = taken

    for number in (2, 3):
        rig.write(note(number))
        rig.run()
    assert max(cohorts(*slow)) == 1
    for client in slow:
        client.port.flush()
        client.read()
    for number in (4, 5):
        rig.write(note(number))
        rig.run()

    assert {len(client.results[0]) for client in clients} == {5}
    assert len({client.wire.version for client in clients}) == 1
    assert cohorts(*clients) == [3]


def test_who_uses_the_socket_for_something_else_stands_apart_until_it_is_clear() -> None:
    rig = Rig()
    clients = crowd(rig)
    port = clients[0].port

    port.on_other_use()
    port.waiting = text_frame(b'{"type":"Ping"}')
    assert cohorts(*clients) == [2, 1]
    rig.write(note(2))
    rig.run()
    assert cohorts(*clients) == [2, 1]
    clients[0].port.flush()
    rig.write(note(3))
    rig.run()

    assert cohorts(*clients) == [3]
    assert {len(client.results[0]) for client in clients} == {3}


def test_a_socket_that_is_used_after_its_connection_has_ended_changes_nothing() -> None:
    rig = Rig()
    clients = crowd(rig)
    clients[0].worker.close()

    clients[0].port.on_other_use()

    assert cohorts(*clients[1:]) == [2]


def test_a_connection_that_ends_leaves_the_others_where_they_are() -> None:
    rig = Rig()
    clients = crowd(rig)

    clients[0].worker.close()
    rig.write(note(2))
    rig.run()

    assert cohorts(*clients[1:]) == [2]
    assert [len(client.results[0]) for client in clients] == [1, 2, 2]
    for client in clients[1:]:
        client.worker.close()
    assert len(rig.engine.live) == 0


def test_a_query_that_looks_at_the_caller_is_asked_as_each() -> None:
    rig = Rig(note(1, "ann"), note(2, "bob"))
    ann, bob = rig.client(identity=ANN), rig.client(identity=BOB)
    for client in (ann, bob):
        client.is_prompt = True
        client.add(0, "mineIfAny", owner="cid")
    rig.run()
    assert cohorts(ann, bob) == [2]

    rig.write(note(3, "cid"))
    rig.run()

    assert cohorts(ann, bob) == [1, 1]
    ann.check(rig.store.ts)
    bob.check(rig.store.ts)


def test_a_cohort_has_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parley.engine.cohort.MAX_MEMBERS", 2)
    rig = Rig()
    clients = crowd(rig, 5)

    rig.write(note(2))
    rig.run()

    assert MAX_MEMBERS > 2
    assert cohorts(*clients) == [2, 2, 1]
    assert {len(client.results[0]) for client in clients} == {2}


def test_what_is_pushed_is_counted_and_remembered() -> None:
    rig = Rig()
    clients = crowd(rig)
    stats = rig.engine.stats
    frames, size = stats.pushed_frames, stats.pushed_bytes
    rig.clock.advance(5.0)

    rig.write(note(2))
    rig.run()

    assert stats.pushed_frames == frames + 3
    assert stats.pushed_bytes == size + 3 * len(clients[0].written[-1])
    assert clients[0].worker.cohort.pushed_at == rig.engine.settled_at
