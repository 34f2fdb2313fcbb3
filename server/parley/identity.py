"""Who is asking: the one thing about a token that outlives its checking.

Pure, so that functions and the engine can use it without knowing how a token is verified.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from parley import values
from parley.errors import ValueInvalid
from parley.values import Value

# OIDC name -> Convex name (PROTOCOL.md §8.4, UserIdentity of the official client).
_TEXT_CLAIMS: Final = {
    "name": "name",
    "given_name": "givenName",
    "family_name": "familyName",
    "nickname": "nickname",
    "preferred_username": "preferredUsername",
    "profile": "profileUrl",
    "picture": "pictureUrl",
    "website": "websiteUrl",
    "email": "email",
    "gender": "gender",
    "birthdate": "birthday",
    "zoneinfo": "timezone",
    "locale": "language",
    "phone_number": "phoneNumber",
}
_FLAG_CLAIMS: Final = {
    "email_verified": "emailVerified",
    "phone_number_verified": "phoneNumberVerified",
}
_OWN_CLAIMS: Final = {"address": "address", "updated_at": "updatedAt"}
_CONVEX_NAMES: Final = _TEXT_CLAIMS | _FLAG_CLAIMS | _OWN_CLAIMS

# Of the token, not of the person: they differ after every refresh, and an identity must not.
_TOKEN_CLAIMS: Final = frozenset(
    {"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "nonce", "at_hash", "c_hash"}
)
_RESERVED: Final = frozenset({"tokenIdentifier", "issuer", "subject", *_CONVEX_NAMES.values()})


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """A signed-in user, as one token describes them.

    Two identities are equal, and have one `cache_key`, when functions cannot tell them apart:
    a refreshed token gives an equal identity, a changed e-mail address another one. To recognise
    the *user* across such changes (ownership, dedupe) use `token_identifier`.

    Attributes:
        issuer: who vouches for the user; holds no `|`.
        subject: the issuer's own name for the user; Supabase: the user's uuid.
        claims: what else the token says, by Convex's names (see `convex_claims`). Read-only.
        expires_at: seconds since the Unix epoch from which nobody may act by this token any more;
            not part of the comparison.
        cache_key: 64 hex digits; equal exactly when issuer, subject and claims are.
    """

    issuer: str
    subject: str
    claims: Mapping[str, Value]
    expires_at: float
    cache_key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Derive `cache_key`."""
        told = values.encode([self.issuer, self.subject, dict(self.claims)])
        object.__setattr__(self, "cache_key", hashlib.sha256(told).hexdigest())

    @property
    def token_identifier(self) -> str:
        """`issuer|subject`: unique and constant for one user of one issuer."""
        return f"{self.issuer}|{self.subject}"

    def to_value(self) -> dict[str, Value]:
        """Return what functions get from `ctx.auth.get_user_identity()`; the caller's own copy.

        Keys: tokenIdentifier, issuer, subject, then the claims; valid on the wire as it is.
        """
        return {
            "tokenIdentifier": self.token_identifier,
            "issuer": self.issuer,
            "subject": self.subject,
            **{
                name: copy.deepcopy(claim) if isinstance(claim, list | dict) else claim
                for name, claim in self.claims.items()
            },
        }

    def __eq__(self, other: object) -> bool:
        """Compare issuer, subject and claims."""
        return isinstance(other, Identity) and self.cache_key == other.cache_key

    def __hash__(self) -> int:
        """Hash issuer, subject and claims."""
        return hash(self.cache_key)


def convex_claims(payload: Mapping[str, object]) -> dict[str, Value]:
    """Return the claims of a token's payload under the names that Convex gives them.

    Standard OIDC claims get Convex's names and are dropped when of another type than Convex
    promises. All others keep theirs; nested objects become dotted keys (`app_metadata.provider`).
    Dropped: claims of the token itself (exp, iat, jti, …), anything that no client could decode
    (keys that are empty, not printable ASCII, or start with `$`; lone surrogates), and names that
    would hide a standard one.
    """
    claims: dict[str, Value] = {}
    for name, raw in payload.items():
        if name in _CONVEX_NAMES:
            value = _standard_claim(name, raw)
            if value is not None:
                claims[_CONVEX_NAMES[name]] = value
        elif name not in _TOKEN_CLAIMS:
            for key, other in _flattened(name, raw):
                if key not in _RESERVED:
                    claims.setdefault(key, other)
    return claims


def _standard_claim(name: str, raw: object) -> Value:
    """Return the claim as Convex types it; None when the token has it in no usable form."""
    if name == "address" and isinstance(raw, dict):
        raw = raw.get("formatted")  # OIDC core §5.1.1; Convex has one text
    if name == "updated_at" and isinstance(raw, int | float) and not isinstance(raw, bool):
        return _rfc3339(raw)
    expected = bool if name in _FLAG_CLAIMS else str
    if not isinstance(raw, expected):
        return None
    return next((value for _, value in _flattened(name, raw)), None)


def _rfc3339(seconds: float) -> str | None:
    """Return Unix seconds as RFC 3339 text in UTC; None outside the years 1 to 9999."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return None


def _flattened(key: str, raw: object) -> Iterator[tuple[str, Value]]:
    """Yield the wire-safe leaves of a claim, objects opened up to dotted keys."""
    if not key:
        return
    if isinstance(raw, dict):
        for name, inner in raw.items():
            yield from _flattened(f"{key}.{name}" if name else "", inner)
        return
    try:
        value = values.decode(raw)
        values.encode({key: value})  # the rules for keys
    except ValueInvalid:
        return
    yield key, value
