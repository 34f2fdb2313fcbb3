"""Keys and what they refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley.auth.keys import parse_jwks, secret_key
from parley.errors import SetupError
from tests.support.tokens import SECRET, hs256, key_set, private_key, public_jwk

# A busy machine is not a failure.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_the_secret_checks_hmac_sha256() -> None:
    key = secret_key(SECRET)

    assert key.algorithm == "HS256"
    assert key.check(b"signed", hs256(b"signed"))
    assert not key.check(b"changed", hs256(b"signed"))
    assert not key.check(b"signed", b"")


def test_a_secret_counts_in_bytes_not_characters() -> None:
    assert secret_key("é" * 16).algorithm == "HS256"
    with pytest.raises(SetupError, match="31 bytes"):
        secret_key("x" * 31)


def test_a_short_secret_is_not_shown() -> None:
    with pytest.raises(SetupError) as refusal:
        secret_key("hunter2")

    assert "hunter2" not in refusal.value.message


@pytest.mark.parametrize(
    ("name", "algorithm"), [("rsa1", "RS256"), ("ec1", "ES256"), ("ed1", "EdDSA")]
)
def test_each_kind_of_key_has_one_algorithm(name: str, algorithm: str) -> None:
    assert list(parse_jwks(key_set(public_jwk(name)))) == [(name, algorithm)]


@pytest.mark.parametrize(
    "fields",
    [{"use": "sig"}, {"key_ops": ["verify"]}, {"alg": "RS256"}, {"x5t": "?", "unknown": {}}],
)
def test_fields_that_allow_it_keep_a_key(fields: dict[str, Any]) -> None:
    assert parse_jwks(key_set(public_jwk("rsa1", **fields)))


IGNORED: dict[str, dict[str, Any]] = {
    "symmetric": {"kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "HS256"},
    "for encryption": public_jwk("rsa1", use="enc"),
    "for signing only": public_jwk("rsa1", key_ops=["sign"]),
    "operations not a list": public_jwk("rsa1", key_ops="verify"),
    "for another algorithm": public_jwk("rsa1", alg="PS256"),
    "algorithm none": public_jwk("rsa1", alg="none"),
    "HS256 on an RSA key": public_jwk("rsa1", alg="HS256"),
    "private": public_jwk("ec1", d="AAAA"),
    "without kid": public_jwk("rsa1", kid=None),
    "kid a number": public_jwk("rsa1", kid=1),
    "RSA of 1,024 bits": public_jwk("rsa-weak"),
    "P-384": public_jwk("p384"),
    "secp256k1": public_jwk("ec1", crv="secp256k1"),
    "curve a list": public_jwk("ec1", crv=["P-256"]),
    "kind a list": public_jwk("rsa1", kty=["RSA"]),
    "unknown kind": public_jwk("rsa1", kty="XYZ"),
    "point not on the curve": public_jwk("ec1", x="A" * 43),
    "coordinate missing": {k: v for k, v in public_jwk("ec1").items() if k != "y"},
    "modulus missing": {k: v for k, v in public_jwk("rsa1").items() if k != "n"},
    "modulus a number": public_jwk("rsa1", n=5),
    "exponent zero": public_jwk("rsa1", e="AA"),
    "Ed25519 key too short": public_jwk("ed1", x="AAAA"),
}


@pytest.mark.parametrize("jwk", IGNORED.values(), ids=IGNORED)
def test_an_unusable_key_is_ignored_and_harms_no_other(jwk: dict[str, Any]) -> None:
    assert list(parse_jwks(key_set(jwk, public_jwk("rsa2")))) == [("rsa2", "RS256")]


def test_entries_that_are_no_objects_are_ignored() -> None:
    assert parse_jwks(json.dumps({"keys": [1, None, "x", []]}).encode()) == {}


def test_of_two_keys_of_one_name_the_first_counts() -> None:
    keys = parse_jwks(key_set(public_jwk("ed1", kid="k"), public_jwk("ed2", kid="k")))

    assert keys["k", "EdDSA"].check(b"signed", private_key("ed1").sign(b"signed"))
    assert not keys["k", "EdDSA"].check(b"signed", private_key("ed2").sign(b"signed"))


@UNHURRIED
@given(
    st.fixed_dictionaries(
        {"kid": st.just("k"), "kty": st.sampled_from(["RSA", "EC", "OKP"])},
        optional={
            "crv": st.sampled_from(["P-256", "Ed25519"]),
            **{
                name: st.none() | st.integers() | st.text(max_size=50) | st.just("A" * 43)
                for name in ("n", "e", "x", "y", "oth", "p", "alg", "use", "key_ops")
            },
        },
    )
)
def test_no_key_set_of_an_issuer_makes_us_fail(jwk: dict[str, Any]) -> None:
    keys = parse_jwks(key_set(jwk, public_jwk("rsa1", kid="good")))

    assert ("good", "RS256") in keys
    assert all(key.check(b"signed", b"forged") is False for key in keys.values())
