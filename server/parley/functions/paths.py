"""Function paths in one form: `dir/mod:fn` (PROTOCOL.md §13.1)."""

from __future__ import annotations

import re
from typing import Final

from parley.errors import FunctionNotFound

_SHOWN_CHARACTERS: Final = 200
_MODULE: Final = re.compile(r"\w+(/\w+)*", re.ASCII)
_FUNCTION: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def canonical(path: str) -> str:
    """Return the canonical form of a path in any of the forms that clients send.

    `mod.js:fn` (Rust and Python clients after a reconnect) is `mod:fn`; `dir/mod` is
    `dir/mod:default`.

    Raises:
        FunctionNotFound: no function can have this path.
    """
    module, colon, name = path.rpartition(":")
    if not colon:
        module, name = path, "default"
    module = module.removesuffix(".js")
    if not (_MODULE.fullmatch(module) and _FUNCTION.fullmatch(name)):
        raise not_found(path)
    return f"{module}:{name}"


def not_found(path: str) -> FunctionNotFound:
    """Return the error for a path that leads to no public function; the path may be anything."""
    return FunctionNotFound(f"Could not find public function for '{printable(path)}'.")


def printable(path: str) -> str:
    """Return `path` safe to show and log: at most 200 characters of it, control ones escaped."""
    shown = path if len(path) <= _SHOWN_CHARACTERS else path[: _SHOWN_CHARACTERS - 1] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)
