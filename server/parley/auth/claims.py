"""The claims of a token whose signature is right -> an identity, or a refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from parley.errors import AuthRejected, IssuerUnknown, TokenExpired
from parley.identity import Identity, convex_claims

LEEWAY_S: Final = 5.0  # between the issuer's clock and ours (PROTOCOL.md §8.1)
MAX_NAME: Final = 255  # characters of `sub`, and of an `iss` that nobody configured
_MAX_TIME: Final = 253_402_300_800  # the year 10000: beyond it a time is a mistake

_REFUSED: Final = "Could not verify the token"
_UNKNOWN: Final = "No auth provider found matching the given token"
_EXPIRED: Final = "Token expired"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the tokens of one provider must say.

    Attributes:
        issuer: as `normalised_issuer` gives it; None when unknown, then any is taken.
        audience: `aud` must be this, alone.
        fallback_issuer: the identity's issuer for tokens without `iss`; None refuses these.
    """

    issuer: str | None
    audience: str
    fallback_issuer: str | None = None


def refused(reason: str) -> AuthRejected:
    """Return the refusal that tells a forger nothing; `reason` is for our log."""
    return AuthRejected(_REFUSED, reason=reason)


def unknown_issuer(reason: str) -> IssuerUnknown:
    """Return the refusal of a token that is not for us; `reason` is for our log."""
    return IssuerUnknown(_UNKNOWN, reason=reason)


def normalised_issuer(issuer: str) -> str:
    """Return an issuer as it is compared: without trailing slash, with a scheme (§8.4)."""
    issuer = issuer.removesuffix("/")
    return issuer if "://" in issuer else f"https://{issuer}"


def identify(payload: dict[str, Any], expected: Expected, now: float) -> Identity | None:
    """Return whom a verified payload names; None for Supabase's `anon` key: signed out.

    The identity's `expires_at` is `exp` plus the leeway, so that a token is good exactly until
    then, whether it is checked now or was checked before.

    Args:
        payload: claims under a signature that was found right.
        expected: what the signer's tokens must say.
        now: seconds since the Unix epoch.

    Raises:
        TokenExpired: `exp` has passed.
        IssuerUnknown: another issuer, or meant for somebody else.
        AuthRejected: any other claim is missing or wrong, or the role is `service_role`.
    """
    expires_at = _expiry(payload, now)
    role = payload.get("role")
    if role == "service_role":
        raise refused("role is service_role: that key belongs on servers, never in a client")
    if role == "anon":
        return None  # before the rest: this key has no sub, no aud, and `iss` "supabase"
    issuer = _issuer(payload, expected)
    if payload.get("aud") not in (expected.audience, [expected.audience]):
        raise unknown_issuer("aud is not the configured audience alone")
    subject = payload.get("sub")
    if not is_name(subject):
        raise refused(f"sub is not printable text of 1 to {MAX_NAME} characters")
    return Identity(issuer, subject, convex_claims(payload), expires_at)


def is_name(text: object) -> TypeGuard[str]:
    """Tell whether `text` can name a user or an issuer.

    Printable only: no control, zero-width or bidirectional characters, which make two names look
    like one. Names are compared by code points, never folded or normalised.
    """
    return isinstance(text, str) and 0 < len(text) <= MAX_NAME and text.isprintable()


def _expiry(payload: dict[str, Any], now: float) -> float:
    """Check exp, nbf and iat; return the end of the token's life with leeway."""
    expiry = _time(payload, "exp")
    if expiry is None:
        raise refused("exp is missing")
    if expiry + LEEWAY_S <= now:
        raise TokenExpired(_EXPIRED, reason="exp has passed")
    for name in ("nbf", "iat"):
        start = _time(payload, name)
        if start is not None and start - LEEWAY_S > now:
            raise refused(f"{name} lies in the future")
    return expiry + LEEWAY_S


def _time(payload: dict[str, Any], name: str) -> float | None:
    if name not in payload:
        return None
    value = payload[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_TIME:
        raise refused(f"{name} is not a time in seconds")
    return float(value)


def _issuer(payload: dict[str, Any], expected: Expected) -> str:
    if "iss" not in payload:
        if expected.fallback_issuer is None:
            raise unknown_issuer("iss is missing")
        return expected.fallback_issuer
    issuer = payload["iss"]
    if expected.issuer is None:
        if not is_name(issuer) or "|" in issuer:
            raise refused(f"iss is not printable text of 1 to {MAX_NAME} characters without |")
        return issuer
    if not isinstance(issuer, str) or normalised_issuer(issuer) != expected.issuer:
        raise unknown_issuer("iss is not the configured issuer")
    return issuer
