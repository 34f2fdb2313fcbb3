"""Measure, and print JSON: `python -m tests.load --help`."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import uvloop

from tests.load import figures, servers

Result = dict[str, dict[str, list[float]]]


class Run:
    """The rounds of one run; each measures everything once, so that all meet the same machine."""

    def __init__(self, rounds: int, seconds: float) -> None:
        self.rounds = rounds
        self.seconds = seconds
        self.found: Result = {}

    def note(self, name: str, figure: figures.Figure) -> None:
        """Keep a figure, and tell."""
        for unit, value in figure.items():
            self.found.setdefault(name, {}).setdefault(unit, []).append(value)
        shown = " ".join(f"{unit}={value:g}" for unit, value in figure.items())
        print(f"  {name}: {shown}", file=sys.stderr, flush=True)  # noqa: T201

    def medians(self) -> dict[str, dict[str, float]]:
        """Return the median of each figure's rounds."""
        return {
            name: {unit: statistics.median(values) for unit, values in units.items()}
            for name, units in self.found.items()
        }


def measure_writes(run: Run, postgres: servers.Postgres, stack: ExitStack) -> Iterator[None]:
    """addMessage by 1, 32 and 256 clients beside pgbench and a transaction for each."""
    parley = stack.enter_context(servers.running_parley(postgres))
    raw = stack.enter_context(servers.running_raw(postgres))
    for _ in range(run.rounds):
        for clients in (1, 32):
            run.note(
                f"pgbench {clients}",
                servers.pgbench(postgres, clients, run.seconds, "add_message.sql"),
            )
        for clients in (1, 32, 256):
            run.note(
                f"addMessage {clients}", uvloop.run(figures.writes(parley, clients, run.seconds))
            )
            yield
        run.note("naive 32", uvloop.run(figures.naive_writes(raw, 32, run.seconds)))
        yield


def measure_fan_out(run: Run, postgres: servers.Postgres, stack: ExitStack) -> Iterator[None]:
    """One change to 1,000 devices beside a raw broadcast of as many bytes."""
    parley = stack.enter_context(servers.running_parley(postgres))
    raw = stack.enter_context(servers.running_raw(postgres))
    node = stack.enter_context(servers.running_node())
    size = figures.FRAME_BYTES
    for _ in range(run.rounds):
        found = uvloop.run(figures.fan_out(parley, 1000, run.seconds))
        size = round(found["frame_bytes"])
        run.note("push 1000", found)
        yield
        run.note("raw push 1000", uvloop.run(figures.raw_fan_out(raw, 1000, run.seconds, size)))
        run.note("node ws 1000", uvloop.run(figures.raw_fan_out(node, 1000, run.seconds, size)))
        yield


MEASURES: dict[str, Callable[[Run, servers.Postgres, ExitStack], Iterator[None]]] = {
    "writes": measure_writes,
    "fan-out": measure_fan_out,
}


def ratios(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return what the goals are about, of what was measured."""
    wanted = {
        "addMessage 32 / pgbench 32": ("addMessage 32", "pgbench 32", "per_s"),
        "addMessage 256 / pgbench 32": ("addMessage 256", "pgbench 32", "per_s"),
        "addMessage 1 / pgbench 1": ("addMessage 1", "pgbench 1", "per_s"),
        "addMessage 32 / naive 32": ("addMessage 32", "naive 32", "per_s"),
        "push / node ws, per core": ("push 1000", "node ws 1000", "pushes_per_cpu_s"),
        "push / raw, per core": ("push 1000", "raw push 1000", "pushes_per_cpu_s"),
        "push / raw, p99 of the last": ("push 1000", "raw push 1000", "last_device_p99_ms"),
    }
    return {
        name: round(found[ours][unit] / found[theirs][unit], 3)
        for name, (ours, theirs, unit) in wanted.items()
        if ours in found and theirs in found
    }


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("figures", nargs="*", choices=[*MEASURES, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--system", action="store_true", help="the machine's Postgres")
    asked = parser.parse_args()
    run = Run(asked.rounds, asked.seconds)
    with servers.running_postgres(is_system=asked.system) as postgres:
        asyncio.run(servers.prepare(postgres))
        for name in asked.figures or MEASURES:
            with ExitStack() as stack:
                for _ in MEASURES[name](run, postgres, stack):
                    pass
    medians = run.medians()
    shown = {"ratios": ratios(medians), "medians": medians, "rounds": run.found}
    print(json.dumps(shown, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
