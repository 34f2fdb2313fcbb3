"""Checks what clients were shown: every query that a client holds, at every Transition's ts."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tests.faults.evidence import Event, Verdict
from tests.faults.model import QUERIES, Rows, depends_on
from tests.faults.pages import PATH, Pages

# What these give never comes back to an earlier value, so that delays can be measured.
_EXACT = {"app:note", "app:mine"}


@dataclass(frozen=True)
class Held:
    """What a client held behind one Transition: (query id, path, args, (kind, value))."""

    ts: int
    event: Event
    queries: list[tuple[int, str, Mapping[str, Any], tuple[str, Any]]]


def held_results(
    transitions: list[Event], modifies: Mapping[tuple[int, int], list[Event]], verdict: Verdict
) -> list[Held]:
    """Return what was held behind each Transition; a query without any result is an anomaly."""
    asked = {key: _asked(events) for key, events in modifies.items()}
    values: dict[tuple[int, int], dict[int, tuple[str, Any]]] = {}
    found = []
    for event in transitions:
        key = (event["c"], event["k"])
        held = values.setdefault(key, {})
        for query_id, kind, value in event["ch"]:
            if kind == "r":
                held.pop(query_id, None)
            else:
                held[query_id] = (kind, value)
        queries = []
        for query_id, (path, args, since, until) in asked.get(key, {}).items():
            if not since <= event["v"] < until:
                continue
            if query_id in held:
                queries.append((query_id, path, args, held[query_id]))
            else:
                verdict.wrong(f"client {key[0]}: query set {event['v']} came without {path}")
        found.append(Held(event["d"], event, queries))
    return found


def _asked(modifies: list[Event]) -> dict[int, tuple[str, Mapping[str, Any], int, float]]:
    """Return by query id: path, args, and from which version of the query set until which."""
    found: dict[int, tuple[str, Mapping[str, Any], int, float]] = {}
    for modify in modifies:
        for query_id, path, args in modify["add"]:
            found[query_id] = (path, args, modify["v"], float("inf"))
        for query_id in modify["rm"]:
            path, args, since, _ = found[query_id]
            found[query_id] = (path, args, since, modify["v"])
    return found


class Shown:
    """Compares with the rows of the moment; remembers results until what they rest on changes."""

    def __init__(self, rows: Rows, verdict: Verdict, pages: Pages) -> None:
        self._rows = rows
        self._verdict = verdict
        self._pages = pages
        self._cache: dict[Any, tuple[list[int], Any]] = {}

    def check(self, held: Held) -> None:
        """Check one Transition, while the rows are those of its ts."""
        event = held.event
        who = f"u{event['c']}"
        self._verdict.counts["transitions"] += 1
        changed = {change[0] for change in event["ch"]}
        for query_id, path, args, (kind, value) in held.queries:
            self._verdict.counts["query results"] += 1
            if kind == "p":
                self._verdict.counts["patched results"] += 1
            if path == PATH and kind != "x":
                self._check_page(held, query_id, args, value)
                continue
            expected = self._expected(path, args, who) if path != PATH else "a page"
            if kind == "x" or value != expected:
                self._verdict.wrong(
                    f"client {event['c']} at {held.ts} (node {event['n']}): {path}({args}) is "
                    f"{value}, the rows say {expected}",
                    int(event["w"] * 1e9),
                )
            elif query_id in changed and event["s"] and path in _EXACT:
                self._note_latency(event, path, args, who)

    def _check_page(self, held: Held, query_id: int, args: Mapping[str, Any], value: Any) -> None:
        self._verdict.counts["pages"] += 1
        complaint = self._pages.complaint(self._rows, held.event["c"], query_id, args, value)
        if complaint is not None:
            self._verdict.wrong(
                f"client {held.event['c']} at {held.ts} (node {held.event['n']}): page "
                f"{query_id} {args}: {complaint}",
                int(held.event["w"] * 1e9),
            )

    def _expected(self, path: str, args: Mapping[str, Any], who: str) -> Any:
        stamp = [self._rows.changed.get(part, [0])[-1] for part in depends_on(path, args, who)]
        name = (path, orjson.dumps(args), who if path == "app:mine" else None)
        known = self._cache.get(name)
        if known is None or known[0] != stamp:
            known = self._cache[name] = (stamp, QUERIES[path](self._rows, args, who))
        return known[1]

    def _note_latency(self, event: Event, path: str, args: Mapping[str, Any], who: str) -> None:
        """Note how long the first change since the last Transition took to be shown."""
        firsts = []
        for part in depends_on(path, args, who):
            times = self._rows.changed.get(part, [])
            place = bisect.bisect_right(times, event["s"])
            firsts += times[place : place + 1]
        if firsts:
            self._verdict.latencies.append((min(firsts), event["w"] - min(firsts) / 1e9))
