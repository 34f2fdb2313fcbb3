"""Starts `parley serve` with a planted bug (`BUG=name`) or a pause point (`FAULT=label:n:how`).

The harness starts nodes through here. Without either variable this is `parley` and nothing else.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from parley.cli import main

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
    main()
