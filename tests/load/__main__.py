"""Measure, and print JSON: `python -m tests.load --help`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.load import servers
from tests.load.databases import Postgres, running_postgres
from tests.load.fanout import measure_fan_out
from tests.load.goals import GOALS, Verdict, judged
from tests.load.hot import measure_hot
from tests.load.idle import measure_idle
from tests.load.latency import measure_latency
from tests.load.lengths import measure_lengths
from tests.load.memory import measure_memory
from tests.load.plot import bars
from tests.load.run import Run, machine, tell
from tests.load.storm import measure_storm
from tests.load.streaming import measure_streaming
from tests.load.transfers import measure_transfers
from tests.load.writes import measure_workers, measure_writes

MEASURES: dict[str, Callable[[Run, Postgres, ExitStack], None]] = {
    "writes": measure_writes,
    "workers": measure_workers,
    "fan-out": measure_fan_out,
    "transfers": measure_transfers,
    "latency": measure_latency,
    "idle": measure_idle,
    "lengths": measure_lengths,
    "streaming": measure_streaming,
    "hot": measure_hot,
    "memory": measure_memory,
    "storm": measure_storm,
}


def asked() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument(
        "figures", nargs="*", choices=[*MEASURES, []], help=f"of {', '.join(MEASURES)}; all if none"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--system", action="store_true", help="the machine's Postgres")
    parser.add_argument("--json", type=Path, help="write the JSON there instead of printing it")
    parser.add_argument("--plot", type=Path, help="write a picture of the goals there, as SVG")
    return parser.parse_args()


def row(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON has it."""
    goal = verdict.goal
    return {
        "figure": goal.name,
        "found": round(verdict.found, 3),
        "least": round(verdict.low, 3),
        "most": round(verdict.high, 3),
        "goal": f"at {goal.sense} {goal.bound:g}",
        "verdict": verdict.text,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the verdicts as a Markdown table."""
    lines = [
        f"| {row['figure']} | {row['found']:g} ({row['least']:g} to {row['most']:g}) "
        f"| {row['goal']} | {row['verdict']} |"
        for row in rows
    ]
    return "\n".join(["| Figure | Found | Goal | Verdict |", "|---|---|---|---|", *lines])


def main() -> None:
    """Measure."""
    options = asked()
    names = options.figures or list(MEASURES)
    if not servers.are_peers_installed():
        tell("LEFT OUT: what is compared with Node; `make bench-peers` installs it")
    before = machine()
    with (
        Run(options.rounds, options.seconds, len(names)) as run,
        running_postgres(is_system=options.system) as postgres,
    ):
        for name in names:
            with ExitStack() as stack:
                MEASURES[name](run, postgres, stack)
    verdicts = judged(run.found, GOALS)
    goals = [row(verdict) for verdict in verdicts]
    tell(table(goals))
    shown = {
        "machine": {**before, "load_1_min_after": machine()["load_1_min"]},
        "goals": goals,
        "medians": run.medians(),
        "rounds": run.found,
    }
    text = json.dumps(shown, indent=1) + "\n"
    if options.json:
        options.json.write_text(text)
    else:
        sys.stdout.write(text)
    if options.plot:
        options.plot.write_text(bars(verdicts))


if __name__ == "__main__":
    main()
