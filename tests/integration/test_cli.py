"""The command line with a real database, as people call it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from parley.store import embedded
from tests.support.postgres import shared_temp_dir
from tests.support.server import Server, running_server

END_TIMEOUT_S = 20


@pytest.fixture
def base() -> Iterator[Path]:
    with shared_temp_dir() as path:
        yield path


def parley(environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from parley.cli import main; main()", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": "server", **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_migrate_then_doctor_and_psql_on_an_embedded_server(base: Path) -> None:
    environ = {"PARLEY_DATA": str(base / "data")}

    migrated = parley(environ, "migrate")
    examined = parley(environ, "doctor", "--port", "1")
    asked = parley(environ, "psql", "--", "-At", "-c", "select count(*) from conversations")

    assert migrated.returncode == 0, migrated.stderr
    assert "Parley's schema has version" in examined.stdout
    assert "PROBLEM" not in examined.stdout
    assert asked.stdout == "0\n", asked.stderr
    assert embedded.running_dsn(base / "data" / "postgres") is None


def test_migrate_works_on_a_given_database_twice(empty_dsn: str) -> None:
    runs = [parley({"DATABASE_URL": empty_dsn}, "migrate") for _ in range(2)]

    assert [run.returncode for run in runs] == [0, 0]


def test_bench_hands_all_arguments_to_the_benchmarks() -> None:
    told = parley({}, "bench", "--help")
    refused = parley({}, "bench", "no-such-figure")

    assert "python -m tests.load" in told.stdout
    assert "--rounds" in told.stdout
    assert "no-such-figure" in refused.stderr
    assert refused.returncode == 2


def test_psql_joins_an_embedded_server_that_runs_already(base: Path) -> None:
    environ = {"PARLEY_DATA": str(base / "data")}

    with embedded.start(base / "data" / "postgres") as server:
        printed = parley(environ, "psql", "--dsn")
        asked = parley(environ, "psql", "--", "-At", "-c", "select 42")

    assert printed.stdout == f"{server.dsn}\n"
    assert asked.stdout == "42\n"


def test_psql_passes_on_the_exit_code(empty_dsn: str) -> None:
    done = parley({"DATABASE_URL": empty_dsn}, "psql", "--", "-c", "select nonsense")

    assert done.returncode == 1


@pytest.fixture
def development_server(base: Path) -> Iterator[Server]:
    """`parley serve` as a newcomer runs it: no database, no authentication."""
    environ = {"PARLEY_DATA": str(base / "data"), "SUPABASE_JWT_SECRET": ""}
    with running_server("", functions="parley.chat", environ=environ) as server:
        yield server


def postmaster_of(base: Path) -> int:
    pid_file = base / "data" / "postgres" / "postmaster.pid"
    return os.pidfd_open(int(pid_file.read_text().splitlines()[0]))


def has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    ended = bool(poll.poll(END_TIMEOUT_S * 1000))
    os.close(pidfd)
    return ended


def test_serving_without_any_settings_gives_a_database_and_tokens(
    base: Path, development_server: Server
) -> None:
    given = httpx.get(f"{development_server.url}/dev/token?sub=alice", trust_env=False)
    printed = parley({"PARLEY_DATA": str(base / "data")}, "token", "--sub", "alice")

    for token in (given.json()["token"], printed.stdout.strip()):
        asked = httpx.post(
            f"{development_server.url}/api/query",
            json={"path": "conversations:list", "args": {}, "format": "json"},
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )
        assert asked.json()["value"] == []
    assert "DEVELOPMENT MODE" in development_server.log()


def test_stopping_the_server_stops_its_postgres(base: Path, development_server: Server) -> None:
    postmaster = postmaster_of(base)

    development_server.stop()

    assert has_ended(postmaster)
    assert not (base / "data" / "postgres" / "postmaster.pid").exists()


def test_a_server_that_was_killed_starts_again_on_its_data(
    base: Path, development_server: Server
) -> None:
    postmaster = postmaster_of(base)

    development_server.kill()
    development_server.start()

    assert has_ended(postmaster)
