"""A real server process: `parley serve`, as an operator starts it, on a free port.

with running_server(dsn) as server:
    client = httpx.Client(base_url=server.url)
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import asyncpg
import httpx

from parley.auth.development import mint_token
from parley.clock import SystemClock
from tests.support.tokens import SECRET

ROOT = Path(__file__).parents[2]
FUNCTIONS = "parley.chat,tests.support.functions"
PROBE_SQL = Path(__file__).with_name("probe.sql")

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


def free_port() -> int:
    """Return a TCP port that nothing listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def token(subject: str, *, lifetime_s: int = 3600, **claims: Any) -> str:
    """Return a token that `Server` accepts, as Supabase would sign it for a signed-in user."""
    return mint_token(SECRET, subject, SystemClock(), lifetime_s=lifetime_s, claims=claims)


async def add_probe_tables(dsn: str) -> None:
    """Create the tables of `tests/support/functions`, before a server starts."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(PROBE_SQL.read_text())
    finally:
        await connection.close()


class Server:
    """One server process; several may share a database.

    Attributes:
        port: where it listens on 127.0.0.1, the same after a restart.

    Args:
        max_files: how many files it may have open; None: as many as we.
    """

    def __init__(
        self,
        dsn: str,
        *,
        functions: str = FUNCTIONS,
        environ: Mapping[str, str] | None = None,
        port: int | None = None,
        arguments: Sequence[str] = (),
        max_files: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self._arguments = arguments
        self._max_files = max_files
        self._functions = functions
        self._environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "server"), str(ROOT)]),
            "PYTHONUNBUFFERED": "1",
            "DATABASE_URL": dsn,
            "SUPABASE_JWT_SECRET": SECRET,
            **(environ or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process started last."""
        assert self._process is not None
        return self._process

    @property
    def url(self) -> str:
        """The deployment URL, as clients take it."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it is ready."""
        command = [Path(sys.executable).with_name("parley")]
        if self._max_files is not None:
            command[:0] = ["sh", "-c", f'ulimit -n {self._max_files} && exec "$0" "$@"']
        self._process = subprocess.Popen(
            [
                *(*command, "serve", "--functions", self._functions, "--port", str(self.port)),
                *self._arguments,
            ],
            cwd=ROOT,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        with httpx.Client(base_url=self.url, trust_env=False) as client:
            while not self._is_ready(client):
                assert self._process.poll() is None, f"the server ended:\n{self.log()}"
                assert time.monotonic() < deadline, f"the server is not ready:\n{self.log()}"
                time.sleep(0.05)

    def stop(self) -> None:
        """End it as an operator does (SIGTERM), and wait until it is gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it and start it again on the same port."""
        self.stop()
        self.start()

    def log(self) -> str:
        """Return everything it has written so far."""
        # pread: the process writes where the shared file position is, so that must not move.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def close(self) -> None:
        """End it if it runs, and show its log: pytest prints that only when a test fails."""
        try:
            if self._process is not None and self._process.poll() is None:
                self.stop()
        finally:
            sys.stdout.write(f"--- server on port {self.port} ---\n{self.log()}")
            self._log.close()

    def _is_ready(self, client: httpx.Client) -> bool:
        try:
            return client.get("/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"{how.name} did not end the server:\n{self.log()}") from None


@contextmanager
def running_server(dsn: str, **options: Any) -> Iterator[Server]:
    """Yield a server that is ready, and end it afterwards; for `options` see `Server`."""
    server = Server(dsn, **options)
    try:
        server.start()
        yield server
    finally:
        server.close()
