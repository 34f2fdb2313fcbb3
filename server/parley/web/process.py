"""What a process is set to before it serves, and what it may then take."""

from __future__ import annotations

import gc
import resource
from typing import Final

_OWN_FILES: Final = 128  # for Postgres, issuers, the log, pages, and connections being refused


def calm_collector() -> None:
    """Look for garbage cycles less often: hardly any are made, and a look stops everybody.

    At Python's thresholds it took 6 % of the time that pushes take, in pauses of many milliseconds.
    """
    gc.collect()
    gc.freeze()  # what is there by now stays
    # At the oldest more often: what connections leave behind is among them, and Python by itself
    # waits until they have grown by a quarter.
    gc.set_threshold(20_000, 20, 2)


def raise_file_limit() -> None:
    """Take as many open files as we may: every connection is one, and 1024 is a usual default."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def room_for_connections(wanted: int) -> int:
    """Return how many connections can be open, `wanted` at most, with files left for the rest.

    Without files a process can neither reach Postgres nor refuse anybody.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(files - _OWN_FILES, files // 2))
