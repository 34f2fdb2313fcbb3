"""Identities: what functions see, and when two are the same."""

from __future__ import annotations

from typing import Any

import pytest

from parley import values
from parley.identity import Identity, convex_claims


def _identity(claims: dict[str, Any] | None = None, *, expires_at: float = 100.0) -> Identity:
    return Identity("https://issuer.test", "alice", convex_claims(claims or {}), expires_at)


def test_token_identifier_is_issuer_and_subject() -> None:
    assert _identity().token_identifier == "https://issuer.test|alice"


def test_a_refreshed_token_is_the_same_identity() -> None:
    old = _identity({"email": "a@b.c", "exp": 100, "iat": 1, "jti": "x"}, expires_at=100.0)
    new = _identity({"email": "a@b.c", "exp": 200, "iat": 9, "jti": "y"}, expires_at=200.0)

    assert old == new
    assert hash(old) == hash(new)
    assert old.cache_key == new.cache_key


@pytest.mark.parametrize(
    "other",
    [
        Identity("https://issuer.test", "bob", {}, 100.0),
        Identity("https://other.test", "alice", {}, 100.0),
        Identity("https://issuer.test", "alice", {"email": "a@b.c"}, 100.0),
    ],
)
def test_whatever_functions_can_tell_apart_is_another_identity(other: Identity) -> None:
    assert other != _identity()
    assert other.cache_key != _identity().cache_key


def test_cache_key_does_not_confuse_issuer_with_subject() -> None:
    left, right = Identity("ab", "c", {}, 0.0), Identity("a", "bc", {}, 0.0)

    assert left.cache_key != right.cache_key


def test_cache_key_does_not_depend_on_the_order_of_claims() -> None:
    assert _identity({"a": 1, "b": 2}).cache_key == _identity({"b": 2, "a": 1}).cache_key


def test_an_identity_equals_nothing_else() -> None:
    assert _identity() != "https://issuer.test|alice"


def test_functions_see_identifiers_and_claims() -> None:
    assert _identity({"email": "a@b.c"}).to_value() == {
        "tokenIdentifier": "https://issuer.test|alice",
        "issuer": "https://issuer.test",
        "subject": "alice",
        "email": "a@b.c",
    }


def test_a_function_cannot_change_an_identity_through_its_value() -> None:
    identity = _identity({"roles": ["reader"]})

    identity.to_value()["roles"].append("owner")  # type: ignore[union-attr]

    assert identity.to_value()["roles"] == ["reader"]


CLAIMS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "standard names become Convex's",
        {"given_name": "A", "family_name": "B", "profile": "p", "picture": "q", "website": "w"},
        {
            "givenName": "A",
            "familyName": "B",
            "profileUrl": "p",
            "pictureUrl": "q",
            "websiteUrl": "w",
        },
    ),
    (
        "the rest of them",
        {"name": "n", "nickname": "k", "preferred_username": "u", "gender": "g", "email": "e"},
        {"name": "n", "nickname": "k", "preferredUsername": "u", "gender": "g", "email": "e"},
    ),
    (
        "places, times and numbers",
        {
            "birthdate": "2000-01-01",
            "zoneinfo": "Europe/Paris",
            "locale": "fr",
            "phone_number": "+1",
        },
        {
            "birthday": "2000-01-01",
            "timezone": "Europe/Paris",
            "language": "fr",
            "phoneNumber": "+1",
        },
    ),
    (
        "flags",
        {"email_verified": True, "phone_number_verified": False},
        {"emailVerified": True, "phoneNumberVerified": False},
    ),
    ("flags of another type are dropped", {"email_verified": "true"}, {}),
    ("texts of another type are dropped", {"email": 5, "name": None, "picture": {"u": "x"}}, {}),
    ("texts that cannot be sent are dropped", {"name": "\ud800"}, {}),
    (
        "address of OIDC",
        {"address": {"formatted": "1 Road", "country": "X"}},
        {"address": "1 Road"},
    ),
    ("address as text", {"address": "1 Road"}, {"address": "1 Road"}),
    ("updated_at in seconds", {"updated_at": 0}, {"updatedAt": "1970-01-01T00:00:00+00:00"}),
    ("updated_at as text", {"updated_at": "yesterday"}, {"updatedAt": "yesterday"}),
    ("updated_at beyond all time", {"updated_at": 1e300}, {}),
    ("updated_at as a flag", {"updated_at": True}, {}),
    (
        "claims of the token are not the user's",
        {
            "iss": "i",
            "sub": "s",
            "aud": "a",
            "exp": 1,
            "iat": 1,
            "nbf": 1,
            "jti": "j",
            "nonce": "n",
        },
        {},
    ),
    (
        "others keep their names",
        {"role": "authenticated", "n": 1.5},
        {"role": "authenticated", "n": 1.5},
    ),
    (
        "nested objects become dotted keys",
        {"app": {"provider": "mail", "deep": {"er": [1]}, "empty": {}}},
        {"app.provider": "mail", "app.deep.er": [1]},
    ),
    ("arrays stay", {"amr": [{"method": "otp"}]}, {"amr": [{"method": "otp"}]}),
    ("arrays with odd keys are dropped", {"amr": [{"$x": 1}]}, {}),
    (
        "odd keys are dropped",
        {"$ref": 1, "é": 1, "": 1, "k" * 1025: 1, "a": {"": {"b": 1}, "\n": 1}},
        {},
    ),
    ("a key that looks like a type mark is dropped", {"$integer": "AAAAAAAAAAA="}, {}),
    ("names of ours cannot be forged", {"issuer": "x", "subject": "y", "tokenIdentifier": "z"}, {}),
    ("Convex's names cannot be forged", {"emailVerified": True, "givenName": "x"}, {}),
    ("null stays", {"plan": None}, {"plan": None}),
    ("of two equal names the first counts", {"a.b": 1, "a": {"b": 2}}, {"a.b": 1}),
]


@pytest.mark.parametrize(
    ("payload", "expected"), [case[1:] for case in CLAIMS], ids=[c[0] for c in CLAIMS]
)
def test_claims_get_the_names_and_types_that_convex_promises(
    payload: dict[str, Any], expected: dict[str, Any]
) -> None:
    claims = convex_claims(payload)

    assert claims == expected
    assert values.encode(claims)
