"""The table of attacks of RELIABILITY.md §3.2: every forged token against every provider.

Keys come from an issuer on a real socket; see tests/integration/test_jwks.py for how they get here.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.utils import base64url_decode

from parley.auth.development import mint_token
from parley.auth.verifier import Verifier
from parley.config import Settings
from parley.errors import AuthRejected, IssuerUnknown, SetupError, TokenExpired, TokenMalformed
from tests.support.clock import FakeClock
from tests.support.issuer import Issuer, running_issuer
from tests.support.tokens import (
    SECRET,
    compact,
    encoded,
    hs256,
    key_set,
    private_key,
    public_jwk,
)

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


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as running:
        running.bodies["/auth/v1/.well-known/jwks.json"] = key_set(*SUPABASE_KEYS)
        running.bodies["/oidc/keys"] = key_set(public_jwk("oidc-rsa"))
        yield running


@pytest.fixture
async def verifier(issuer: Issuer, clock: FakeClock) -> AsyncIterator[Verifier]:
    """Every kind of provider at once, so that none may be taken for another."""
    built = Verifier(
        secret=SECRET,
        supabase_url=issuer.url,
        issuer=OIDC + "/",
        jwks_url=f"{issuer.url}/oidc/keys",
        audience="app",
        clock=clock,
    )
    yield built
    await built.aclose()


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


@pytest.mark.parametrize(("build", "error"), ATTACKS.values(), ids=ATTACKS)
async def test_a_forged_token_is_refused_in_words_that_tell_nothing(
    verifier: Verifier, issuer: Issuer, build: Build, error: type[AuthRejected]
) -> None:
    token = build(f"{issuer.url}/auth/v1")

    with pytest.raises(AuthRejected) as refusal:
        await verifier.verify(token)

    assert type(refusal.value) is error
    assert (refusal.value.code, refusal.value.message) == TEXTS[error]
    assert refusal.value.reason
    assert "alice" not in refusal.value.reason
    assert set(issuer.asked) <= {"/auth/v1/.well-known/jwks.json", "/oidc/keys"}


async def test_too_deep_a_payload_is_refused_where_long_tokens_are_allowed() -> None:
    verifier = Verifier(secret=SECRET, max_token_bytes=1 << 20)

    with pytest.raises(TokenMalformed):
        await verifier.verify(raw_payload(DEEP)(""))


GOOD: dict[str, Build] = {
    "HS256": hs(),
    "HS256 without iss": hs(iss=ABSENT),
    "HS256 with a kid": hs({"kid": "legacy"}),
    "RS256": by("rsa1"),
    "ES256": by("ec1"),
    "EdDSA": by("ed1"),
    "duplicate kid, the RSA one": by("rsa2", {"kid": "twin"}),
    "duplicate kid, the EC one": by("ec2", {"kid": "twin", "alg": "ES256"}),
    "embedded keys that do not matter": by("rsa1", {"jku": "https://evil.test", "jwk": {}}),
    "OIDC": oidc(),
    "OIDC, slash behind iss": oidc(iss=OIDC + "/"),
    "OIDC, iss without scheme": oidc(iss="login.test"),
    "aud a list of one": hs(aud=["authenticated"]),
    "exp a float": hs(exp=NOW + 0.5),
    "exp within the leeway": hs(exp=NOW - 4),
    "nbf within the leeway": hs(nbf=NOW + 5),
    "iat missing": hs(iat=ABSENT),
    "role of one's own": hs(role="editor"),
    "payload nested 16 deep": hs(deep=json.loads("[" * 15 + "]" * 15)),
}


@pytest.mark.parametrize("build", GOOD.values(), ids=GOOD)
async def test_a_good_token_gives_its_user(
    verifier: Verifier, issuer: Issuer, build: Build
) -> None:
    identity = await verifier.verify(build(f"{issuer.url}/auth/v1"))

    assert identity is not None
    assert identity.subject == "alice"


async def test_the_anon_key_of_a_project_is_nobody(verifier: Verifier) -> None:
    key = {"iss": "supabase", "ref": "p", "role": "anon", "iat": NOW, "exp": NOW + 10**9}

    assert await verifier.verify(compact({"alg": "HS256"}, key, SECRET.encode())) is None


async def test_an_identity_expires_when_its_token_would_no_longer_be_accepted(
    verifier: Verifier, issuer: Issuer, clock: FakeClock
) -> None:
    token = hs(exp=NOW + 60)(f"{issuer.url}/auth/v1")
    identity = await verifier.verify(token)
    assert identity is not None

    clock.now = identity.expires_at - 0.001
    assert await verifier.verify(token) == identity

    clock.now = identity.expires_at
    with pytest.raises(TokenExpired):
        await verifier.verify(token)


async def test_tokens_of_two_users_give_two_identities(verifier: Verifier) -> None:
    first, second = hs(iss=ABSENT)(""), hs(iss=ABSENT, sub="\u0430lice")("")  # Cyrillic

    alice, twin = await verifier.verify(first), await verifier.verify(second)

    assert alice is not None
    assert twin is not None
    assert alice.token_identifier != twin.token_identifier


async def test_without_iss_the_issuer_is_that_of_the_project(
    verifier: Verifier, issuer: Issuer
) -> None:
    identity = await verifier.verify(hs(iss=ABSENT)(""))

    assert identity is not None
    assert identity.token_identifier == f"{issuer.url}/auth/v1|alice"


@pytest.mark.parametrize(
    ("iss", "expected"), [(ABSENT, "supabase"), ("https://any.test", "https://any.test")]
)
async def test_with_only_a_secret_any_issuer_is_taken(
    clock: FakeClock, iss: Any, expected: str
) -> None:
    identity = await Verifier(secret=SECRET, clock=clock).verify(hs(iss=iss)(""))

    assert identity is not None
    assert identity.issuer == expected


@pytest.mark.parametrize("iss", ["", "a|b", "x" * 256, "a\nb", 5])
async def test_with_only_a_secret_an_issuer_must_still_be_a_name(
    clock: FakeClock, iss: object
) -> None:
    with pytest.raises(AuthRejected):
        await Verifier(secret=SECRET, clock=clock).verify(hs(iss=iss)(""))


async def test_claims_reach_the_identity_by_convex_names(verifier: Verifier) -> None:
    metadata = {"full_name": "Alice A."}
    build = hs(iss=ABSENT, email="a@b.c", user_metadata=metadata, email_verified=True)

    identity = await verifier.verify(build(""))

    assert identity is not None
    assert identity.claims == {
        "email": "a@b.c",
        "emailVerified": True,
        "role": "authenticated",
        "user_metadata.full_name": "Alice A.",
    }


async def test_without_any_provider_every_token_is_refused() -> None:
    with pytest.raises(IssuerUnknown):
        await Verifier().verify(hs()(""))


async def test_longest_token_is_accepted_and_one_byte_more_is_not(clock: FakeClock) -> None:
    token = hs()("https://any.test")

    longest = Verifier(secret=SECRET, clock=clock, max_token_bytes=len(token))
    shorter = Verifier(secret=SECRET, clock=clock, max_token_bytes=len(token) - 1)

    assert await longest.verify(token) is not None
    with pytest.raises(TokenMalformed):
        await shorter.verify(token)


SETUPS: dict[str, dict[str, str]] = {
    "secret of 31 bytes": {"secret": "x" * 31},
    "secret that is a public key": {"secret": public_bytes("rsa1", Encoding.PEM).decode()},
    "Supabase without TLS": {"supabase_url": "http://project.supabase.co"},
    "Supabase without scheme": {"supabase_url": "project.supabase.co"},
    "Supabase with a password": {"supabase_url": "https://me:secret@project.supabase.co"},
    "no URL at all": {"supabase_url": "https://[::1"},
    "no host": {"supabase_url": "https:///x"},
    "key set without TLS": {
        "issuer": "https://a.test",
        "audience": "app",
        "jwks_url": "http://a.test/keys",
    },
    "issuer without audience": {"issuer": "https://a.test"},
    "audience without issuer": {"audience": "app"},
    "key set without issuer": {"jwks_url": "https://a.test/keys"},
    "one issuer twice": {
        "supabase_url": "https://a.test/",
        "issuer": "https://a.test/auth/v1",
        "audience": "app",
    },
}


@pytest.mark.parametrize("settings", SETUPS.values(), ids=SETUPS)
def test_settings_that_would_be_unsafe_are_refused_at_the_start(settings: dict[str, str]) -> None:
    with pytest.raises(SetupError) as refusal:
        Verifier(**settings)  # type: ignore[arg-type]

    assert "secret@" not in refusal.value.message


async def test_settings_with_a_secret_do_not_take_the_development_secret(clock: FakeClock) -> None:
    other = "another secret that is long enough for HS256"
    settings = Settings(supabase_jwt_secret=SECRET)
    verifier = Verifier.from_settings(settings, dev_secret=other, clock=clock)

    assert await verifier.verify(mint_token(SECRET, "alice", clock)) is not None
    with pytest.raises(AuthRejected):
        await verifier.verify(mint_token(other, "alice", clock))


async def test_settings_without_provider_take_the_development_secret(clock: FakeClock) -> None:
    verifier = Verifier.from_settings(Settings(), dev_secret=SECRET, clock=clock)

    identity = await verifier.verify(mint_token(SECRET, "alice", clock))

    assert identity is not None
    assert identity.token_identifier == "supabase|alice"


def test_the_table_covers_the_signature_helper() -> None:
    """The helper that forges must also be able to sign rightly, or the table proves nothing."""
    head, payload, signature = hs()("x").split(".")

    assert encoded(hs256(f"{head}.{payload}".encode())) == signature
