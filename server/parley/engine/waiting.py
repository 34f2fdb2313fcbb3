"""Where mutations wait: behind their session, for their turn, for rows, or for others to go. Pure.

submit -> (behind its session) -> ready -> taken -> done
^  parked: rows are missing
^  resting: rows are busy, or Postgres was in trouble
"""

from __future__ import annotations

import random
from collections import deque
from typing import Final

from parley.engine.batch import Mutation
from parley.store.types import RequestId

_BACKOFF_S: Final = 0.005
_MAX_BACKOFF_S: Final = 0.5


class WaitingRoom:
    """The mutations of a node that have no answer yet; times are monotonic seconds.

    Attributes:
        ready: may run now, in this order.
    """

    def __init__(self) -> None:
        self.ready: deque[Mutation] = deque()
        self._sessions: dict[tuple[str, str], deque[Mutation]] = {}
        self._resting: list[tuple[float, Mutation]] = []
        self._parked: set[Mutation] = set()
        self._jitter = random.Random()  # noqa: S311 (spreads retries)

    def __len__(self) -> int:
        """Return how many have no answer yet."""
        return sum(len(queue) for queue in self._sessions.values())

    @property
    def is_empty(self) -> bool:
        """Whether every mutation has its answer."""
        return not self._sessions

    @property
    def size(self) -> int:
        """How many wait for something other than an earlier one of their session."""
        return len(self.ready) + len(self._resting) + len(self._parked)

    def enter(self, mutation: Mutation) -> None:
        """Take a mutation; it is ready once those of its session taken before are done."""
        queue = self._sessions.setdefault(mutation.session, deque())
        queue.append(mutation)
        if len(queue) == 1:
            self.ready.append(mutation)

    def leave(self, mutation: Mutation) -> None:
        """Let go of a mutation that has its answer; the next of its session is ready."""
        queue = self._sessions[mutation.session]
        queue.popleft()
        if queue:
            self.ready.append(queue[0])
        else:
            del self._sessions[mutation.session]

    def back(self, mutations: list[Mutation]) -> None:
        """Make mutations ready again, in front of all others, in this order."""
        self.ready.extendleft(reversed(mutations))

    def find_ready(self, request: RequestId) -> Mutation | None:
        """Return the ready mutation of a request."""
        return next((mutation for mutation in self.ready if mutation.request == request), None)

    def park(self, mutation: Mutation) -> None:
        """Keep a mutation until its rows are there."""
        self._parked.add(mutation)

    def unpark(self, mutation: Mutation) -> bool:
        """Let go of a parked mutation; False if it is not, or no longer, parked."""
        was_parked = mutation in self._parked
        self._parked.discard(mutation)
        return was_parked

    def rest(self, mutation: Mutation, now: float) -> None:
        """Leave a mutation out of batches for a while, longer each time."""
        self._resting.append((now + self.backoff_s(mutation), mutation))

    def backoff_s(self, mutation: Mutation) -> float:
        """Return how long to wait after one more setback, in seconds."""
        mutation.setbacks += 1
        longest = min(_MAX_BACKOFF_S, _BACKOFF_S * 2 ** min(mutation.setbacks, 10))
        return float(longest * self._jitter.uniform(0.5, 1.0))

    def wake(self, now: float) -> None:
        """Make ready what has rested for long enough."""
        due = [mutation for at, mutation in self._resting if at <= now]
        if due:
            self._resting = [(at, m) for at, m in self._resting if at > now]
            self.back(due)

    def wakes_at(self) -> list[float]:
        """Return the times at which resting mutations are due."""
        return [at for at, _ in self._resting]

    def take_expired(self, now: float) -> list[Mutation]:
        """Take out, and return, what has waited past its deadline."""
        waiting = [*self.ready, *[mutation for _, mutation in self._resting], *self._parked]
        expired = {mutation for mutation in waiting if mutation.deadline <= now}
        if expired:
            self.ready = deque([m for m in self.ready if m not in expired])
            self._resting = [(at, m) for at, m in self._resting if m not in expired]
            self._parked -= expired
        return [mutation for mutation in waiting if mutation in expired]
