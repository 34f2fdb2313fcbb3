"""Keys and signatures. A key knows the one algorithm it may be used with; a token never chooses.

That rule alone ends algorithm confusion: a public key is never an HMAC secret, `none` is no key's
algorithm, and a key of one kind never checks a signature of another (RFC 8725 §3.1).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import PyJWTError

from parley.config import MIN_SECRET_BYTES
from parley.errors import SetupError

_MAX_KEYS: Final = 64  # per issuer
_RSA_BITS: Final = range(2048, 8193)  # weak below (RFC 7518 §3.3), slow to check above
_ALGORITHMS: Final = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key bound to its algorithm.

    Attributes:
        algorithm: the only `alg` it accepts: HS256, RS256, ES256 or EdDSA.
        check: (signed bytes, signature) -> whether the signature is this key's.
    """

    algorithm: str
    check: Callable[[bytes, bytes], bool]


KeySet = Mapping[tuple[str, str], VerifyingKey]
"""Keys by (kid, algorithm): one kid may name a key of each kind."""


def secret_key(secret: str | bytes) -> VerifyingKey:
    """Return the HS256 key of a shared secret; text counts as its UTF-8 bytes, as at Supabase.

    Raises:
        SetupError: shorter than 32 bytes, or really a public key (then anybody could sign).
    """
    raw = secret.encode() if isinstance(secret, str) else secret
    if len(raw) < MIN_SECRET_BYTES:
        raise SetupError(
            f"The JWT secret is {len(raw)} bytes long; at least {MIN_SECRET_BYTES} are needed. "
            "Supabase shows the right one under Project Settings, JWT Keys."
        )
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(raw)
    except PyJWTError:
        raise SetupError(
            "The JWT secret is a public key or certificate, so anybody could sign with it. "
            "For asymmetric keys set SUPABASE_URL or AUTH_ISSUER instead."
        ) from None

    def check(signed: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(hmac.new(raw, signed, hashlib.sha256).digest(), signature)

    return VerifyingKey("HS256", check)


def parse_jwks(body: bytes) -> KeySet:
    """Return the usable keys of a JSON Web Key Set (RFC 7517); of equal names the first counts.

    Ignored, since one odd key must not disable the others: symmetric (`oct`) and private keys,
    keys for encryption, without `kid`, of other kinds than RS256, ES256 and EdDSA, and weak ones.

    Raises:
        ValueError: `body` is no key set, or one of more than 64 keys.
    """
    try:
        found = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise ValueError("expected an object with a list `keys`")
    if len(entries) > _MAX_KEYS:
        raise ValueError(f"more than {_MAX_KEYS} keys")
    keys: dict[tuple[str, str], VerifyingKey] = {}
    for entry in entries:
        key = _verifying_key(entry) if isinstance(entry, dict) else None
        if key is not None:
            keys.setdefault((entry["kid"], key.algorithm), key)
    return keys


def _verifying_key(jwk: dict[str, Any]) -> VerifyingKey | None:
    algorithm = _algorithm(jwk)
    if algorithm is None or not _is_for_verifying(jwk):
        return None
    try:
        key = PyJWK(jwk, algorithm)
    except (PyJWTError, ValueError, TypeError, LookupError):  # missing or odd fields
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size not in _RSA_BITS:
        return None
    return VerifyingKey(
        algorithm, lambda signed, signature: bool(key.Algorithm.verify(signed, key.key, signature))
    )


def _algorithm(jwk: dict[str, Any]) -> str | None:
    """Return the algorithm of a key's kind, unless the key itself names another."""
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if not (isinstance(kind, str) and isinstance(curve, str | None)):
        return None
    algorithm = _ALGORITHMS.get((kind, curve))
    return algorithm if jwk.get("alg") in (None, algorithm) else None


def _is_for_verifying(jwk: dict[str, Any]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return (
        isinstance(jwk.get("kid"), str)
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in jwk  # a private key that is public: anybody could sign with it
    )
