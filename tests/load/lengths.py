"""What a message costs in a conversation of 10 and of 10,000: as a patch, and as a whole result."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

from tests.load import servers
from tests.load.databases import (
    Postgres,
    conversation_id,
    create_database,
    seed_chat,
    user_name,
)
from tests.load.fanout import raw_fan_out
from tests.load.meters import Audience, Figure, percentile_ms
from tests.load.parley_client import CONTENT, SYNC, WITH_PATCHES, Device, opened
from tests.load.run import Run, swapped
from tests.load.servers import Process

LENGTHS = (10, 100, 1000, 10_000)
WATCHING = 10  # devices
_WARM = 3


def measure_lengths(run: Run, postgres: Postgres, stack: ExitStack) -> None:
    """A message more, for devices that take patches and for others, beside as many raw bytes."""
    dsn = create_database(postgres, "lengths")
    for length in LENGTHS:
        seed_chat(dsn, first=length, users=1, conversations=1, messages=length)
    parley = stack.enter_context(servers.running_parley(dsn))
    raw = stack.enter_context(servers.running_raw(postgres))
    seconds = run.seconds / 2
    for number in run.rounds_of("lengths"):
        lengths = swapped(LENGTHS, number)
        for length in lengths:  # one behind the other: they are compared
            run.measure(
                f"patched, {length} messages", pushed(parley, length, seconds, WITH_PATCHES)
            )
        for length in lengths:
            whole = run.measure(f"whole, {length} messages", pushed(parley, length, seconds, SYNC))
            run.measure(
                f"raw, {length} messages",
                raw_fan_out(raw, WATCHING, seconds, round(whole["frame_bytes"])),
            )


async def pushed(server: Process, length: int, seconds: float, path: str) -> Figure:
    """Messages added to a conversation that devices watch; each is removed again, not measured.

    So the conversation stays as long as it is. What is measured of an addMessage is all that the
    server does for it, shared by the devices that it is pushed to.
    """
    user, room = user_name(length), conversation_id(length)
    writer = await Device.open(server.port, user)
    query = ("conversations:get", {"conversationId": room})
    watching = await opened(server.port, [user] * WATCHING, lambda _: [query], path)
    audience = Audience(WATCHING)
    for device in watching:
        device.on_transition = audience.hear
    message = {"conversationId": room, "role": "user", "content": CONTENT}
    added: list[str] = []

    async def add() -> None:
        added.append(await writer.mutate("conversations:addMessage", message))

    async def remove() -> None:
        await writer.mutate("messages:remove", {"messageId": added.pop()})

    took_s, used_s, own_s, size = [], 0.0, 0.0, 0
    until = time.perf_counter() + seconds
    count = -_WARM
    while time.perf_counter() < until or count < _WARM:
        before = audience.bytes
        cpu, own = server.cpu_s(), time.process_time()
        took, _ = await audience.hears(add)
        if count >= 0:
            used_s += server.cpu_s() - cpu
            own_s += time.process_time() - own
            size += audience.bytes - before
            took_s.append(took)
        count += 1
        await audience.hears(remove)
    for device in [writer, *watching]:
        device.client.close()
    await asyncio.sleep(0.1)
    pushes = count * WATCHING
    return {
        "server_cpu_us": round(used_s / pushes * 1e6, 1),
        "generator_cpu_us": round(own_s / pushes * 1e6, 1),
        "frame_bytes": round(size / pushes),
        "last_device_p50_ms": percentile_ms(took_s, 0.5),
    }
