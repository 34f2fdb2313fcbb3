"""How each error ends a connection: PROTOCOL.md §10.1 as a table."""

from __future__ import annotations

import json

import pytest

from parley import errors
from parley.protocol.closing import Closing, auth_closing, closing_for

NO_CODE = None


@pytest.mark.parametrize(
    ("error", "fatal", "close_code", "reason"),
    [
        (errors.BadMessage("m"), "WSMessageInvalidJson: m", NO_CODE, ""),
        (errors.BadVersion("m"), "BaseVersionMismatch: m", NO_CODE, ""),
        (errors.ProtocolViolation("m"), "BadRequest: m", NO_CODE, ""),
        (errors.BadSequence("m"), None, 1011, "InternalServerError"),
        (errors.TooLarge("m"), None, 1009, "MessageTooLarge"),
        (errors.AuthRejected("m"), None, NO_CODE, ""),
        (errors.AuthUnavailable("m"), None, 1013, "AuthProviderDiscoveryFailed"),
        (errors.DatabaseDown("m"), None, 1013, "DatabaseUnavailable"),
        (errors.Overloaded("m"), None, 1013, "TooManyConcurrentRequests"),
        (errors.TooManyMutations("m"), None, 1013, "TooManyConcurrentMutations"),
        (errors.TimedOut("m"), None, 1013, "SystemTimeoutError"),
        (errors.Unavailable("m"), None, 1013, "Overloaded"),
        (errors.ShuttingDown("m"), None, 1011, "InternalServerError"),
        (errors.Internal("m"), None, 1011, "InternalServerError"),
        (errors.LimitExceeded("m"), None, 1011, "InternalServerError"),
        (ZeroDivisionError("m"), None, 1011, "InternalServerError"),
        (KeyboardInterrupt(), None, 1011, "InternalServerError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_error_ends_the_connection_as_documented(
    error: BaseException, fatal: str | None, close_code: int | None, reason: str
) -> None:
    closing = closing_for(error)

    assert (closing.close_code, closing.reason) == (close_code, reason)
    assert [json.loads(frame) for frame in closing.frames] == (
        [{"type": "FatalError", "error": fatal}] if fatal else []
    )


def test_every_reason_fits_into_a_close_frame() -> None:
    assert max(len(code.encode()) for code in errors.SURFACES) <= 123


def test_only_protocol_violations_are_fatal() -> None:
    """A FatalError is for good, so never for what may pass."""
    fatal = {code for code, surface in errors.SURFACES.items() if surface.fatal}

    assert fatal == {"BadRequest", "WSMessageInvalidJson", "BaseVersionMismatch"}


@pytest.mark.parametrize("was_update", [True, False])
def test_a_rejected_token_ends_the_connection_without_a_code(was_update: bool) -> None:
    closing = auth_closing(errors.TokenExpired("expired"), 3, was_update=was_update)

    assert closing == Closing(closing.frames, None, "")
    assert [json.loads(frame) for frame in closing.frames] == [
        {
            "type": "AuthError",
            "error": "expired",
            "baseVersion": 3,
            "authUpdateAttempted": was_update,
        }
    ]
