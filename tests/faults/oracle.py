"""Judges a run: replays the log in the order of commits and checks every answer anybody got.

It knows the harness's history and what plain SQL says of the database; it shares no code with the
engine. Pure: `evidence.py` does the reading.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from tests.faults.batches import Unexplained, apply, effects, explain
from tests.faults.evidence import Call, Change, Commit, Database, Event, Settled, Verdict
from tests.faults.model import KEY_COLUMN, Rows
from tests.faults.pages import Pages
from tests.faults.reads import SLACK_NS, Read, Reads
from tests.faults.shown import Shown, held_results

# Every other failure is one of ours.
MAY_FAIL = {"app:refused", "app:transfer"}
_SETUP_TABLES = {"cells", "accounts", "notes"}


@dataclass
class Past:
    """What a judgement leaves to the next one, when a run has parts.

    Attributes:
        database: as it was read for it.
        calls: without an end, and without a session.
        pages: where those end that clients hold.
    """

    database: Database = field(default_factory=lambda: Database([]))
    calls: dict[int, Call] = field(default_factory=dict)
    pages: Pages = field(default_factory=Pages)


class Oracle:
    """One judgement, of what happened behind an earlier one if there was; `judge` does it all."""

    def __init__(self, events: Iterable[Event], verdict: Verdict, past: Past | None = None) -> None:
        self._verdict = verdict
        self._past = past or Past()
        self._calls: dict[tuple[str, int], Call] = {}
        self._external: dict[int, Event] = {}
        self._transitions: list[Event] = []
        self._modifies: defaultdict[tuple[int, int], list[Event]] = defaultdict(list)
        self._appended: Counter[int] = Counter()
        self._reads: list[Event] = []
        # Calls without a session, by the value that they add: with those of before without an end.
        self._once = dict(self._past.calls)
        self._begun: list[tuple[float, int, str]] = []
        for event in events:
            self._take(event)

    def judge(self, database: Database) -> Past:
        """Check everything; return what the next judgement has to know."""
        for stray in database.strays:
            self._verdict.wrong(stray)
        rows = Rows()
        rows.fill(self._past.database.tables)
        for commit in database.commits:
            if commit.requests:  # Postgres, when it was killed, gives numbers once more
                self._external.pop(commit.txid, None)
            for settled in commit.requests:
                call = self._call_of(settled)
                if call is not None and not call.has_session:
                    call.ts = call.ts or commit.ts
        known = self._known(database.commits)
        self._replay(database.commits, rows, known)
        self._check_once()
        self._check_session_order()
        self._check_times(known)
        self._check_tables(database, rows)
        left = {value: call for value, call in self._once.items() if not call.is_replayed}
        return Past(database, left, self._past.pages)

    # --- the history

    def _take(self, event: Event) -> None:
        match event["e"]:
            case "invoke":
                self._calls[event["s"], event["r"]] = Call(
                    event["c"], event["s"], event["r"], event["f"], event["a"], event["t"]
                )
            case "ack":
                self._acknowledged(event)
            case "done":
                acked_at = self._calls[event["s"], event["r"]].acked_at
                if acked_at is not None:
                    self._verdict.promises.append((acked_at, event["t"] - acked_at))
            case "ext":
                self._external[event["x"]] = event
            case "call" | "called":
                self._take_call(event)
            case "read":
                self._reads.append(event)
            case "transition":
                self._transitions.append(event)
            case "modify":
                self._modifies[event["c"], event["k"]].append(event)

    def _take_call(self, event: Event) -> None:
        """Take a call without a session, or its answer."""
        if event["e"] == "called":
            if call := self._once.get(event["value"]):
                call.acked_at, call.is_ok, call.result = event["t"], True, event["v"]
                self._verdict.counts["acknowledged"] += 1
                self._verdict.counts["actions"] += event["how"] == "action"
            return
        value = event["a"]["value"]
        self._once[value] = Call(
            event["c"],
            f"without one, {value}",
            value,
            event["f"],
            event["a"],
            event["t"],
            has_session=False,
            may_repeat=event["how"] == "pypi",
        )

    def _call_of(self, settled: Settled) -> Call | None:
        if isinstance(settled.result, dict) and settled.result.get("value") in self._once:
            return self._once[settled.result["value"]]
        return self._calls.get((settled.session, settled.request_id))

    def _acknowledged(self, event: Event) -> None:
        call = self._calls[event["s"], event["r"]]
        answer = (event["ok"], event["v"], event["ts"])
        if call.acked_at is not None:
            if (call.is_ok, call.result, call.ts) != answer:
                self._verdict.wrong(f"request {call.request_id} of {call.client}: two answers")
            return
        self._verdict.counts["acknowledged"] += 1
        call.acked_at = event["t"]
        call.is_ok, call.result, call.ts = answer
        if not call.is_ok and call.path not in MAY_FAIL:
            self._verdict.wrong(f"{call.path} of client {call.client} failed: {call.result}")
        if call.is_ok and call.path == "app:refused":
            self._verdict.wrong("a refused write was acknowledged", call.ts)

    # --- the log

    def _replay(self, commits: list[Commit], rows: Rows, known: Known) -> None:
        """Replay commits and, between them, look at all that was shown there."""
        shown = Shown(rows, self._verdict, self._past.pages)
        reads = Reads(map(partial(self._read, known), self._reads), rows, self._verdict)
        waiting = held_results(self._transitions, self._modifies, self._verdict)
        waiting.sort(key=lambda held: held.ts)
        at = 0
        previous = self._past.database.ts or None
        for commit in commits:
            while at < len(waiting) and waiting[at].ts < commit.ts:
                shown.check(waiting[at])
                at += 1
            reads.look(commit.ts)
            if None not in (previous, commit.prev_ts) and commit.prev_ts != previous:
                self._verdict.wrong(
                    f"commit {commit.ts} says that it follows {commit.prev_ts}, not {previous}",
                    commit.ts,
                )
            previous = commit.ts
            self._replay_commit(commit, rows)
        for held in waiting[at:]:
            shown.check(held)
        reads.look(float("inf"))

    def _read(self, known: Known, event: Event) -> Read:
        """Return a read with its bounds: a ts of its own, or what was known, and its answer."""
        if event.get("at"):
            return Read(event, event["at"], event["at"])
        since = 0 if event.get("stream") else known.at(event["t0"])
        own = self._once.get(event.get("after"))
        if own is not None:  # asked for behind a mutation that had been answered
            since = max(since, own.ts or 0)
        return Read(event, since, int(event["w"] * 1e9) + SLACK_NS)

    def _replay_commit(self, commit: Commit, rows: Rows) -> None:
        self._verdict.counts["commits"] += 1
        changes = [change for change in commit.changes if change.table in KEY_COLUMN]
        changes = [change for change in changes if change.op in "iud"]
        is_external = commit.txid in self._external
        if is_external:
            changes += self._truncation(commit, rows)
        if not (is_external or commit.requests or not changes or self._is_setup(commit)):
            self._verdict.wrong(
                f"commit {commit.ts} changed rows, and nobody asked for that", commit.ts
            )
        expected = self._explain(commit, rows) if commit.requests else None
        before, contradictions = apply(rows, changes, commit.ts)
        for contradiction in contradictions:
            self._verdict.wrong(contradiction, commit.ts)
        if not is_external:
            self._appended.update(
                change.new["value"]
                for change in changes
                if change.table == "items" and change.op == "i"
            )
        if expected is not None and (found := effects(before, rows)) != expected:
            self._verdict.wrong(
                f"commit {commit.ts} should do {dict(expected - found)}, but did "
                f"{dict(found - expected)}",
                commit.ts,
            )

    def _truncation(self, commit: Commit, rows: Rows) -> list[Change]:
        """What a TRUNCATE does, of which the log only says that nothing is known any more."""
        truncated = self._external[commit.txid].get("truncated", ())
        told = {change.table for change in commit.changes if change.op == "reset"}
        for table in set(truncated) - told:
            self._verdict.wrong(f"{table} was truncated, and the log does not say so", commit.ts)
        return [
            Change(table, "d", row_id, row, None)
            for table in truncated
            for row_id, row in rows.tables[table].items()
        ]

    def _is_setup(self, commit: Commit) -> bool:
        return all(
            change.op not in "iud" or (change.op == "i" and change.table in _SETUP_TABLES)
            for change in commit.changes
        )

    def _explain(self, commit: Commit, rows: Rows) -> Counter[str] | None:
        """Check the results of a batch's calls; return what they should have done."""
        self._verdict.counts["batches"] += 1
        calls: list[tuple[Call, Any]] = []
        for settled in commit.requests:
            call = self._call_of(settled)
            if call is None:
                self._verdict.wrong(f"a request that nobody sent: {settled}", commit.ts)
                return None
            calls.append((call, settled.result))
            self._check_answer(call, commit, settled.result)
        try:
            expected = explain(rows, calls)
        except Unexplained as error:
            self._verdict.wrong(f"commit {commit.ts}, a batch of {len(calls)}: {error}", commit.ts)
            return None
        self._verdict.counts["mutation results"] += len(calls)
        return expected

    def _check_answer(self, call: Call, commit: Commit, result: Any) -> None:
        if call.is_replayed and not call.may_repeat:
            self._verdict.wrong(f"{call.path} {call.args} was committed twice", commit.ts)
        call.is_replayed = True
        call.results.append(result)
        if not call.has_session:
            self._verdict.counts["calls without a session"] += 1
            return
        told = (call.is_ok, call.ts, call.result)
        if call.acked_at is not None and told != (True, commit.ts, result):
            self._verdict.wrong(
                f"client {call.client} request {call.request_id} {call.path} was told {told}, "
                f"but committed at {commit.ts} with {result}",
                commit.ts,
            )
        call.ts = commit.ts

    # --- calls

    def _check_once(self) -> None:
        """What was acknowledged is in the log; nothing is in it twice, by its own content."""
        for value, count in self._appended.items():
            if count > 1 and not (value in self._once and self._once[value].may_repeat):
                self._verdict.wrong(f"{value} was appended {count} times")
        for call in self._all_calls():
            if call.acked_at is None or not call.is_ok:
                continue
            if not call.is_replayed:
                self._verdict.wrong(
                    f"client {call.client} request {call.request_id} {call.path} was acknowledged "
                    f"at {call.ts}, but is not in the log",
                    call.ts,
                )
            elif call.result not in call.results:
                self._verdict.wrong(
                    f"client {call.client}: {call.path} was told {call.result}, but committed "
                    f"with {call.results}",
                    call.ts,
                )
            if call.path in ("app:append", "app:post"):
                self._verdict.counts["appends found once"] += 1
                if not self._appended[call.args["value"]]:
                    self._verdict.wrong(f"{call.args} was acknowledged, and is lost", call.ts)

    def _all_calls(self) -> Iterator[Call]:
        return chain(self._calls.values(), self._once.values())

    def _check_session_order(self) -> None:
        newest: dict[str, tuple[int, int]] = {}
        for call in sorted(self._calls.values(), key=lambda call: (call.session, call.request_id)):
            if not call.is_replayed or call.ts is None:
                continue
            ts, request_id = newest.get(call.session, (0, -1))
            if ts > call.ts:
                self._verdict.wrong(
                    f"client {call.client}: request {call.request_id} committed before request "
                    f"{request_id}",
                    call.ts,
                )
            newest[call.session] = (call.ts, call.request_id)

    def _known(self, commits: list[Commit]) -> Known:
        """Return what was known when: of external commits, and of calls that were answered."""
        ts_of = {commit.txid: commit.ts for commit in commits}
        ended: list[tuple[float, int]] = []
        for txid, event in self._external.items():
            ts = ts_of.get(txid)
            if ts is None:
                if event["ok"] and event["rows"]:
                    self._verdict.wrong(f"external {txid} committed, but is not in the log")
                continue
            self._verdict.counts["external commits"] += 1
            self._begun.append((event["t0"], ts, f"external {txid}"))
            if event["ok"]:
                ended.append((event["t1"], ts))
        for call in self._all_calls():
            if call.acked_at is not None and call.is_ok and call.ts is not None:
                ended.append((call.acked_at, call.ts))
        return Known(ended)

    # --- time

    def _check_times(self, known: Known) -> None:
        """What was known before something began, is before it in the order of commits."""
        for call in self._all_calls():
            if call.is_replayed and call.ts is not None:
                self._begun.append((call.invoked_at, call.ts, f"{call.client}/{call.request_id}"))
        for at, ts, who in self._begun:
            self._verdict.counts["real-time orders"] += 1
            if known.at(at) >= ts:
                self._verdict.wrong(f"{who} began when {known.at(at)} was known, but has {ts}", ts)
        self._check_recency(known)

    def _check_recency(self, known: Known) -> None:
        """A new subscription shows everything that was known when it was sent."""
        transitions: defaultdict[tuple[int, int], list[Event]] = defaultdict(list)
        for transition in self._transitions:
            transitions[transition["c"], transition["k"]].append(transition)
        for key, modifies in self._modifies.items():
            following = iter(transitions.get(key, ()))
            current = next(following, None)
            for modify in modifies:
                while current is not None and current["v"] < modify["v"]:
                    current = next(following, None)
                if current is None:
                    break
                self._verdict.counts["first results"] += len(modify["add"])
                if modify["add"] and current["d"] < known.at(modify["t"]):
                    self._verdict.wrong(
                        f"client {key[0]} subscribed when {known.at(modify['t'])} was known, and "
                        f"was shown {current['d']}",
                        known.at(modify["t"]),
                    )

    # --- the end

    def _check_tables(self, database: Database, rows: Rows) -> None:
        for table, found in database.tables.items():
            self._verdict.counts["final rows"] += len(found)
            known = rows.tables[table]
            differing = {
                row_id
                for row_id in found.keys() | known.keys()
                if found.get(row_id) != known.get(row_id)
            }
            if differing:
                self._verdict.wrong(f"{table}: {len(differing)} rows are not as the log says")


class Known:
    """The newest commit that somebody knew of, at any time."""

    def __init__(self, ended: list[tuple[float, int]]) -> None:
        self._times: list[float] = []
        self._newest: list[int] = []
        newest = 0
        for at, ts in sorted(ended):
            newest = max(newest, ts)
            self._times.append(at)
            self._newest.append(newest)

    def at(self, time: float) -> int:
        """Return the newest ts that was known before `time`; 0 when none was."""
        place = bisect.bisect_left(self._times, time)
        return self._newest[place - 1] if place else 0
