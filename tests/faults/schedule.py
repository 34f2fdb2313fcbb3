"""When things break, and what was broken."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from typing import Final

from tests.faults.cluster import Cluster
from tests.faults.environment import ENVIRONMENT_FAULTS
from tests.faults.faults import EDGES, FAULTS, Happened
from tests.faults.history import History
from tests.faults.pauses import KINDS as PAUSES
from tests.faults.pauses import run_pauses

ALL_FAULTS: Final = {**FAULTS, **ENVIRONMENT_FAULTS}
KINDS: Final = (*ALL_FAULTS, *PAUSES, "swizzle")

REST_S: Final = (0.3, 2.0)
BROKEN_S: Final = (0.3, 3.0)
DEAF_S: Final = (2.0, 5.0)
_LISTENERS: Final = ("listen-deaf", "kill-listeners")
# These do not mix with others: they need the database, or stand in their own way.
_ALONE: Final = {
    "kill-postgres",
    "hog-connections",
    "roll",
    "end-node",
    "kill-node",
    "skew-clock",
    "fill-disk",
    "kill-starting",
}


async def run_schedule(
    schedule: str,
    cluster: Cluster,
    rng: random.Random,
    seconds: float,
    history: History,
    only: tuple[str, ...] = (),
) -> list[Happened]:
    """Break things for so long, heal everything, and return what happened.

    Schedules: calm (nothing), single (one fault after another, each kind in turn), pairs (two at a
    time), swizzle (edges clogged one by one, then freed in another order), pauses (a node is killed
    at a named point of its work), quiet (only external writers do anything, and notifications are
    lost), churn (nothing breaks, but everybody reconnects all the time).
    """
    happened: list[Happened] = []
    end = time.monotonic() + seconds
    if schedule == "calm":
        await asyncio.sleep(seconds)
        return happened
    if schedule == "churn":
        only = ("cut-all-clients",)
    if schedule == "pauses":
        return await run_pauses(cluster, rng, end, history, only)
    if schedule == "quiet":
        only = _LISTENERS
    possible = [name for name in ALL_FAULTS if name != "fill-disk" or cluster.has_small_disk]
    names = [name for name in possible if name in only] or possible
    queue: list[str] = []
    while time.monotonic() < end:
        if schedule == "swizzle":
            await _swizzle(cluster, rng, history, happened)
            continue
        if not queue:
            queue = rng.sample(names, len(names))
        name = queue.pop()
        chosen = [name]
        if schedule == "pairs" and name not in _ALONE:
            partners = [other for other in names if other != name and other not in _ALONE]
            chosen += rng.sample(partners, min(1, len(partners)))
        await _break(chosen, cluster, rng, history, happened)
        cluster.rebalance()
        await asyncio.sleep(min(rng.uniform(*REST_S), max(0.0, end - time.monotonic())))
    return happened


async def _break(
    names: list[str],
    cluster: Cluster,
    rng: random.Random,
    history: History,
    happened: list[Happened],
) -> None:
    # Polling is what is left without notifications: longer than a poll.
    seconds = rng.uniform(*(DEAF_S if names[0] in _LISTENERS else BROKEN_S))
    began = time.monotonic()
    nodes: list[int | None] = []
    history.add("fault", names=names)
    async with AsyncExitStack() as stack:
        for name in names:
            fault = ALL_FAULTS[name](cluster, rng, seconds)
            nodes.append(await stack.enter_async_context(fault))
        await asyncio.sleep(seconds)
    healed = time.monotonic()
    while cluster.writes:
        history.add("ext", **cluster.writes.pop())
    history.add("healed", names=names, seconds=healed - began)
    for name, node in zip(names, nodes, strict=True):
        happened.append(Happened(name, began, healed, node if len(names) == 1 else None))


async def _swizzle(
    cluster: Cluster, rng: random.Random, history: History, happened: list[Happened]
) -> None:
    """Clog some edges one by one, and free them in another order."""
    links = [link for node in cluster.nodes for link in (node.front, node.back)]
    chosen = rng.sample(links, rng.randint(1, len(links)))
    began = time.monotonic()
    history.add("fault", names=["swizzle"])
    for link in chosen:
        rng.choice(EDGES)(link, rng)
        await asyncio.sleep(rng.uniform(0.05, 0.6))
    for link in rng.sample(chosen, len(chosen)):
        link.heal()
        await asyncio.sleep(rng.uniform(0.05, 0.6))
    happened.append(Happened("swizzle", began, time.monotonic(), None))
    await asyncio.sleep(rng.uniform(*REST_S))
