"""Judges a part of a run: the oracle, and how long everybody had to wait."""

from __future__ import annotations

import asyncio
import itertools
import time

from tests.faults.evidence import read_database, read_history
from tests.faults.oracle import Oracle, Past
from tests.faults.part import Part
from tests.faults.report import Report

SETTLE_S = 2.0  # after a fault is healed
MAX_PAUSE_S = 2.0  # of other nodes, while one is broken
MAX_LATENCY_S = 2.5  # with no notifications the log is looked at every second
_HARMLESS = ("listen-deaf", "kill-listeners")  # to delays: polling is what is left


async def judge(part: Part, report: Report, past: Past | None) -> Past:
    """Judge a part that has come to rest; return what the next judgement needs."""
    history = part.people.history
    acks, path = history.acks, history.turn()
    for client in part.people.clients:
        client.restate()
    connection = await part.cluster.connect()
    try:
        database = await read_database(connection, past.database if past else None)
    finally:
        await connection.close()

    def replay() -> Past:
        return Oracle(read_history(path), report.verdict, past).judge(database)

    past = await asyncio.to_thread(replay)  # everybody is connected through us meanwhile
    report.happened += part.happened
    report.converged_s.append(part.converged_s)
    _check_waits(report, part)
    _check_stalls(report, part, acks)
    _note_when_found(report, history.first_violation_at, part.began)
    if report.is_clean:
        path.unlink()
    return past


def _wall_offset_s() -> float:
    return time.time() - time.monotonic()


def _check_waits(report: Report, part: Part) -> None:
    """While nothing is broken but perhaps notifications, commits are shown soon."""
    windows = [
        (each.began, each.healed + SETTLE_S) for each in part.happened if each.name not in _HARMLESS
    ]
    # We are the network as well: while this process stands still, nobody's delay means anything.
    windows += [(began, ended + SETTLE_S) for began, ended in report.lags]

    def is_in_peace(began: float, ended: float) -> bool:
        return not any(since <= ended and began <= until for since, until in windows)

    verdict, offset_s = report.verdict, _wall_offset_s()
    for commit_ns, seconds in verdict.latencies:
        report.latencies_s.append(seconds)
        committed = commit_ns / 1e9 - offset_s
        if is_in_peace(committed, committed + seconds):
            verdict.counts["latencies in peace"] += 1
            if seconds > MAX_LATENCY_S:
                verdict.wrong(f"commit {commit_ns} was shown after {seconds:.1f} s", commit_ns)
    for acked_at, seconds in verdict.promises:
        if is_in_peace(acked_at, acked_at + seconds) and seconds > MAX_LATENCY_S:
            at_ns = int((acked_at + offset_s) * 1e9)
            verdict.wrong(f"a promise was kept {seconds:.1f} s after its answer", at_ns)
    verdict.latencies.clear()
    verdict.promises.clear()


def _check_stalls(report: Report, part: Part, acks: list[tuple[float, int]]) -> None:
    """By fault of one node: the longest time in which the others acknowledged nothing."""
    for each in part.happened:
        if each.node is None or report.options.nodes < 2:
            continue
        if report.has_lagged(each.began, each.healed):
            continue
        others = [t for t, node in acks if node != each.node]
        if sum(each.began - 1 <= t <= each.began for t in others) < 10:
            continue  # hardly anybody was there: after another fault all had moved to this node
        times = [t for t in others if each.began <= t <= each.healed]
        edges = [each.began, *times, each.healed]
        gap = max(after - before for before, after in itertools.pairwise(edges))
        report.stalls.append((each.name, gap))
        if gap > MAX_PAUSE_S:
            report.verdict.wrong(f"{each.name} at one node stopped the others for {gap:.1f} s")


def _note_when_found(report: Report, violated_at: float | None, began: float) -> None:
    first_ns = report.verdict.first_ns
    found = [
        *([] if violated_at is None else [violated_at]),
        *([] if first_ns is None else [first_ns / 1e9 - _wall_offset_s()]),
    ]
    if report.found_after_s is None and found:
        report.found_after_s = min(found) - began
