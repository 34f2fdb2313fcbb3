"""Tokens as forgers make them: each attack of RELIABILITY §3.2, and the refusal it must meet.

An attack is built for the `iss` of Supabase's tokens, as seen at the time `NOW`. The keys that it
may name are `SUPABASE_KEYS`, and `oidc-rsa` at another issuer.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.utils import base64url_decode

from parley.errors import AuthRejected, IssuerUnknown, TokenExpired, TokenMalformed
from tests.support.tokens import SECRET, compact, encoded, private_key, public_jwk

NOW = 1_800_000_000
OIDC = "https://login.test"
ABSENT = object()
Build = Callable[[str], str]  # issuer of Supabase's tokens -> token

ASYMMETRIC = {"rsa1": "RS256", "ec1": "ES256", "ed1": "EdDSA"}
SUPABASE_KEYS = (
    public_jwk("rsa1"),
    public_jwk("ec1"),
    public_jwk("ed1"),
    public_jwk("rsa2", kid="twin"),
    public_jwk("ec2", kid="twin"),
    public_jwk("rsa3", kid="for-encryption", use="enc"),
    public_jwk("rsa-weak"),
    public_jwk("p384"),
    public_jwk("rsa4", kid="for-RS512", alg="RS512"),
    {"kty": "oct", "kid": "symmetric", "k": encoded(SECRET.encode()), "alg": "HS256"},
)


def claims(iss: str, /, **changes: Any) -> dict[str, Any]:
    """Return good claims with changes; `ABSENT` leaves one out."""
    good = {
        "iss": iss,
        "sub": "alice",
        "aud": "authenticated",
        "role": "authenticated",
        "iat": NOW,
        "exp": NOW + 3600,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not ABSENT}


def hs(header: dict[str, Any] | None = None, **changes: Any) -> Build:
    """Build a token signed with the right secret."""
    head = {"alg": "HS256", "typ": "JWT", **(header or {})}
    return lambda iss: compact(head, claims(iss, **changes), SECRET.encode())


def by(key: str, header: dict[str, Any] | None = None, **changes: Any) -> Build:
    """Build a token signed with a private key, as that key's algorithm says."""
    head = {"alg": ASYMMETRIC.get(key, "RS256"), "kid": key, **(header or {})}
    head = {name: value for name, value in head.items() if value is not ABSENT}
    return lambda iss: compact(head, claims(iss, **changes), key)


def oidc(**changes: Any) -> Build:
    """Build a token of the OIDC issuer."""
    return by("oidc-rsa", **{"iss": OIDC, "aud": "app", "role": ABSENT, **changes})


def parts(change: Callable[[str, str, str], str]) -> Build:
    """Build a good HS256 token and rearrange its three parts."""
    return lambda iss: change(*hs()(iss).split("."))


def forged(header: dict[str, Any], secret: bytes) -> Build:
    """Build a token signed by HMAC with something that is no secret."""
    return lambda iss: compact(header, claims(iss), secret)


def unsigned(alg: str, signature: str = "") -> Build:
    return lambda iss: (
        f"{encoded(json.dumps({'alg': alg}).encode())}."
        f"{encoded(json.dumps(claims(iss)).encode())}.{signature}"
    )


def raw_payload(payload: bytes) -> Build:
    return lambda _iss: compact({"alg": "HS256"}, payload, SECRET.encode())


def with_signature(signature: bytes) -> Build:
    """Build a token of ec1 whose signature is replaced."""
    return lambda iss: by("ec1")(iss).rsplit(".", 1)[0] + "." + encoded(signature)


def der_signature(iss: str) -> str:
    head, raw = by("ec1")(iss).rsplit(".", 1)
    both = base64url_decode(raw)
    der = encode_dss_signature(int.from_bytes(both[:32], "big"), int.from_bytes(both[32:], "big"))
    return f"{head}.{encoded(der)}"


def public_bytes(key: str, encoding: Encoding) -> bytes:
    public: bytes = (
        private_key(key).public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    )
    return public


def spaced(header: str, payload: str, signature: str) -> str:
    return f"{header}.{payload[:4]} {payload[4:]}.{signature}"


