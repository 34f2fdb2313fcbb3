"""Time and ids: the only source of either, so that tests and retries can replace both."""

from __future__ import annotations

import gc
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol


class Clock(Protocol):
    """What the rest of Parley may know of time."""

    def wall_us(self) -> int:
        """Microseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...

    def cpu(self) -> float:
        """Seconds that this thread ran on a processor, other than for the collector."""
        ...


class _Collections:
    """How long the garbage collector has worked: now and then a function's run meets it.

    With many connections it takes as long as a function may run, whoever made the garbage.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def __call__(self, phase: str, _info: Mapping[str, Any]) -> None:
        now = time.thread_time()
        if phase == "start":
            self._began = now
        else:
            self.seconds += now - self._began


_COLLECTIONS: Final = _Collections()
gc.callbacks.append(_COLLECTIONS)


class SystemClock:
    """The machine's clocks."""

    def wall_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return time.time_ns() // 1000

    # No method: the engine asks several times in each run.
    monotonic = staticmethod(time.monotonic)

    def cpu(self) -> float:
        """Seconds that this thread ran on a processor, other than for the collector."""
        return time.thread_time() - _COLLECTIONS.seconds


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
