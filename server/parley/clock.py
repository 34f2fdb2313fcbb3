"""Time and ids: the only source of either, so that tests and retries can replace both."""

from __future__ import annotations

import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """What the rest of Parley may know of time."""

    def wall_us(self) -> int:
        """Microseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...

    def cpu(self) -> float:
        """Seconds that this thread has been running on a processor."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return time.time_ns() // 1000

    # No methods: the engine asks several times in each run.
    monotonic = staticmethod(time.monotonic)
    cpu = staticmethod(time.thread_time)


def uuid7(unix_ms: int, random_bits: int | None = None) -> str:
    """Return a UUIDv7 (RFC 9562 §5.7) as lower-case text.

    Args:
        unix_ms: milliseconds since the Unix epoch, below 2**48.
        random_bits: the 74 bits after the time; fresh ones when None. Pass them for determinism.
    """
    rand = secrets.randbits(74) if random_bits is None else random_bits
    rand_a, rand_b = (rand >> 62) & 0xFFF, rand & ((1 << 62) - 1)
    value = (unix_ms << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
