"""The command `parley`: serve, migrate, token, codegen, doctor, psql, bench."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import unquote, urlsplit

import typer

from parley import devmode, doctor
from parley.auth.development import mint_token
from parley.clock import SystemClock
from parley.config import Settings
from parley.errors import ParleyError, SetupError
from parley.functions.codegen import generate
from parley.functions.registry import Registry
from parley.store import embedded, hosting
from parley.store.checkup import examine
from parley.store.migrations import migrate as migrate_database

app = typer.Typer(
    help="Parley: a self-hosted reactive sync server over plain Postgres tables.",
    no_args_is_help=True,
    add_completion=False,
    # Tracebacks with local variables would show secrets.
    pretty_exceptions_enable=False,
)

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="TCP port to listen on.")]
Functions = Annotated[
    str | None, typer.Option(help="Modules to serve, separated by commas (PARLEY_FUNCTIONS).")
]


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 3210,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the port.")] = 1,
    functions: Functions = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Without DATABASE_URL, with an embedded Postgres."""
    settings = _settings_for(functions)
    settings = replace(settings, is_development=devmode.is_development(settings, host))
    devmode.registry_of(settings)  # what is wrong with functions is said before all else
    # Before and after the web server listens for these: leave in order, so that Postgres stops.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_on_signal)
    with _own_database(settings) as dsn:
        asyncio.run(migrate_database(dsn))
        if settings.is_development:
            devmode.dev_secret(settings.data_dir)
            _say_development_mode(host, port)
        from parley.web.server import serve as serve_web  # the other commands need no web server

        serve_web(replace(settings, database_url=dsn), host, port, workers)


@app.command()
def migrate() -> None:
    """Bring the database to the schema of this version; also done at every start."""
    with _database(Settings.from_env()) as dsn:
        asyncio.run(migrate_database(dsn))
    typer.echo("The database has the schema of this version.")


@app.command()
def token(
    sub: Annotated[str, typer.Option(help="Who: the subject, in Supabase the user's id.")],
    email: Annotated[str | None, typer.Option(help="E-mail address of the user.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the user.")] = None,
    ttl_s: Annotated[int, typer.Option(min=1, help="Seconds until it expires.")] = 3600,
) -> None:
    """Print a token for development, signed with SUPABASE_JWT_SECRET or the development secret."""
    settings = Settings.from_env()
    secret = settings.supabase_jwt_secret
    if secret is None and settings.is_auth_configured:
        raise SetupError(
            "Tokens come from the configured issuer, which alone has its key. Set "
            "SUPABASE_JWT_SECRET, or unset the other authentication settings for development."
        )
    claims = {"email": email, "name": name}
    if settings.supabase_url:
        claims["iss"] = f"{settings.supabase_url}/auth/v1"
    signed = mint_token(
        secret or devmode.dev_secret(settings.data_dir),
        sub,
        SystemClock(),
        lifetime_s=ttl_s,
        claims={claim: value for claim, value in claims.items() if value is not None},
    )
    typer.echo(signed)


@app.command()
def codegen(
    out: Annotated[Path, typer.Option(help="Directory to write to.")] = Path("_generated"),
    functions: Functions = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if anything would change.")
    ] = False,
) -> None:
    """Write TypeScript types of the functions: api.d.ts, api.js, dataModel.d.ts."""
    files = generate(Registry.from_modules(_settings_for(functions).functions))
    stale = [name for name, text in files.items() if _read(out / name) != text]
    if check and stale:
        raise SetupError(f"{', '.join(stale)} in {out} out of date: run `parley codegen` again.")
    if stale:
        out.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (out / name).write_text(files[name])
    typer.echo(f"Up to date: {', '.join(files)} in {out}.")


@app.command(name="doctor")
def diagnose(host: Host = "127.0.0.1", port: Port = 3210) -> None:
    """Say in words what is wrong with the set-up; exit with 1 when Parley could not work."""
    found = list(_diagnose(Settings.from_env(), host, port))
    marks = {"fine": "ok      ", "warning": "warning ", "problem": "PROBLEM "}
    for finding in found:
        typer.echo(marks[finding.level] + finding.text)
    if any(finding.level == "problem" for finding in found):
        raise typer.Exit(1)


