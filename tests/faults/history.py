"""What happened, one JSON object a line: enough for the oracle to judge, and to be kept.

Times `t` are monotonic seconds of the harness's process; `w` are wall-clock seconds.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson


class History:
    """The record of one run, a file for each part of it.

    Attributes:
        violations: what clients saw at once that must not be; the oracle adds to it.
        counts: events by kind.
        acks: (time, node) of every acknowledged mutation of this part.
        path: of this part's file.
    """

    def __init__(self, directory: Path, header: dict[str, Any]) -> None:
        self.violations: list[str] = []
        self.counts: dict[str, int] = {}
        self.acks: list[tuple[float, int]] = []
        self.first_violation_at: float | None = None
        self._directory = directory
        self._header = header
        self._number = 0
        self._open()

    def _open(self) -> None:
        self._number += 1
        self.path = self._directory / f"history-{self._number}.jsonl"
        self._file = self.path.open("wb", buffering=1 << 20)
        self.add("header", **self._header, part=self._number)

    def turn(self) -> Path:
        """Go on in a new file; return the one that is complete."""
        path = self.path
        self._file.close()
        self.acks = []
        self._open()
        return path

    def add(self, kind: str, /, **fields: Any) -> None:
        """Record an event, with the time."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        event = {"e": kind, "t": time.monotonic(), **fields}
        self._file.write(orjson.dumps(event) + b"\n")

    def relay(self, kind: str, event: dict[str, Any]) -> None:
        """Record an event that another process on this machine saw; `t` is its own time."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind == "ack":
            self.acks.append((event["t"], event["n"]))
        self._file.write(orjson.dumps({"e": kind, **event}) + b"\n")

    def violation(self, text: str) -> None:
        """Record what must not be."""
        if self.first_violation_at is None:
            self.first_violation_at = time.monotonic()
        self.violations.append(text)
        self.add("violation", what=text)

    def close(self) -> None:
        """Write all of it."""
        self._file.close()
