"""Tokens good and forged, and the keys to sign them with."""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm

SECRET = "a secret that is long enough for HS256, by far"
_SIGNERS: dict[str, Algorithm] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "PS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "ES256": ECAlgorithm(ECAlgorithm.SHA256),
    "ES384": ECAlgorithm(ECAlgorithm.SHA384),
    "EdDSA": OKPAlgorithm(),
}


@functools.cache
def private_key(name: str) -> Any:
    """Return the private key of this name, made at first use; the name holds its kind."""
    if "rsa" in name:
        return rsa.generate_private_key(65537, 1024 if "weak" in name else 2048)
    if "ed" in name:
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP384R1() if "p384" in name else ec.SECP256R1())


def public_jwk(name: str, **fields: Any) -> dict[str, Any]:
    """Return the JWK of a key's public half; `kid` is its name unless given."""
    algorithm = RSAAlgorithm if "rsa" in name else OKPAlgorithm if "ed" in name else ECAlgorithm
    jwk = algorithm.to_jwk(private_key(name).public_key(), as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, "kid": name, **fields}


def key_set(*jwks: dict[str, Any]) -> bytes:
    """Return a JSON Web Key Set."""
    return json.dumps({"keys": jwks}).encode()


def encoded(raw: bytes) -> str:
    """Return unpadded base64url."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def hs256(signed: bytes, secret: str | bytes = SECRET) -> bytes:
    """Return the HMAC-SHA256 signature."""
    raw = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(raw, signed, hashlib.sha256).digest()


def compact(header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes, key: Any) -> str:
    """Return a signed JWT, however wrong its header or payload may be.

    Args:
        header: an object, or the exact bytes.
        payload: an object, or the exact bytes.
        key: name of a private key, signing as the header's `alg` says; or bytes: a secret.
    """
    parts = [
        part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)
    ]
    signed = f"{encoded(parts[0])}.{encoded(parts[1])}".encode()
    if isinstance(key, bytes):
        signature = hs256(signed, key)
    else:
        signer = _SIGNERS[json.loads(parts[0])["alg"]]
        signature = signer.sign(signed, private_key(key))
    return f"{signed.decode()}.{encoded(signature)}"
