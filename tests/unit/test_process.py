"""A process is set up to hold many connections and to stop for none of them."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import resource
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from parley.web.process import (
    calm_collector,
    find_old_cycles,
    raise_file_limit,
    room_for_connections,
)


@pytest.fixture
def calm() -> Iterator[None]:
    """The collector as a server has it; as it was, afterwards."""
    before, callbacks = gc.get_threshold(), gc.callbacks[:]
    calm_collector()
    yield
    gc.set_threshold(*before)
    gc.callbacks[:] = callbacks
    gc.unfreeze()


class _Cycle:
    def __init__(self) -> None:
        self.me = self
        self.ballast = [[] for _ in range(1000)]


@pytest.mark.usefixtures("calm")
def test_cycles_are_looked_for_seldom_and_once() -> None:
    in_use, new = _Cycle(), _Cycle()
    gone, kept = weakref.ref(new), weakref.ref(in_use)

    del new
    gc.collect(0)
    assert gone() is None

    del in_use
    gc.collect()
    assert kept() is not None  # it was in use at the look before


@pytest.mark.usefixtures("calm")
async def test_old_cycles_are_found_when_there_are_many_more_objects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parley.web.process._LOOK_S", 0.01)
    looking = asyncio.create_task(find_old_cycles())
    await asyncio.sleep(0.05)
    cycles = [_Cycle()]
    gc.collect(0)
    old = weakref.ref(cycles.pop())

    cycles = [_Cycle() for _ in range(sys.getallocatedblocks() // 1000)]
    async with asyncio.timeout(10):
        while old() is not None:  # noqa: ASYNC110 (nothing tells of what is gone)
            await asyncio.sleep(0.01)
    looking.cancel()


_LONG_RESULTS = """
import resource
from parley.web.process import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_freed_memory()
results = [b"x" * 4_000_000 for _ in range(4)]
del results
before = faults()
for _ in range(10):
    results = [b"x" * 4_000_000 for _ in range(4)]
    del results
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others keep what they like")
def test_memory_of_long_results_is_not_asked_for_again_and_again() -> None:
    environ = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    ran = subprocess.run(
        [sys.executable, "-c", _LONG_RESULTS],
        check=True,
        capture_output=True,
        text=True,
        env=environ,  # others may tell the C library what to keep
    )

    assert int(ran.stdout) < 4_000  # pages; all of them, each time, are 39,000


def test_as_many_files_may_be_open_as_the_system_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(64 + soft // 2, hard), hard))
    try:
        raise_file_limit()

        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("files", "wanted", "room"),
    [(1024, 6000, 896), (1024, 500, 500), (200, 6000, 100), (resource.RLIM_INFINITY, 6000, 6000)],
)
def test_connections_leave_files_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, files: int, wanted: int, room: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (files, files))

    assert room_for_connections(wanted) == room
