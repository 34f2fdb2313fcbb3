"""Runs the harness once, and prints what was survived, checked and found.

    python -m tests.faults.run --seed 1 --seconds 30 --schedule pairs

Everything random comes from the seed: who does what, what breaks and when. Timing does not, so a
failing seed is likely, not certain, to fail again; the history of the run is kept in `--keep`.
A long run has parts: after each everything comes to rest, is judged, and its history is dropped.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.cluster import Cluster
from tests.faults.evidence import Verdict
from tests.faults.history import History
from tests.faults.judgement import judge
from tests.faults.official import is_installed
from tests.faults.part import Part
from tests.faults.people import People
from tests.faults.report import Options, Report, table
from tests.faults.schedule import ALL_FAULTS
from tests.faults.sizes import INTERVAL_S
from tests.faults.total import Total

MAX_LAG_S = 0.5
_LONG_S = 300.0  # as long as it takes to say anything about sizes


async def run(options: Options, directory: Path) -> Report:
    """Run once in a directory of its own."""
    rng = random.Random(options.seed)
    header = {"seed": options.seed, "schedule": options.schedule, "bug": options.bug}
    history = History(directory, header)
    report = Report(options, Verdict(), history.violations, history.counts)
    async with Cluster(
        directory,
        options.nodes,
        options.bug,
        workers=options.workers,
        wants_small_disk=options.has_small_disk,
    ) as cluster:
        people = People(options, cluster, rng, history)
        notes = [
            asyncio.create_task(_note_lags(report)),
            asyncio.create_task(_note_sizes(report, cluster)),
        ]
        try:
            await _run_parts(Part(options, cluster, people, rng), report)
        finally:
            for note in notes:
                note.cancel()
            await people.stop()
            history.close()
    if options.seconds >= _LONG_S:
        for name, trend in report.sizes.trends().items():
            if name.startswith("node") and not trend.is_flat:
                report.verdict.wrong(f"{name} grows by {trend.mb_per_hour:.1f} MB/h")
    return report


async def _run_parts(part: Part, report: Report) -> None:
    end = time.monotonic() + report.options.seconds
    past = None
    while True:
        left_s = end - time.monotonic()
        has_settled = await part.run(left_s if left_s < 1.5 * part.length_s else part.length_s)
        report.work_s = part.work_s
        past = await judge(part, report, past)
        if end - time.monotonic() < 1.0 or not has_settled:
            return


async def _note_lags(report: Report) -> None:
    """Note when the harness itself stood still for long, as on a busy machine."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.1)
        if time.monotonic() - before > MAX_LAG_S:
            report.lags.append((before, time.monotonic()))


async def _note_sizes(report: Report, cluster: Cluster) -> None:
    """Note the size of every node with its workers, and of ourselves."""
    while True:
        nodes = [(f"node {node.number}", node.pid) for node in cluster.nodes]
        report.sizes.note(time.monotonic(), [*nodes, ("the harness", os.getpid())])
        await asyncio.sleep(INTERVAL_S)


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says how many there are of everybody."""
    has_node = is_installed()
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--officials", type=int, default=4 if has_node else 0)
    parser.add_argument("--pythons", type=int, default=2)
    parser.add_argument("--outsiders", type=int, default=3)
    parser.add_argument("--callers", type=int, default=2)
    parser.add_argument("--think", dest="think_s", type=float, default=0.25)
    parser.add_argument("--keep", type=Path, default=Path("build/faults"))


def main(arguments: list[str] | None = None) -> int:
    """Run as the command line says; return 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--part", dest="part_s", type=float, default=60)
    parser.add_argument("--schedule", default="single")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--small-disk", dest="has_small_disk", action="store_true")
    parser.add_argument("--bug")
    parser.add_argument("--report", type=Path, help="where the figures go, as JSON")
    parser.add_argument("--only", default="", help=f"of {', '.join(ALL_FAULTS)}")
    chosen = vars(parser.parse_args(arguments))
    keep, only, path = chosen.pop("keep"), chosen.pop("only"), chosen.pop("report")
    options = Options(only=tuple(name for name in only.split(",") if name), **chosen)
    report = run_in(options, keep)
    sys.stdout.write(table(report) + "\n")
    if path is not None:
        total = Total()
        total.add(report)
        command = f"python -m tests.faults.run {' '.join(arguments or sys.argv[1:])}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(total.to_json("churn", command), indent=1) + "\n")
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
