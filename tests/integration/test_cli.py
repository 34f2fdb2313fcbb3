"""The command line with a real database, as people call it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from parley.store import embedded
from tests.support.postgres import shared_temp_dir


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
