"""A query that runs again because a row changed: what it asks of Postgres, and what it costs."""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median
from typing import Any

import orjson

from parley.engine.live import LiveQuery
from parley.values import encode
from tests.load import servers
from tests.load.databases import (
    Postgres,
    conversation_id,
    create_database,
    seed_chat,
    user_name,
)
from tests.load.meters import Audience, Cpu, Figure, percentile_ms
from tests.load.parley_client import CONTENT, Device
from tests.load.run import Run
from tests.load.servers import Process
from tests.support.rig import Rig
from tests.support.tables import Fields, uuid

MESSAGES = 1000


def measure_hot(run: Run, postgres: Postgres, stack: ExitStack) -> None:
    """A conversation of 1,000 messages: run again in a server, and inside this process."""
    dsn = create_database(postgres, "hot")
    seed_chat(dsn, first=1, users=1, conversations=1, messages=MESSAGES)
    parley = stack.enter_context(servers.running_parley(dsn))
    for _ in run.rounds_of("hot"):
        run.measure("hot query", rerun(parley, run.seconds))
        run.note("result", built(run.seconds / 2))
        run.note("result of 1", built(run.seconds / 4, messages=1))


async def rerun(server: Process, seconds: float) -> Figure:
    """Change the title of a conversation that a device watches; count what Postgres is asked."""
    room = conversation_id(1)
    writer = await Device.open(server.port, user_name(1))
    query = ("conversations:get", {"conversationId": room})
    watching = await Device.open(server.port, user_name(1), [query])
    audience = Audience(1)
    watching.on_transition = audience.hear
    took_s: list[float] = []

    async def change() -> None:
        title = f"title {len(took_s)}"
        await writer.mutate("conversations:update", {"conversationId": room, "title": title})

    before, cpu = server.metrics(), Cpu(server)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or not took_s:
        took_s.append((await audience.hears(change))[0])
    used, after = cpu.per(len(took_s)), server.metrics()
    runs, loads = (
        after[name] - before[name]
        for name in ("parley_query_runs_total", "parley_range_loads_total")
    )
    for device in (writer, watching):
        device.client.close()
    return {
        "runs": runs,
        "loads_per_run": round(loads / runs, 4),
        "p50_ms": percentile_ms(took_s, 0.5),
        **used,
    }


class _Subscriber:
    """Hears that its query has run, and wants no frame made of it."""

    def query_settled(self, query_id: int, *, is_new: bool) -> None:
        assert is_new


def built(seconds: float, messages: int = MESSAGES) -> Figure:
    """Run a query of documents again for each change of one, in an engine without sockets.

    What is measured is from a commit in memory to the ready result. Beside it: joining the JSON of
    the same documents, which no way of making the result anew can do without. With one message,
    it is what any change costs: applying its commit, and running the function.
    """
    rig = Rig(*(_note(number, "000000") for number in range(messages)))
    query: LiveQuery = rig.engine.subscribe(rig.call("allOf", owner="ann"), None, _Subscriber(), 0)
    rig.run()
    assert query.result is not None
    documents = [encode(each) for each in orjson.loads(query.result.value)]
    built_s: list[float] = []
    join_s: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        rig.write(_note(len(built_s) % messages, f"{len(built_s) + 1:06d}"))
        rig.tail()
        started = time.perf_counter()
        joined = b",".join(documents)
        joined_at = time.perf_counter()
        rig.step()
        join_s.append(joined_at - started)
        built_s.append(time.perf_counter() - joined_at)
    assert len(joined) == len(query.result.value) - 2  # its brackets
    return {
        "build_us": round(median(built_s) * 1e6, 1),
        "join_us": round(median(join_s) * 1e6, 1),
        "bytes": len(joined),
    }


def _note(number: int, text: str) -> Fields:
    more: dict[str, Any] = {"content": CONTENT, "text": text}
    return {
        "_id": uuid(number + 1),
        "_creationTime": float(number),
        "owner": "ann",
        "rank": number,
        "more": more,
    }
