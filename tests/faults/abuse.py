"""What one abuser costs its neighbours: their p99 beside it, and without it, in one run.

    python -m tests.faults.abuse --seconds 8

One node, its limits as they are by default; neighbours write and are shown each other's writes. The
abuser is a process of its own, `python -m tests.faults.abusers KIND URL`. Wrong is a neighbour that
loses its connection, or waits for longer than `MAX_WAIT_S`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID

from tests.faults.abusers import KINDS
from tests.faults.client import Client
from tests.faults.cluster import RAISED_LIMITS, Cluster, Node
from tests.faults.history import History
from tests.faults.workloads import TOPICS, check_value
from tests.support.server import ROOT, token

NEIGHBOURS = 6
PAUSE_S = 0.05
MAX_WAIT_S = 2.0


async def neighbour(client: Client, waits: list[float]) -> None:
    """Write, wait until it is shown, and note how long that took; until cancelled."""
    count = 0
    while True:
        count += 1
        began = time.monotonic()
        value = client.number * 1_000_000 + count
        await client.mutate("app:append", {"topic": TOPICS[client.number % 6], "value": value})
        waits.append(time.monotonic() - began)
        await asyncio.sleep(PAUSE_S)


async def measure(node: Node, kind: str | None, seconds: float, history: History) -> list[float]:
    """Return how long neighbours waited while one kind of abuse went on, or none."""
    waits: list[float] = []
    rng = random.Random(1)
    clients = [
        Client(
            number,
            UUID(int=rng.getrandbits(128), version=4),
            [node.url],
            token(f"u{number}"),
            history,
            rng,
            check_value,
        )
        for number in range(NEIGHBOURS)
    ]
    connections = [asyncio.create_task(client.run()) for client in clients]
    for client in clients:
        client.subscribe("app:topic", {"topic": TOPICS[client.number % 6]})
        await client.barrier()
    opened = history.counts["open"]
    command = [sys.executable, "-m", "tests.faults.abusers", str(kind), node.url]
    abuser = subprocess.Popen(command, cwd=ROOT) if kind else None  # noqa: ASYNC220
    try:
        work = [asyncio.create_task(neighbour(client, waits)) for client in clients]
        await asyncio.sleep(seconds)
        for client in clients:  # those who wait still are counted too
            waits += [time.monotonic() - each.invoked_at for each in client.pending.values()]
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
    finally:
        if abuser is not None:
            abuser.kill()
            await asyncio.to_thread(abuser.wait)
    if history.counts["open"] != opened:
        history.violation(f"{kind}: a neighbour lost its connection")
    if max(waits) > MAX_WAIT_S:
        history.violation(f"{kind}: a neighbour waited for {max(waits):.1f} s")
    for client in clients:
        await client.stop()
    for connection in connections:
        connection.cancel()
    await asyncio.gather(*connections, return_exceptions=True)
    return waits


async def run(seconds: float, directory: Path) -> list[str]:
    """Measure every kind of abuse between two calm spells, print a table, return what was wrong."""
    history = History(directory, {})
    sys.stdout.write("| Abuse | Writes of neighbours | p50 | p99 | p99 to calm |\n")
    sys.stdout.write("|---|---|---|---|---|\n")
    async with Cluster(directory, 1) as cluster:
        [node] = cluster.nodes
        await node.end()
        await node.start(dict.fromkeys(RAISED_LIMITS, ""))
        await node.until_ready()
        calm_s = 0.0
        for kind in (None, *KINDS, None):
            waits = await measure(node, kind, seconds, history)
            p50, p99 = statistics.median(waits), statistics.quantiles(waits, n=100)[98]
            calm_s = calm_s or p99
            sys.stdout.write(
                f"| {kind or 'none'} | {len(waits)} | {p50 * 1e3:.1f} ms | {p99 * 1e3:.1f} ms "
                f"| {p99 / calm_s:.1f} |\n"
            )
            sys.stdout.flush()
    history.close()
    return history.violations


def main(arguments: list[str] | None = None) -> int:
    """Run as the command line says; return 1 when something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="parley-faults-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o711)
        wrong = asyncio.run(run(chosen.seconds, directory))
    sys.stdout.write(f"WRONG {len(wrong)}\n" + "".join(f"  {text}\n" for text in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
