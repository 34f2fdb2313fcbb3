"""Claims by themselves; the table of wrong ones is in test_verifier.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley.auth.claims import LEEWAY_S, Expected, identify, is_name, normalised_issuer
from parley.errors import AuthRejected, IssuerUnknown
from parley.identity import Identity

EXPECTED = Expected("https://issuer.test", "app")
GOOD: dict[str, Any] = {"iss": "https://issuer.test", "aud": "app", "sub": "alice", "exp": 100}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)

# A busy machine is not a failure.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_an_identity_lives_until_exp_and_leeway() -> None:
    identity = identify(GOOD, EXPECTED, now=99.0)

    assert identity == Identity("https://issuer.test", "alice", {}, 0.0)
    assert identity is not None
    assert identity.expires_at == 100 + LEEWAY_S


def test_a_token_must_name_its_issuer_unless_another_is_assumed() -> None:
    payload = {name: value for name, value in GOOD.items() if name != "iss"}
    identity = identify(payload, Expected(None, "app", "assumed"), now=99.0)

    assert identity is not None
    assert identity.issuer == "assumed"
    with pytest.raises(IssuerUnknown):
        identify(payload, EXPECTED, now=99.0)


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        ("https://a.test", "https://a.test"),
        ("https://a.test/", "https://a.test"),
        ("a.test", "https://a.test"),
        ("https://a.test//", "https://a.test/"),
        ("http://a.test", "http://a.test"),
        ("https://A.test", "https://A.test"),
        ("", "https://"),
    ],
)
def test_issuers_differ_in_nothing_but_a_slash_and_https(issuer: str, expected: str) -> None:
    assert normalised_issuer(issuer) == expected


@pytest.mark.parametrize("name", ["a", "x" * 255, "auth0|5f7c", "José", "日本", "a b", "a@b.c"])
def test_a_name_is_printable(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "x" * 256, "a\r", "\u2028", "\ufeff", None, 5, ["a"]])
def test_anything_else_is_no_name(name: object) -> None:
    assert not is_name(name)


@UNHURRIED
@given(
    st.fixed_dictionaries(
        {}, optional={name: JSON for name in (*GOOD, "nbf", "iat", "role", "email", "other")}
    )
)
def test_no_signed_payload_makes_us_fail(changes: dict[str, Any]) -> None:
    """Issuers are trusted to name users, not to be free of bugs."""
    try:
        identity = identify(GOOD | changes, EXPECTED, now=50.0)
    except AuthRejected:
        return

    assert identity is None or identity.to_value()["subject"] == identity.subject
