"""Taking tokens apart; the table of malformed ones is in test_verifier.py."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley.auth.token import Token, parse_token
from parley.errors import TokenMalformed
from tests.support.tokens import SECRET, compact, encoded

ALPHABET = st.sampled_from("ABab01-_=+/. {}\n\u00e9\U0001f600")

# A busy machine is not a failure.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_a_token_comes_apart() -> None:
    text = compact({"alg": "HS256", "kid": "k"}, {"sub": "alice"}, SECRET.encode())

    token = parse_token(text, 1000)

    assert (token.algorithm, token.key_id, token.payload) == ("HS256", "k", {"sub": "alice"})
    assert f"{token.signing_input.decode()}.{encoded(token.signature)}" == text


def test_a_token_may_lack_a_key_id() -> None:
    assert parse_token(compact({"alg": "x"}, {}, b"secret"), 1000).key_id is None


def test_nothing_of_a_malformed_token_is_in_its_refusal() -> None:
    with pytest.raises(TokenMalformed) as refusal:
        parse_token(f"{encoded(b'topsecret')}.topsecret.topsecret", 1000)

    assert "topsecret" not in f"{refusal.value} {refusal.value.reason}"
    assert refusal.value.__suppress_context__  # json's own error quotes the document


def outcome(text: str) -> Token | str:
    """Return the token, or why it is none."""
    try:
        return parse_token(text, 100_000)
    except TokenMalformed as refusal:
        return refusal.reason


@UNHURRIED
@given(st.text(ALPHABET) | st.text())
def test_any_text_is_a_token_or_malformed(text: str) -> None:
    assert outcome(text)


@UNHURRIED
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_as_header_and_payload_are_a_token_or_malformed(
    header: bytes, payload: bytes
) -> None:
    assert outcome(compact(header, b"{}", b"secret"))
    assert outcome(compact({"alg": "HS256"}, payload, b"secret"))


@UNHURRIED
@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text() | st.none() | st.floats()))
def test_a_payload_is_what_was_signed_or_refused(payload: dict[str, object]) -> None:
    token = outcome(compact({"alg": "HS256"}, payload, b"secret"))

    assert "impossible numbers" in token if isinstance(token, str) else token.payload == payload
