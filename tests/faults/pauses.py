"""A node that dies, or stands still, at a named point of its work.

`FAULT=label:count:how` in a node's environment (see `launch.py`): at the `count`th time it comes to
`label` it kills itself (`kill`) or stops itself (`stop`, until somebody sends SIGCONT).
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.faults.cluster import Cluster
from tests.faults.faults import Happened
from tests.faults.history import History

LABELS: Final = (
    "before-commit",
    "while-committing",
    "after-commit",
    "before-apply",
    "after-apply",
    "before-answer",
    "after-answer",
    "before-transition",
    "on-subscribe",
    "on-load",
    "after-load",
    "on-log-read",
)
KINDS: Final = tuple(f"{how} {label}" for how in ("kill", "stop") for label in LABELS)
_RARE: Final = ("on-load", "after-load", "on-subscribe")
_WAIT_S: Final = 10.0
_STOPPED_S: Final = 1.5


def arm(fault: str) -> None:
    """Make this process end or stop where `fault` says."""
    label, count, how = fault.split(":")
    left = int(count)

    def reach() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.SIGSTOP)

    _points()[label](reach)


def _points() -> dict[str, Callable[[Callable[[], None]], None]]:
    from parley.engine.cohort import Cohort
    from parley.engine.engine import Engine
    from parley.engine.memory import Memory
    from parley.engine.sync import SyncWorker
    from parley.store.postgres import PostgresStore

    return {
        "before-commit": functools.partial(_around, PostgresStore, "commit", True),
        "while-committing": _while_committing,
        "after-commit": functools.partial(_around, PostgresStore, "commit", False),
        "before-apply": functools.partial(_around_sync, Memory, "apply", True),
        "after-apply": functools.partial(_around_sync, Memory, "apply", False),
        "before-answer": functools.partial(_around_sync, SyncWorker, "_answered", True),
        "after-answer": functools.partial(_around_sync, SyncWorker, "_answered", False),
        "before-transition": functools.partial(_around_sync, Cohort, "_send_transition", True),
        "on-subscribe": functools.partial(_around_sync, Engine, "subscribe", False),
        "on-load": functools.partial(_around, PostgresStore, "load", True),
        "after-load": functools.partial(_around, PostgresStore, "load", False),
        "on-log-read": functools.partial(_around, PostgresStore, "read_log", False),
    }


def _around(owner: Any, name: str, is_before: bool, reach: Callable[[], None]) -> None:
    original = getattr(owner, name)

    async def wrapped(*args: Any, **options: Any) -> Any:
        if is_before:
            reach()
        result = await original(*args, **options)
        if not is_before:
            reach()
        return result

    setattr(owner, name, wrapped)


def _around_sync(owner: Any, name: str, is_before: bool, reach: Callable[[], None]) -> None:
    original = getattr(owner, name)

    def wrapped(*args: Any, **options: Any) -> Any:
        if is_before:
            reach()
        result = original(*args, **options)
        if not is_before:
            reach()
        return result

    setattr(owner, name, wrapped)


def _while_committing(reach: Callable[[], None]) -> None:
    from parley.store.postgres import PostgresStore

    original = PostgresStore._commit

    async def wrapped(self: Any, batch: Any) -> Any:
        # By then the call is on its way, and its answer is not there yet.
        asyncio.get_running_loop().call_later(random.uniform(0.0002, 0.003), reach)
        return await original(self, batch)

    PostgresStore._commit = wrapped  # type: ignore[method-assign]


async def run_pauses(
    cluster: Cluster,
    rng: random.Random,
    end: float,
    history: History,
    only: tuple[str, ...] = (),
) -> list[Happened]:
    """Let one node after another come to such a point, until `end`; `only` of `KINDS`."""
    happened: list[Happened] = []
    queue: list[str] = []
    while time.monotonic() < end:
        kinds = [kind for kind in KINDS if kind in only] or KINDS
        queue = queue or rng.sample(kinds, len(kinds))
        how, label = queue.pop().split()
        node = rng.choice(cluster.nodes)
        node.signal(signal.SIGKILL)
        await node.gone()
        fault = f"{label}:{rng.randint(1, 5 if label in _RARE else 40)}:{how}"
        history.add("fault", names=[fault], n=node.number)
        await node.start({"FAULT": fault})
        if await _until_reached(node.pid, cluster.rebalance):
            began = time.monotonic()
            if how == "stop":
                await asyncio.sleep(_STOPPED_S)
                node.signal(signal.SIGCONT)
            healed = time.monotonic()
            happened.append(Happened(f"{how} {label}", began, healed, node.number))
        node.signal(signal.SIGKILL)
        await node.gone()
        await node.start()
        await node.until_ready()
        await asyncio.sleep(rng.uniform(0.2, 1.0))
    return happened


async def _until_reached(pid: int, rebalance: Callable[[], None]) -> bool:
    """Wait until a process has ended or is stopped; let clients come to it meanwhile."""
    now = time.monotonic()
    deadline, rebalance_at = now + _WAIT_S, now + 1.5
    while (now := time.monotonic()) < deadline:
        if now > rebalance_at:
            rebalance_at = now + 2.0
            rebalance()
        if _state(pid) in "TZX":
            return True
        await asyncio.sleep(0.02)
    return False


def _state(pid: int) -> str:
    """Return the letter of a process's state as `ps` shows it; X when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"
