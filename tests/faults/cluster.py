"""What is broken on purpose: one Postgres and some nodes, each behind proxies of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import psutil

from parley.errors import SetupError
from parley.store import embedded
from parley.store.migrations import migrate
from tests.faults.disk import mount_small_disk, unmount
from tests.faults.proxy import Link
from tests.support.server import ROOT, free_port
from tests.support.tokens import SECRET

APP_SQL = Path(__file__).with_name("app.sql")
START_TIMEOUT_S = 25.0

# Two cores serve everything here; the limits of one address would be met by our clients' number.
RAISED_LIMITS = {
    "PARLEY_MAX_CONNECTIONS_PER_ADDRESS": "2000",
    "PARLEY_MAX_SILENT_CONNECTIONS_PER_ADDRESS": "1000",
    "PARLEY_MAX_VERIFICATIONS_PER_S": "2000",
    "PARLEY_MAX_CONNECTIONS_PER_USER": "200",
    "PARLEY_MAX_SUBSCRIPTIONS_PER_S": "1000",
}
NODE_ENVIRON = {
    **RAISED_LIMITS,
    "PARLEY_FUNCTIONS": "tests.faults.functions",
    "LOG_FORMAT": "console",
}


class Postgres:
    """A cluster of its own on a TCP port of this machine, with durability on.

    Attributes:
        directory: where its data directory is.
        port: of 127.0.0.1, the same after every restart.
        dsn: of the owner of all tables.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self._data = directory / "pg"
        self._server: embedded.EmbeddedPostgres | None = None
        # The server ends with the thread that started it.
        self._thread = ThreadPoolExecutor(1)

    @property
    def dsn(self) -> str:
        """Past all proxies."""
        return self.dsn_at(self.port)

    def dsn_at(self, port: int) -> str:
        """Return the DSN through a proxy's port."""
        secret = quote(self.password)
        return f"postgresql://parley:{secret}@127.0.0.1:{port}/parley?sslmode=disable"

    async def create(self) -> None:
        """Make the cluster, the schema and the app's tables."""
        await self.start()
        assert self._server is not None
        connection = await asyncpg.connect(self._server.dsn)
        try:
            await connection.execute(f"ALTER ROLE parley PASSWORD '{self.password}'")
            rules = self._data / "pg_hba.conf"
            rules.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
            await connection.execute("SELECT pg_reload_conf()")
        finally:
            await connection.close()
        await self._until_up()
        await migrate(self.dsn)
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(APP_SQL.read_text())
        finally:
            await connection.close()

    async def start(self) -> None:
        """Start it, again and again while what is left of a killed one stands in the way."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._start)
                return
            except SetupError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)

    def _start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "max_connections": "100",
            "shared_buffers": "64MB",
            "log_min_messages": "fatal",
            "deadlock_timeout": "200ms",
        }
        self._server = embedded.start(self._data, settings=settings)

    async def kill(self, how: signal.Signals) -> None:
        """End the postmaster: SIGKILL, or SIGQUIT for an immediate stop."""
        server = self._server
        assert server is not None
        server._process.send_signal(how)
        await asyncio.to_thread(server._process.wait)
        server.stop()  # takes note, and gives up the lock
        self._server = None

    def signal(self, what: signal.Signals) -> None:
        """Send a signal to all its processes but the first."""
        if self._server is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                for process in psutil.Process(self._server._process.pid).children():
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.send_signal(what)

    async def revive(self) -> None:
        """Start it if it has ended by itself."""
        server = self._server
        assert server is not None
        if server._process.poll() is not None:
            server.stop()
            self._server = None
            await self.start()
        await self._until_up()

    async def stop(self) -> None:
        """End it in order."""
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)
            self._server = None
        self._thread.shutdown()

    async def _until_up(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                await (await asyncpg.connect(self.dsn, timeout=5)).close()
                return
            except (OSError, asyncpg.PostgresError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)


class Node:
    """One `parley serve`, reached by clients through `front`, reaching Postgres through `back`.

    Attributes:
        number: its place in the cluster.
        front: the proxy between clients and it.
        back: the proxy between it and Postgres.
    """

    def __init__(
        self, number: int, postgres: Postgres, directory: Path, bug: str | None, workers: int
    ) -> None:
        self.number = number
        self.port = free_port()
        self.front = Link(self.port, f"clients-node{number}")
        self.back = Link(postgres.port, f"node{number}-postgres")
        self.log_path = directory / f"node{number}.log"
        self._postgres = postgres
        self._bug = bug
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect: the proxy."""
        return f"http://127.0.0.1:{self.front.port}"

    @property
    def pid(self) -> int:
        """The process, running or not."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process is not None and self._process.poll() is None

    async def open(self) -> None:
        """Open the proxies and start."""
        await self.front.open()
        await self.back.open()
        await self.start()

    async def start(self, environ: Mapping[str, str] | None = None) -> None:
        """Start the process, without waiting for it to be ready."""
        launcher = ["-m", "tests.faults.launch", "serve", "--port", str(self.port)]
        if self._workers > 1:
            launcher += ["--workers", str(self._workers)]
        variables = {
            **os.environ,
            **NODE_ENVIRON,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "server"), str(ROOT)]),
            "DATABASE_URL": self._postgres.dsn_at(self.back.port),
            "SUPABASE_JWT_SECRET": SECRET,
            **({"BUG": self._bug} if self._bug else {}),
            **(environ or {}),
        }
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220  # forks in a moment
                [sys.executable, *launcher],
                cwd=ROOT,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # with its workers it is one group
            )

    async def until_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until it says that it is ready.

        Raises:
            AssertionError: it ended, or it takes too long.
        """
        deadline = time.monotonic() + timeout_s
        address = f"http://127.0.0.1:{self.port}/ready"
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            while True:
                try:
                    if (await client.get(address)).status_code == httpx.codes.OK:
                        return
                except httpx.TransportError:
                    pass
                assert time.monotonic() < deadline, (
                    f"node {self.number} is not ready: {self.log_path.read_text()[-2000:]}"
                )
                await asyncio.sleep(0.1)

    def signal(self, what: signal.Signals) -> None:
        """Send a signal, if it runs; to its workers too."""
        if self.is_running:
            os.killpg(self.pid, what)

    async def gone(self, timeout_s: float = 15.0) -> None:
        """Wait until the process has ended, and see to it."""
        if self._process is None:
            return
        try:
            await asyncio.to_thread(self._process.wait, timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            raise

    async def end(self) -> None:
        """End it in order, and wait."""
        self.signal(signal.SIGTERM)
        await self.gone()

    async def close(self) -> None:
        """End it in whatever state it is."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        await self.gone()
        await self.front.close()
        await self.back.close()


class Cluster:
    """Postgres and its nodes.

    Attributes:
        postgres, nodes: the parts, to be broken.
        has_small_disk: whether Postgres's disk can be filled without harm to others.
        writes: events of the history, of transactions that a fault made itself.
    """

    def __init__(
        self,
        directory: Path,
        node_count: int,
        bug: str | None = None,
        *,
        workers: int = 1,
        wants_small_disk: bool = False,
    ) -> None:
        self._disk = directory / "disk"
        self._disk.mkdir(mode=0o711)
        self.has_small_disk = wants_small_disk and mount_small_disk(self._disk)
        self.postgres = Postgres(self._disk)
        self.nodes: list[Node] = []
        self.writes: list[dict[str, Any]] = []
        self._directory = directory
        self._count = node_count
        self._workers = workers
        self._bug = bug

    async def __aenter__(self) -> Cluster:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _start(self) -> None:
        await self.postgres.create()
        if self._bug:
            from tests.faults.bugs import plant_in_database

            await plant_in_database(self._bug, self.postgres.dsn)
        for number in range(self._count):
            node = Node(number, self.postgres, self._directory, self._bug, self._workers)
            self.nodes.append(node)
            await node.open()
        for node in self.nodes:
            await node.until_ready()

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes:
            await node.close()
        await self.postgres.stop()
        if self.has_small_disk:
            unmount(self._disk)

    def note_write(self, txid: int, began: float, rows: int, truncated: Sequence[str] = ()) -> None:
        """Note a transaction that has just committed; `truncated` tables have lost all rows."""
        event = {"x": txid, "t0": began, "t1": time.monotonic(), "ok": True, "rows": rows}
        self.writes.append({**event, "level": "fault", "truncated": truncated})

    def rebalance(self) -> None:
        """Send half of the clients of a node away where nearly all have gathered."""
        total = sum(node.front.connection_count for node in self.nodes)
        for node in self.nodes:
            if len(self.nodes) > 1 and node.front.connection_count > 0.7 * total:
                node.front.cut_some(0.6)

    async def connect(self) -> asyncpg.Connection[Any]:
        """Return a connection past all proxies, as of an operator."""
        return await asyncpg.connect(self.postgres.dsn, timeout=5, command_timeout=20)
