"""What all rounds of a soak come to, as JSON."""

from __future__ import annotations

import time
from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.faults.report import Report
from tests.faults.schedule import KINDS


@dataclass
class Total:
    """The sum of rounds; of each only this is kept.

    Attributes:
        failed: how to run the rounds again that found something.
        sizes: trends of processes, of the newest round that says anything of them.
    """

    began: str = field(default_factory=lambda: time.strftime("%Y-%m-%d"))
    checks: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    pauses_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    converged_s: array[float] = field(default_factory=lambda: array("d"))
    latencies_s: array[float] = field(default_factory=lambda: array("d"))
    anomalies: int = 0
    rounds: int = 0
    work_s: float = 0.0
    connections: int = 0
    lags: int = 0
    failed: list[str] = field(default_factory=list)
    sizes: list[dict[str, Any]] = field(default_factory=list)

    def add(self, report: Report) -> None:
        """Add one round."""
        self.rounds += 1
        self.work_s += report.work_s
        self.checks.update(report.verdict.counts)
        self.faults.update(each.name for each in report.happened)
        for name, gap in report.stalls:
            self.pauses_s[name].append(gap)
        self.converged_s.extend(report.converged_s)
        self.latencies_s.extend(report.latencies_s)
        self.connections += report.counts.get("open", 0)
        self.lags += len(report.lags)
        self.anomalies += report.verdict.anomaly_count + len(report.violations)
        self.sizes = report.sizes.to_json() or self.sizes

    @property
    def missing(self) -> list[str]:
        """The kinds of faults that no round has had."""
        return [kind for kind in KINDS if kind not in self.faults]

    def to_json(self, kind: str, command: str) -> dict[str, Any]:
        """Return it as JSON; `kind` is the section of docs/reliability.md that it is for."""
        return {
            "kind": kind,
            "command": command,
            "date": self.began,
            "rounds": self.rounds,
            "workS": round(self.work_s),
            "checks": dict(sorted(self.checks.items())),
            "connections": self.connections,
            "convergedS": _spread(self.converged_s),
            "latencyS": _spread(self.latencies_s),
            "harnessLags": self.lags,
            "faults": {
                name: {"times": times, "othersPausedS": max(self.pauses_s[name], default=None)}
                for name, times in sorted(self.faults.items())
            },
            "missing": self.missing,
            "sizes": self.sizes,
            "anomalies": self.anomalies,
            "failed": self.failed,
        }


def _spread(values: array[float]) -> dict[str, float]:
    found = sorted(values)
    if not found:
        return {}
    half, nearly = found[len(found) // 2], found[int(len(found) * 0.99)]
    return {"p50": round(half, 4), "p99": round(nearly, 4), "max": round(found[-1], 4)}
