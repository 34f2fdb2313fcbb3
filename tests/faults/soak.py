"""Runs the harness again and again, with other seeds and schedules, and adds up what came of it.

    python -m tests.faults.soak --seconds 150 --round 30 --seed 1   what `make faults` does
    python -m tests.faults.soak --seconds 3600                      `make soak MINUTES=60`

Round n of seed s is `python -m tests.faults.run --seed s+n --seconds <round> --schedule <its>`;
every fifth with two processes a node, every third with a disk that gets full.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.official import is_installed
from tests.faults.run import Options, Report, run_in, table

SCHEDULES = ("single", "pairs", "pauses", "swizzle", "quiet", "single", "pairs", "calm")


@dataclass
class Total:
    """What all rounds come to."""

    checks: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    stalls: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    converged_s: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    anomalies: int = 0
    rounds: int = 0
    connections: int = 0
    failed: list[str] = field(default_factory=list)

    def add(self, report: Report) -> None:
        """Add one round."""
        self.rounds += 1
        self.checks.update(report.verdict.counts)
        self.faults.update(each.name for each in report.happened)
        for name, gap in report.stalls:
            self.stalls[name].append(gap)
        self.converged_s.append(report.converged_s)
        self.latencies_s += [seconds for _, seconds in report.verdict.latencies]
        self.connections += report.counts.get("open", 0)
        self.anomalies += report.verdict.anomaly_count + len(report.violations)

    def table(self) -> str:
        """Return it as Markdown."""
        rows = [
            ("Rounds", f"{self.rounds}"),
            ("Acknowledged mutations", f"{self.checks['acknowledged']:,}"),
            ("Mutation results checked", f"{self.checks['mutation results']:,}"),
            ("Appends found exactly once", f"{self.checks['appends found once']:,}"),
            ("Commits replayed", f"{self.checks['commits']:,}"),
            ("of these by external SQL", f"{self.checks['external commits']:,}"),
            ("Transitions checked", f"{self.checks['transitions']:,}"),
            ("Query results checked", f"{self.checks['query results']:,}"),
            ("First results checked for recency", f"{self.checks['first results']:,}"),
            ("Real-time orders checked", f"{self.checks['real-time orders']:,}"),
            ("Connections", f"{self.connections:,}"),
            ("Faults", f"{sum(self.faults.values()):,} of {len(self.faults)} kinds"),
            ("Converged after the last heal", _spread(self.converged_s, "s")),
            ("Commit to client, faults included", _spread(self.latencies_s, "s")),
            ("**Anomalies**", f"**{self.anomalies}**"),
        ]
        lines = ["| | |", "|---|---|", *[f"| {name} | {value} |" for name, value in rows], ""]
        lines += ["| Fault | Times | Others paused at most |", "|---|---|---|"]
        for name, count in sorted(self.faults.items()):
            gaps = self.stalls.get(name)
            pause = f"{max(gaps):.2f} s" if gaps else "-"
            lines.append(f"| {name} | {count} | {pause} |")
        return "\n".join([*lines, "", *self.failed])


def _spread(values: list[float], unit: str) -> str:
    found = sorted(values)
    if not found:
        return "-"
    half, nearly = found[len(found) // 2], found[int(len(found) * 0.99)]
    return f"p50 {half:.3f}, p99 {nearly:.3f}, max {found[-1]:.3f} {unit}"


def _repeat(options: Options) -> str:
    """Return how to run a round again."""
    return (
        f"--seed {options.seed} --seconds {options.seconds:.0f} --schedule {options.schedule} "
        f"--nodes {options.nodes} --clients {options.clients} --officials {options.officials} "
        f"--think {options.think_s} --workers {options.workers}"
        f"{' --small-disk' if options.has_small_disk else ''}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run as the command line says; return 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--round", type=float, default=60)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--officials", type=int, default=4 if is_installed() else 0)
    parser.add_argument("--think", type=float, default=0.25)
    parser.add_argument("--keep", type=Path, default=Path("build/faults"))
    chosen = parser.parse_args(arguments)
    total = Total()
    end = time.monotonic() + chosen.seconds
    while time.monotonic() < end:
        options = Options(
            seed=chosen.seed + total.rounds,
            seconds=min(chosen.round, max(8.0, end - time.monotonic())),
            schedule=SCHEDULES[total.rounds % len(SCHEDULES)],
            nodes=chosen.nodes,
            clients=chosen.clients,
            officials=chosen.officials,
            workers=1 + (total.rounds % 5 == 4),
            has_small_disk=total.rounds % 3 == 2,
            think_s=chosen.think,
        )
        report = run_in(options, chosen.keep / str(options.seed))
        total.add(report)
        sys.stdout.write(table(report) + "\n\n")
        sys.stdout.flush()
        if not report.is_clean:
            total.failed.append(
                f"FAILED: {_repeat(options)} (history: {chosen.keep / str(options.seed)})"
            )
    sys.stdout.write(total.table() + "\n")
    return 1 if total.anomalies else 0


if __name__ == "__main__":
    sys.exit(main())
