"""How the size of processes goes on: whether it rises, and how fast, by least squares."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psutil

INTERVAL_S: Final = 2.0
WARM_UP: Final = 1 / 3  # of the time; caches and the log in memory fill meanwhile
MAX_RISE: Final = 0.05  # over the rest, of the size where it begins
MIN_SAMPLES: Final = 60  # two minutes
_MB: Final = 1e6

Sample = tuple[float, int]


@dataclass(frozen=True)
class Trend:
    """How one process went on behind its warm-up.

    Attributes:
        minutes: that were looked at.
        began_mb, ended_mb: its resident size, on the fitted line.
        mb_per_hour: the line's slope.
    """

    minutes: float
    began_mb: float
    ended_mb: float
    mb_per_hour: float

    @property
    def is_flat(self) -> bool:
        """Whether it rose by no more than `MAX_RISE`."""
        return self.ended_mb <= self.began_mb * (1 + MAX_RISE)


def trend(samples: Sequence[Sample]) -> Trend | None:
    """Return the trend of (monotonic seconds, bytes), in order; None where they are too few."""
    if len(samples) < MIN_SAMPLES:
        return None
    warm_at = samples[0][0] + (samples[-1][0] - samples[0][0]) * WARM_UP
    kept = [(at, size / _MB) for at, size in samples if at >= warm_at]
    began, ended = kept[0][0], kept[-1][0]
    middle = sum(at for at, _ in kept) / len(kept)
    mean = sum(size for _, size in kept) / len(kept)
    spread = sum((at - middle) ** 2 for at, _ in kept)
    slope = sum((at - middle) * (size - mean) for at, size in kept) / spread
    return Trend(
        (ended - began) / 60,
        mean + slope * (began - middle),
        mean + slope * (ended - middle),
        slope * 3600,
    )


@dataclass
class Sizes:
    """Resident bytes of processes over time.

    Attributes:
        samples: by what the process is, and its id.
    """

    samples: dict[tuple[str, int], list[Sample]] = field(default_factory=dict)

    def note(self, at: float, processes: Iterable[tuple[str, int]]) -> None:
        """Note the size of processes; of others than ourselves with all that they started."""
        for name, pid in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                others = [] if pid == os.getpid() else process.children()
                size = sum(each.memory_info().rss for each in [process, *others])
                self.samples.setdefault((name, pid), []).append((at, size))

    def trends(self) -> dict[str, Trend]:
        """Return the trend of the process of each name that lived longest."""
        longest: dict[str, list[Sample]] = {}
        for (name, _), samples in self.samples.items():
            if len(samples) > len(longest.get(name, ())):
                longest[name] = samples
        found = {name: trend(samples) for name, samples in longest.items()}
        return {name: each for name, each in found.items() if each is not None}

    def lines(self) -> list[str]:
        """Return the trends as text."""
        return [
            f"size of {name:<16} {each.began_mb:.1f} MB, {each.minutes:.1f} min later "
            f"{each.ended_mb:.1f} MB: {each.mb_per_hour:+.1f} MB/h, "
            f"{'flat' if each.is_flat else 'RISES'}"
            for name, each in self.trends().items()
        ]

    def to_json(self) -> list[dict[str, Any]]:
        """Return the trends as JSON."""
        return [
            {**vars(each), "name": name, "isFlat": each.is_flat}
            for name, each in self.trends().items()
        ]
