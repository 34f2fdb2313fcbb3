"""Who may take how much: connections by node, address and user; rates by token bucket. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

from parley.errors import Overloaded

MAX_WAIT_S: Final = 5.0

_MAX_BUCKETS: Final = 10_000


class TokenBucket:
    """Allows `rate_per_s` on average and `burst` at once."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate_per_s: float, burst: float, now: float) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float, count: float = 1) -> float:
        """Take `count` and return how many seconds to wait before using them; 0 in the normal case.

        More than `burst` may be taken at once: the debt is paid by waiting.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - count
        self._at = now
        return max(0.0, -self._tokens / self._rate)

    def wait_s(self, now: float) -> float:
        """Return how many seconds what was taken last would have to wait from now on."""
        return max(0.0, -self._tokens / self._rate - (now - self._at))


class Buckets:
    """A token bucket for each of many names; those least recently used are forgotten."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, name: str, now: float) -> float:
        """Take one from the bucket of `name`, and return how many seconds to wait before using it.

        Raises:
            Overloaded: that would be more than `MAX_WAIT_S`; nothing was taken, so that who keeps
                asking does not put off everybody else of this name.
        """
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = TokenBucket(self._rate, self._burst, now)
            if len(self._buckets) > _MAX_BUCKETS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        if bucket.wait_s(now) > MAX_WAIT_S:
            raise Overloaded("too many tokens from this address")
        return bucket.take(now)


class Peers:
    """Counts TCP connections, whatever is spoken on them or will be.

    Args:
        total: so many of the node.
        per_address: so many of one address; of a proxy's, only `total` counts.
        is_proxy: tells whether an address stands for many peers.
    """

    def __init__(self, *, total: int, per_address: int, is_proxy: Callable[[str], bool]) -> None:
        self._left = total
        self._max_per_address = per_address
        self._is_proxy = is_proxy
        self._by_address: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a new connection; False when it is one too many, and not counted."""
        is_full = self._by_address[address] >= self._max_per_address
        if self._left <= 0 or (is_full and not self._is_proxy(address)):
            return False
        self._left -= 1
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count a connection no more."""
        self._left += 1
        _lower(self._by_address, address)


class Admission:
    """Counts open connections and refuses those above a limit.

    Attributes:
        total: open connections of this node.
    """

    def __init__(
        self, *, total: int, per_address: int, silent_per_address: int, per_user: int
    ) -> None:
        self.total = 0
        self._max_total = total
        self._max_per_address = per_address
        self._max_silent = silent_per_address
        self._max_per_user = per_user
        self._by_address: Counter[str] = Counter()
        self._silent: Counter[str] = Counter()
        self._by_user: Counter[str] = Counter()

    def enter(self, address: str) -> None:
        """Count a new connection, silent so far.

        Raises:
            Overloaded: a limit is reached; nothing is counted.
        """
        if self.total >= self._max_total:
            raise Overloaded(f"this node has {self._max_total} connections")
        if self._by_address[address] >= self._max_per_address:
            raise Overloaded(f"this address has {self._max_per_address} connections")
        if self._silent[address] >= self._max_silent:
            raise Overloaded(f"this address has {self._max_silent} connections that say nothing")
        self.total += 1
        self._by_address[address] += 1
        self._silent[address] += 1

    def speak(self, address: str) -> None:
        """Note that a connection has sent its first message."""
        _lower(self._silent, address)

    def identify(self, before: str | None, user: str | None) -> None:
        """Move a connection from one user to another; None is nobody.

        Raises:
            Overloaded: the user has too many; the connection then counts for nobody.
        """
        if before is not None:
            _lower(self._by_user, before)
        if user is not None:
            self._by_user[user] += 1
            if self._by_user[user] > self._max_per_user:
                _lower(self._by_user, user)
                raise Overloaded(f"this user has {self._max_per_user} connections")

    def leave(self, address: str, user: str | None, *, is_silent: bool) -> None:
        """Count a connection no more."""
        self.total -= 1
        _lower(self._by_address, address)
        if is_silent:
            _lower(self._silent, address)
        if user is not None:
            _lower(self._by_user, user)


def _lower(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if counter[name] <= 0:
        del counter[name]
