"""What is kept of results that their clients have."""

from __future__ import annotations

import pytest

from parley.engine.live import MAX_DIGESTED, LiveQuery, Result
from tests.support.rig import Rig
from tests.support.tables import note


class Listener:
    """A subscriber that wants nothing but to follow."""

    def __init__(self, rig: Rig, *, takes_patches: bool = False) -> None:
        self.heard: list[bool] = []
        self.query: LiveQuery = rig.engine.subscribe(
            rig.call("allOf", owner="ann"), None, self, 0, takes_patches=takes_patches
        )

    @property
    def result(self) -> Result:
        assert self.query.result is not None
        return self.query.result

    def query_settled(self, _query_id: int, *, is_new: bool) -> None:
        self.heard.append(is_new)

    def identity_needed(self, query_id: int) -> None:
        raise AssertionError(query_id)


@pytest.fixture
def rig() -> Rig:
    return Rig(note(1), note(2, "bob"))


def followed(rig: Rig, *, takes_patches: bool = False) -> Listener:
    listener = Listener(rig, takes_patches=takes_patches)
    rig.run()
    return listener


def rest(rig: Rig, seconds: float = 1.0) -> None:
    rig.clock.advance(seconds)
    rig.step()


def test_a_result_that_everybody_has_is_let_go_of_and_made_again_for_whoever_comes(
    rig: Rig,
) -> None:
    first = followed(rig)
    rest(rig, 0.1)
    assert not first.result.is_forgotten
    digest = first.result.digest

    rest(rig)
    assert first.result.is_forgotten
    assert rig.engine.held.size_bytes == 0

    second = Listener(rig)
    rig.step()
    assert second.result.digest == digest
    assert b'"owner":"ann"' in second.result.value
    assert first.heard == [True, False]


def test_a_result_that_keeps_changing_is_held(rig: Rig) -> None:
    listener = followed(rig)

    for rank in range(4):
        rig.clock.advance(0.15)
        rig.write(note(1, rank=rank))
        rig.run()
        assert not listener.result.is_forgotten


def test_what_patches_are_made_of_is_held_and_its_text_is_not(rig: Rig) -> None:
    listener = followed(rig, takes_patches=True)
    value = listener.result.value

    rest(rig)

    assert not listener.result.is_forgotten
    assert listener.result._tail is None
    assert listener.result.value == value


def test_a_long_result_is_held(rig: Rig) -> None:
    rig.write(note(1, more="x" * MAX_DIGESTED))
    listener = followed(rig)

    rest(rig)

    assert not listener.result.is_forgotten


def test_the_engine_wakes_to_let_go_of_results(rig: Rig) -> None:
    assert rig.engine.next_wake() is None
    followed(rig)

    at = rig.engine.next_wake()
    assert at is not None
    rig.clock.advance(at - rig.clock.monotonic())
    rig.step()

    assert rig.engine.next_wake() is None


def test_nothing_is_let_go_of_that_was_left_meanwhile(rig: Rig) -> None:
    listener = followed(rig)
    rig.engine.unsubscribe(listener.query, listener, 0)

    rest(rig)

    assert rig.engine.next_wake() is None
    assert rig.engine.held.size_bytes == 0
