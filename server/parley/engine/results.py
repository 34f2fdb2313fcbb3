"""From how a query ended to what its subscribers get: checked, measured, as ready wire JSON."""

from __future__ import annotations

import secrets

from parley.engine.live import Result, digest_of
from parley.engine.runner import Ended, Failed
from parley.errors import FunctionFailed, LimitExceeded
from parley.protocol.error_text import error_text
from parley.protocol.responses import failed_tail, updated_tail
from parley.values import encode


def result_of(ended: Ended, journal: str | None, *, max_bytes: int, redact: bool) -> Result:
    """Return the result of a run; a value that no client could take is a failure.

    Args:
        ended: how the run ended.
        journal: the end of its page, if it paginated.
        max_bytes: of the value's JSON.
        redact: whether the text of unexpected errors is kept from clients.
    """
    if isinstance(ended, Failed):
        return failure_of(ended.error, journal, redact=redact)
    try:
        value = encode(ended.value)
        if len(value) > max_bytes:
            raise LimitExceeded(f"a result may be {max_bytes} bytes; this one has {len(value)}")
    except FunctionFailed as error:
        return failure_of(error, journal, redact=redact)
    tail = updated_tail(value, journal)
    start = tail.index(b'"value":') + len(b'"value":')
    return Result(tail, digest_of(value), slice(start, start + len(value)), None)


def failure_of(error: FunctionFailed, journal: str | None = None, *, redact: bool) -> Result:
    """Return the result of a failed run, under a request id of its own."""
    request_id = secrets.token_hex(8)
    message, data = error_text(error, request_id, redact=redact)
    # The request id differs on each run and says nothing new to a client.
    said = message.partition("\n")[2].encode() + b"\0" + (data or b"")
    tail = failed_tail(message, data, journal)
    return Result(tail, digest_of(b"!" + said), None, error, request_id)
