"""The embedded Postgres: its life, its lock, and what happens when its owner dies."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from parley.errors import SetupError
from parley.store import embedded
from tests.support.postgres import TEST_SETTINGS, chosen_binaries, shared_temp_dir

# Starts the server that is named in argv, says so, and holds on until it is killed.
OWNER = """
import sys
from pathlib import Path
from parley.store import embedded
server = embedded.start(Path(sys.argv[1]), binaries=Path(sys.argv[2]))
print(server.dsn, flush=True)
sys.stdin.read()
server.stop()
"""
END_TIMEOUT_S = 20


@pytest.fixture
def base() -> Iterator[Path]:
    with shared_temp_dir() as path:
        yield path


def start(data_dir: Path) -> embedded.EmbeddedPostgres:
    return embedded.start(data_dir, settings=TEST_SETTINGS, binaries=chosen_binaries())


def ask(dsn: str, sql: str) -> object:
    async def run() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(run())


def owner_process(data_dir: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir), str(chosen_binaries())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": "server"},
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql://")
    return process


def postmaster_of(data_dir: Path) -> int:
    return int((data_dir / "postmaster.pid").read_text().splitlines()[0])


def wait_for_end(pidfd: int) -> bool:
    """Wait for a process that is not our child; False when it is still there at the deadline."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    ended = bool(poll.poll(END_TIMEOUT_S * 1000))
    os.close(pidfd)
    return ended


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_restart_keeps_the_data(base: Path) -> None:
    with start(base / "pg") as server:
        ask(server.dsn, "CREATE TABLE kept AS SELECT 42 AS n")

    with start(base / "pg") as server:
        assert ask(server.dsn, "SELECT n FROM kept") == 42


def test_the_settings_that_safety_needs_are_on(base: Path) -> None:
    with embedded.start(base / "pg", binaries=chosen_binaries()) as server:
        names = "fsync", "data_checksums", "jit", "listen_addresses", "max_prepared_transactions"
        found = [ask(server.dsn, f"SHOW {name}") for name in (*names, "server_encoding")]

    assert found == ["on", "on", "off", "", "0", "UTF8"]


def test_text_beyond_ascii_has_case_whatever_the_machine_s_locale(base: Path) -> None:
    with start(base / "pg") as server:
        assert ask(server.dsn, "SELECT lower('ÉÀЖ')") == "éàж"


def test_stopping_twice_is_harmless_and_leaves_no_process(base: Path) -> None:
    server = start(base / "pg")
    pidfd = os.pidfd_open(postmaster_of(base / "pg"))

    server.stop()
    server.stop()

    assert wait_for_end(pidfd)
    assert embedded.running_dsn(base / "pg") is None


def test_a_running_server_is_found_by_its_directory(base: Path) -> None:
    with start(base / "pg") as server:
        assert embedded.running_dsn(base / "pg") == server.dsn


def test_a_second_start_is_refused_in_words(base: Path) -> None:
    with start(base / "pg"), pytest.raises(SetupError, match=f"process {os.getpid()}.*PARLEY_DATA"):
        start(base / "pg")


def test_another_process_is_refused_too(base: Path) -> None:
    owner = owner_process(base / "pg")

    with pytest.raises(SetupError, match=f"process {owner.pid}"):
        start(base / "pg")

    owner.communicate()  # the end of its input lets it stop
    assert owner.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_killing_the_owner_ends_the_server(base: Path) -> None:
    owner = owner_process(base / "pg")
    pidfd = os.pidfd_open(postmaster_of(base / "pg"))

    end(owner)

    assert wait_for_end(pidfd)


def test_a_start_right_after_killing_the_owner_finds_its_data(base: Path) -> None:
    owner = owner_process(base / "pg")
    dsn = embedded.running_dsn(base / "pg")
    assert dsn is not None
    ask(dsn, "CREATE TABLE kept AS SELECT 42 AS n")
    old = postmaster_of(base / "pg")

    end(owner)

    with start(base / "pg") as server:
        assert ask(server.dsn, "SELECT n FROM kept") == 42
        assert postmaster_of(base / "pg") != old


def test_a_server_whose_owner_died_unseen_is_ended_first(base: Path) -> None:
    """As on systems where the kernel does not end it: its owner lost only the lock."""
    forsaken = start(base / "pg")
    pidfd = os.pidfd_open(postmaster_of(base / "pg"))
    os.close(forsaken._lock)
    forsaken._lock = -1

    with start(base / "pg") as server:
        assert ask(server.dsn, "SELECT 1") == 1

    assert wait_for_end(pidfd)
    forsaken._process.wait()


def test_a_pid_file_whose_number_a_stranger_has_now_is_no_hindrance(base: Path) -> None:
    start(base / "pg").stop()
    (base / "pg" / "postmaster.pid").write_text(f"{os.getpid()}\n{base}/pg\n")

    with start(base / "pg") as server:
        assert ask(server.dsn, "SELECT 1") == 1


@pytest.mark.parametrize("text", ["", "garbage\n", "999999999\n"])
def test_a_torn_or_stale_pid_file_is_no_hindrance(base: Path, text: str) -> None:
    start(base / "pg").stop()
    (base / "pg" / "postmaster.pid").write_text(text)

    with start(base / "pg") as server:
        assert ask(server.dsn, "SELECT 1") == 1


def test_a_killed_postmaster_is_healed(base: Path) -> None:
    server = start(base / "pg")
    ask(server.dsn, "CREATE TABLE kept AS SELECT 42 AS n")
    os.kill(postmaster_of(base / "pg"), signal.SIGKILL)
    server._process.wait()
    server.stop()

    with start(base / "pg") as server:
        assert ask(server.dsn, "SELECT n FROM kept") == 42


def test_a_cluster_cut_short_in_the_making_is_made_anew(base: Path) -> None:
    (base / "pg.new" / "base").mkdir(parents=True)

    with start(base / "pg") as server:
        assert ask(server.dsn, "SELECT 1") == 1

    assert not (base / "pg.new").exists()


def test_the_data_directory_is_private_and_its_parents_stay_as_they_are(base: Path) -> None:
    (base / "mine").mkdir(mode=0o711)
    (base / "mine").chmod(0o711)

    with start(base / "mine" / "pg"):
        assert stat.S_IMODE((base / "mine" / "pg").stat().st_mode) == 0o700

    assert stat.S_IMODE((base / "mine").stat().st_mode) == 0o711
    assert stat.S_IMODE(base.stat().st_mode) == 0o711


@pytest.mark.parametrize("name", ["with space", "comma,comma", 'quote"quote', "long" * 30])
def test_any_path_will_do(base: Path, name: str) -> None:
    with start(base / name / "pg") as server:
        assert ask(server.dsn, "SELECT 1") == 1


def test_data_of_another_major_version_is_refused_in_words(base: Path) -> None:
    start(base / "pg").stop()
    (base / "pg" / "PG_VERSION").write_text("9\n")

    with pytest.raises(SetupError, match="made by Postgres 9, but this is Postgres"):
        start(base / "pg")


def test_a_start_that_fails_says_what_postgres_said_and_frees_the_lock(base: Path) -> None:
    with pytest.raises(SetupError, match="shared_buffers"):
        embedded.start(
            base / "pg", settings={"shared_buffers": "nonsense"}, binaries=chosen_binaries()
        )

    with start(base / "pg") as server:
        assert ask(server.dsn, "SELECT 1") == 1
