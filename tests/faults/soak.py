"""Runs the harness again and again, with other seeds and schedules, and adds up what came of it.

    python -m tests.faults.soak --seconds 80 --round 25 --seed 1   what `make faults` does
    python -m tests.faults.soak --seconds 3600                     `make soak MINUTES=60`

Every fifth round has two processes a node, every third a disk that gets full. What breaks are first
the kinds of faults that no round has had yet.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from tests.faults.publish import markdown
from tests.faults.report import Options, table
from tests.faults.run import add_arguments, run_in
from tests.faults.total import Total

SCHEDULES = ("single", "pairs", "pauses", "swizzle", "quiet", "single", "pairs", "calm")
_SHORTEST_S = 8.0


def options_of(base: Options, number: int, missing: Collection[str]) -> Options:
    """Return what round `number` runs, where some kinds of faults are still to be had."""
    schedule = SCHEDULES[number % len(SCHEDULES)]
    return replace(
        base,
        seed=base.seed + number,
        schedule=schedule,
        workers=1 + (number % 5 == 4),
        has_small_disk=number % 3 == 2,
        only=tuple(missing) if schedule in ("single", "pauses") else (),
    )


def _repeat(options: Options) -> str:
    """Return how to run a round again."""
    return (
        f"--seed {options.seed} --seconds {options.seconds:.0f} --schedule {options.schedule} "
        f"--nodes {options.nodes} --clients {options.clients} --officials {options.officials} "
        f"--pythons {options.pythons} --callers {options.callers} --outsiders {options.outsiders} "
        f"--think {options.think_s} --workers {options.workers}"
        f"{' --small-disk' if options.has_small_disk else ''}"
        f"{f' --only {chr(34)}{chr(44).join(options.only)}{chr(34)}' if options.only else ''}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run as the command line says; return 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--round", type=float, default=60)
    parser.add_argument("--report", type=Path, default=Path("build/soak.json"))
    chosen = vars(parser.parse_args(arguments))
    seconds, round_s = chosen.pop("seconds"), chosen.pop("round")
    keep, path = chosen.pop("keep"), chosen.pop("report")
    base = Options(**chosen)
    command = f"python -m tests.faults.soak {' '.join(arguments or sys.argv[1:])}"
    total = Total()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        options = options_of(base, total.rounds, total.missing)
        left_s = max(_SHORTEST_S, end - time.monotonic())
        options = replace(options, seconds=min(round_s, left_s))
        report = run_in(options, keep / str(options.seed))
        total.add(report)
        sys.stdout.write(table(report) + "\n\n")
        sys.stdout.flush()
        if not report.is_clean:
            total.failed.append(f"{_repeat(options)} (history: {keep / str(options.seed)})")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(total.to_json("soak", command), indent=1) + "\n")
    sys.stdout.write(markdown(total.to_json("soak", command)) + "\n")
    sys.stdout.write("".join(f"FAILED: {each}\n" for each in total.failed))
    return 1 if total.anomalies else 0


if __name__ == "__main__":
    sys.exit(main())