def other_bits(header: str, payload: str, signature: str) -> str:
    """Change the unused last bits of the signature's base64: the same bytes, another text."""
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return f"{header}.{payload}.{signature[:-1]}{last[last.index(signature[-1]) ^ 1]}"


DEEP = b'{"exp":1800003600,"a":' + b"[" * 5000 + b"]" * 5000 + b"}"
DUPLICATE = b'{"sub":"alice","sub":"bob","aud":"authenticated","exp":1800003600}'
R, M, X, I = AuthRejected, TokenMalformed, TokenExpired, IssuerUnknown  # noqa: E741
RS, ES = {"alg": "RS256"}, {"alg": "ES256"}

ATTACKS: dict[str, tuple[Build, type[AuthRejected]]] = {
    # No signature
    "alg none": (unsigned("none", "AA"), R),
    "alg None": (unsigned("None", "AA"), R),
    "alg nOnE": (unsigned("nOnE", "AA"), R),
    "alg none, empty signature": (unsigned("none"), M),
    "HS256, empty signature": (unsigned("HS256"), M),
    "alg missing": (lambda iss: compact({"typ": "JWT"}, claims(iss), SECRET.encode()), M),
    "alg null": (lambda iss: compact({"alg": None}, claims(iss), SECRET.encode()), M),
    "alg a list": (lambda iss: compact({"alg": ["HS256"]}, claims(iss), SECRET.encode()), M),
    # One algorithm's key for another
    "HMAC with an RSA key's PEM": (
        forged({"alg": "HS256", "kid": "rsa1"}, public_bytes("rsa1", Encoding.PEM)),
        R,
    ),
    "HMAC with an RSA key's DER": (
        forged({"alg": "HS256", "kid": "rsa1"}, public_bytes("rsa1", Encoding.DER)),
        R,
    ),
    "HMAC with an EC key's PEM": (
        forged({"alg": "HS256", "kid": "ec1"}, public_bytes("ec1", Encoding.PEM)),
        R,
    ),
    "HMAC with an EC key's DER": (
        forged({"alg": "HS256", "kid": "ec1"}, public_bytes("ec1", Encoding.DER)),
        R,
    ),
    "HMAC with a JWK's text": (
        forged({"alg": "HS256", "kid": "rsa1"}, json.dumps(public_jwk("rsa1")).encode()),
        R,
    ),
    "HMAC with the oct key of the key set": (
        forged({"alg": "RS256", "kid": "symmetric"}, SECRET.encode()),
        R,
    ),
    "HMAC with another secret": (forged({"alg": "HS256"}, b"x" * 32), R),
    "HMAC with an empty secret": (forged({"alg": "HS256"}, b""), R),
    "HS384": (hs({"alg": "HS384"}), R),
    "HMAC, RS256 header": (forged({"alg": "RS256", "kid": "rsa1"}, SECRET.encode()), R),
    "RS256 with the kid of an EC key": (by("rsa1", {"kid": "ec1"}), R),
    "ES256 with the kid of an RSA key": (by("ec1", {"kid": "rsa1"}), R),
    "ES256 header, RSA signature": (
        lambda iss: compact(RS | {"kid": "ec1"}, claims(iss), "rsa1"),
        R,
    ),
    "PS256 header": (by("rsa1", {"alg": "PS256"}), R),
    "RS512 with a right key": (by("rsa1", {"alg": "RS512"}), R),
    "RS256 with a key for RS512": (by("rsa4", {"kid": "for-RS512"}), R),
    "key for encryption": (by("rsa3", {"kid": "for-encryption"}), R),
    "weak RSA key": (by("rsa-weak"), R),
    "P-384": (by("p384", {"alg": "ES384"}), R),
    "P-384 key, ES256 header": (
        lambda iss: compact(ES | {"kid": "p384"}, claims(iss), "p384"),
        R,
    ),
    "duplicate kid, RS256 signed by a third key": (by("rsa1", {"kid": "twin"}), R),
    "another key's signature": (by("rsa2", {"kid": "rsa1"}), R),
    # ECDSA's own traps
    "r = s = 0": (with_signature(bytes(64)), R),
    "DER instead of r and s": (der_signature, R),
    "signature one byte short": (with_signature(bytes(63)), R),
    # Shape
    "empty": (lambda _iss: "", M),
    "dots only": (lambda _iss: "..", M),
    "not a token": (lambda _iss: "sb_publishable_abc", M),
    "two parts": (parts(lambda h, p, _s: f"{h}.{p}"), M),
    "four parts": (parts(lambda h, p, s: f"{h}.{p}.{s}.x"), M),
    "JWE of five parts": (parts(lambda h, p, s: f"{h}.{p}.{s}.{s}.{s}"), M),
    "parts exchanged": (parts(lambda h, p, s: f"{p}.{h}.{s}"), M),
    "whitespace inside": (parts(spaced), M),
    "whitespace after": (parts(lambda h, p, s: f"{h}.{p}.{s}\n"), M),
    "padding": (parts(lambda h, p, s: f"{h}.{p}.{s}="), M),
    "standard base64": (lambda _iss: urlsafe_b64encode(b"\xff\xff").decode() + "/+.e30.e30", M),
    "another spelling of the signature": (parts(other_bits), M),
    "signature cut": (parts(lambda h, p, s: f"{h}.{p}.{encoded(base64url_decode(s)[:-1])}"), R),
    "letters that are not ASCII": (parts(lambda h, p, s: f"{h}.{p}.\uff21{s}"), M),
    "payload changed": (
        parts(lambda h, _p, s: f"{h}.{encoded(json.dumps(claims('x')).encode())}.{s}"),
        R,
    ),
    "64 KiB": (hs(filler="x" * 65536), M),
    "header is a list": (lambda iss: compact(b"[]", claims(iss), SECRET.encode()), M),
    "payload is text": (raw_payload(b'"alice"'), M),
    "payload is not JSON": (raw_payload(b"alice"), M),
    "payload is not UTF-8": (raw_payload(b'{"sub":"\xff"}'), M),
    "payload with NaN": (raw_payload(b'{"exp":NaN}'), M),
    "payload with 1e400": (raw_payload(b'{"exp":1e400}'), M),
    "payload with 5,000 digits": (raw_payload(b'{"exp":' + b"9" * 5000 + b"}"), M),
    "payload with duplicate sub": (raw_payload(DUPLICATE), M),
    "header with duplicate alg": (
        lambda iss: compact(b'{"alg":"none","alg":"HS256"}', claims(iss), SECRET.encode()),
        M,
    ),
    "payload nested 17 deep": (hs(deep=json.loads("[" * 16 + "]" * 16)), M),
    # Header that asks for something
    "unknown crit": (hs({"crit": ["exp"], "exp": NOW}), M),
    "empty crit": (hs({"crit": []}), M),
    "b64 false": (hs({"b64": False}), M),
    "b64 false in crit": (hs({"b64": False, "crit": ["b64"]}), M),
    "b64 zero": (hs({"b64": 0}), M),
    "embedded jwk": (by("rsa5", {"kid": "mine", "jwk": public_jwk("rsa5", kid="mine")}), R),
    "embedded x5c": (by("rsa5", {"kid": "rsa1", "x5c": ["AAAA"]}), R),
    "jku elsewhere": (by("rsa5", {"kid": "mine", "jku": "https://evil.test/keys"}), R),
    "x5u elsewhere": (by("rsa5", {"kid": "mine", "x5u": "https://evil.test/cert"}), R),
    "kid a path": (by("rsa5", {"kid": "../../dev/null"}), R),
    "kid SQL": (by("rsa5", {"kid": "' OR 1=1 --"}), R),
    "kid a URL": (by("rsa5", {"kid": "https://evil.test/keys"}), R),
    "kid of 2 KB": (by("rsa5", {"kid": "k" * 2048}), M),
    "kid of 10 KB": (by("rsa5", {"kid": "k" * 10240}), M),
    "kid a number": (by("rsa5", {"kid": 1}), M),
    "kid missing": (by("rsa1", {"kid": ABSENT}), R),
    # Time
    "exp missing": (hs(exp=ABSENT), R),
    "exp null": (hs(exp=None), R),
    "exp text": (hs(exp=str(NOW + 3600)), R),
    "exp true": (hs(exp=True), R),
    "exp a list": (hs(exp=[NOW + 3600]), R),
    "exp negative": (hs(exp=-1), R),
    "exp huge": (hs(exp=1e300), R),
    "exp in milliseconds": (hs(exp=(NOW + 3600) * 1000), R),
    "exp zero": (hs(exp=0), X),
    "exp past": (hs(exp=NOW - 3600), X),
    "exp at the end of the leeway": (hs(exp=NOW - 5), X),
    "nbf in the future": (hs(nbf=NOW + 60), R),
    "nbf just beyond the leeway": (hs(nbf=NOW + 5.5), R),
    "nbf text": (hs(nbf="0"), R),
    "iat far in the future": (hs(iat=NOW + 86400), R),
    "iat true": (hs(iat=True), R),
    # Issuer
    "iss of another project, by secret": (hs(iss="https://other.supabase.co/auth/v1"), I),
    "iss of another project, by key": (by("rsa1", iss="https://other.supabase.co/auth/v1"), I),
    "iss missing, by key": (by("rsa1", iss=ABSENT), I),
    "iss a list": (by("rsa1", iss=[OIDC]), I),
    "iss null, by secret": (hs(iss=None), I),
    "iss with a path behind": (lambda iss: by("rsa1", iss=iss + "/x")(iss), I),
    "iss with two slashes behind": (lambda iss: by("rsa1", iss=iss + "//")(iss), I),
    "Supabase's iss, the OIDC issuer's key": (by("oidc-rsa"), R),
    "the OIDC issuer's iss, Supabase's key": (by("rsa1", iss=OIDC, aud="app"), R),
    "the OIDC issuer's iss, by secret": (hs(iss=OIDC, aud="app"), I),
    # Audience
    "aud missing": (hs(aud=ABSENT), I),
    "aud another": (hs(aud="other"), I),
    "aud ours among others": (hs(aud=["authenticated", "other"]), I),
    "aud empty list": (hs(aud=[]), I),
    "aud a prefix": (hs(aud="authenticate"), I),
    "aud an object": (hs(aud={"authenticated": True}), I),
    "aud of Supabase at the OIDC issuer": (oidc(aud="authenticated"), I),
    # Role
    "service_role key of the project": (
        lambda _iss: compact(
            {"alg": "HS256"},
            {"iss": "supabase", "ref": "p", "role": "service_role", "iat": NOW, "exp": NOW + 9**9},
            SECRET.encode(),
        ),
        R,
    ),
    "service_role with a sub": (hs(role="service_role"), R),
    "anon key with a wrong signature": (
        lambda _iss: compact({"alg": "HS256"}, {"role": "anon", "exp": NOW + 60}, b"x" * 32),
        R,
    ),
    "anon key that expired": (hs(role="anon", exp=NOW - 60), X),
    # Subject
    "sub missing": (hs(sub=ABSENT), R),
    "sub empty": (hs(sub=""), R),
    "sub null": (hs(sub=None), R),
    "sub a number": (hs(sub=5), R),
    "sub of 256 characters": (hs(sub="x" * 256), R),
    "sub of 256 KB": (hs(sub="x" * 262144), M),
    "sub with a line break": (hs(sub="alice\nbob"), R),
    "sub with NUL": (hs(sub="alice\0"), R),
    "sub with a zero-width space": (hs(sub="ali\u200bce"), R),
    "sub with a right-to-left mark": (hs(sub="alice\u202e"), R),
    "sub with a lone surrogate": (hs(sub="alice\ud800"), R),
}

TEXTS = {
    AuthRejected: ("Unauthenticated", "Could not verify the token"),
    TokenExpired: ("Unauthenticated", "Token expired"),
    TokenMalformed: ("InvalidAuthHeader", "Could not parse the token as a signed JWT"),
    IssuerUnknown: ("NoAuthProvider", "No auth provider found matching the given token"),
}
