"""What those cost that nothing happens to: 20,000 subscriptions beside one who writes."""

from __future__ import annotations

from contextlib import ExitStack

from tests.load import servers
from tests.load.databases import (
    Postgres,
    conversation_id,
    create_database,
    seed_chat,
    user_name,
)
from tests.load.parley_client import Device, opened
from tests.load.run import Run, swapped
from tests.load.servers import Process
from tests.load.writes import add_messages

CONNECTIONS, EACH = 40, 500  # and the queries that each of them subscribes to
IDLE = CONNECTIONS * EACH


def measure_idle(run: Run, postgres: Postgres, stack: ExitStack) -> None:
    """addMessage on a server without subscriptions and on one with 20,000 that it is not about."""
    nodes = {}
    for count in (0, IDLE):
        dsn = create_database(postgres, f"idle_{count}")
        seed_chat(dsn, first=1, users=CONNECTIONS, conversations=EACH, messages=1)
        nodes[count] = stack.enter_context(servers.running_parley(dsn))
    idle = run.wait_for(_subscribed(nodes[IDLE]))
    for device in idle:
        stack.callback(device.client.close)
    for number in run.rounds_of("idle"):
        for clients in (1, 32):
            for count, node in swapped(nodes.items(), number):
                run.measure(
                    f"addMessage {clients}, {count} idle",
                    add_messages(node, clients, run.seconds),
                )


async def _subscribed(server: Process) -> list[Device]:
    """Return devices of different users, each with a query on each of its conversations."""
    users = range(1, CONNECTIONS + 1)
    devices = await opened(
        server.port,
        [user_name(user) for user in users],
        lambda index: [
            ("conversations:get", {"conversationId": conversation_id(users[index], number)})
            for number in range(EACH)
        ],
    )
    found = server.metrics()["parley_live_queries"]
    if found != IDLE:
        raise RuntimeError(f"{found:.0f} live queries instead of {IDLE}")
    return devices
