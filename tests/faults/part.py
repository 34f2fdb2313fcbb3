"""One part of a run: everybody works while things break, then all is healed and comes to rest."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any

from tests.faults.callers import FIRST_NUMBER as CALLERS_FROM
from tests.faults.callers import Caller
from tests.faults.cluster import Cluster
from tests.faults.faults import Happened
from tests.faults.official import FIRST_NUMBER, PACKAGES, OfficialClients
from tests.faults.people import People
from tests.faults.report import Options
from tests.faults.schedule import run_schedule
from tests.faults.workloads import Outsider
from tests.support.server import token

CONVERGE_S = 15.0
# Official clients that could not connect for a while wait for up to 16 s, half as much again by
# chance, before they try again (RELIABILITY.md I16).
OFFICIALS_CONVERGE_S = 24.0 + 5.0


class Part:
    """What is the same in every part of a run.

    Attributes:
        began: when the last one did, monotonic.
        happened: its faults.
        converged_s: seconds from its last heal until everybody was current.
        length_s: how long each is, but for the last.
        work_s: how long everybody worked, in all.
    """

    def __init__(
        self, options: Options, cluster: Cluster, people: People, rng: random.Random
    ) -> None:
        self.cluster = cluster
        self.people = people
        self.happened: list[Happened] = []
        self.began = self.converged_s = self.work_s = 0.0
        self.length_s = options.part_s
        self._next_official = FIRST_NUMBER
        self._options = options
        self._rng = rng
        self._outsiders = [
            Outsider(number, cluster.connect, people.history, self._chance(), 0.15)
            for number in range(options.outsiders)
        ]

        urls = [node.url for node in cluster.nodes]
        self._callers = [
            Caller(number, urls, token(f"u{number}"), people.history, self._chance(), 0.15)
            for number in range(CALLERS_FROM, CALLERS_FROM + options.callers)
        ]

    def _chance(self) -> random.Random:
        return random.Random(self._rng.getrandbits(64))

    async def run(self, seconds: float) -> bool:
        """Do it; return whether everybody came to rest."""
        options = self._options
        self.began = time.monotonic()
        officials = self._officials()
        acts: list[Coroutine[Any, Any, None]] = [
            *[user.run(options.schedule) for user in self.people.users],
            *[outsider.run() for outsider in self._outsiders],
        ]
        work = [asyncio.create_task(act) for act in acts]
        # Where it is quiet nobody may make a node look at the log.
        callers = self._callers if options.schedule != "quiet" else []
        calls = [asyncio.create_task(caller.run()) for caller in callers]
        try:
            for group in officials:
                await self._start(group)
            await asyncio.sleep(1.0)
            self.happened = await run_schedule(
                options.schedule,
                self.cluster,
                self._chance(),
                seconds,
                self.people.history,
                options.only,
            )
        except BaseException:
            for group in officials:
                await group.stop()
            raise
        finally:
            for task in work:
                task.cancel()
            for caller in self._callers:
                caller.is_stopped = True
            ended = await asyncio.gather(*work, *calls, return_exceptions=True)
        self.work_s += time.monotonic() - self.began
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome
        has_settled = await self._converge(officials)
        for group in officials:
            await group.stop()
        return has_settled

    def _officials(self) -> list[OfficialClients]:
        """Return a process of npm's clients, and one for each of PyPI's.

        They are new ones each time: what they held before is no concern of theirs.
        """
        counts = [self._options.officials] if self._options.officials else []
        found = []
        for count in (*counts, *[1] * self._options.pythons):
            numbers = range(self._next_official, self._next_official + count)
            self._next_official += count
            is_npm = bool(counts) and not found
            found.append(OfficialClients(self.people.history, numbers, is_npm=is_npm))
        return found

    async def _start(self, group: OfficialClients) -> None:
        """Start clients, npm's of the one version or the other, on all nodes."""
        nodes, options = self.cluster.nodes, self._options
        urls = [nodes[number % len(nodes)].url for number in group.numbers]
        tokens = [token(f"u{number}") for number in group.numbers]
        if group.is_npm:
            package = PACKAGES[options.seed % len(PACKAGES)]
            await group.start(package, options.seed, options.think_s, urls, tokens)
        else:
            await group.start_python(options.think_s, urls[0], tokens[0])

    async def _converge(self, officials: list[OfficialClients]) -> bool:
        """Everybody has an answer to everything and stands at the newest state, soon."""
        healed = time.monotonic()
        history = self.people.history
        tasks = {asyncio.create_task(client.settle()): client for client in self.people.clients}
        settled = asyncio.create_task(_settle(officials))
        done, late = await asyncio.wait(tasks, timeout=CONVERGE_S)
        self.converged_s = time.monotonic() - healed
        for task in done:
            task.result()
        await asyncio.wait([settled], timeout=OFFICIALS_CONVERGE_S - self.converged_s)
        if not settled.done():
            settled.cancel()
            history.violation(f"official clients did not converge in {OFFICIALS_CONVERGE_S} s")
        for task in late:
            task.cancel()
            client = tasks[task]
            history.violation(
                f"client {client.number} (node {client.node}) did not converge in {CONVERGE_S} s: "
                f"{len(client.pending)} mutations without an end, the first "
                f"{next(iter(client.pending.values()), None)}"
            )
        await asyncio.gather(*late, return_exceptions=True)
        return settled.done() and not late


async def _settle(officials: list[OfficialClients]) -> None:
    await asyncio.gather(*[group.settle() for group in officials])
