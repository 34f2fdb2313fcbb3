"""A compact JWT taken apart, strictly, before anything in it is believed.

Stricter than RFC 7515 where leniency only serves attackers: no padding or whitespace in base64url,
no duplicate names in JSON, no numbers that cannot be, no deep nesting (RELIABILITY.md §3.2).
"""

from __future__ import annotations

import json
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from parley.errors import TokenMalformed

MAX_NESTING: Final = 16  # containers within one another in header or payload
_MAX_INT_DIGITS: Final = 20  # enough for any u64; int() of a long text costs quadratic time
_MAX_KID: Final = 255  # characters
_MALFORMED: Final = "Could not parse the token as a signed JWT"
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*\Z")


@dataclass(frozen=True, slots=True)
class Token:
    """What a token claims to be. Nothing here is verified.

    Attributes:
        algorithm: the header's `alg`; any text.
        key_id: the header's `kid`, at most 255 characters; None when it has none.
        payload: the claims.
        signing_input: the bytes that the signature covers.
        signature: raw, at least one byte.
    """

    algorithm: str
    key_id: str | None
    payload: dict[str, Any]
    signing_input: bytes
    signature: bytes


def parse_token(text: str, max_bytes: int) -> Token:
    """Return the parts of a compact, signed JWT.

    Keys inside the header (`jwk`, `jku`, `x5u`, `x5c`) are ignored: keys come from the settings.

    Args:
        text: as the client sent it.
        max_bytes: longest acceptable token; checked before anything else.

    Raises:
        TokenMalformed: too long, not three parts of base64url, not JSON objects, an encrypted or
            detached token, or one whose header demands extensions.
    """
    if len(text) > max_bytes:
        raise _malformed(f"longer than {max_bytes} bytes")
    parts = text.split(".")
    if len(parts) != 3:
        raise _malformed(f"{len(parts)} parts instead of 3")
    header, payload = _json_object(parts[0]), _json_object(parts[1])
    if "crit" in header:
        raise _malformed("the header demands extensions (crit)")
    if header.get("b64", True) is not True:
        raise _malformed("a detached payload (b64)")
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise _malformed("alg is not text")
    if key_id is not None and not (isinstance(key_id, str) and len(key_id) <= _MAX_KID):
        raise _malformed(f"kid is not text of at most {_MAX_KID} characters")
    signature = _base64url(parts[2])
    if not signature:
        raise _malformed("no signature")
    return Token(algorithm, key_id, payload, f"{parts[0]}.{parts[1]}".encode(), signature)


def _malformed(reason: str) -> TokenMalformed:
    return TokenMalformed(_MALFORMED, reason=reason)


def _base64url(text: str) -> bytes:
    """Return the bytes of canonical, unpadded base64url: one text for one meaning."""
    if _BASE64URL.match(text) and len(text) % 4 != 1:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if urlsafe_b64encode(raw).rstrip(b"=") == text.encode():
            return raw
    raise _malformed("not base64url")


def _json_object(part: str) -> dict[str, Any]:
    try:
        found = json.loads(
            _base64url(part).decode(),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_refuse,
        )
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise _malformed("not JSON, or JSON with duplicate names or impossible numbers") from None
    if not isinstance(found, dict):
        raise _malformed("JSON, but not an object")
    if _is_too_deep(found):
        raise _malformed(f"nested more than {MAX_NESTING} deep")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate name")
    return found


def _integer(text: str) -> int:
    if len(text) > _MAX_INT_DIGITS:
        raise ValueError("too many digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("beyond float64")
    return number


def _refuse(_constant: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _is_too_deep(root: dict[str, Any]) -> bool:
    """Tell whether containers nest too deeply; level by level, since recursion is the attack."""
    level: list[Any] = [root]
    for _ in range(MAX_NESTING):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)
