"""Measure, and print JSON: `python -m tests.load --help`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack

from tests.load import servers
from tests.load.databases import Postgres, running_postgres
from tests.load.fanout import measure_fan_out
from tests.load.idle import measure_idle
from tests.load.lengths import measure_lengths
from tests.load.run import Run, machine, tell
from tests.load.transfers import measure_transfers
from tests.load.writes import measure_workers, measure_writes

MEASURES: dict[str, Callable[[Run, Postgres, ExitStack], None]] = {
    "writes": measure_writes,
    "workers": measure_workers,
    "transfers": measure_transfers,
    "fan-out": measure_fan_out,
    "idle": measure_idle,
    "lengths": measure_lengths,
}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("figures", nargs="*", choices=[*MEASURES, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--system", action="store_true", help="the machine's Postgres")
    asked = parser.parse_args()
    names = asked.figures or list(MEASURES)
    if not servers.are_peers_installed():
        tell("LEFT OUT: what is compared with Node; `make bench-peers` installs it")
    with (
        Run(asked.rounds, asked.seconds, len(names)) as run,
        running_postgres(is_system=asked.system) as postgres,
    ):
        for name in names:
            with ExitStack() as stack:
                MEASURES[name](run, postgres, stack)
    json.dump(
        {"machine": machine(), "medians": run.medians(), "rounds": run.found}, sys.stdout, indent=1
    )


if __name__ == "__main__":
    main()
