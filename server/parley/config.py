"""All settings of a Parley process, in one frozen record; nothing else reads the environment.

Each field carries its variable's name, its meaning and its parser in its metadata, so the table in
`docs/operations.md` is `settings_table()` and cannot lag behind. Units are in the names: `_BYTES`,
`_S` (seconds, fractions allowed), `_PER_S`; everything else that is a number counts things.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from parley.errors import SetupError

MIN_SECRET_BYTES: Final = 32  # RFC 7518 §3.2: an HS256 key is at least as long as its hash
DEFAULT_DATA_DIR: Final = Path(".parley")
MIB: Final = 1 << 20
DAY_S: Final = 86_400.0
_CLIENT_PATIENCE_S: Final = 30.0  # of Python, Rust, Swift and Kotlin; npm's have 60
_AROUND_ARGS_BYTES: Final = 2000  # path and format, as Convex allows


def _text(value: str) -> str:
    return value


def _count(value: str) -> int:
    if not (value.isascii() and value.isdigit()) or not 1 <= int(value) < 1 << 53:
        raise ValueError("a whole number, at least 1")
    return int(value)


def _seconds(value: str) -> float:
    message = "a number of seconds above 0"
    try:
        seconds = float(value)
    except ValueError:
        raise ValueError(message) from None
    if not 0 < seconds < math.inf:
        raise ValueError(message)
    return seconds


def _flag(value: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if value.lower() not in known:
        raise ValueError("true or false")
    return known[value.lower()]


def _names(value: str) -> tuple[str, ...]:
    return tuple(name for part in value.split(",") if (name := part.strip()))


def _origins(value: str) -> tuple[str, ...]:
    origins = tuple(name.rstrip("/").lower() for name in _names(value))
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or origin != f"{parts.scheme}://{parts.netloc}":
            raise ValueError("origins such as https://app.example.com, separated by commas")
    return origins


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("a URL that starts with https://")
    return value.rstrip("/")


def _postgres_url(value: str) -> str:
    if urlsplit(value).scheme not in {"postgres", "postgresql"}:
        raise ValueError("a URL that starts with postgresql://")
    return value


def _secret(value: str) -> str:
    if len(value.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"at least {MIN_SECRET_BYTES} bytes; shorter secrets can be guessed")
    return value


def _anon_key(value: str) -> str:
    """Return a key that may be published; the mistake that would be worst is noticed."""
    payload = value.split(".")[1] if value.count(".") == 2 else ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError):
        claims = {}
    is_secret = isinstance(claims, dict) and claims.get("role") == "service_role"
    if is_secret or value.startswith("sb_secret_"):
        raise ValueError("the `anon` or publishable key, not a secret one: everybody will see it")
    return value


def _choice(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return value.lower()

    return parse


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(default) or "unset"
    return "unset" if default is None else f"{default}"


def _setting(
    variable: str,
    default: Any,
    parse: Callable[[str], Any],
    about: str,
    *,
    shown_default: str | None = None,
    is_secret: bool = False,
) -> Any:
    """Return a field; `about` is one sentence for operators, `shown_default` replaces the value."""
    metadata = {
        "variable": variable,
        "parse": parse,
        "about": about,
        "shown_default": shown_default or _shown(default),
    }
    return field(default=default, repr=not is_secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can choose; the meaning of each field is in its metadata and in the table.

    An optional setting that is None was not given. Secrets do not appear in the record's repr.
    """

    database_url: str | None = _setting(
        "DATABASE_URL",
        None,
        _postgres_url,
        "Postgres 15 or newer, as `postgresql://user:password@host/database`.",
        shown_default="unset: an embedded Postgres in `PARLEY_DATA`",
        is_secret=True,
    )
    data_dir: Path = _setting(  # noqa: RUF009 - it is a field()
        "PARLEY_DATA",
        DEFAULT_DATA_DIR,
        Path,
        "Directory of the embedded Postgres and of the development secret.",
    )
    functions: tuple[str, ...] = _setting(
        "PARLEY_FUNCTIONS",
        ("parley.chat",),
        _names,
        "Modules whose functions are served, separated by commas; `parley serve --functions`.",
    )
    supabase_url: str | None = _setting(
        "SUPABASE_URL",
        None,
        _http_url,
        "The Supabase project, `https://….supabase.co`: its issuer and its public keys.",
    )
    supabase_jwt_secret: str | None = _setting(
        "SUPABASE_JWT_SECRET",
        None,
        _secret,
        "Shared secret of HS256 tokens, at least 32 bytes.",
        is_secret=True,
    )
    supabase_anon_key: str | None = _setting(
        "SUPABASE_ANON_KEY",
        None,
        _anon_key,
        "The project's `anon` (publishable) key, with which the chat page signs people in. Public.",
    )
    auth_issuer: str | None = _setting(
        "AUTH_ISSUER",
        None,
        _text,
        "`iss` of any other OpenID Connect issuer; needs `AUTH_AUDIENCE`.",
    )
    auth_jwks_url: str | None = _setting(
        "AUTH_JWKS_URL",
        None,
        _http_url,
        "Where that issuer's public keys are.",
        shown_default="unset: found by OpenID Connect discovery",
    )
    auth_audience: str | None = _setting(
        "AUTH_AUDIENCE",
        None,
        _text,
        "The only `aud` accepted from that issuer.",
    )
    allowed_origins: tuple[str, ...] = _setting(
        "ALLOWED_ORIGINS",
        (),
        _origins,
        "Web origins that may connect, separated by commas; unset: any. That is safe as far as "
        "cookies go: Parley uses none, a page proves who it is by a token in a message.",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        "PARLEY_TRUSTED_PROXIES",
        (),
        _names,
        "Addresses of proxies whose `X-Forwarded-For` is believed, separated by commas.",
    )
    admin_key: str | None = _setting(
        "PARLEY_ADMIN_KEY",
        None,
        _secret,
        "Key of admin tokens, which may act as any user; at least 32 bytes.",
        shown_default="unset: admin tokens are refused",
        is_secret=True,
    )
    redact_errors: bool | None = _setting(
        "PARLEY_REDACT_ERRORS",
        None,
        _flag,
        "Hide the text of unexpected errors from clients; they get a request id.",
        shown_default="true, in development mode false",
    )
    log_format: Literal["auto", "console", "json"] = _setting(
        "LOG_FORMAT",
        "auto",
        _choice("auto", "console", "json"),
        "`json` (one object a line), `console` (for people), or `auto`: console on a terminal.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "LOG_LEVEL",
        "info",
        _choice("debug", "info", "warning", "error"),
        "The least important level that is logged: `debug`, `info`, `warning` or `error`.",
    )

    serve_page: bool = _setting(
        "PARLEY_SERVE_PAGE",
        True,
        _flag,
        "Serve the chat page at `/`, and the browser client for other pages.",
        shown_default="true",
    )

    # What one function may use (RELIABILITY.md §4).
    max_args_bytes: int = _setting(
        "PARLEY_MAX_ARGS_BYTES", MIB, _count, "Arguments of one call, as JSON."
    )
    max_result_bytes: int = _setting(
        "PARLEY_MAX_RESULT_BYTES", 8 * MIB, _count, "Result of one call, as JSON."
    )
    max_documents_read: int = _setting(
        "PARLEY_MAX_DOCUMENTS_READ", 16_000, _count, "Documents that one call reads."
    )
    max_bytes_read: int = _setting(
        "PARLEY_MAX_BYTES_READ", 16 * MIB, _count, "Bytes of documents that one call reads."
    )
    max_ranges_read: int = _setting(
        "PARLEY_MAX_RANGES_READ", 1024, _count, "Index ranges that one call reads."
    )
    max_documents_written: int = _setting(
        "PARLEY_MAX_DOCUMENTS_WRITTEN", 1000, _count, "Documents that one mutation writes."
    )
    max_bytes_written: int = _setting(
        "PARLEY_MAX_BYTES_WRITTEN", 4 * MIB, _count, "Bytes of documents that one mutation writes."
    )
    max_query_s: float = _setting(
        "PARLEY_MAX_QUERY_S", 0.25, _seconds, "Running time of one query, waits not counted."
    )
    max_mutation_s: float = _setting(
        "PARLEY_MAX_MUTATION_S", 1.0, _seconds, "Running time of one mutation, waits not counted."
    )
    mutation_timeout_s: float = _setting(
        "PARLEY_MUTATION_TIMEOUT_S",
        15.0,
        _seconds,
        "A mutation without an outcome after so long closes its connection; the client resends it.",
    )

    # What one connection, user or address may use.
    max_frame_bytes: int = _setting(
        "PARLEY_MAX_FRAME_BYTES",
        4 * MIB,
        _count,
        "One message from a client. A client that reconnects sends all its subscriptions in one.",
    )
    max_body_bytes: int | None = _setting(
        "PARLEY_MAX_BODY_BYTES",
        None,
        _count,
        "Body of one HTTP request.",
        shown_default="`PARLEY_MAX_ARGS_BYTES` and 2000 more",
    )
    max_token_bytes: int = _setting(
        "PARLEY_MAX_TOKEN_BYTES", 8192, _count, "One authentication token."
    )
    max_queued_mutations: int = _setting(
        "PARLEY_MAX_QUEUED_MUTATIONS",
        1000,
        _count,
        "Unanswered mutations of one connection; at so many it is not read until one is answered.",
    )
    max_subscriptions: int = _setting(
        "PARLEY_MAX_SUBSCRIPTIONS", 500, _count, "Subscriptions of one connection."
    )
    max_subscriptions_per_s: int = _setting(
        "PARLEY_MAX_SUBSCRIPTIONS_PER_S",
        64,
        _count,
        "New subscriptions of one connection per second, on average.",
    )
    max_subscription_burst: int = _setting(
        "PARLEY_MAX_SUBSCRIPTION_BURST", 500, _count, "New subscriptions of one connection at once."
    )
    max_connections_per_user: int = _setting(
        "PARLEY_MAX_CONNECTIONS_PER_USER", 20, _count, "Open connections of one user on one node."
    )
    max_connections_per_address: int = _setting(
        "PARLEY_MAX_CONNECTIONS_PER_ADDRESS",
        100,
        _count,
        "Open connections of one network address on one node.",
    )
    max_silent_connections_per_address: int = _setting(
        "PARLEY_MAX_SILENT_CONNECTIONS_PER_ADDRESS",
        50,
        _count,
        "Of these, connections that have not sent their first message yet.",
    )
    max_verifications_per_s: int = _setting(
        "PARLEY_MAX_VERIFICATIONS_PER_S",
        20,
        _count,
        "Tokens of one network address that are verified per second.",
    )
    connect_timeout_s: float = _setting(
        "PARLEY_CONNECT_TIMEOUT_S",
        300.0,
        _seconds,
        "How long a connection may stay silent at first; clients fetch their token meanwhile.",
    )
    ping_interval_s: float = _setting(
        "PARLEY_PING_INTERVAL_S",
        10.0,
        _seconds,
        "A quiet connection gets a Ping message so often; clients give up after 30 s of silence.",
    )
    ws_ping_interval_s: float = _setting(
        "PARLEY_WS_PING_INTERVAL_S", 15.0, _seconds, "Time between WebSocket pings."
    )
    ws_ping_timeout_s: float = _setting(
        "PARLEY_WS_PING_TIMEOUT_S",
        20.0,
        _seconds,
        "A connection that answers no WebSocket ping for so long is closed.",
    )
    send_stall_timeout_s: float = _setting(
        "PARLEY_SEND_STALL_TIMEOUT_S",
        30.0,
        _seconds,
        "A connection that takes nothing of what is sent for so long is closed.",
    )

    # What one node may use.
    max_connections: int = _setting(
        "PARLEY_MAX_CONNECTIONS", 5000, _count, "Open connections of one node."
    )
    max_waiting_mutations: int = _setting(
        "PARLEY_MAX_WAITING_MUTATIONS", 1024, _count, "Mutations that wait on one node."
    )
    max_memory_bytes: int = _setting(
        "PARLEY_MAX_MEMORY_BYTES",
        256 * MIB,
        _count,
        "Rows that one node keeps in memory; those least recently used go first.",
    )
    max_database_connections: int = _setting(
        "PARLEY_MAX_DATABASE_CONNECTIONS",
        8,
        _count,
        "Connections of one node that read from Postgres; three more commit and listen.",
    )

    # What Postgres keeps.
    log_retention_s: float = _setting(
        "PARLEY_LOG_RETENTION_S",
        3600.0,
        _seconds,
        "How long the log of commits is kept; a node that was paused for longer loads anew.",
    )
    request_retention_s: float = _setting(
        "PARLEY_REQUEST_RETENTION_S",
        30 * DAY_S,
        _seconds,
        "How long a mutation that is sent again is recognised.",
    )

    # Not an operator's choice: the command line finds out (`parley.devmode`).
    is_development: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that only clash with one another."""
        if self.max_silent_connections_per_address > self.max_connections_per_address:
            raise SetupError(
                "PARLEY_MAX_SILENT_CONNECTIONS_PER_ADDRESS must not be above "
                "PARLEY_MAX_CONNECTIONS_PER_ADDRESS."
            )
        if self.ping_interval_s >= _CLIENT_PATIENCE_S:
            raise SetupError(
                f"PARLEY_PING_INTERVAL_S must be below {_CLIENT_PATIENCE_S:.0f}: after so many "
                "seconds of silence clients give a connection up."
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings. A variable that is empty counts as unset.

        Raises:
            SetupError: names the variable and what was expected; never shows the value.
        """
        chosen: dict[str, Any] = {}
        for each in _variables():
            variable = each.metadata["variable"]
            if value := environ.get(variable, "").strip():
                try:
                    chosen[each.name] = each.metadata["parse"](value)
                except ValueError as error:
                    raise SetupError(f"{variable} must be {error}.") from None
        return cls(**chosen)

    @property
    def is_auth_configured(self) -> bool:
        """Whether any issuer of tokens is known; without one there is only development mode."""
        return bool(self.supabase_jwt_secret or self.supabase_url or self.auth_issuer)

    @property
    def body_limit(self) -> int:
        """Bytes that the body of an HTTP request may have: arguments, and what is around them."""
        return self.max_body_bytes or self.max_args_bytes + _AROUND_ARGS_BYTES

    @property
    def should_redact_errors(self) -> bool:
        """Whether clients see only a request id of unexpected errors."""
        return not self.is_development if self.redact_errors is None else self.redact_errors

    @property
    def is_data_dir_default(self) -> bool:
        """Whether nobody chose the data directory, so that it may be kept elsewhere."""
        return self.data_dir == DEFAULT_DATA_DIR

    @property
    def cluster_dir(self) -> Path:
        """Where the embedded Postgres has its files."""
        return self.data_dir / "postgres"


def _variables() -> list[Field[Any]]:
    return [each for each in fields(Settings) if each.metadata]


def settings_table() -> str:
    """Return all settings as a Markdown table: variable, default, meaning."""
    rows = [
        f"| `{each.metadata['variable']}` | {each.metadata['shown_default']} "
        f"| {each.metadata['about']} |"
        for each in _variables()
    ]
    return "\n".join(["| Variable | Default | Meaning |", "|---|---|---|", *rows, ""])
