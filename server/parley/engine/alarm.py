"""Ends a query or mutation that never comes back: `while True` in an app must not stop a server.

A function runs inside one step of the event loop, so nobody but a signal can interrupt it. Only the
main thread of a process can take signals; elsewhere (in tests, say) there is no alarm.
"""

from __future__ import annotations

import atexit
import signal
import threading
import time
from types import FrameType
from typing import Final

MAX_RUN_S = 5.0  # of wall time; a function's own budget is far below
_LOOK_S: Final = 0.5


class Overrun(BaseException):
    """Raised inside a function that has run for `MAX_RUN_S`; no `except Exception` stops it."""


class Alarm:
    """Looks now and then at the function that is running.

    The timer goes on all the time: setting it for each run would be two system calls.
    """

    def __init__(self) -> None:
        self._is_installed = False
        self._started: float | None = None

    def install(self) -> None:
        """Take SIGALRM from now on, if this is the main thread."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, _LOOK_S, _LOOK_S)
            # An interpreter that ends gives signals back their own effect: SIGALRM would kill it.
            atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
            self._is_installed = True

    def arm(self) -> None:
        """Begin to wait."""
        if self._is_installed:
            self._started = time.monotonic()

    def disarm(self) -> None:
        """Stop waiting; what rings later is ignored."""
        self._started = None

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        if self._started is not None and time.monotonic() - self._started > MAX_RUN_S:
            self._started = None
            raise Overrun(f"it ran for {MAX_RUN_S} s")


ALARM: Final = Alarm()
