"""Checks results that came without a ts: each was true at some moment of its time.

That time begins with the newest commit that anybody knew of when it was asked for, and ends when
the answer was there. Results of one stream (a subscription) are true at moments that follow.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.faults.evidence import Event, Verdict
from tests.faults.model import QUERIES, Rows

# Times of the wall clock, by which Postgres makes ts, and by which we say when an answer came.
SLACK_NS = 100_000_000


@dataclass
class Read:
    """Results that were true together.

    Attributes:
        event: `q`: (path, args, value), `c`: whose.
        since: they hold everything up to this ts.
        until: and nothing behind this one.
    """

    event: Event
    since: int
    until: int

    def complaint(self, rows: Rows) -> str | None:
        """Say what is not as the rows are; None: nothing."""
        who = f"u{self.event['c']}"
        for path, args, value in self.event["q"]:
            expected = QUERIES[path](rows, args, who)
            if value != expected:
                return f"{path}({args}) was {value}, the rows say {expected}"
        return None


class Reads:
    """All of them; `look` at every state of the rows, in order."""

    def __init__(self, reads: Iterable[Read], rows: Rows, verdict: Verdict) -> None:
        self._rows = rows
        self._verdict = verdict
        self._streams: dict[Any, deque[Read]] = defaultdict(deque)
        for number, read in enumerate(reads):
            self._streams[read.event.get("stream", f"#{number}")].append(read)
        self._waiting = sorted(self._streams.items(), key=lambda item: -item[1][0].since)
        self._active: list[deque[Read]] = []

    def look(self, ended: float) -> None:
        """Look at rows that are as they are until before ts `ended`."""
        while self._waiting and self._waiting[-1][1][0].since < ended:
            self._active.append(self._waiting.pop()[1])
        for stream in list(self._active):
            while stream and stream[0].since < ended:
                complaint = stream[0].complaint(self._rows)
                if complaint is not None and stream[0].until >= ended:
                    break  # it may be true of what comes
                read = stream.popleft()
                self._verdict.counts["reads without a ts"] += len(read.event["q"])
                if complaint is not None:
                    self._verdict.wrong(
                        f"client {read.event['c']} ({read.event['how']}) asked at {read.since}: "
                        f"{complaint}, and so never until {read.until}",
                        read.until,
                    )
            if not stream:
                self._active.remove(stream)
