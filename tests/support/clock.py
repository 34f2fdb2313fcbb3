"""Clocks for tests: one that stands still until it is moved, one that keeps its date."""

from __future__ import annotations

from parley.clock import SystemClock


class FakeClock:
    """Both clocks of `parley.clock.Clock`, moved by hand.

    Args:
        now: seconds since the Unix epoch at the start.
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        """Start at `now`."""
        self.now = now

    def advance(self, seconds: float) -> None:
        """Let this much time pass."""
        self.now += seconds

    def wall_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return round(self.now * 1_000_000)

    def monotonic(self) -> float:
        """The same in seconds; the start is as arbitrary as any."""
        return self.now

    def cpu(self) -> float:
        """The same: what is tested runs all the time."""
        return self.now


class StoppedClock(SystemClock):
    """The machine's, but it is always the same time of day: `now`, in seconds since the epoch."""

    def __init__(self, now: float) -> None:
        self._now = now

    def wall_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return round(self._now * 1_000_000)
