"""What to run, and what came of it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from tests.faults.evidence import Verdict
from tests.faults.faults import Happened
from tests.faults.sizes import Sizes


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        seed: decides everything random.
        seconds: how long clients work and things break.
        part_s: so often everything comes to rest, is judged, and its history dropped.
        schedule: see `schedule.run_schedule`.
        nodes, clients, officials, pythons, outsiders, callers: how many; officials are official npm
            clients, pythons PyPI's, outsiders write SQL, callers use HTTP.
        workers: processes of each node.
        has_small_disk: whether Postgres's disk may be filled (it is in memory: fsync is free).
        think_s: mean pause of a user between two acts.
        bug: a planted bug, see `bugs.py`.
        only: names of faults; empty for all.
    """

    seed: int = 1
    seconds: float = 20.0
    part_s: float = 60.0
    schedule: str = "single"
    nodes: int = 2
    clients: int = 20
    officials: int = 0
    pythons: int = 0
    outsiders: int = 3
    callers: int = 2
    workers: int = 1
    has_small_disk: bool = False
    think_s: float = 0.25
    bug: str | None = None
    only: tuple[str, ...] = ()


@dataclass
class Report:
    """What came of a run.

    Attributes:
        violations: what clients saw at once that must not be.
        counts: events by kind.
        converged_s: seconds from the last heal until everybody was current, by part.
        latencies_s: seconds from a commit until a client was shown it.
        stalls: (fault of one node, seconds in which the others acknowledged nothing).
        lags: (from, until), monotonic: when the harness itself stood still.
    """

    options: Options
    verdict: Verdict = field(default_factory=Verdict)
    violations: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    happened: list[Happened] = field(default_factory=list)
    converged_s: list[float] = field(default_factory=list)
    latencies_s: array[float] = field(default_factory=lambda: array("d"))
    stalls: list[tuple[str, float]] = field(default_factory=list)
    work_s: float = 0.0
    found_after_s: float | None = None
    lags: list[tuple[float, float]] = field(default_factory=list)
    sizes: Sizes = field(default_factory=Sizes)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.verdict.anomaly_count and not self.violations

    def has_lagged(self, began: float, ended: float) -> bool:
        """Tell whether the harness stood still at some time in between."""
        return any(since <= ended and began <= until for since, until in self.lags)


COUNTED = (
    "acknowledged",
    "mutation results",
    "appends found once",
    "commits",
    "batches",
    "external commits",
    "transitions",
    "query results",
    "patched results",
    "pages",
    "reads without a ts",
    "calls without a session",
    "actions",
    "first results",
    "real-time orders",
)


def table(report: Report) -> str:
    """Return the report as text."""
    options, checks = report.options, report.verdict.counts
    lines = [
        f"seed {options.seed}, schedule {options.schedule}, {report.work_s:.0f} s of work, "
        f"{options.nodes} nodes of {options.workers}, {options.clients} clients, "
        f"{options.officials} npm and {options.pythons} PyPI ones, {options.callers} over HTTP, "
        f"{options.outsiders} external writers",
        *[f"{name:<24} {checks[name]:>9}" for name in COUNTED],
        f"{'connections':<24} {report.counts.get('open', 0):>9}",
        f"{'converged after':<24} {max(report.converged_s, default=0):>9.2f} s",
        f"{'harness stood still':<24} {len(report.lags):>9} times, at most "
        f"{max((b - a for a, b in report.lags), default=0):.1f} s",
        *report.sizes.lines(),
    ]
    latencies = sorted(report.latencies_s)
    if latencies:
        p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
        lines.append(
            f"commit to client         p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, "
            f"max {latencies[-1] * 1000:.0f} ms (faults included)"
        )
    lines += _faults(report)
    lines.append(
        f"ANOMALIES                {report.verdict.anomaly_count + len(report.violations)}"
    )
    lines += [f"  oracle: {text}"[:600] for text in report.verdict.anomalies[:12]]
    lines += [f"  client: {text}"[:600] for text in report.violations[:12]]
    return "\n".join(lines)


def _faults(report: Report) -> list[str]:
    kinds: dict[str, int] = {}
    for each in report.happened:
        kinds[each.name] = kinds.get(each.name, 0) + 1
    lines = []
    for name, count in sorted(kinds.items()):
        gaps = [gap for other, gap in report.stalls if other == name]
        stall = f", others paused at most {max(gaps):.2f} s" if gaps else ""
        lines.append(f"  fault {name:<22} {count:>4}{stall}")
    return lines
