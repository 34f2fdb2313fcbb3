"""How much is kept of the results of live queries. Pure.

A result is compared with the next one by its digest, and its clients hold it themselves. So its
text is kept for a moment only, for others who ask the same just then (everybody who comes back
after a cut, say); later the query is run again for whoever asks, from memory. What patches are made
of, and results that are long to make, stay until there is no room for them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Final

from parley.engine.live import LiveQuery, Result

_WHOLE_S: Final = 0.2
_MAX_AT_ONCE: Final = 200  # let go of in one step


class HeldResults:
    """The results that are held, by query.

    Attributes:
        max_bytes: above it, those of the oldest queries are let go of, whatever they are.
        size_bytes: of the results held, as they are sent.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size_bytes = 0
        # Queries whose results are held whole, and since when; those held longest come first. (The
        # first of a plain dict is found behind the places of all that were removed before it.)
        self._whole: OrderedDict[LiveQuery, float] = OrderedDict()

    def put(self, query: LiveQuery, result: Result, now: float) -> None:
        """Hold a new result of a query; `now` is monotonic, in seconds."""
        self._keep(query, result)
        self._whole[query] = now
        self._whole.move_to_end(query)

    def leave(self, query: LiveQuery) -> None:
        """Hold nothing of a query any more."""
        self._keep(query, None)
        self._whole.pop(query, None)

    def let_go(self, queries: Iterable[LiveQuery], now: float) -> None:
        """Keep little of what everybody has by now, and of more of `queries` if there is no room.

        Args:
            queries: all of them, the oldest first.
            now: monotonic time in seconds.
        """
        for query in self._take_rested(now):
            if query.result is not None:
                self._keep(query, query.result.light())
        if self.size_bytes <= self.max_bytes:
            return
        for query in queries:
            result = query.result
            if result is not None and not query.is_dirty and not result.is_forgotten:
                self._keep(query, result.forgotten())
                if self.size_bytes <= self.max_bytes:
                    return

    def next_wake(self) -> float | None:
        """Return the monotonic time at which there is something to let go of, if any."""
        oldest = next(iter(self._whole.values()), None)
        return None if oldest is None else oldest + _WHOLE_S

    def _take_rested(self, now: float) -> list[LiveQuery]:
        rested: list[LiveQuery] = []
        for query, since in islice(self._whole.items(), _MAX_AT_ONCE):
            if since + _WHOLE_S > now:
                break
            rested.append(query)
        for query in rested:
            del self._whole[query]
        return rested

    def _keep(self, query: LiveQuery, result: Result | None) -> None:
        self.size_bytes += _size_of(result) - _size_of(query.result)
        query.result = result


def _size_of(result: Result | None) -> int:
    return 0 if result is None or result.is_forgotten else result.size_bytes
