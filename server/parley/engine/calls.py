"""From what a client sent to what the engine runs: the function found, its arguments checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from parley.engine.batch import Answer, Mutation
from parley.engine.live import Call, digest_of
from parley.errors import ArgumentsInvalid, FunctionFailed, LimitExceeded, without_frames
from parley.functions.context import Entropy
from parley.functions.registry import Function, Registry
from parley.identity import Identity
from parley.store.types import RequestId
from parley.values import compact, decode, encode

Args = Mapping[str, Any]


def query_call(
    registry: Registry,
    path: str,
    args: object,
    journal: str | None,
    *,
    max_bytes: int,
    internal: bool = False,
) -> Call:
    """Return a query call; one that cannot be run carries its refusal, to fail like a query."""
    args_json = b""
    try:
        function = registry.find(path, "query", internal=internal)
        decoded, args_json = decoded_args(args, max_bytes)
        args_json = compact(args_json)  # kept as long as anybody follows the call
        checked = function.arguments.validate(decoded)
    except FunctionFailed as error:
        return Call(path, args_json, journal, refusal=without_frames(error))
    return Call(function.path, args_json, journal, function, checked)


def mutation_call(
    function: Function,
    args: object,
    identity: Identity | None,
    request: RequestId,
    entropy: Entropy,
    deadline: float,
    answer: Callable[[Answer], None],
    *,
    max_bytes: int,
    is_unwanted: Callable[[], bool] = lambda: False,
    has_session: bool = True,
) -> Mutation:
    """Return a mutation for the committer; arguments that do not fit fail in its turn."""
    checked: dict[str, Any] | FunctionFailed
    args_json, spacing_key = b"", None
    try:
        decoded, args_json = decoded_args(args, max_bytes)
        checked = function.arguments.validate(decoded)
        if function.spacing is not None:
            chosen = encode(decoded[function.spacing.argument])
            spacing_key = (request.identity, function.path, digest_of(chosen))
    except FunctionFailed as error:
        checked = without_frames(error)
    call_hash = hashlib.sha256(function.path.encode() + b"\0" + args_json).digest()[:16]
    return Mutation(
        function,
        checked,
        identity,
        request,
        call_hash,
        entropy,
        deadline,
        answer,
        is_unwanted=is_unwanted,
        has_session=has_session,
        spacing_key=spacing_key,
    )


def decoded_args(args: object, max_bytes: int) -> tuple[dict[str, Any], bytes]:
    """Return arguments as Python values, and as canonical wire JSON.

    Raises:
        ValueInvalid: a value that is not a Convex value, by its path.
        ArgumentsInvalid: one value, such as `{"$integer": …}`, in place of the arguments by name.
        LimitExceeded: more than `max_bytes` of JSON.
    """
    decoded = decode(args)
    if not isinstance(decoded, dict):
        raise ArgumentsInvalid(
            "ArgumentValidationError: expected an object with the arguments by name"
        )
    args_json = encode(decoded)
    if len(args_json) > max_bytes:
        raise LimitExceeded(f"arguments may be {max_bytes} bytes; these have {len(args_json)}")
    return decoded, args_json


def caller_of(identity: Identity | None) -> str:
    """Return what requests are remembered by: the user, not the token; empty when signed out."""
    return "" if identity is None else identity.token_identifier
