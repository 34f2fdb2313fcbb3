"""What is refused in both directions, and how a refusal finds its path."""

from __future__ import annotations

import json
import math
from binascii import b2a_base64
from functools import lru_cache
from typing import Final

from parley.errors import ValueInvalid

MAX_DEPTH: Final = 64  # containers within one another
# Convex: 8192. A conversation may be longer, and `get` returns all that a function may read.
MAX_ARRAY: Final = 16_384  # elements
MAX_OBJECT: Final = 1024  # entries
MAX_KEY: Final = 1024  # characters of an object key
MAX_SAFE_INT: Final = 2**53  # above it, a float64 skips integers


class Invalid(Exception):
    """A refusal on its way up; each container adds its step to the path."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []  # innermost first

    def error(self, where: str) -> ValueInvalid:
        """Return the refusal for callers; `where` is the path above the outermost step."""
        path = where + "".join(reversed(self.steps))
        return ValueInvalid(f"Invalid value{path and f' at {path}'}: {self.reason}")


def key_step(key: object) -> str:
    """Return a key's step in a path: `.name`, or `["odd key"]` in printable ASCII."""
    text = str(key)
    return f".{text}" if text.isidentifier() and text.isascii() else f"[{quoted(text)}]"


def quoted(text: str) -> str:
    """Return `text` for a message: printable ASCII, at most about 60 characters."""
    return json.dumps(text if len(text) <= 60 else text[:57] + "...")


def check_text(text: str) -> str:
    """Return `text` if UTF-8 can carry it."""
    if not text.isascii():  # free: CPython knows
        try:
            text.encode()
        except UnicodeEncodeError as error:
            reason = f"expected valid Unicode, found a lone surrogate at character {error.start}"
            raise Invalid(reason) from None
    return text


@lru_cache(2048, typed=True)  # a few hundred names make up nearly all keys
def check_key(key: object) -> None:
    """Refuse a key of an object that JavaScript clients would refuse."""
    if type(key) is not str:
        raise Invalid(f"expected object keys of type str, found {type(key).__name__}")
    if key[:1] == "$" or not (key.isascii() and key.isprintable()) or len(key) > MAX_KEY:
        raise Invalid(
            f"expected object keys of at most {MAX_KEY} printable ASCII characters that do not "
            f"start with $, found {quoted(key)}"
        )


def check_container(kind: str, length: int, limit: int, depth: int) -> None:
    """Refuse an array or object that is too long, or too deep inside others (1 is outermost)."""
    if length > limit:
        raise Invalid(f"expected {kind} of at most {limit} entries, found {length}")
    if depth > MAX_DEPTH:
        raise Invalid(f"expected at most {MAX_DEPTH} levels of nesting")


def is_special(number: float) -> bool:
    """Tell whether JSON cannot carry this float, or JavaScript would lose its sign."""
    return not math.isfinite(number) or (number == 0 and math.copysign(1, number) < 0)


def base64_text(raw: bytes) -> str:
    """Return standard base64 with padding."""
    return b2a_base64(raw, newline=False).decode()
