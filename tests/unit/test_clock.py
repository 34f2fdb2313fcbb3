"""Time and ids."""

from __future__ import annotations

import gc
import time
from uuid import UUID

import pytest

from parley.clock import SystemClock, uuid7

OBJECTS = 300_000


def test_what_the_collector_takes_is_nobodys_time() -> None:
    clock = SystemClock()
    held = [[number] for number in range(OBJECTS)]
    ours, all_of_it = clock.cpu(), time.thread_time()

    gc.collect()

    took = time.thread_time() - all_of_it
    assert clock.cpu() - ours < took / 2
    assert len(held) == OBJECTS


def test_other_work_is() -> None:
    clock = SystemClock()
    before, until = clock.cpu(), time.thread_time() + 0.02

    while time.thread_time() < until:
        pass

    assert clock.cpu() - before >= 0.01


def test_wall_time_is_in_microseconds() -> None:
    assert SystemClock().wall_us() / 1e6 == pytest.approx(time.time(), abs=60)


def test_ids_are_uuids_of_version_7_that_sort_by_time() -> None:
    earlier, later = uuid7(1_700_000_000_000), uuid7(1_700_000_000_001)

    assert UUID(earlier).version == 7
    assert earlier < later
    assert uuid7(5, 7) == uuid7(5, 7) != uuid7(5, 8)
