"""The log's side of a failure: what is unexpected is logged once, where it leaves the engine."""

from __future__ import annotations

import logging

from parley.errors import Internal, ParleyError

log = logging.getLogger(__name__)


def report(error: ParleyError, request_id: str, path: str) -> None:
    """Log an unexpected error under the id that its caller gets to see; expected ones are answers.

    Args:
        error: why the function failed.
        request_id: 16 hex digits.
        path: of the function, as the caller wrote it.
    """
    if isinstance(error, Internal):
        cause = error.__cause__ or error
        log.error("function %s failed [Request ID: %s]", path[:200], request_id, exc_info=cause)
