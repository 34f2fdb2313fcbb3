"""The rounds of a run: each measures everything once, so that all meet the same machine."""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, Self, TypeVar

import uvloop

from tests.load.meters import Figure, guarded

T = TypeVar("T")
Rounds = dict[str, dict[str, list[float]]]  # figure, unit, one value for each round
_BAR = 20


class Run:
    """What has been measured so far.

    Attributes:
        seconds: how long each measurement takes.
        found: all that was measured.
    """

    def __init__(self, rounds: int, seconds: float, measures: int) -> None:
        self.seconds = seconds
        self.found: Rounds = {}
        self._rounds = rounds
        self._steps = rounds * measures
        self._step = 0
        self._started = time.monotonic()
        # One loop for all, so that connections can stay from one measurement to the next.
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns."""
        return self._runner.run(guarded(work))

    def rounds_of(self, name: str) -> Iterator[int]:
        """Yield the number of each round, and show how far the run is."""
        for number in range(self._rounds):
            filled = _BAR * self._step // self._steps
            bar = "█" * filled + "·" * (_BAR - filled)
            spent = time.monotonic() - self._started
            tell(f"[{bar}] {name}, round {number + 1} of {self._rounds}, {spent:.0f} s so far")
            yield number
            self._step += 1

    def measure(self, name: str, figure: Coroutine[Any, Any, Figure]) -> Figure:
        """Measure a figure, keep it, and return it."""
        return self.note(name, self.wait_for(figure))

    def note(self, name: str, figure: Figure) -> Figure:
        """Keep a figure, tell, and return it."""
        for unit, value in figure.items():
            self.found.setdefault(name, {}).setdefault(unit, []).append(value)
        shown = " ".join(f"{unit}={value:g}" for unit, value in figure.items())
        tell(f"  {name}: {shown}")
        return figure

    def medians(self) -> dict[str, Figure]:
        """Return the median of each figure's rounds."""
        return {
            name: {unit: statistics.median(values) for unit, values in units.items()}
            for name, units in self.found.items()
        }


def swapped(sides: Iterable[T], number: int) -> list[T]:
    """Return the sides of a comparison in the order of this round; the next one turns it round.

    What comes second may find caches warm, or a log that has just been flushed.
    """
    return list(sides) if number % 2 == 0 else list(sides)[::-1]


def tell(text: str) -> None:
    """Say something to whoever watches."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def machine() -> dict[str, str | float]:
    """Return what the absolute figures depend on, and how busy others keep it now."""
    commit = ["git", "describe", "--always", "--dirty"]
    return {
        "processors": os.cpu_count() or 0,
        "load_1_min": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": subprocess.run(
            commit, capture_output=True, text=True, check=False
        ).stdout.strip(),
    }
