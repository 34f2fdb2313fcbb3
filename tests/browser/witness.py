"""What really is in the database, and when it is there."""

from __future__ import annotations

from typing import TypeAlias

import asyncpg
import httpx

from tests.support.client import open_client
from tests.support.server import Server

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def until_committed(server: Server, topic: str, *bodies: str) -> None:
    """Wait until the server has committed these entries of a topic, whatever their sender knows."""
    async with open_client(server.url) as witness:
        watched = await witness.subscribe("probe:bodies", {"topic": topic})
        await witness.until(lambda: witness.results[watched] == list(bodies))


async def entries(database: Database, topic: str) -> list[str]:
    """Return the entries of a topic in the order in which they were written."""
    rows = await database.fetch(
        "select body from entries where topic = $1 order by creation_time, id", topic
    )
    return [row["body"] for row in rows]


async def titles(database: Database, subject: str) -> list[str]:
    """Return the titles of a user's conversations in the order in which they were written."""
    rows = await database.fetch(
        "select c.title from conversations c join users u on u.id = c.user_id"
        " where u.supabase_user_id = $1 order by c.creation_time, c.id",
        subject,
    )
    return [row["title"] for row in rows]


async def metric(server: Server, name: str) -> float:
    """Return what a metric of the server says now."""
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, verify=False) as http:
        page = (await http.get("/metrics")).text
    [line] = [line for line in page.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def dev_token(server: Server, subject: str) -> str:
    """Return a token of development mode."""
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, verify=False) as http:
        token: str = (await http.get("/dev/token", params={"sub": subject})).json()["token"]
        return token
