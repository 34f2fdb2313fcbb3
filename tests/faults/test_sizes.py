"""Sizes of processes: what rises is seen behind noise, and what only warmed up is flat."""

from __future__ import annotations

import math
import os
import time

import pytest

from tests.faults.sizes import Sizes, trend

MB = 1_000_000


def sawtooth(at: float) -> float:
    return 4.0 * (at % 60) / 60


def samples(of: object, minutes: int = 30) -> list[tuple[float, int]]:
    assert callable(of)
    return [(float(at), int(of(at) * MB)) for at in range(0, minutes * 60, 2)]


def test_a_slope_is_measured_through_noise() -> None:
    found = trend(samples(lambda at: 100 + at / 360 + sawtooth(at)))

    assert found is not None
    assert found.mb_per_hour == pytest.approx(10, rel=0.1)
    assert found.minutes == pytest.approx(20, rel=0.01)


def test_what_filled_at_first_is_flat() -> None:
    found = trend(samples(lambda at: 150 - 60 * math.exp(-at / 120) + sawtooth(at)))

    assert found is not None
    assert found.is_flat
    assert abs(found.mb_per_hour) < 2


def test_what_goes_on_rising_is_not_flat() -> None:
    found = trend(samples(lambda at: 100 + at / 100))

    assert found is not None
    assert not found.is_flat
    assert found.ended_mb == pytest.approx(118, rel=0.01)


def test_nothing_is_said_of_a_few_samples() -> None:
    assert trend(samples(lambda _at: 100)[:5]) is None


def test_the_process_that_lived_longest_speaks_for_its_name() -> None:
    sizes = Sizes()
    sizes.samples["node 0", 1] = samples(lambda _at: 100, minutes=3)
    sizes.samples["node 0", 2] = samples(lambda _at: 200, minutes=4)

    assert sizes.trends()["node 0"].began_mb == pytest.approx(200)
    [line] = sizes.lines()
    assert line.endswith("+0.0 MB/h, flat")


def test_sizes_are_those_of_living_processes() -> None:
    sizes = Sizes()
    sizes.note(time.monotonic(), [("us", os.getpid()), ("nobody", 2**22 + 1)])

    [[name, _]] = sizes.samples
    assert name == "us"
    [[_, size]] = sizes.samples["us", os.getpid()]
    assert size > 10 * MB
