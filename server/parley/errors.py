"""Every error Parley raises on purpose, whose fault it is, and what the peer sees.

    ParleyError
    ├── ProtocolViolation      the peer broke the wire protocol (provably)
    │   ├── BadMessage         not JSON, unknown type, wrong field
    │   ├── BadVersion         base version does not continue the chain
    │   └── TooLarge           a frame or body above its limit
    ├── AuthRejected           a token that proves nothing
    │   ├── TokenExpired       it once did
    │   ├── TokenMalformed     it is no JWT that we could check
    │   ├── IssuerUnknown      nobody that we trust issued it, or not for us
    │   └── AuthUnavailable    the issuer's keys cannot be fetched now
    ├── FunctionFailed         what a caller of a function gets to see as *its* failure
    │   ├── AppError           raised by the app; its data reaches the client (Convex: ConvexError)
    │   ├── ArgumentsInvalid   arguments do not match the function's annotations
    │   ├── ValueInvalid       a value that Convex's wire cannot carry
    │   ├── FunctionNotFound   no public function of that path, or another kind
    │   ├── WriteRejected      Postgres refuses the row (unique, foreign key, check, type)
    │   ├── Conflict           optimistic concurrency gave up after its retries
    │   ├── RequestReused      a settled or reused (session, request) number
    │   ├── LimitExceeded      too much read, written, returned or queued
    │   └── Internal           anything unexpected; the client sees only a request id
    ├── Unavailable            try again later; nothing is known to be wrong with the request
    │   ├── DatabaseDown
    │   ├── Overloaded
    │   ├── TimedOut
    │   └── ShuttingDown
    └── SetupError             the operator must change something before Parley can start

`fault` is "client", "application" or "server"; it decides log level and whether details are shown.
`SURFACES` is the one table from an error's code to HTTP status and WebSocket close.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, TypeVar

Fault = Literal["client", "application", "server"]
E = TypeVar("E", bound=BaseException)


class ParleyError(Exception):
    """Base of all errors raised on purpose.

    Attributes:
        code: short machine-readable name, stable across releases; key into `SURFACES`.
        fault: who has to change something.
        retryable: whether the same request may succeed later without any change.
        message: one sentence for a person; never contains secrets.
    """

    code: ClassVar[str] = "InternalServerError"
    fault: ClassVar[Fault] = "server"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ProtocolViolation(ParleyError):
    """The peer sent something that no correct client sends."""

    code = "BadRequest"
    fault: ClassVar[Fault] = "client"


class BadMessage(ProtocolViolation):
    """A frame that is not JSON, has an unknown type, or a field of the wrong type."""

    code = "WSMessageInvalidJson"


class BadVersion(ProtocolViolation):
    """A base version that does not continue the chain of this connection."""

    code = "BaseVersionMismatch"


class BadSequence(ProtocolViolation):
    """A well-formed message that is impossible now: before Connect, or a known query id."""

    code = "InternalServerError"


class TooLarge(ProtocolViolation):
    """A frame, body or token above its configured limit (bytes)."""

    code = "MessageTooLarge"


class AuthRejected(ParleyError):
    """A token that does not identify anybody. `message` is safe to show and never holds the token.

    Attributes:
        reason: what exactly was wrong, for our own log; never sent to the peer, so that a forger
            learns nothing from trying. Holds neither the token nor any of its claims.
    """

    code = "Unauthenticated"
    fault: ClassVar[Fault] = "client"

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class TokenExpired(AuthRejected):
    """A token whose `exp` has passed."""


class TokenMalformed(AuthRejected):
    """A token that is no compact JWT of a kind that can be checked."""

    code = "InvalidAuthHeader"


class IssuerUnknown(AuthRejected):
    """A token of an issuer, or for an audience, that is not configured."""

    code = "NoAuthProvider"


class AuthUnavailable(AuthRejected):
    """The issuer's keys could not be fetched; the same token may be accepted later."""

    code = "AuthProviderDiscoveryFailed"
    retryable = True


class FunctionFailed(ParleyError):
    """A function ended in failure; the connection is fine."""

    code = "FunctionFailed"
    fault: ClassVar[Fault] = "application"


class AppError(FunctionFailed):
    """Raise this to give clients an error they can act on; Convex calls it ConvexError.

    Args:
        data: any Convex value; reaches the client as `error.data`, never redacted.
    """

    code = "AppError"

    def __init__(self, data: Any) -> None:
        super().__init__(data if isinstance(data, str) else repr(data))
        self.data = data


