"""What the server says: builders of the exact JSON of every message in PROTOCOL.md §4.

A frame is UTF-8 bytes. Results and error data come in as ready canonical JSON (`values.encode`) and
are spliced, never parsed or encoded again. Wherever `error_data` appears, None leaves the key out
and `b"null"` is an application error whose data is null; clients tell these apart.

A modification is `{"queryId":7` + *tail*, given as both. The tail is the same for every connection
that gets this result, so it is built once per result and shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from parley.values import ts_to_wire

MAX_FRAME_BYTES: Final = 5_000_000  # Convex's; above it, clients that can get chunks

PING: Final = b'{"type":"Ping"}'


REMOVED_TAIL: Final = b',"type":"QueryRemoved"}'  # confirms a Remove

_UPDATED: Final = b',"type":"QueryUpdated","value":'
VALUE_AT: Final = len(_UPDATED)  # where in an `updated_tail` the value begins


class StateVersion(NamedTuple):
    """Where a client stands: versions of query set and identity, and the ts of all its results."""

    query_set: int
    identity: int
    ts: int


class Stamp(NamedTuple):
    """What a client that told its clock needs to measure how long a Transition took.

    Attributes:
        client_clock_skew_ms: its clock minus ours when it connected.
        server_ts_ns: our clock when the frame is written, nanoseconds since the Unix epoch.
    """

    client_clock_skew_ms: int
    server_ts_ns: int


ZERO_VERSION: Final = StateVersion(query_set=0, identity=0, ts=0)


def updated_tail(value: bytes, journal: str | None = None) -> bytes:
    """Return the tail of a QueryUpdated, to be given to `transition` for each subscriber."""
    return joined_tail([value], journal)


def joined_tail(pieces: Iterable[bytes | memoryview], journal: str | None = None) -> bytes:
    """Return the same for a value in pieces: a long one is copied once only."""
    return b"".join((_UPDATED, *pieces, b',"logLines":[],"journal":%b}' % _json(journal)))


def patched_tail(operations: bytes, journal: str | None = None) -> bytes:
    """Return the tail of a QueryPatched, for clients that asked for it.

    Args:
        operations: as wire JSON, with commas between; see `values.patches`.
        journal: as in a QueryUpdated.
    """
    return b',"type":"QueryPatched","patch":[%b],"logLines":[],"journal":%b}' % (
        operations,
        _json(journal),
    )


def failed_tail(message: str, error_data: bytes | None = None, journal: str | None = None) -> bytes:
    """Return the tail of a QueryFailed, to be given to `transition` for each subscriber."""
    return b',"type":"QueryFailed","errorMessage":%b,"logLines":[],"journal":%b%b}' % (
        _json(message),
        _json(journal),
        _error_data(error_data),
    )


def transition(
    start: StateVersion,
    end: StateVersion,
    modifications: Iterable[tuple[int, bytes]],
    stamp: Stamp | None = None,
    incarnation: str | None = None,
) -> bytes:
    """Return a Transition: a pure function of its arguments, so that equal ones may share it.

    Args:
        start: the end version of the previous Transition on this socket; else JS clients freeze.
        end: not below `start` in any part.
        modifications: query ids, ascending as Convex does, each once, and their tails.
        stamp: None leaves both clock fields out; they are never null (JS would log nonsense).
        incarnation: which life of the database the ts counts in, for clients that asked for it.
    """
    more = b""
    if stamp is not None:
        more = b',"clientClockSkew":%d,"serverTs":%d' % stamp
    if incarnation is not None:
        more += b',"incarnation":%b' % _json(incarnation)
    pieces = [
        b'{"type":"Transition","startVersion":%b,"endVersion":%b,"modifications":['
        % (_version(start), _version(end))
    ]
    for query_id, tail in modifications:
        pieces += (b'{"queryId":%d' % query_id, tail, b",")
    if len(pieces) > 1:
        pieces.pop()
    pieces += (b"]", more, b"}")
    # Not by `%`, which copies what is long again and again: 4 MB in 2 ms instead of 0.1.
    return b"".join(pieces)


def chunks(frame: bytes, max_bytes: int = MAX_FRAME_BYTES) -> list[bytes]:
    """Return a Transition as TransitionChunk frames (§9), at least one.

    They must reach the client in order with nothing but Ping between them.

    Args:
        frame: what `transition` gave.
        max_bytes: of `frame` in each part, before JSON escapes it once more; at least 4.
    """
    parts = list(_utf8_pieces(frame, max_bytes))
    return [
        b'{"type":"TransitionChunk","chunk":%b,"partNumber":%d,"totalParts":%d,"transitionId":"%d"}'
        % (msgspec.json.encode(part.decode()), number, len(parts), len(frame))
        for number, part in enumerate(parts)
    ]


def mutation_succeeded(request_id: int, result: bytes, ts: int) -> bytes:
    """Return a MutationResponse; a later Transition to `ts` or more resolves its promise."""
    return (
        b'{"type":"MutationResponse","requestId":%d,"success":true,"result":%b,"ts":"%b",'
        b'"logLines":[]}' % (request_id, result, ts_to_wire(ts).encode())
    )


def mutation_failed(request_id: int, message: str, error_data: bytes | None = None) -> bytes:
    """Return the MutationResponse of a mutation that wrote nothing."""
    return (
        b'{"type":"MutationResponse","requestId":%d,"success":false,"result":%b,"ts":null,'
        b'"logLines":[]%b}' % (request_id, _json(message), _error_data(error_data))
    )


def action_succeeded(request_id: int, result: bytes) -> bytes:
    """Return an ActionResponse."""
    return b'{"type":"ActionResponse","requestId":%d,"success":true,"result":%b,"logLines":[]}' % (
        request_id,
        result,
    )


def action_failed(request_id: int, message: str, error_data: bytes | None = None) -> bytes:
    """Return the ActionResponse of an action that raised."""
    return (
        b'{"type":"ActionResponse","requestId":%d,"success":false,"result":%b,"logLines":[]%b}'
        % (request_id, _json(message), _error_data(error_data))
    )


def auth_error(message: str, base_version: int, *, was_update: bool) -> bytes:
    """Return an AuthError; the socket must be closed without a status code right behind it.

    Args:
        message: only logged by clients.
        base_version: of the refused Authenticate, or the last identity version sent when an
            accepted token expired.
        was_update: whether an Authenticate is refused, rather than an older token expired.
    """
    return b'{"type":"AuthError","error":%b,"baseVersion":%d,"authUpdateAttempted":%b}' % (
        _json(message),
        base_version,
        _json(was_update),
    )


def fatal_error(message: str) -> bytes:
    """Return a FatalError. JS clients give up for good: only for what is provably their fault."""
    return b'{"type":"FatalError","error":%b}' % _json(message)


def _version(version: StateVersion) -> bytes:
    return b'{"querySet":%d,"identity":%d,"ts":"%b"}' % (
        version.query_set,
        version.identity,
        ts_to_wire(version.ts).encode(),
    )


def _error_data(error_data: bytes | None) -> bytes:
    return b"" if error_data is None else b',"errorData":%b' % error_data


def _json(value: str | bool | None) -> bytes:
    """Return `value` as JSON; half characters in an error's text must not cost the whole frame."""
    if isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()
    return msgspec.json.encode(value)


def _utf8_pieces(text: bytes, max_bytes: int) -> Iterator[bytes]:
    """Cut UTF-8 into pieces of at most `max_bytes`, never within a character."""
    start = 0
    while start < len(text):
        end = start + max_bytes
        while end < len(text) and text[end] & 0b1100_0000 == 0b1000_0000:
            end -= 1
        yield text[start:end]
        start = end