@app.command()
def psql(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="For psql itself; put them behind `--`.")
    ] = None,
    dsn_only: Annotated[bool, typer.Option("--dsn", help="Print the DSN and do no more.")] = False,
) -> None:
    """Open psql on the database; an embedded Postgres that is not running is, for that long."""
    settings = Settings.from_env()
    if dsn_only:
        dsn = settings.database_url or embedded.running_dsn(settings.cluster_dir)
        if dsn is None:
            raise SetupError("The embedded Postgres runs only while `parley serve` does.")
        typer.echo(dsn)
        return
    with _database(settings) as dsn:
        url, password = _without_password(dsn)
        command = [_find_psql(), *(arguments or []), url]
        # The password goes by the environment: everybody can read command lines.
        environ = {**os.environ, **({"PGPASSWORD": password} if password else {})}
        with subprocess.Popen(command, env=environ) as process:  # noqa: S603
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C cancels a query, in psql
            code = process.wait()
    raise typer.Exit(code)


@app.command(
    # All that follows is for the benchmarks, --help too.
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def bench(context: typer.Context) -> None:
    """Measure the server beside what it could cost at best; from a checkout only."""
    checkout = Path(__file__).parents[2]
    if not (checkout / "tests" / "load" / "__main__.py").is_file():
        raise SetupError(
            "Benchmarks are not installed with Parley: run `parley bench` from a checkout of it, "
            "after `make setup`."
        )
    paths = [str(checkout), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "tests.load", *context.args]
    os.execve(command[0], command, environ)  # noqa: S606


def main() -> None:
    """Run the command line; errors that are ours to explain are one line, not a traceback."""
    try:
        app()
    except ParleyError as error:
        typer.echo(f"parley: {error.message}", err=True)
        sys.exit(1)


def _settings_for(functions: str | None) -> Settings:
    """Return the settings, with these modules if any are named."""
    sys.path.insert(0, "")  # an app's own modules may lie where it is started
    environ = {**os.environ, **({"PARLEY_FUNCTIONS": functions} if functions else {})}
    return Settings.from_env(environ)


def _read(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def _exit_on_signal(_number: int, _frame: object) -> NoReturn:
    sys.exit(0)


@contextmanager
def _own_database(settings: Settings) -> Iterator[str]:
    """Yield the DSN of the database to serve; an embedded one belongs to this process alone."""
    if settings.database_url:
        yield settings.database_url
        return
    with embedded.start(settings.cluster_dir, is_movable=settings.is_data_dir_default) as server:
        yield server.dsn


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """Yield the DSN of the database; an embedded one may be running for another process."""
    running = None if settings.database_url else embedded.running_dsn(settings.cluster_dir)
    if running:
        yield running
        return
    with _own_database(settings) as dsn:
        yield dsn


def _say_development_mode(host: str, port: int) -> None:
    typer.secho(
        "\n"
        "  DEVELOPMENT MODE: no authentication is configured, so anybody on this machine can be\n"
        "  any user. Set SUPABASE_URL, SUPABASE_JWT_SECRET or AUTH_ISSUER to end it.\n"
        f"  The chat page: http://{host}:{port}/\n"
        f"  Tokens: parley token --sub alice, or http://{host}:{port}/dev/token?sub=alice\n",
        err=True,
        fg="yellow",
        bold=True,
    )


def _diagnose(settings: Settings, host: str, port: int) -> Iterator[doctor.Finding]:
    yield from doctor.judge_machine()
    yield from doctor.judge_auth(settings, host)
    yield from doctor.judge_port(host, port)
    if settings.database_url is None:
        yield from doctor.judge_data_dir(settings)
        # A doctor makes nothing: what is not there yet, the first start makes.
        if not embedded.exists(settings.cluster_dir):
            return
    try:
        with _database(settings) as dsn:
            facts = asyncio.run(examine(dsn))
    except SetupError as error:
        yield doctor.Finding("problem", f"The database is out of reach: {error.message}")
    else:
        yield from doctor.judge_database(facts, settings)


def _without_password(dsn: str) -> tuple[str, str | None]:
    """Return the DSN without its password, and the password."""
    parts = urlsplit(dsn)
    if parts.password is None:
        return dsn, None
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0]}@{host}").geturl(), unquote(
        parts.password
    )


def _find_psql() -> str:
    found = shutil.which("psql") or shutil.which("psql", path=str(hosting.find_binaries()))
    if not found:
        raise SetupError("psql is not installed; `parley psql --dsn` prints where to connect.")
    return found
