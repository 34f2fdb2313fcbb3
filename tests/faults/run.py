"""Runs the harness once, and prints what was survived, checked and found.

    python -m tests.faults.run --seed 1 --seconds 30 --schedule pairs

Everything random comes from the seed: who does what, what breaks and when. Timing does not, so a
failing seed is likely, not certain, to fail again; the history of the run is kept in `--keep`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psutil

from tests.faults.client import Client
from tests.faults.cluster import Cluster
from tests.faults.evidence import Verdict, read_database, read_history
from tests.faults.faults import Happened
from tests.faults.history import History
from tests.faults.official import FIRST_NUMBER, PACKAGES, OfficialClients, is_installed
from tests.faults.oracle import Oracle
from tests.faults.schedule import ALL_FAULTS, run_schedule
from tests.faults.workloads import Outsider, User, check_value
from tests.support.server import token

CONVERGE_S = 15.0
# Official clients that could not connect for a while wait for up to 16 s, half as much again by
# chance, before they try again (RELIABILITY.md I16).
OFFICIALS_CONVERGE_S = 24.0 + 5.0
SETTLE_S = 2.0  # after a fault is healed
MAX_LAG_S = 0.5
_SIZE_INTERVAL_S = 5.0
MAX_PAUSE_S = 2.0  # of other nodes, while one is broken
MAX_LATENCY_S = 2.5  # with no notifications the log is looked at every second


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        seed: decides everything random.
        seconds: how long clients work and things break.
        schedule: see `schedule.run_schedule`.
        nodes, clients, officials, outsiders: how many; officials are official npm clients.
        workers: processes of each node.
        has_small_disk: whether Postgres's disk may be filled (it is in memory: fsync is free).
        think_s: mean pause of a user between two acts.
        bug: a planted bug, see `bugs.py`.
    """

    seed: int = 1
    seconds: float = 20.0
    schedule: str = "single"
    nodes: int = 2
    clients: int = 20
    officials: int = 0
    outsiders: int = 3
    workers: int = 1
    has_small_disk: bool = False
    think_s: float = 0.25
    bug: str | None = None
    only: tuple[str, ...] = ()


@dataclass
class Report:
    """What came of a run."""

    options: Options
    verdict: Verdict
    violations: list[str]
    counts: dict[str, int]
    happened: list[Happened] = field(default_factory=list)
    converged_s: float = 0.0
    stalls: list[tuple[str, float]] = field(default_factory=list)
    work_s: float = 0.0
    found_after_s: float | None = None
    lags: list[tuple[float, float]] = field(default_factory=list)
    sizes: dict[int, list[tuple[float, int]]] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.verdict.anomaly_count and not self.violations


async def run(options: Options, directory: Path) -> Report:
    """Run once in a directory of its own."""
    rng = random.Random(options.seed)
    header = {"seed": options.seed, "schedule": options.schedule, "bug": options.bug}
    history = History(directory / "history.jsonl", header)
    verdict = Verdict()
    report = Report(options, verdict, history.violations, history.counts)
    async with Cluster(
        directory,
        options.nodes,
        options.bug,
        workers=options.workers,
        wants_small_disk=options.has_small_disk,
    ) as cluster:
        clients = [
            Client(
                number,
                UUID(int=rng.getrandbits(128), version=4),
                [node.url for node in cluster.nodes],
                token(f"u{number}"),
                history,
                random.Random(rng.getrandbits(64)),
                check_value,
            )
            for number in range(options.clients)
        ]
        users = [
            User(client, random.Random(rng.getrandbits(64)), options.think_s) for client in clients
        ]
        outsiders = [
            Outsider(number, cluster.connect, history, random.Random(rng.getrandbits(64)), 0.15)
            for number in range(options.outsiders)
        ]
        officials = OfficialClients(history, range(FIRST_NUMBER, FIRST_NUMBER + options.officials))
        started = time.monotonic()
        notes = [
            asyncio.create_task(_note_lags(report)),
            asyncio.create_task(_note_sizes(report, cluster)),
        ]
        connections = [asyncio.create_task(client.run()) for client in clients]
        work = [
            *[asyncio.create_task(user.run(options.schedule)) for user in users],
            *[asyncio.create_task(outsider.run()) for outsider in outsiders],
        ]
        try:
            if options.officials:
                await _start(officials, options, cluster)
            await asyncio.sleep(1.0)
            report.happened = await run_schedule(
                options.schedule,
                cluster,
                random.Random(rng.getrandbits(64)),
                options.seconds,
                history,
                options.only,
            )
        finally:
            for task in work:
                task.cancel()
            ended = await asyncio.gather(*work, return_exceptions=True)
        report.work_s = time.monotonic() - started
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome
        await _converge(clients, officials, history, report)
        for note in notes:
            note.cancel()
        await officials.stop()
        await _stop(clients, connections)
        history.close()
        connection = await cluster.connect()
        try:
            database = await read_database(connection)
        finally:
            await connection.close()
    Oracle(read_history(directory / "history.jsonl"), verdict).judge(database)
    wall_offset_s = time.time() - time.monotonic()
    _check_latencies(report, wall_offset_s)
    report.stalls = _stalls(report, history.acks)
    for name, pause_s in report.stalls:
        if pause_s > MAX_PAUSE_S:
            verdict.wrong(f"{name} at one node stopped the others for {pause_s:.1f} s")
    found = [
        *([] if history.first_violation_at is None else [history.first_violation_at]),
        *([] if verdict.first_ns is None else [verdict.first_ns / 1e9 - wall_offset_s]),
    ]
    report.found_after_s = min(found) - started if found else None
    return report


