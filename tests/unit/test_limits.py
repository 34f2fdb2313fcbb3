"""Token buckets and admission: who may take how much."""

from __future__ import annotations

import pytest

from parley.errors import Overloaded
from parley.web.limits import MAX_WAIT_S, Admission, Buckets, Peers, TokenBucket


def admission(**limits: int) -> Admission:
    chosen = {"total": 100, "per_address": 100, "silent_per_address": 100, "per_user": 100}
    return Admission(**{**chosen, **limits})


def test_a_full_bucket_gives_its_burst_at_once_and_then_makes_wait() -> None:
    bucket = TokenBucket(rate_per_s=10, burst=3, now=0.0)

    waits = [bucket.take(0.0) for _ in range(5)]

    assert waits == pytest.approx([0, 0, 0, 0.1, 0.2])


def test_a_bucket_fills_with_time_but_never_above_its_burst() -> None:
    bucket = TokenBucket(rate_per_s=10, burst=2, now=0.0)
    bucket.take(0.0, 2)

    assert bucket.take(0.1) == 0
    assert bucket.take(100.0, 2) == 0
    assert bucket.take(100.0) == pytest.approx(0.1)


def test_taking_more_than_the_burst_is_paid_by_waiting() -> None:
    bucket = TokenBucket(rate_per_s=64, burst=500, now=0.0)

    assert bucket.take(0.0, 564) == pytest.approx(1.0)
    assert bucket.wait_s(0.25) == pytest.approx(0.75)


def test_buckets_of_different_names_do_not_share() -> None:
    buckets = Buckets(1, 1)

    assert buckets.take("a", 0.0) == 0
    assert buckets.take("b", 0.0) == 0
    assert buckets.take("a", 0.0) == pytest.approx(1.0)


def test_a_flood_is_refused_and_puts_nobody_off_for_longer() -> None:
    buckets = Buckets(20, 40)
    waits = [buckets.take("flooder", 0.0) for _ in range(40 + 20 * int(MAX_WAIT_S) + 1)]

    with pytest.raises(Overloaded):
        buckets.take("flooder", 0.0)
    with pytest.raises(Overloaded):
        buckets.take("flooder", 0.0)

    assert max(waits) == pytest.approx(MAX_WAIT_S + 1 / 20)
    assert buckets.take("flooder", MAX_WAIT_S + 0.1) < 0.1


def test_only_the_buckets_used_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parley.web.limits._MAX_BUCKETS", 2)
    buckets = Buckets(1, 1)
    for name in ("old", "kept", "old", "new"):
        buckets.take(name, 0.0)

    assert len(buckets._buckets) == 2
    assert buckets.take("kept", 0.0) == 0  # forgotten, so full again


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("total", "this node"),
        ("per_address", "this address"),
        ("silent_per_address", "say nothing"),
    ],
)
def test_the_connection_above_a_limit_is_refused_and_not_counted(limit: str, says: str) -> None:
    admitting = admission(**{limit: 2})
    admitting.enter("a")
    admitting.enter("a")

    with pytest.raises(Overloaded, match=says):
        admitting.enter("a")

    assert admitting.total == 2
    admitting.leave("a", None, is_silent=True)
    admitting.enter("a")


def test_limits_per_address_leave_other_addresses_alone() -> None:
    admitting = admission(per_address=1)
    admitting.enter("a")

    admitting.enter("b")

    assert admitting.total == 2


def test_a_connection_that_spoke_makes_room_for_a_silent_one() -> None:
    admitting = admission(silent_per_address=1)
    admitting.enter("a")
    admitting.speak("a")

    admitting.enter("a")

    admitting.leave("a", None, is_silent=False)
    with pytest.raises(Overloaded):
        admitting.enter("a")


def test_a_user_above_the_limit_is_refused_and_counts_for_nobody() -> None:
    admitting = admission(per_user=1)
    for _ in range(2):
        admitting.enter("a")
    admitting.identify(None, "alice")

    with pytest.raises(Overloaded, match="this user"):
        admitting.identify(None, "alice")

    admitting.leave("a", None, is_silent=True)
    admitting.leave("a", "alice", is_silent=True)
    admitting.enter("a")
    admitting.identify(None, "alice")


def test_changing_the_user_frees_the_place_of_the_one_before() -> None:
    admitting = admission(per_user=1)
    admitting.identify(None, "alice")
    admitting.identify("alice", "bob")

    admitting.identify(None, "alice")
    admitting.identify("bob", None)
    admitting.identify(None, "bob")


def test_nothing_is_kept_of_those_who_left() -> None:
    admitting = admission()
    admitting.enter("a")
    admitting.speak("a")
    admitting.identify(None, "alice")

    admitting.leave("a", "alice", is_silent=False)

    assert admitting.total == 0
    assert not admitting._by_address
    assert not admitting._silent
    assert not admitting._by_user


def peers(total: int = 10, per_address: int = 2) -> Peers:
    return Peers(total=total, per_address=per_address, is_proxy=lambda address: address == "proxy")


def test_an_address_has_so_many_connections_and_others_are_not_concerned() -> None:
    counting = peers()

    assert [counting.enter("a") for _ in range(4)] == [True, True, False, False]
    assert counting.enter("b")
    counting.leave("a")
    assert [counting.enter("a") for _ in range(2)] == [True, False]


def test_a_proxy_has_as_many_as_the_node_and_the_node_so_many_of_all() -> None:
    counting = peers(total=3)

    assert [counting.enter("proxy") for _ in range(4)] == [True, True, True, False]
    assert not counting.enter("a")
    counting.leave("proxy")
    assert counting.enter("a")


def test_of_connections_that_ended_nothing_is_kept() -> None:
    counting = peers(total=1)
    counting.enter("a")
    counting.enter("b")
    counting.leave("a")

    assert not counting._by_address
    assert counting.enter("b")
