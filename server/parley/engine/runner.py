"""Runs a query or mutation to its end, or to the rows it lacks. No event loop is involved.

asyncio never sees these coroutines: they are driven by hand, inside one step of the loop. The only
thing one may wait for is a `Load` of missing rows; anything else is refused, so that functions are
pure not by promise but because nothing impure can be awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, NoReturn, cast

from parley.engine.alarm import ALARM, Overrun
from parley.errors import FunctionFailed, Internal, LimitExceeded, without_frames
from parley.functions.context import IdentityNeeded
from parley.store.types import LoadRequest

_IMPURE: Final = (
    "queries and mutations may await only ctx.db and ctx.auth; "
    "put network calls and sleeps in an action"
)


@dataclass(slots=True)  # made all the time: frozen ones take three times as long
class Returned:
    """The function ended well; `value` is what it returned, unchecked."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The function ended in an error that is its caller's to see."""

    error: FunctionFailed


@dataclass(frozen=True, slots=True)
class NeedsIdentity:
    """A run shared by all callers asked who calls; run it per identity."""


Ended = Returned | Failed
RunOutcome = Ended | NeedsIdentity | LoadRequest


# What a function may raise that is its own end only, although it is no Exception.
ENDINGS: Final = (Exception, asyncio.CancelledError, GeneratorExit, SystemExit)


class ImpureAwait(Exception):
    """A query or mutation awaited something that is not its database."""


class _NoLoop:
    """Stands where the running loop would be: whoever asks it for anything is told why not.

    With no loop at all in its place, `asyncio.run` would work.
    """

    def create_task(self, coroutine: Coroutine[Any, Any, Any], **_: object) -> NoReturn:
        coroutine.close()
        raise ImpureAwait(_IMPURE)

    def __getattr__(self, name: str) -> NoReturn:
        raise ImpureAwait(_IMPURE)


_NO_LOOP: Final = cast("asyncio.AbstractEventLoop", _NoLoop())


def drive(coroutine: Coroutine[Any, Any, Any], path: str) -> RunOutcome:
    """Run `coroutine` until it returns, fails, or lacks rows; it is closed in every case.

    Unexpected exceptions become `Internal`, with the exception as its cause.
    """
    loop = asyncio._get_running_loop()
    # create_task, sleep and network calls fail at once instead of escaping the transaction.
    asyncio._set_running_loop(_NO_LOOP)
    try:
        ALARM.arm()
        try:
            outcome = _drive(coroutine, path)
            coroutine.close()  # runs the function's `finally` blocks, if it has not ended
        finally:
            ALARM.disarm()
    except Overrun as error:
        outcome = Failed(LimitExceeded(f"{path} did not end: {error}"))
    except ENDINGS as error:
        outcome = Failed(Internal(f"{type(error).__name__}: {error}"))
        outcome.error.__cause__ = error
    finally:
        asyncio._set_running_loop(loop)
    return outcome


def _drive(coroutine: Coroutine[Any, Any, Any], path: str) -> RunOutcome:
    try:
        awaited = coroutine.send(None)
        if isinstance(awaited, LoadRequest):
            return awaited
        # Thrown in, so that the traceback points at the await.
        coroutine.throw(ImpureAwait(f"{path} awaited {type(awaited).__name__}: {_IMPURE}"))
        return Failed(Internal(f"{path} went on after an impure await"))
    except StopIteration as stop:
        return Returned(stop.value)
    except IdentityNeeded:
        return NeedsIdentity()
    except FunctionFailed as error:
        return Failed(without_frames(error))
