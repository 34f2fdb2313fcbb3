"""An older dump is restored under clients that go on: they start over, and nobody hangs.

    python -m tests.faults.restore --seed 1

The oracle does not judge this: commits that clients have seen are gone, which is what a restore
means. What must hold: within `CONVERGE_S` after the nodes serve again everybody has an answer to
everything, and mutations go on; what each client shows is then what the tables say.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from parley.store.hosting import find_binaries
from tests.faults.client import Client
from tests.faults.cluster import Cluster
from tests.faults.evidence import read_database
from tests.faults.history import History
from tests.faults.model import QUERIES, Rows
from tests.faults.pages import PATH, complaint
from tests.faults.part import CONVERGE_S
from tests.faults.people import open_clients
from tests.faults.workloads import User

WORK_S = 4.0
# Answered before the restore and not yet shown, it is run again, and may come to something else.
_IN_TWO_WAYS = "was answered in two ways"
_ANOTHER = "the database is another one"


async def restore(seed: int, client_count: int, directory: Path) -> tuple[float, int, list[str]]:
    """Do it once; return seconds to converge, results compared, and what was wrong."""
    rng = random.Random(seed)
    history = History(directory, {"seed": seed})
    async with Cluster(directory, 2) as cluster:
        clients = open_clients(client_count, cluster, history, rng)
        tasks = [asyncio.create_task(client.run()) for client in clients]
        tasks += [
            asyncio.create_task(User(client, random.Random(rng.getrandbits(64)), 0.1).run())
            for client in clients
        ]
        await asyncio.sleep(WORK_S)
        dump = directory / "parley.dump"
        await _run("pg_dump", "--format=custom", f"--file={dump}", cluster.postgres.dsn)
        await asyncio.sleep(WORK_S)
        for node in cluster.nodes:
            await node.end()
        await _replace(cluster, dump)
        for node in cluster.nodes:
            await node.start()
        for node in cluster.nodes:
            await node.until_ready()
        began = time.monotonic()
        await asyncio.sleep(WORK_S)
        for task in tasks[client_count:]:
            task.cancel()
        async with asyncio.timeout(CONVERGE_S):
            await asyncio.gather(*(client.settle() for client in clients))
        converged_s = time.monotonic() - began - WORK_S
        compared, wrong = await _compare(cluster, clients)
        for client in clients:
            await client.stop()
        for task in tasks[:client_count]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    history.close()
    told = sum(_ANOTHER in text for text in history.violations)
    if told != sum(client.takes_patches for client in clients):  # those who get incarnations
        wrong.append(f"{told} clients were told that the database is another one")
    wrong += [
        text for text in history.violations if _IN_TWO_WAYS not in text and _ANOTHER not in text
    ]
    return converged_s, compared, wrong


async def _replace(cluster: Cluster, dump: Path) -> None:
    """Drop the database, and make it anew from the dump."""
    dsn = cluster.postgres.dsn
    other = dsn.replace("/parley?", "/postgres?")
    connection = await asyncpg.connect(other)
    try:
        await connection.execute("DROP DATABASE parley WITH (FORCE)")
        await connection.execute("CREATE DATABASE parley")
    finally:
        await connection.close()
    await _run("pg_restore", f"--dbname={dsn}", "--exit-on-error", str(dump))


async def _run(program: str, *arguments: str) -> None:
    command = [str(find_binaries() / program), *arguments]
    await asyncio.to_thread(subprocess.run, command, check=True)


async def _compare(cluster: Cluster, clients: Sequence[Client]) -> tuple[int, list[str]]:
    """Compare what every client shows with the tables; nobody writes meanwhile."""
    connection = await cluster.connect()
    try:
        database = await read_database(connection)
    finally:
        await connection.close()
    rows = Rows()
    rows.fill(database.tables)
    compared, wrong = 0, []
    for client in clients:
        for query_id, (path, args) in client.queries.items():
            compared += 1
            if path == PATH:
                complained = complaint(rows, args, client.results[query_id])
                wrong += [f"client {client.number}: {complained}"] if complained else []
                continue
            expected = QUERIES[path](rows, args, f"u{client.number}")
            if client.results[query_id] != expected:
                shown = client.results[query_id]
                wrong.append(f"client {client.number}: {path}({args}) is {shown}, not {expected}")
    return compared, wrong


def main(arguments: list[str] | None = None) -> int:
    """Run as the command line says; return 1 when something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=12)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="parley-faults-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o711)
        converged_s, compared, wrong = asyncio.run(restore(chosen.seed, chosen.clients, directory))
    sys.stdout.write(
        f"restored an older dump under {chosen.clients} clients: converged {converged_s:.2f} s "
        f"after they stopped, {compared} results compared, {len(wrong)} wrong\n"
        + "".join(f"  {text[:400]}\n" for text in wrong[:10])
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
