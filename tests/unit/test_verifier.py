"""Tokens good and forged against every provider; the forged are in `tests/support/attacks.py`.

Keys come from an issuer on a real socket; see tests/integration/test_jwks.py for how they get here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from parley.auth.development import mint_token
from parley.auth.verifier import Verifier
from parley.config import Settings
from parley.errors import AuthRejected, IssuerUnknown, SetupError, TokenExpired, TokenMalformed
from tests.support.attacks import (
    ABSENT,
    ATTACKS,
    DEEP,
    NOW,
    OIDC,
    SUPABASE_KEYS,
    TEXTS,
    Build,
    by,
    claims,
    hs,
    oidc,
    public_bytes,
    raw_payload,
)
from tests.support.clock import FakeClock
from tests.support.issuer import Issuer, running_issuer
from tests.support.tokens import SECRET, compact, encoded, hs256, key_set, public_jwk


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
    assert not [part for part in token.split(".") if part and part in refusal.value.reason]
    assert set(issuer.asked) <= {"/auth/v1/.well-known/jwks.json", "/oidc/keys"}


@pytest.mark.parametrize("alg", ["RS256", "EdDSA"])
async def test_a_key_of_one_algorithm_is_none_of_another(
    issuer: Issuer, clock: FakeClock, alg: str
) -> None:
    issuer.bodies["/auth/v1/.well-known/jwks.json"] = key_set(public_jwk("ec1"))
    only_ec = Verifier(secret=SECRET, supabase_url=issuer.url, clock=clock)
    iss = f"{issuer.url}/auth/v1"

    assert await only_ec.verify(by("ec1")(iss)) is not None
    with pytest.raises(AuthRejected, match="Could not verify the token"):
        await only_ec.verify(compact({"alg": alg, "kid": "ec1"}, claims(iss), OTHERS[alg]))
    await only_ec.aclose()


OTHERS = {"RS256": "rsa1", "EdDSA": "ed1"}


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
