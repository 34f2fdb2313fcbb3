"""Small functions that show one behaviour each; tables in `tests/support/probe.sql`."""

from __future__ import annotations

import asyncio
from typing import Any, TypedDict

from parley import (
    UNSET,
    ActionCtx,
    AppError,
    Document,
    MutationCtx,
    Opt,
    PaginationOptions,
    PaginationResult,
    QueryCtx,
    action,
    mutation,
    query,
)

MAX_COUNT = 3


class Point(TypedDict):
    """A nested argument."""

    x: float
    y: float


@query
async def echo(ctx: QueryCtx, value: Any) -> Any:
    """Return `value`."""
    return value


@query
async def typed(ctx: QueryCtx, text: str, point: Opt[Point] = UNSET) -> str:
    """Return `text`; for arguments of the wrong type."""
    return text


@query
async def who(ctx: QueryCtx) -> str | None:
    """Return the caller's subject."""
    identity = await ctx.auth.get_user_identity()
    return None if identity is None else identity["subject"]


@query
async def now(ctx: QueryCtx) -> int:
    """Return the time of the call in ms."""
    return ctx.now()


async def counter(ctx: QueryCtx, name: str) -> Document | None:
    """Return the row of a counter."""
    return await ctx.db.query("counters").with_index("by_name", name=name).unique()


@query
async def count(ctx: QueryCtx, name: str) -> float:
    """Return what a counter says."""
    row = await counter(ctx, name)
    return row["value"] if row else 0


@query
async def fussy(ctx: QueryCtx, name: str) -> float:
    """Return what a counter says; fail while it is above `MAX_COUNT`."""
    value: float = await count(ctx, name)
    if value > MAX_COUNT:
        raise AppError({"code": "TooHigh", "limit": MAX_COUNT})
    return value


@mutation
async def add(ctx: MutationCtx, name: str, amount: float = 1) -> float:
    """Add to a counter and return what it says then."""
    row = await counter(ctx, name)
    if row is None:
        await ctx.db.insert("counters", {"name": name, "value": amount})
        return amount
    value: float = row["value"] + amount
    await ctx.db.patch("counters", row["_id"], {"value": value})
    return value


@mutation(spacing_s=0.1, spaced_by="name")
async def add_spaced(ctx: MutationCtx, name: str) -> float:
    """Do as `add`, ten times a second for each counter at most."""
    return await add(ctx, name)


@mutation
async def refuse(ctx: MutationCtx, data: Any) -> None:
    """Write something, then fail with `data`."""
    await ctx.db.insert("entries", {"topic": "refused", "position": 0, "body": "never there"})
    raise AppError(data)


@mutation
async def crash(ctx: MutationCtx, text: str = "boom") -> None:
    """Fail as code with a mistake does."""
    raise ValueError(text)


@mutation
async def append(ctx: MutationCtx, topic: str, position: float, body: str) -> str:
    """Add an entry and return its id."""
    return await ctx.db.insert("entries", {"topic": topic, "position": position, "body": body})


@mutation
async def remove(ctx: MutationCtx, topic: str, body: str) -> None:
    """Remove the entries that say `body`."""
    for row in await ctx.db.query("entries").with_index("by_topic", topic=topic).collect():
        if row["body"] == body:
            await ctx.db.delete("entries", row["_id"])


@query
async def bodies(ctx: QueryCtx, topic: str) -> list[str]:
    """Return what the entries of a topic say, by position."""
    rows = await ctx.db.query("entries").with_index("by_topic", topic=topic).collect()
    return [row["body"] for row in rows]


@query
async def page(
    ctx: QueryCtx, topic: str, pagination_opts: PaginationOptions
) -> PaginationResult[Document]:
    """Return one page of a topic's entries."""
    return (
        await ctx.db.query("entries").with_index("by_topic", topic=topic).paginate(pagination_opts)
    )


@mutation
async def put(ctx: MutationCtx, name: str, value: Any) -> None:
    """Store any value under a name."""
    row = await ctx.db.query("boxes").with_index("by_name", name=name).unique()
    if row is None:
        await ctx.db.insert("boxes", {"name": name, "value": value})
    else:
        await ctx.db.patch("boxes", row["_id"], {"value": value})


@query
async def take(ctx: QueryCtx, name: str) -> Any:
    """Return the value stored under a name; None when there is none."""
    row = await ctx.db.query("boxes").with_index("by_name", name=name).unique()
    return row.get("value") if row else None


@action
async def slow_add(ctx: ActionCtx, name: str, wait_s: float) -> list[float]:
    """Wait, add 1 to a counter, and return what it said before and after."""
    await asyncio.sleep(wait_s)
    before: float = await ctx.run_query("probe:count", {"name": name})
    after: float = await ctx.run_mutation("probe:add", {"name": name})
    return [before, after]
