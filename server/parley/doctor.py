"""What `parley doctor` says: each finding is one sentence that tells what to do.

`judge_database` and `judge_auth` are pure; the rest looks at this machine.
"""

from __future__ import annotations

import platform
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from parley.auth.verifier import Verifier
from parley.config import Settings
from parley.devmode import is_loopback
from parley.errors import SetupError
from parley.store import hosting
from parley.store.checkup import DatabaseFacts

OLDEST_POSTGRES: Final = 15
OWN_CONNECTIONS: Final = 3  # of a node besides its readers: two that commit, one that listens
RESERVED_CONNECTIONS: Final = 5  # for psql, backups and a second node while it replaces the first


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: "problem" (Parley cannot work, or not safely), "warning" (it can, but know this) or
            "fine".
        text: one sentence; for a problem, what to do.
    """

    level: Literal["fine", "warning", "problem"]
    text: str


def judge_machine() -> Iterator[Finding]:
    """Tell which Python and which Postgres programs there are."""
    yield Finding("fine", f"Python {platform.python_version()}.")
    try:
        yield Finding("fine", f"Postgres programs for the embedded server: {_programs()}.")
    except SetupError as error:
        yield Finding("warning", error.message)


def _programs() -> str:
    directory = hosting.find_binaries()
    return hosting.run([f"{directory}/postgres", "--version"], None).strip()


def judge_auth(settings: Settings, host: str) -> Iterator[Finding]:
    """Tell whether tokens can be verified, and whether serving on `host` would be allowed."""
    if settings.is_auth_configured:
        names = {
            "SUPABASE_URL": settings.supabase_url,
            "SUPABASE_JWT_SECRET": settings.supabase_jwt_secret,
            "AUTH_ISSUER": settings.auth_issuer,
        }
        try:
            Verifier.from_settings(settings)
        except SetupError as error:
            yield Finding("problem", error.message)
        else:
            given = ", ".join(name for name, value in names.items() if value)
            yield Finding("fine", f"Authentication is configured by {given}.")
    elif is_loopback(host):
        yield Finding(
            "warning",
            "No authentication is configured: development mode, in which anybody on this machine "
            "can be any user. Set SUPABASE_URL, SUPABASE_JWT_SECRET or AUTH_ISSUER.",
        )
    else:
        yield Finding(
            "problem",
            f"No authentication is configured: Parley refuses to serve on {host}. Set "
            "SUPABASE_URL, SUPABASE_JWT_SECRET or AUTH_ISSUER and AUTH_AUDIENCE.",
        )
    if not settings.allowed_origins and not is_loopback(host):
        yield Finding("warning", "ALLOWED_ORIGINS is unset: pages of any web site may connect.")


def judge_port(host: str, port: int) -> Iterator[Finding]:
    """Tell whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            yield Finding(
                "warning",
                f"Port {port} on {host} cannot be used now ({error.strerror}). If that is not a "
                "running Parley, choose another with --port.",
            )
        else:
            yield Finding("fine", f"Port {port} on {host} is free.")


def judge_data_dir(settings: Settings) -> Iterator[Finding]:
    """Tell what the data directory holds, when it is needed."""
    place = settings.data_dir.absolute()
    if not place.exists():
        yield Finding("fine", f"The data directory {place} will be made at the first start.")
    elif not place.is_dir():
        yield Finding("problem", f"{place} is no directory; set PARLEY_DATA to another.")
    elif place.stat().st_mode & 0o022:
        yield Finding("warning", f"Others can write to {place}: chmod go-w it.")
    else:
        yield Finding("fine", f"The data directory is {place}.")


def judge_database(facts: DatabaseFacts, settings: Settings) -> Iterator[Finding]:
    """Judge a database that answered."""
    yield from _judge_server(facts)
    yield from _judge_schema(facts)
    node = settings.max_database_connections + OWN_CONNECTIONS
    wanted = node + RESERVED_CONNECTIONS
    if facts.max_connections < wanted:
        yield Finding(
            "warning",
            f"Postgres allows {facts.max_connections} connections, one Parley node may want "
            f"{node}: raise max_connections or lower "
            "PARLEY_MAX_DATABASE_CONNECTIONS.",
        )


def _judge_server(facts: DatabaseFacts) -> Iterator[Finding]:
    if facts.major_version < OLDEST_POSTGRES:
        yield Finding(
            "problem",
            f"This is Postgres {facts.major_version}; Parley needs {OLDEST_POSTGRES} or newer.",
        )
    else:
        yield Finding("fine", f"Postgres {facts.major_version} answers.")
    if facts.is_standby:
        yield Finding(
            "problem", "This Postgres is a standby: DATABASE_URL must lead to the primary."
        )
    if facts.encoding != "UTF8":
        yield Finding(
            "problem",
            f"The database is encoded in {facts.encoding}: create one with ENCODING 'UTF8'.",
        )
    if facts.synchronous_commit not in {"on", "remote_apply"}:
        yield Finding(
            "warning",
            f"synchronous_commit is {facts.synchronous_commit}: Parley turns it on for every "
            "commit that touches its tables, so other programs' commits there take longer.",
        )
    if facts.prepared_transactions:
        yield Finding(
            "warning",
            f"{facts.prepared_transactions} prepared transactions wait: what they locked stays "
            "locked until somebody finishes them (see pg_prepared_xacts).",
        )


def _judge_schema(facts: DatabaseFacts) -> Iterator[Finding]:
    if facts.forbidden:
        yield Finding(
            "problem",
            f"The role of DATABASE_URL may not call {', '.join(facts.forbidden)} in schema parley: "
            "grant it the rights listed at the end of schema.sql.",
        )
    elif facts.schema_version is None and facts.may_create:
        yield Finding("warning", "Parley's schema is not there yet: the next start makes it.")
    elif facts.schema_version is None:
        yield Finding(
            "problem",
            "Parley's schema is not there, and this role may not make it: run `parley migrate` "
            "with a DATABASE_URL of the database's owner.",
        )
    elif facts.schema_version > facts.newest_schema:
        yield Finding(
            "problem",
            f"The database has schema version {facts.schema_version}, this Parley knows only "
            f"{facts.newest_schema}: upgrade Parley.",
        )
    elif facts.schema_version < facts.newest_schema:
        yield Finding(
            "warning",
            f"The database has schema version {facts.schema_version}: the next start brings it to "
            f"{facts.newest_schema}.",
        )
    else:
        yield Finding("fine", f"Parley's schema has version {facts.schema_version}.")
    if facts.bad_triggers:
        yield Finding(
            "problem",
            f"Changes go unseen: no right trigger is on for {', '.join(facts.bad_triggers)}. Run "
            "`select parley.watch('table')` for each of these tables, by its present name.",
        )
    if facts.exposed:
        yield Finding(
            "problem",
            "Strangers can read or write tables past every function of yours, through PostgREST or "
            f"Supabase's REST API: {', '.join(facts.exposed)}. Run `revoke all on table … from "
            "anon, authenticated, public` for each of these.",
        )
