"""From how a query ended to what its subscribers get: checked, measured, as ready wire JSON."""

from __future__ import annotations

import itertools
import secrets
from typing import Final

from parley.engine.live import MAX_DIGESTED, Result, Step, digest_of
from parley.engine.runner import Ended, Failed
from parley.errors import FunctionFailed, LimitExceeded
from parley.protocol.error_text import error_text
from parley.protocol.responses import failed_tail
from parley.values import LongText, Patch, diff, encode, encode_tree, long_text_of, tree_of

_MAX_STEPS: Final = 16  # a client reads that far behind and still gets patches

_serial = itertools.count()


def result_of(
    ended: Ended,
    journal: str | None,
    *,
    max_bytes: int,
    redact: bool,
    before: Result | None = None,
    takes_patches: bool = False,
) -> Result:
    """Return the result of a run; a value that no client could take is a failure.

    Args:
        ended: how the run ended.
        journal: the end of its page, if it paginated.
        max_bytes: of the value's JSON.
        redact: whether the text of unexpected errors is kept from clients.
        before: the query's last result; it is returned if nothing has changed.
        takes_patches: whether it is to be compared with what was before, and what will come.
    """
    if isinstance(ended, Failed):
        return failure_of(ended.error, journal, redact=redact)
    try:
        if takes_patches:
            tree = tree_of(ended.value, before and before.tree)
            result = _patchable(tree, journal, before)
        elif before is not None and before.value_bytes > MAX_DIGESTED:
            result = _long(tree_of(ended.value, before.tree), journal, before)
        else:
            result = _whole(encode(ended.value), None, journal, before)
        if result.value_bytes > max_bytes:
            raise LimitExceeded(
                f"a result may be {max_bytes} bytes; this one has {result.value_bytes}"
            )
    except FunctionFailed as error:
        return failure_of(error, journal, redact=redact)
    return result


def _patchable(tree: object, journal: str | None, before: Result | None) -> Result:
    """Return the result made of the one before; whole where that is no longer to say."""
    if before is not None and before.tree is not None:
        patch = diff(before.tree, tree)
        if patch is not None and not patch.ops:
            return before
        if patch is not None and len(patch.ops) < before.value_bytes + patch.growth:
            return Result(
                digest_of(b"+" + before.digest + patch.ops),
                value_bytes=before.value_bytes + patch.growth,
                tree=tree,
                steps=_steps(before, patch),
                journal=journal,
            )
        before = None  # they differ
    return _whole(encode_tree(tree), tree, journal, before)


def _steps(before: Result, patch: Patch) -> tuple[Step, ...]:
    """Return the newest steps that are shorter together than the whole result."""
    steps = [Step(before.digest, patch.ops)]
    size = len(patch.ops)
    for step in reversed(before.steps[1 - _MAX_STEPS :]):
        size += 1 + len(step.ops)
        if size >= before.value_bytes + patch.growth:
            break
        steps.append(step)
    return tuple(reversed(steps))


def _long(tree: object, journal: str | None, before: Result) -> Result:
    """Return a whole result that shares most of its JSON with the one before."""
    text = long_text_of(tree)
    if text is None:
        return _whole(encode_tree(tree), None, journal, before)
    if before.text is None:
        return _whole(b"".join(text.pieces()), tree, journal, before, text)
    pieces = text.pieces_after(before.text, before.view)
    if pieces is None:
        return before
    return Result(_new_digest(), value=pieces, tree=tree, text=text, journal=journal)


def _whole(
    value: bytes,
    tree: object,
    journal: str | None,
    before: Result | None,
    text: LongText | None = None,
) -> Result:
    content = None  # not asked for yet
    if before is not None and before.has_value(value):
        digest = before.digest  # perhaps of how it came about
    elif before is None or len(value) <= MAX_DIGESTED:
        digest = content = digest_of(value)
    else:
        digest = _new_digest()
    return Result(digest, value=[value], content=content, tree=tree, text=text, journal=journal)


def _new_digest() -> bytes:
    """Return the digest of a result that nobody holds yet."""
    return b"new %d" % next(_serial)


def failure_of(error: FunctionFailed, journal: str | None = None, *, redact: bool) -> Result:
    """Return the result of a failed run, under a request id of its own."""
    request_id = secrets.token_hex(8)
    message, data = error_text(error, request_id, redact=redact)
    # The request id differs on each run and says nothing new to a client.
    said = message.partition("\n")[2].encode() + b"\0" + (data or b"")
    tail = failed_tail(message, data, journal)
    return Result(digest_of(b"!" + said), tail=tail, error=error, request_id=request_id)
