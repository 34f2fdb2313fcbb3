"""What the harness's clients call. Each result is a function of the rows alone.

That is what lets `tests/faults/model.py` say the same again, in other words, from the log.
"""

from __future__ import annotations

from typing import Any

from parley import (
    ActionCtx,
    AppError,
    Document,
    MutationCtx,
    PaginationOptions,
    PaginationResult,
    QueryCtx,
    action,
    mutation,
    query,
)

KEPT = 40  # items of one topic; the oldest goes when another comes
LONGEST_NOTE = 400


# Lists (workload 1).


async def add(ctx: MutationCtx, topic: str, value: int) -> dict[str, Any]:
    """Add a value to the end of a topic; drop the first one of a long topic."""
    items = ctx.db.query("items").with_index("by_topic", topic=topic)
    last = await items.order("desc").first()
    first = await items.first()
    pos = 0 if last is None else last["pos"] + 1
    await ctx.db.insert("items", {"topic": topic, "pos": pos, "value": value})
    dropped = None
    if first is not None and pos - first["pos"] >= KEPT:
        dropped = first["value"]
        await ctx.db.delete("items", first["_id"])
    return {"pos": pos, "previous": None if last is None else last["value"], "dropped": dropped}


@mutation(spacing_s=0.05, spaced_by="topic")
async def append(ctx: MutationCtx, topic: str, value: int) -> dict[str, Any]:
    """Add a value to the end of a topic."""
    return await add(ctx, topic, value)


@mutation
async def post(ctx: MutationCtx, topic: str, value: int) -> dict[str, Any]:
    """Add a value to the end of a topic, and say which: calls without a session are known by it."""
    return {**await add(ctx, topic, value), "value": value}


@action
async def relay(ctx: ActionCtx, topic: str, value: int) -> dict[str, Any]:
    """Post a value, then look."""
    posted = await ctx.run_mutation("app:post", {"topic": topic, "value": value})
    tail = await ctx.run_query("app:tail", {"topic": topic, "count": 3})
    return {"posted": posted, "tail": tail}


@mutation
async def move(ctx: MutationCtx, source: str, target: str) -> int | None:
    """Move the first item of a topic to the end of another; return its value."""
    first = await ctx.db.query("items").with_index("by_topic", topic=source).first()
    if first is None:
        return None
    last = await ctx.db.query("items").with_index("by_topic", topic=target).order("desc").first()
    pos = 0 if last is None else last["pos"] + 1
    await ctx.db.patch("items", first["_id"], {"topic": target, "pos": pos})
    value: int = first["value"]
    return value


@mutation
async def refused(ctx: MutationCtx, topic: str) -> None:
    """Write what Postgres refuses."""
    await ctx.db.insert("items", {"topic": topic, "pos": 0, "value": -1})


@query
async def topic(ctx: QueryCtx, topic: str) -> list[Document]:
    """Return the items of a topic, whole."""
    return await ctx.db.query("items").with_index("by_topic", topic=topic).collect()


@query
async def page(
    ctx: QueryCtx, topic: str, pagination_opts: PaginationOptions
) -> PaginationResult[Document]:
    """Return a page of a topic, from its end on."""
    items = ctx.db.query("items").with_index("by_topic", topic=topic)
    return await items.order("desc").paginate(pagination_opts)


@query
async def tail(ctx: QueryCtx, topic: str, count: int) -> list[int]:
    """Return the last values of a topic, the newest first."""
    items = ctx.db.query("items").with_index("by_topic", topic=topic).order("desc")
    return [item["value"] for item in await items.take(count)]


@query
async def after(ctx: QueryCtx, topic: str, pos: int, count: int) -> list[int]:
    """Return the first values behind a position."""
    items = ctx.db.query("items").with_index("by_topic", topic=topic).gt(pos=pos)
    return [item["value"] for item in await items.take(count)]


# A ring (workload 2).


async def cell(ctx: QueryCtx, name: int) -> Document:
    """Return a cell of the ring."""
    found = await ctx.db.query("cells").with_index("by_name", name=name).unique()
    assert found is not None
    return found


@mutation
async def swap(ctx: MutationCtx, at: int) -> list[int]:
    """Turn a -> b -> c -> d into a -> c -> b -> d; return the names of a, b, c, d."""
    a = await cell(ctx, at)
    b = await cell(ctx, a["next"])
    c = await cell(ctx, b["next"])
    await ctx.db.patch("cells", a["_id"], {"next": c["name"]})
    await ctx.db.patch("cells", c["_id"], {"next": b["name"]})
    await ctx.db.patch("cells", b["_id"], {"next": c["next"]})
    return [a["name"], b["name"], c["name"], c["next"]]


