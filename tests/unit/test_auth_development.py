"""Tokens for development."""

from __future__ import annotations

import pytest

from parley.auth.development import mint_token
from parley.auth.token import parse_token
from parley.auth.verifier import Verifier
from parley.errors import TokenExpired
from tests.support.clock import FakeClock
from tests.support.tokens import SECRET


async def test_a_minted_token_is_accepted_until_it_expires() -> None:
    clock = FakeClock()
    verifier = Verifier(secret=SECRET, clock=clock)
    token = mint_token(SECRET, "alice", clock, lifetime_s=60)

    identity = await verifier.verify(token)
    assert identity is not None
    assert identity.subject == "alice"

    clock.advance(66)
    with pytest.raises(TokenExpired):
        await verifier.verify(token)


def test_official_clients_can_tell_when_to_refresh_it() -> None:
    """They need numeric `iat` and `exp` (PROTOCOL.md §8.2)."""
    payload = parse_token(mint_token(SECRET, "alice", FakeClock(1000.9)), 8192).payload

    assert (payload["iat"], payload["exp"]) == (1000, 4600)


def test_more_claims_can_be_given() -> None:
    token = mint_token(SECRET, "alice", FakeClock(), claims={"email": "a@b.c", "aud": "other"})
    payload = parse_token(token, 8192).payload

    assert (payload["email"], payload["aud"]) == ("a@b.c", "other")
