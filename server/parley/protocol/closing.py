"""How a connection ends: from an exception to the last frames, the close code and the reason."""

from __future__ import annotations

from dataclasses import dataclass

from parley.errors import AuthRejected, ParleyError, surface
from parley.protocol import responses


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of a connection.

    Attributes:
        frames: to be sent first, in order; possibly none.
        close_code: None for a close frame without a body (clients then see 1005).
        reason: at most 123 bytes, empty where there is no code; JS clients back off by it.
    """

    frames: tuple[bytes, ...]
    close_code: int | None
    reason: str


def closing_for(error: BaseException) -> Closing:
    """Return how a connection ends that cannot go on after `error` (`errors.SURFACES`).

    A FatalError's text names the rule that the client broke; nothing else tells the client more
    than a code. For a rejected token use `auth_closing`.
    """
    code, shown = surface(error)
    frames: tuple[bytes, ...] = ()
    if shown.fatal and isinstance(error, ParleyError):
        frames = (responses.fatal_error(f"{code}: {error.message}"),)
    reason = "" if shown.close_code is None else code
    return Closing(frames, shown.close_code, reason)


def auth_closing(error: AuthRejected, base_version: int, *, was_update: bool) -> Closing:
    """Return how a connection ends whose token is rejected, or has expired.

    Args:
        error: its message is shown.
        base_version: see `responses.auth_error`.
        was_update: True for an Authenticate, False for a token that was accepted before.
    """
    frame = responses.auth_error(error.message, base_version, was_update=was_update)
    return Closing((frame,), None, "")
