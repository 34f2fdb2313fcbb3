"""Development mode: no issuer of tokens is configured, and only this machine can connect.

Parley then signs tokens itself, with a secret that it makes once and keeps in the data directory:
anybody who can reach the server can be anybody. So it exists on loopback addresses only.
"""

from __future__ import annotations

import contextlib
import importlib
import ipaddress
import os
import secrets
from pathlib import Path
from typing import Final

from parley.config import MIN_SECRET_BYTES, Settings
from parley.errors import SetupError
from parley.functions.registry import Registry
from parley.store.hosting import create_private_dir

SECRET_FILE: Final = "dev_secret"  # noqa: S105 - its name only
_CHAT: Final = "parley.chat"
_ASSISTANT: Final = "parley.assistant"


def is_loopback(host: str) -> bool:
    """Tell whether a server bound to `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False  # a name may stand for any address


def is_development(settings: Settings, host: str) -> bool:
    """Tell whether a server with these settings, bound to `host`, runs in development mode.

    Raises:
        SetupError: no authentication is configured, but others than this machine could connect.
    """
    if settings.is_auth_configured:
        return False
    if not is_loopback(host):
        raise SetupError(
            f"Refusing to serve on {host} without authentication. Set SUPABASE_URL or "
            "SUPABASE_JWT_SECRET (Supabase), or AUTH_ISSUER and AUTH_AUDIENCE (any OpenID Connect "
            "issuer); or bind to 127.0.0.1 for development."
        )
    return True


def registry_of(settings: Settings) -> Registry:
    """Return the functions to serve: the operator's, and in development mode those of the page.

    The chat then has a scripted assistant, unless a module of the operator's is named so.

    Raises:
        SetupError: see `Registry.from_modules`.
    """
    registry = Registry.from_modules(settings.functions)
    has_own = any(function.path.startswith("assistant:") for function in registry)
    if settings.is_development and _CHAT in settings.functions and not has_own:
        registry.add_module(importlib.import_module(_ASSISTANT))
    return registry


def dev_secret(data_dir: Path) -> str:
    """Return the secret of development mode, made at the first call; only we can read its file.

    Several processes that call this at once get the same secret.

    Raises:
        SetupError: the file is too short, or open to others.
    """
    create_private_dir(data_dir)
    path = data_dir / SECRET_FILE
    with contextlib.suppress(FileExistsError):
        _write_new(path, secrets.token_urlsafe(MIN_SECRET_BYTES))
    if path.stat().st_mode & 0o077:
        raise SetupError(f"{path} can be read by others; remove it, a new one is made.")
    secret = path.read_text()
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise SetupError(f"{path} is damaged; remove it, a new one is made.")
    return secret


def _write_new(path: Path, text: str) -> None:
    """Make a file with its whole content at once, or raise FileExistsError."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
        os.link(unfinished, path)
    finally:
        os.close(descriptor)
        unfinished.unlink()