async def _stop(clients: list[Client], connections: list[asyncio.Task[None]]) -> None:
    for client in clients:
        await client.stop()
    for task in connections:
        task.cancel()
    for outcome in await asyncio.gather(*connections, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def _start(officials: OfficialClients, options: Options, cluster: Cluster) -> None:
    """Start official clients, of the one version or the other, on all nodes."""
    await officials.start(
        PACKAGES[options.seed % len(PACKAGES)],
        options.seed,
        options.think_s,
        [cluster.nodes[number % options.nodes].url for number in officials.numbers],
        [token(f"u{number}") for number in officials.numbers],
    )


def _check_latencies(report: Report, wall_offset_s: float) -> None:
    """While nothing is broken but perhaps notifications, commits are shown soon."""
    windows = [
        (each.began, each.healed + SETTLE_S)
        for each in report.happened
        if each.name not in ("listen-deaf", "kill-listeners")
    ]

    # We are the network as well: while this process stands still, nobody's delay means anything.
    windows += [(began, ended + SETTLE_S) for began, ended in report.lags]

    def is_broken(began: float, ended: float) -> bool:
        return any(since <= ended and began <= until for since, until in windows)

    verdict = report.verdict
    for commit_ns, seconds in verdict.latencies:
        committed = commit_ns / 1e9 - wall_offset_s
        if not is_broken(committed, committed + seconds):
            verdict.counts["latencies in peace"] += 1
            if seconds > MAX_LATENCY_S:
                verdict.wrong(f"commit {commit_ns} was shown after {seconds:.1f} s", commit_ns)
    for acked_at, seconds in verdict.promises:
        if not is_broken(acked_at, acked_at + seconds) and seconds > MAX_LATENCY_S:
            at_ns = int((acked_at + wall_offset_s) * 1e9)
            verdict.wrong(f"a promise was kept {seconds:.1f} s after its answer", at_ns)


async def _note_lags(report: Report) -> None:
    """Note when the harness itself stood still for long, as on a busy machine."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.1)
        if time.monotonic() - before > MAX_LAG_S:
            report.lags.append((before, time.monotonic()))


async def _note_sizes(report: Report, cluster: Cluster) -> None:
    """Note the resident bytes of every node, by process."""
    while True:
        for node in cluster.nodes:
            with contextlib.suppress(psutil.NoSuchProcess):
                size = psutil.Process(node.pid).memory_info().rss
                report.sizes.setdefault(node.pid, []).append((time.monotonic(), size))
        await asyncio.sleep(_SIZE_INTERVAL_S)


def growth(sizes: dict[int, list[tuple[float, int]]]) -> tuple[float, float, float] | None:
    """Return how the process that lived longest grew: minutes, and MB at a third and at the end."""
    longest = max(sizes.values(), key=len, default=[])
    if len(longest) < 6:
        return None
    minutes = (longest[-1][0] - longest[0][0]) / 60
    third, last = longest[len(longest) // 3][1], longest[-1][1]
    return minutes, third / 1e6, last / 1e6


async def _converge(
    clients: list[Client], officials: OfficialClients, history: History, report: Report
) -> None:
    """Everybody has an answer to everything and stands at the newest state, soon."""
    healed = time.monotonic()

    async def settle(client: Client) -> None:
        waiting = [pending.done for pending in client.pending.values()]
        if waiting:
            await asyncio.wait(waiting)
        await client.barrier()

    tasks = {asyncio.create_task(settle(client)): client for client in clients}
    settled = asyncio.create_task(officials.settle()) if report.options.officials else None
    done, late = await asyncio.wait(tasks, timeout=CONVERGE_S)
    report.converged_s = time.monotonic() - healed
    for task in done:
        task.result()
    if settled is not None:
        await asyncio.wait([settled], timeout=OFFICIALS_CONVERGE_S - report.converged_s)
        if not settled.done():
            settled.cancel()
            history.violation(f"official clients did not converge in {OFFICIALS_CONVERGE_S} s")
    for task in late:
        task.cancel()
        client = tasks[task]
        history.violation(
            f"client {client.number} (node {client.node}) did not converge in {CONVERGE_S} s: "
            f"{len(client.pending)} mutations without an end, the first "
            f"{next(iter(client.pending.values()), None)}"
        )
    await asyncio.gather(*late, return_exceptions=True)


def _stalls(report: Report, acks: list[tuple[float, int]]) -> list[tuple[str, float]]:
    """Return, by fault of one node, the longest time in which the others acknowledged nothing."""
    found = []
    for each in report.happened:
        if each.node is None or report.options.nodes < 2:
            continue
        if any(began <= each.healed and each.began <= ended for began, ended in report.lags):
            continue
        others = [t for t, node in acks if node != each.node]
        if sum(each.began - 1 <= t <= each.began for t in others) < 10:
            continue  # hardly anybody was there: after another fault all had moved to this node
        times = [t for t in others if each.began <= t <= each.healed]
        edges = [each.began, *times, each.healed]
        gap = max(after - before for before, after in itertools.pairwise(edges))
        found.append((each.name, gap))
    return found


def table(report: Report) -> str:
    """Return the report as text."""
    counts, checks = report.counts, report.verdict.counts
    lines = [
        f"seed {report.options.seed}, schedule {report.options.schedule}, "
        f"{report.work_s:.0f} s of work, {report.options.nodes} nodes of "
        f"{report.options.workers}, "
        f"{report.options.clients} clients, {report.options.officials} official ones, "
        f"{report.options.outsiders} external writers",
        f"acknowledged mutations   {checks['acknowledged']:>9}",
        f"mutation results checked {checks['mutation results']:>9}",
        f"commits replayed         {checks['commits']:>9}  "
        f"(external {checks['external commits']}, batches {checks['batches']})",
        f"transitions checked      {checks['transitions']:>9}",
        f"query results checked    {checks['query results']:>9}",
        f"first results (recency)  {checks['first results']:>9}",
        f"real-time orders         {checks['real-time orders']:>9}",
        f"connections              {counts.get('open', 0):>9}",
        f"converged after          {report.converged_s:>9.2f} s",
        f"harness stood still      {len(report.lags):>9} times, at most "
        f"{max((b - a for a, b in report.lags), default=0):.1f} s",
    ]
    if grown := growth(report.sizes):
        lines.append(
            "longest lived node       {:.1f} min, {:.0f} MB, then {:.0f} MB".format(*grown)
        )
    latencies = sorted(seconds for _, seconds in report.verdict.latencies)
    if latencies:
        p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
        lines.append(
            f"commit to client         p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, "
            f"max {latencies[-1] * 1000:.0f} ms (faults included)"
        )
    kinds: dict[str, list[Happened]] = {}
    for each in report.happened:
        kinds.setdefault(each.name, []).append(each)
    for name, each_kind in sorted(kinds.items()):
        gaps = [gap for other, gap in report.stalls if other == name]
        stall = f", others paused at most {max(gaps):.2f} s" if gaps else ""
        lines.append(f"  fault {name:<22} {len(each_kind):>4}{stall}")
    lines.append(
        f"ANOMALIES                {report.verdict.anomaly_count + len(report.violations)}"
    )
    lines += [f"  oracle: {text}"[:600] for text in report.verdict.anomalies[:12]]
    lines += [f"  client: {text}"[:600] for text in report.violations[:12]]
    return "\n".join(lines)


def run_in(options: Options, keep: Path | None = None) -> Report:
    """Run once in a new directory; keep history and logs where something was found."""
    directory = Path(tempfile.mkdtemp(prefix="parley-faults-", dir="/tmp"))
    directory.chmod(0o711)
    try:
        report = asyncio.run(run(options, directory))
        if keep is not None and not report.is_clean:
            keep.mkdir(parents=True, exist_ok=True)
            for path in [*directory.glob("*.jsonl"), *directory.glob("*.log")]:
                shutil.copy(path, keep)
        return report
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """Run as the command line says; return 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--schedule", default="single")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--officials", type=int, default=4 if is_installed() else 0)
    parser.add_argument("--outsiders", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--small-disk", action="store_true")
    parser.add_argument("--think", type=float, default=0.25)
    parser.add_argument("--bug")
    parser.add_argument("--only", default="", help=f"of {', '.join(ALL_FAULTS)}")
    parser.add_argument("--keep", type=Path, default=Path("build/faults"))
    chosen = parser.parse_args(arguments)
    options = Options(
        seed=chosen.seed,
        seconds=chosen.seconds,
        schedule=chosen.schedule,
        nodes=chosen.nodes,
        clients=chosen.clients,
        officials=chosen.officials,
        outsiders=chosen.outsiders,
        workers=chosen.workers,
        has_small_disk=chosen.small_disk,
        think_s=chosen.think,
        bug=chosen.bug,
        only=tuple(name for name in chosen.only.split(",") if name),
    )
    report = run_in(options, chosen.keep)
    sys.stdout.write(table(report) + "\n")
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
