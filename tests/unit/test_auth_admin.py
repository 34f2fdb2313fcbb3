"""Admin keys."""

from __future__ import annotations

import math
from typing import Any

import pytest

from parley.auth.admin import admin_identity
from parley.errors import AuthRejected

KEY = "parley|0123456789abcdef"


@pytest.mark.parametrize(
    ("given", "configured"),
    [
        (KEY, None),
        ("", ""),
        ("", None),
        ("", KEY),
        (KEY + "x", KEY),
        (KEY[:-1], KEY),
        ("\ud800", KEY),
    ],
)
def test_an_admin_key_is_refused_unless_it_is_the_configured_one(
    given: str, configured: str | None
) -> None:
    with pytest.raises(AuthRejected) as refusal:
        admin_identity(given, configured)

    assert "0123" not in f"{refusal.value}{refusal.value.reason}"


def test_the_right_key_acts_as_nobody() -> None:
    assert admin_identity(KEY, KEY) is None


@pytest.mark.parametrize(
    "user",
    [
        {"tokenIdentifier": "https://i.test|auth0|1", "email": "a@b.c"},
        {"issuer": "https://i.test", "subject": "auth0|1", "email": "a@b.c"},
    ],
)
def test_the_right_key_may_act_as_a_user_for_ever(user: dict[str, Any]) -> None:
    identity = admin_identity(KEY, KEY, user)

    assert identity is not None
    assert identity.token_identifier == "https://i.test|auth0|1"
    assert identity.claims == {"email": "a@b.c"}
    assert identity.expires_at == math.inf


@pytest.mark.parametrize(
    "user",
    [
        {},
        {"tokenIdentifier": "no-subject"},
        {"tokenIdentifier": "|alice"},
        {"issuer": "i"},
        {"issuer": "i", "subject": 5},
        {"issuer": "i", "subject": "a\n"},
        {"issuer": "i", "subject": "a", "$ref": 1},
        {"issuer": "i", "subject": "a", "x": {"$set": 1}},
    ],
)
def test_acting_as_no_user_is_refused(user: dict[str, Any]) -> None:
    with pytest.raises(AuthRejected):
        admin_identity(KEY, KEY, user)


def test_acting_as_a_user_needs_the_key_too() -> None:
    with pytest.raises(AuthRejected):
        admin_identity("wrong", KEY, {"tokenIdentifier": "i|s"})