@query
async def ring(ctx: QueryCtx) -> list[int]:
    """Return where each cell leads to, by name."""
    cells = await ctx.db.query("cells").with_index("by_name").collect()
    return [found["next"] for found in cells]


# Money (workload 3).


async def account(ctx: QueryCtx, name: int) -> Document | None:
    """Return an account."""
    return await ctx.db.query("accounts").with_index("by_name", name=name).unique()


@mutation
async def transfer(ctx: MutationCtx, source: int, target: int, amount: int) -> list[int]:
    """Move money; return both balances. Fails where there is not enough."""
    payer, payee = await account(ctx, source), await account(ctx, target)
    assert payer is not None
    assert payee is not None
    if payer["balance"] < amount:
        raise AppError("not enough")
    await ctx.db.patch("accounts", payer["_id"], {"balance": payer["balance"] - amount})
    await ctx.db.patch("accounts", payee["_id"], {"balance": payee["balance"] + amount})
    return [payer["balance"] - amount, payee["balance"] + amount]


@mutation
async def audit(ctx: MutationCtx) -> int:
    """Return the sum of all balances, and write nothing."""
    return sum([row["balance"] for row in await ctx.db.query("accounts").collect()])


@query
async def total(ctx: QueryCtx) -> int:
    """Return the sum of all balances."""
    return sum([row["balance"] for row in await ctx.db.query("accounts").collect()])


@query
async def balance(ctx: QueryCtx, name: int) -> int | None:
    """Return one balance; None where there is no such account."""
    found = await account(ctx, name)
    return None if found is None else found["balance"]


# Streaming (workload 4).


@mutation(spacing_s=0.1, spaced_by="name")
async def write(ctx: MutationCtx, name: str, chunk: str) -> int:
    """Add to the end of a note, or begin it anew when it is long; return its length before."""
    note_row = await ctx.db.query("notes").with_index("by_name", name=name).unique()
    if note_row is None:
        await ctx.db.insert("notes", {"name": name, "content": chunk})
        return 0
    before = len(note_row["content"])
    content = chunk if before > LONGEST_NOTE else note_row["content"] + chunk
    await ctx.db.patch("notes", note_row["_id"], {"content": content})
    return before


@query
async def note(ctx: QueryCtx, name: str) -> str | None:
    """Return a note."""
    found = await ctx.db.query("notes").with_index("by_name", name=name).unique()
    return None if found is None else found["content"]


# Tenants


@mutation
async def keep(ctx: MutationCtx, body: str) -> int:
    """Keep a secret of the caller; return how many there were. The first goes when there are 9."""
    identity = await ctx.auth.get_user_identity()
    if identity is None:
        raise AppError("Not authenticated")
    owner = identity["subject"]
    kept = await ctx.db.query("secrets").with_index("by_owner", owner=owner).collect()
    if len(kept) > 8:
        await ctx.db.delete("secrets", kept[0]["_id"])
    await ctx.db.insert("secrets", {"owner": owner, "body": body})
    return len(kept)


@query
async def mine(ctx: QueryCtx) -> list[str]:
    """Return the secrets of the caller."""
    identity = await ctx.auth.get_user_identity()
    if identity is None:
        return []
    secrets = ctx.db.query("secrets").with_index("by_owner", owner=identity["subject"])
    return [secret["body"] for secret in await secrets.collect()]


# Parents and children


@mutation
async def pin(ctx: MutationCtx, board: str, title: str) -> int:
    """Put a card on a board, made if need be; return how many there were."""
    found = await ctx.db.query("boards").with_index("by_name", name=board).unique()
    board_id = found["_id"] if found else await ctx.db.insert("boards", {"name": board})
    cards = await ctx.db.query("cards").with_index("by_board", boardId=board_id).collect()
    await ctx.db.insert("cards", {"boardId": board_id, "title": title})
    return len(cards)


@mutation
async def clear(ctx: MutationCtx, board: str) -> bool:
    """Remove a board; its cards go with it."""
    found = await ctx.db.query("boards").with_index("by_name", name=board).unique()
    if found is None:
        return False
    await ctx.db.delete("boards", found["_id"])
    return True


@query
async def board(ctx: QueryCtx, name: str) -> list[str] | None:
    """Return the titles on a board; None where there is no such board."""
    found = await ctx.db.query("boards").with_index("by_name", name=name).unique()
    if found is None:
        return None
    cards = await ctx.db.query("cards").with_index("by_board", boardId=found["_id"]).collect()
    return [card["title"] for card in cards]