class ArgumentsInvalid(FunctionFailed):
    """Arguments do not match the annotations. `message` starts with `ArgumentValidationError:`."""

    code = "ArgumentValidationError"
    fault: ClassVar[Fault] = "client"


class ValueInvalid(FunctionFailed):
    """A value that the wire cannot carry. `message` names the path, e.g. `.tools[0].args`."""

    code = "ValueInvalid"
    fault: ClassVar[Fault] = "client"


class FunctionNotFound(FunctionFailed):
    """No public function has this path, or it is of another kind."""

    code = "FunctionNotFound"
    fault: ClassVar[Fault] = "client"


class WriteRejected(FunctionFailed):
    """Postgres refused a row: unique, foreign key, check, or a value out of range."""

    code = "WriteRejected"


class Conflict(FunctionFailed):
    """Other writers changed what this mutation read, more often than it may be retried."""

    code = "OptimisticConcurrencyControlFailure"
    retryable = True


class RequestReused(FunctionFailed):
    """The (session, request) number was used for another call, or was settled before."""

    code = "RequestIdReused"
    fault: ClassVar[Fault] = "client"


class LimitExceeded(FunctionFailed):
    """A documented limit; `message` names it, its value and what was asked."""

    code = "LimitExceeded"


class Internal(FunctionFailed):
    """Anything unexpected inside a function. The client sees the request id only."""

    code = "InternalServerError"
    fault: ClassVar[Fault] = "server"


class Unavailable(ParleyError):
    """Nothing is wrong with the request; try again later."""

    code = "Overloaded"
    retryable = True


class DatabaseDown(Unavailable):
    """Postgres cannot be reached or does not accept writes now."""

    code = "DatabaseUnavailable"


class Overloaded(Unavailable):
    """A queue or rate limit is full. `reason` is a close reason that Convex clients back off on."""

    code = "TooManyConcurrentRequests"


class TooManyMutations(Overloaded):
    """More unanswered mutations on one connection than allowed."""

    code = "TooManyConcurrentMutations"


class TimedOut(Unavailable):
    """The work did not end in time; a mutation's outcome is unknown until it is sent again."""

    code = "SystemTimeoutError"


class ShuttingDown(Unavailable):
    """This process is going away; another, or its successor, will answer."""

    code = "InternalServerError"


class SetupError(ParleyError):
    """The operator must change something. `message` says what, in words."""

    code = "SetupError"


@dataclass(frozen=True, slots=True)
class Surface:
    """How an error of one code leaves the process.

    Attributes:
        http_status: status of the HTTP API's `{"code", "message"}` body.
        fatal: send a FatalError first (JS clients then give up for good).
        close_code: WebSocket close code; None closes without a status code.
    """

    http_status: int
    fatal: bool
    close_code: int | None


# PROTOCOL.md §10.1. A close reason is the code itself: Convex clients choose their backoff by it.
SURFACES: Final[dict[str, Surface]] = {
    "BadRequest": Surface(400, True, None),
    "WSMessageInvalidJson": Surface(400, True, None),
    "BaseVersionMismatch": Surface(400, True, None),
    "MessageTooLarge": Surface(413, False, 1009),
    "Unauthenticated": Surface(401, False, None),
    "InvalidAuthHeader": Surface(401, False, None),
    "NoAuthProvider": Surface(401, False, None),
    "AuthProviderDiscoveryFailed": Surface(503, False, 1013),
    "Overloaded": Surface(503, False, 1013),
    "DatabaseUnavailable": Surface(503, False, 1013),
    "TooManyConcurrentRequests": Surface(503, False, 1013),
    "TooManyConcurrentMutations": Surface(429, False, 1013),
    "SystemTimeoutError": Surface(503, False, 1013),
    "InternalServerError": Surface(500, False, 1011),
}


def surface(error: BaseException) -> tuple[str, Surface]:
    """Return (code, surface) for any exception; unexpected ones are InternalServerError."""
    code = error.code if isinstance(error, ParleyError) else "InternalServerError"
    if code not in SURFACES:
        code = "InternalServerError"
    return code, SURFACES[code]


def without_frames(error: E) -> E:
    """Return an expected error without its traceback and what led to it.

    They hold the frames that it came through, with all who called these, to the socket, for as long
    as the error is kept; and an error that such a frame holds too is left to the collector. The log
    of an unexpected one needs them.
    """
    if not isinstance(error, Internal):
        each: BaseException | None = error
        while each is not None:  # what led to it may be held by a frame of its own
            each.__traceback__, each = None, each.__cause__ or each.__context__
        error.__context__ = error.__cause__ = None
    return error
