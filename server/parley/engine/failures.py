"""Whose fault a failure is; and what is unexpected is logged once, where it leaves the engine."""

from __future__ import annotations

import logging
from typing import Final

from parley.errors import FunctionFailed, Internal, ParleyError, WriteRejected

log = logging.getLogger(__name__)

# Classes of SQLSTATE with which Postgres itself refuses what is in a row, ...
_OF_ROWS: Final = ("21", "22", "23", "44", "54", "P0")
# ... and those that an app's triggers are not free to raise: the standard's and Postgres's own.
_RESERVED: Final = (*"01234ABCDEFGH", "53", "55", "57", "58", "72", "XX")


def refusal(sqlstate: str, message: str) -> FunctionFailed:
    """Return the failure of a mutation that Postgres refused for good.

    A row that may not be written is the app's concern, and so is what its triggers raise. The rest
    (a right or a column that is missing, say) is the operator's: clients learn nothing of it.
    """
    if sqlstate.startswith(_OF_ROWS) or not sqlstate.startswith(_RESERVED):
        return WriteRejected(f"{message} (SQLSTATE {sqlstate})")
    return Internal(f"Postgres refused to commit: {message} (SQLSTATE {sqlstate})")


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
