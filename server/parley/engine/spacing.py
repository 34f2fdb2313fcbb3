"""Keys whose mutations are committed at most once in a while, and who waits for one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from heapq import heappop, heappush

from parley.engine.batch import Mutation, SpacingKey


class SpacedKeys:
    """The keys that are closed: from when a mutation of theirs joins a batch until they open again.

    Holds a key no longer than that. Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._closed: set[SpacingKey] = set()
        self._opens: list[tuple[float, SpacingKey]] = []  # a heap
        self._waiting: dict[SpacingKey, list[Mutation]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Return how many mutations wait."""
        return self._count

    def __iter__(self) -> Iterator[Mutation]:
        """Iterate over the mutations that wait."""
        for waiting in self._waiting.values():
            yield from waiting

    def is_closed(self, key: SpacingKey) -> bool:
        """Tell whether mutations of this key have to wait."""
        return key in self._closed

    def wait(self, key: SpacingKey, mutation: Mutation) -> None:
        """Keep a mutation until its key, which is closed, opens."""
        self._waiting.setdefault(key, []).append(mutation)
        self._count += 1

    def close(self, key: SpacingKey) -> None:
        """Let those wait who come from now on; `rest` or `reopen` must follow."""
        self._closed.add(key)

    def rest(self, spacings: Mapping[SpacingKey, float], committed_at: float) -> None:
        """Let closed keys, each with its spacing in seconds, open so long after a commit."""
        for key, spacing_s in spacings.items():
            heappush(self._opens, (committed_at + spacing_s, key))

    def reopen(self, spacings: Mapping[SpacingKey, float]) -> None:
        """Let closed keys open, for nothing was committed."""
        for key in spacings:
            heappush(self._opens, (0.0, key))

    def wake(self, now: float) -> list[Mutation]:
        """Open what is due, and return those who waited for it, in the order they came."""
        woken: list[Mutation] = []
        while self._opens and self._opens[0][0] <= now:
            _, key = heappop(self._opens)
            self._closed.discard(key)
            woken += self._waiting.pop(key, ())
        self._count -= len(woken)
        return woken

    def wakes_at(self) -> list[float]:
        """Return the time at which a key opens next, if anybody waits for any."""
        return [self._opens[0][0]] if self._waiting and self._opens else []

    def discard(self, gone: Set[Mutation]) -> None:
        """Let go of those of these mutations that wait."""
        kept = {key: [m for m in each if m not in gone] for key, each in self._waiting.items()}
        self._waiting = {key: each for key, each in kept.items() if each}
        self._count = sum(map(len, self._waiting.values()))
