"""Tests the harness: runs it with every planted bug, and says how soon each is found.

python -m tests.faults.planted [bug …]
"""

from __future__ import annotations

import sys
import time

from tests.faults.bugs import names
from tests.faults.run import Options, Report, run_in

# Some bugs show only while a certain thing is broken: the other kinds are left out to be quick.
FAULTS_FOR = {
    "ack-on-unknown": ("kill-backends", "postgres-reset", "postgres-lose-replies"),
    "no-dedupe-row": ("clients-reset", "clients-lose-replies", "postgres-lose-replies"),
    "older-after-reconnect": ("postgres-slow", "cut-all-clients", "listen-deaf"),
    "torn-cold-read": ("postgres-slow", "bulk-update"),
    "no-read-index": ("postgres-slow", "listen-deaf"),
}
SCHEDULE_FOR = {"notify-only": "quiet"}
ROUNDS_S = (12.0, 25.0, 50.0)


def find(bug: str, seed: int) -> tuple[Report, float]:
    """Run with a bug, longer each time, until it is found; return the last run and all seconds."""
    spent = 0.0
    for round_number, seconds in enumerate(ROUNDS_S):
        options = Options(
            seed=seed + round_number,
            seconds=seconds,
            schedule=SCHEDULE_FOR.get(bug, "single" if bug in FAULTS_FOR else "calm"),
            clients=24,
            think_s=0.15,
            bug=bug,
            only=FAULTS_FOR.get(bug, ()),
        )
        report = run_in(options)
        if not report.is_clean:
            return report, spent + (report.found_after_s or seconds)
        spent += seconds
    return report, spent


def main(chosen: list[str]) -> int:
    """Run all, or those named; return 1 when one is not found."""
    missed = 0
    for bug in chosen or names():
        began = time.monotonic()
        report, spent = find(bug, seed=1000)
        how = next(iter([*report.violations, *report.verdict.anomalies]), "")
        missed += report.is_clean
        said = "NOT FOUND" if report.is_clean else f"{spent:5.1f} s"
        sys.stdout.write(
            f"{bug:<28} {said:>9} (run of {time.monotonic() - began:.0f} s, "
            f"{report.options.schedule})  {how[:150]}\n"
        )
        sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
