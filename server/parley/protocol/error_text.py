"""What a client gets to read about a function's failure (PROTOCOL.md §11.1)."""

from __future__ import annotations

import hashlib
from typing import Final

from parley import values
from parley.errors import AppError, FunctionFailed, Internal, ValueInvalid

MAX_TEXT_BYTES: Final = 64 * 1024


def request_id_for(session_id: str, request_id: int) -> str:
    """Return the 16 hex digits that name a mutation or action in the log, the same on a retry."""
    return hashlib.sha256(f"{session_id}|{request_id}".encode()).hexdigest()[:16]


def error_text(error: BaseException, request_id: str, *, redact: bool) -> tuple[str, bytes | None]:
    """Return the error's text and, for an `AppError` only, its data as wire JSON.

    The first line holds the request id. What speaks of the caller's own call follows always; what
    speaks of our inside only when not redacted. Without its first line the text is the same for
    every run that fails alike.

    Args:
        error: whatever ended the function.
        request_id: 16 hex digits, also in the log.
        redact: True in production.
    """
    details, data = _details(error, redact)
    text = f"[Request ID: {request_id}] Server Error{details and chr(10) + details}"
    return _cut(text), data


def _details(error: BaseException, redact: bool) -> tuple[str, bytes | None]:
    if isinstance(error, AppError):
        return _app_error(error)
    if isinstance(error, FunctionFailed) and not isinstance(error, Internal):
        return error.message, None
    if redact:
        return "", None
    # An Internal's message names the exception that it stands for.
    name = "" if isinstance(error, Internal) else f"{type(error).__name__}: "
    return f"Uncaught {name}{error}", None


def _app_error(error: AppError) -> tuple[str, bytes | None]:
    try:
        data = values.encode(error.data)
    except ValueInvalid as invalid:  # clients could not read the data: say that instead
        return invalid.message, None
    shown = error.data if isinstance(error.data, str) else data.decode()
    return f"Uncaught ConvexError: {shown}", data


def _cut(text: str) -> str:
    """Return `text` as valid Unicode of at most `MAX_TEXT_BYTES` in UTF-8."""
    return text.encode("utf-8", "replace")[:MAX_TEXT_BYTES].decode("utf-8", "ignore")
