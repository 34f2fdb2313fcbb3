"""Starts `parley serve` with a planted bug (`BUG=name`) or a pause point (`FAULT=label:n:how`).

The harness starts nodes through here. Without either variable this is `parley` and nothing else.
"""

from __future__ import annotations

import os

from parley.cli import main

if __name__ == "__main__":
    if bug := os.environ.get("BUG"):
        from tests.faults.bugs import plant

        plant(bug)
    if fault := os.environ.get("FAULT"):
        from tests.faults.pauses import arm

        arm(fault)
    main()
