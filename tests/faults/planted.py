"""Tests the harness: runs it with every planted bug, and says how soon each is found.

python -m tests.faults.planted [bug …]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.faults.bugs import names
from tests.faults.report import Options, Report
from tests.faults.run import run_in

# Some bugs show only while a certain thing is broken: the other kinds are left out to be quick.
FAULTS_FOR = {
    "ack-on-unknown": ("kill-backends", "postgres-reset", "postgres-lose-replies"),
    "no-dedupe-row": ("clients-reset", "clients-lose-replies", "postgres-lose-replies"),
    "older-after-reconnect": ("postgres-slow", "cut-all-clients", "listen-deaf"),
    "torn-cold-read": ("postgres-slow", "bulk-update"),
    "patch-on-wrong-base": ("clients-slow", "starve-node"),
    "no-read-index": ("postgres-slow", "listen-deaf"),
    "push-to-who-left": ("clients-reset", "cut-all-clients"),
}
# Or only while hardly anybody else does anything.
PEOPLE_FOR = {"no-empty-transition": {"clients": 2, "outsiders": 0, "callers": 0}}
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
            think_s=0.15,
            bug=bug,
            only=FAULTS_FOR.get(bug, ()),
            **PEOPLE_FOR.get(bug, {"clients": 24}),
        )
        report = run_in(options)
        if not report.is_clean:
            return report, spent + (report.found_after_s or seconds)
        spent += seconds
    return report, spent


def main(arguments: list[str] | None = None) -> int:
    """Run all, or those named; return 1 when one is not found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bugs", nargs="*", help=f"of {', '.join(names())}")
    parser.add_argument("--report", type=Path, default=Path("build/planted.json"))
    chosen = parser.parse_args(arguments)
    found: dict[str, dict[str, Any]] = {}
    for bug in chosen.bugs or names():
        began = time.monotonic()
        report, spent = find(bug, seed=1000)
        how = next(iter([*report.violations, *report.verdict.anomalies]), "")
        said = "NOT FOUND" if report.is_clean else f"{spent:5.1f} s"
        found[bug] = {
            "foundAfterS": None if report.is_clean else round(spent, 1),
            "schedule": report.options.schedule,
        }
        sys.stdout.write(
            f"{bug:<28} {said:>9} (run of {time.monotonic() - began:.0f} s, "
            f"{report.options.schedule})  {how[:150]}\n"
        )
        sys.stdout.flush()
    command = f"python -m tests.faults.planted {' '.join(chosen.bugs)}".strip()
    figures = {"kind": "planted", "command": command, "date": time.strftime("%Y-%m-%d")}
    chosen.report.parent.mkdir(parents=True, exist_ok=True)
    chosen.report.write_text(json.dumps({**figures, "bugs": found}, indent=1) + "\n")
    return 1 if any(each["foundAfterS"] is None for each in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
