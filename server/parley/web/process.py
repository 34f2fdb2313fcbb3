"""What a process is set to before it serves, and what it may then take."""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
from typing import Final

_NEW_OBJECTS: Final = 20_000  # more than there were at the last look: about 7 ms to look at
_LOOK_S: Final = 600.0
_GROWN: Final = 1.25
_KEPT_BYTES: Final = 31 << 20  # glibc takes at most 32 MB as its measure, and keeps twice that
_OWN_FILES: Final = 128  # for Postgres, issuers, the log, pages, and connections being refused


def calm_collector() -> None:
    """Let Python look for garbage in cycles among new objects only, and once at each.

    Hardly any cycles are made, and a look stops everybody: at all objects of 2,000 connections, for
    half a second. What is in use at a look is not looked at again but by `find_old_cycles`.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
    gc.callbacks.append(_spare_what_stays)


def _spare_what_stays(phase: str, _info: object) -> None:
    if phase == "stop":
        gc.freeze()


async def find_old_cycles() -> None:
    """Look at all objects whenever they have become a quarter more; for as long as it runs.

    Growth is data as a rule. But functions of an app may leave cycles, and some are in use when the
    collector comes by.
    """
    least = sys.getallocatedblocks()
    while True:
        await asyncio.sleep(_LOOK_S)
        least = min(least, sys.getallocatedblocks())
        if sys.getallocatedblocks() > least * _GROWN:
            gc.unfreeze()
            gc.collect()
            least = sys.getallocatedblocks()


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, some 60 MB for each arena, for the next who ask.

    glibc takes its measure from the largest piece ever given back whole. Without this, a result of
    4 MB returned its memory to the system each time it was sent, or did not, by where it happened
    to lie; and to get it again, page by page, took longer than to send it to ten devices. Whoever
    sets `MALLOC_TRIM_THRESHOLD_` decides otherwise.
    """
    bytes(_KEPT_BYTES)  # never touched, so no memory is used for it


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
