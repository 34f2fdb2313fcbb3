"""The processes that a run needs beside Postgres: Parley, and what it is compared with."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import httpx
import psutil

from tests.load.databases import Postgres
from tests.support.server import ROOT, free_port, running_server

MANY = "1000000"
UNLIMITED = {
    "PARLEY_MAX_CONNECTIONS": MANY,
    "PARLEY_MAX_CONNECTIONS_PER_USER": MANY,
    "PARLEY_MAX_CONNECTIONS_PER_ADDRESS": MANY,
    "PARLEY_MAX_SILENT_CONNECTIONS_PER_ADDRESS": MANY,
    "PARLEY_MAX_SUBSCRIPTIONS_PER_S": MANY,
    "PARLEY_MAX_SUBSCRIPTION_BURST": MANY,
    "PARLEY_MAX_VERIFICATIONS_PER_S": MANY,
    "LOG_LEVEL": "warning",
}
PEERS = Path(__file__).parent / "peers"


def are_peers_installed() -> bool:
    """Tell whether `make bench-peers` has been here."""
    return (PEERS / "node_modules" / "ready").exists()


class Process:
    """A running server.

    Attributes:
        port: where it listens.
    """

    def __init__(self, pid: int, port: int) -> None:
        self.port = port
        self._process = psutil.Process(pid)

    def cpu_s(self) -> float:
        """Return the processor time that it, and what it started, has used so far."""
        return sum(_cpu_s(each) for each in self._family)

    def resident_bytes(self) -> int:
        """Return the memory that it, and what it started, holds now."""
        return sum(int(each.memory_info().rss) for each in self._family)

    def metrics(self) -> dict[str, float]:
        """Return the counters and gauges of Parley's metrics page that have no labels."""
        page = httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False).text
        lines = [line.split() for line in page.splitlines() if not line.startswith("#")]
        return {words[0]: float(words[1]) for words in lines if "{" not in words[0]}

    @cached_property  # to find children takes a look at every process of the machine
    def _family(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    if sys.platform == "linux":
        # The clock of another process's processor time, in nanoseconds; `cpu_times` has hundredths.
        return time.clock_gettime(~process.pid << 3 | 2)
    times = process.cpu_times()
    return float(times.user + times.system)


@contextlib.contextmanager
def running_parley(
    dsn: str,
    *,
    functions: str = "parley.chat",
    workers: int = 1,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """Yield `parley serve`, by default with the chat."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        running_server(
            dsn,
            functions=functions,
            environ={**UNLIMITED, **(environ or {})},
            arguments=("--workers", str(workers)) if workers > 1 else (),
        ) as server,
    ):
        yield Process(server.process.pid, server.port)


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[Process]:
    """Yield a server that takes a port as its last argument and prints a line when it listens."""
    port = free_port()
    process = subprocess.Popen([*command, str(port)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline(), f"{command} ended"
        yield Process(process.pid, port)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def running_raw(postgres: Postgres) -> Iterator[Process]:
    """Yield the servers' floor; see `tests.load.raw`."""
    with running([sys.executable, "-m", "tests.load.raw", postgres.floor]) as process:
        yield process


@contextlib.contextmanager
def running_peer(script: str, *arguments: str) -> Iterator[Process | None]:
    """Yield a Node server of the folder `peers`; None where `make bench-peers` has not been."""
    if not are_peers_installed():
        yield None
        return
    with running(["node", str(PEERS / script), *arguments]) as process:
        yield process
