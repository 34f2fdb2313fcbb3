"""What a client reads when a function fails, and what it must not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley import errors
from parley.protocol.error_text import MAX_TEXT_BYTES, error_text, request_id_for

REQUEST = "0123456789abcdef"
LINE_1 = "[Request ID: 0123456789abcdef] Server Error"


@pytest.mark.parametrize("redact", [True, False])
@pytest.mark.parametrize(
    ("data", "shown", "encoded"),
    [
        ("plain words", "plain words", b'"plain words"'),
        ({"code": "x", "at": 1.5}, '{"at":1.5,"code":"x"}', b'{"at":1.5,"code":"x"}'),
        (None, "null", b"null"),
        (b"\x01", '{"$bytes":"AQ=="}', b'{"$bytes":"AQ=="}'),
    ],
)
def test_an_app_error_shows_its_data_always(
    data: Any, shown: str, encoded: bytes, redact: bool
) -> None:
    text, error_data = error_text(errors.AppError(data), REQUEST, redact=redact)

    assert text == f"{LINE_1}\nUncaught ConvexError: {shown}"
    assert error_data == encoded


def test_an_app_error_with_data_no_client_can_read_says_so() -> None:
    text, error_data = error_text(errors.AppError({"$ref": 1}), REQUEST, redact=True)

    assert text.startswith(f"{LINE_1}\nInvalid value")
    assert error_data is None


@pytest.mark.parametrize("redact", [True, False])
@pytest.mark.parametrize(
    "kind",
    [
        errors.ArgumentsInvalid,
        errors.ValueInvalid,
        errors.FunctionNotFound,
        errors.WriteRejected,
        errors.Conflict,
        errors.RequestReused,
        errors.LimitExceeded,
    ],
)
def test_a_failure_of_the_callers_own_call_is_always_explained(
    kind: type[errors.FunctionFailed], redact: bool
) -> None:
    assert error_text(kind("the reason"), REQUEST, redact=redact) == (
        f"{LINE_1}\nthe reason",
        None,
    )


@pytest.mark.parametrize(
    "error",
    [
        errors.Internal("dsn"),
        ValueError("dsn"),
        errors.DatabaseDown("dsn"),
        KeyboardInterrupt("dsn"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_our_own_faults_are_hidden_in_production_and_shown_in_development(
    error: BaseException,
) -> None:
    hidden = error_text(error, REQUEST, redact=True)
    shown = error_text(error, REQUEST, redact=False)

    assert hidden == (LINE_1, None)
    name = "" if isinstance(error, errors.Internal) else f"{type(error).__name__}: "
    assert shown == (f"{LINE_1}\nUncaught {name}dsn", None)


@given(message=st.text(), repeat=st.sampled_from([1, 2_000, MAX_TEXT_BYTES]))
def test_any_text_is_cut_to_its_limit_and_stays_valid(message: str, repeat: int) -> None:
    text, _ = error_text(errors.LimitExceeded(message * repeat), REQUEST, redact=True)

    whole = f"{LINE_1}\n{message * repeat}" if message else LINE_1
    assert len(text.encode()) <= MAX_TEXT_BYTES
    assert whole.startswith(text)
    assert len(text.encode()) >= min(len(whole.encode()), MAX_TEXT_BYTES - 3)


def test_half_a_character_is_replaced() -> None:
    text, _ = error_text(errors.LimitExceeded("a\ud800b"), REQUEST, redact=True)

    assert text == f"{LINE_1}\na?b"


def test_a_request_id_is_the_start_of_the_hash_of_session_and_number() -> None:
    session = "5c2f9f1e-7f7c-4a39-9f0e-5a2f1f0b7a10"

    first = request_id_for(session, 7)

    assert first == request_id_for(session, 7)
    assert first == "b9e2ff13d1eb1960"
    assert first != request_id_for(session, 8)
