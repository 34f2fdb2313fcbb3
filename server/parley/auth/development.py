"""Tokens for development and tests: what `parley token` and `GET /dev/token` give out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt

from parley.auth.verifier import SUPABASE_AUDIENCE
from parley.clock import Clock


def mint_token(
    secret: str,
    subject: str,
    clock: Clock,
    *,
    lifetime_s: int = 3600,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """Return an HS256 token like those Supabase gives a signed-in user, without `iss`.

    Args:
        secret: the one that the server verifies with.
        subject: `sub`, 1 to 255 printable characters.
        clock: for `iat` and `exp`.
        lifetime_s: seconds until `exp`; official clients refresh only tokens of more than 2 s.
        claims: more claims, or other values for these.
    """
    now = clock.wall_us() // 1_000_000
    payload = {
        "sub": subject,
        "aud": SUPABASE_AUDIENCE,
        "role": SUPABASE_AUDIENCE,
        "iat": now,
        "exp": now + lifetime_s,
        **(claims or {}),
    }
    return jwt.encode(payload, secret, algorithm="HS256")
