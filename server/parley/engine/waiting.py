"""Where mutations wait: behind their session, for their turn, for rows, or for others to go. Pure.

submit -> (behind its session) -> ready -> taken -> done
^  parked: rows are missing
^  resting: rows are busy, or Postgres was in trouble
^  spaced: others of its key were committed a moment ago

Only the first of a session is ever in one of these places. With it, the next may be taken if both
are spaced: they *follow*, until all are done, or none is and they wait behind it as before.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Container
from typing import Final

from parley.engine.batch import Mutation, SpacingKey
from parley.engine.spacing import SpacedKeys
from parley.store.types import RequestId

_BACKOFF_S: Final = 0.005
_MAX_BACKOFF_S: Final = 0.5


class WaitingRoom:
    """The mutations of a node that have no answer yet; times are monotonic seconds.

    Attributes:
        ready: may run now, in this order.
        spaced: keys that are committed at most once in a while, and who waits for one.
    """

    def __init__(self) -> None:
        self.ready: deque[Mutation] = deque()
        self._sessions: dict[tuple[str, str], deque[Mutation]] = {}
        self._resting: list[tuple[float, Mutation]] = []
        self._parked: set[Mutation] = set()
        self._following: set[Mutation] = set()
        self.spaced = SpacedKeys()
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
        return len(self.ready) + len(self._resting) + len(self._parked) + len(self.spaced)

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
        self._following.discard(mutation)
        if not queue:
            del self._sessions[mutation.session]
        elif queue[0] not in self._following:
            self.ready.append(queue[0])

    def follow(self, mutation: Mutation, keys: Container[SpacingKey]) -> Mutation | None:
        """Return the next of its session, if it may be taken along with a mutation just taken.

        Args:
            mutation: that was taken.
            keys: the spacing keys of those who are taken together.
        """
        if mutation.spacing_key is None:
            return None
        queue = self._sessions[mutation.session]
        at = queue.index(mutation) + 1
        follower = queue[at] if at < len(queue) else None
        if follower is None or not _may_follow(follower, mutation):
            return None
        key = follower.spacing_key
        if key is None or (key not in keys and self.spaced.is_closed(key)):
            return None
        self._following.add(follower)
        return follower

    def must_wait(self, mutation: Mutation, keys: Container[SpacingKey]) -> bool:
        """Keep a mutation, which was ready, if its spacing key is closed; tell whether it was.

        Args:
            mutation: that is about to be taken.
            keys: the spacing keys of those who are taken together: closed for others only.
        """
        key = mutation.spacing_key
        if key is None or key in keys or not self.spaced.is_closed(key):
            return False
        self.spaced.wait(key, mutation)
        return True

    def back(self, mutations: list[Mutation]) -> None:
        """Make mutations ready again, in front of all others, in this order."""
        self.ready.extendleft([m for m in reversed(mutations) if not self._falls_back(m)])

    def _falls_back(self, mutation: Mutation) -> bool:
        """Let a follower wait behind its session again; tell whether it was one."""
        was_following = mutation in self._following
        self._following.discard(mutation)
        return was_following

    def find_ready(self, request: RequestId) -> Mutation | None:
        """Return the ready mutation of a request."""
        return next((mutation for mutation in self.ready if mutation.request == request), None)

    def park(self, mutation: Mutation) -> None:
        """Keep a mutation until its rows are there."""
        if not self._falls_back(mutation):
            self._parked.add(mutation)

    def unpark(self, mutation: Mutation) -> bool:
        """Let go of a parked mutation; False if it is not, or no longer, parked."""
        was_parked = mutation in self._parked
        self._parked.discard(mutation)
        return was_parked

    def rest(self, mutation: Mutation, now: float) -> None:
        """Leave a mutation out of batches for a while, longer each time."""
        at = now + self.backoff_s(mutation)
        if not self._falls_back(mutation):
            self._resting.append((at, mutation))

    def backoff_s(self, mutation: Mutation) -> float:
        """Return how long to wait after one more setback, in seconds."""
        mutation.setbacks += 1
        longest = min(_MAX_BACKOFF_S, _BACKOFF_S * 2 ** min(mutation.setbacks, 10))
        return float(longest * self._jitter.uniform(0.5, 1.0))

    def wake(self, now: float) -> None:
        """Make ready what has rested for long enough."""
        self.ready.extendleft(reversed(self.spaced.wake(now)))
        due = [mutation for at, mutation in self._resting if at <= now]
        if due:
            self._resting = [(at, m) for at, m in self._resting if at > now]
            self.back(due)

    def wakes_at(self) -> list[float]:
        """Return the times at which resting mutations are due."""
        return [at for at, _ in self._resting] + self.spaced.wakes_at()

    def take_expired(self, now: float) -> list[Mutation]:
        """Take out, and return, what has waited past its deadline."""
        resting = [mutation for _, mutation in self._resting]
        waiting = [*self.ready, *resting, *self._parked, *self.spaced]
        expired = {mutation for mutation in waiting if mutation.deadline <= now}
        if expired:
            self.ready = deque([m for m in self.ready if m not in expired])
            self._resting = [(at, m) for at, m in self._resting if m not in expired]
            self._parked -= expired
            self.spaced.discard(expired)
        return [mutation for mutation in waiting if mutation in expired]


def _may_follow(follower: Mutation, mutation: Mutation) -> bool:
    """Tell whether the follower is in no trouble, no repeat, and waited for."""
    is_in_trouble = follower.conflicts or follower.refusals or follower.setbacks
    is_later = follower.request.request_id > mutation.request.request_id
    return is_later and not is_in_trouble and not follower.is_unwanted()
