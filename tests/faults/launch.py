"""Starts `parley serve` with a planted bug (`BUG=name`), a pause point (`FAULT=label:n:how`) or a
clock that is wrong (`CLOCK_SKEW_S=n`).

The harness starts nodes through here. Without these variables this is `parley` and nothing else.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

from parley.cli import main
from parley.clock import SystemClock

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":  # a harness that is killed leaves no nodes behind
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if bug := os.environ.get("BUG"):
        from tests.faults.bugs import plant

        plant(bug)
    if fault := os.environ.get("FAULT"):
        from tests.faults.pauses import arm

        arm(fault)
    if skew_s := os.environ.get("CLOCK_SKEW_S"):
        skew_us = int(skew_s) * 1_000_000
        SystemClock.wall_us = lambda _self: time.time_ns() // 1000 + skew_us  # type: ignore[method-assign]
    main()
