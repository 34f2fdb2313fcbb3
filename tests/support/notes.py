"""Functions over the tables of `tests.support.tables`, for the tests of the engine."""

from __future__ import annotations

from typing import Any

from parley import AppError, MutationCtx, PaginationOptions, QueryCtx, mutation, query


@query
async def all_of(ctx: QueryCtx, owner: str) -> Any:
    """All notes of an owner."""
    return await ctx.db.query("notes").with_index("by_owner", owner=owner).collect()


@query
async def rearranged(ctx: QueryCtx, owner: str) -> Any:
    """All notes of an owner: in another order, some twice, some changed, and changed after use."""
    notes: list[Any] = await ctx.db.query("notes").with_index("by_owner", owner=owner).collect()
    shown = {"notes": notes, "in": {"odd": [notes[1::2], notes[:1]]}, "count": len(notes)}
    if notes:
        notes.insert(0, notes.pop())
        notes.append(notes[len(notes) // 2])
        notes[0].get("more", {})["content"] = "only here"
    if len(notes) % 3 == 0:
        notes[1] = {**notes[1], "rank": True}
    return shown


@query
async def top(ctx: QueryCtx, owner: str, count: int) -> Any:
    """The highest ranks of an owner."""
    ranked = ctx.db.query("notes").with_index("by_owner_rank", owner=owner)
    return [note["_id"] for note in await ranked.gte(rank=0).order("desc").take(count)]


@query
async def one(ctx: QueryCtx, id: str) -> Any:
    """A note by id."""
    return await ctx.db.get("notes", id)


@query
async def scored(ctx: QueryCtx, above: float) -> Any:
    """How many notes score above a mark: an index without keys."""
    return len(await ctx.db.query("notes").with_index("by_score").gt(score=above).collect())


@query
async def page(ctx: QueryCtx, owner: str, pagination_opts: PaginationOptions) -> Any:
    """A page of an owner's notes."""
    notes = ctx.db.query("notes").with_index("by_owner", owner=owner)
    return await notes.paginate(pagination_opts)


@query
async def mine(ctx: QueryCtx) -> Any:
    """The caller's notes."""
    caller = await ctx.auth.get_user_identity()
    if caller is None:
        return None
    notes = ctx.db.query("notes").with_index("by_owner", owner=caller["subject"])
    return [note["_id"] for note in await notes.collect()]


@query
async def mine_if_any(ctx: QueryCtx, owner: str) -> Any:
    """Who asks, if the owner has a note: looks at the caller only after a read."""
    if await ctx.db.query("notes").with_index("by_owner", owner=owner).first() is None:
        return "nothing"
    caller = await ctx.auth.get_user_identity()
    return caller and caller["subject"]


@query
async def fragile(ctx: QueryCtx, owner: str) -> Any:
    """The rank of an owner's only note; fails when it is not the only one."""
    note = await ctx.db.query("notes").with_index("by_owner", owner=owner).unique()
    return note and note.get("rank")


@query
async def fragile_list(ctx: QueryCtx, owner: str) -> Any:
    """An owner's notes; fails while one ranks below 0."""
    notes = await ctx.db.query("notes").with_index("by_owner", owner=owner).collect()
    if any(note.get("rank", 0) < 0 for note in notes):
        raise AppError("below 0")
    return notes


@query
async def nothing(ctx: QueryCtx) -> Any:
    """Read nothing."""
    return "nothing"


@mutation
async def put(ctx: MutationCtx, id: str, owner: str, rank: int) -> Any:
    """Make a note, or give an existing one this owner and rank."""
    if await ctx.db.get("notes", id) is None:
        return await ctx.db.insert("notes", {"_id": id, "owner": owner, "rank": rank})
    await ctx.db.patch("notes", id, {"owner": owner, "rank": rank})
    return id


@mutation
async def bump(ctx: MutationCtx, id: str) -> Any:
    """Add one to the rank of a note and return it; make the note where there is none."""
    note = await ctx.db.get("notes", id)
    if note is None:
        await ctx.db.insert("notes", {"_id": id, "owner": "bump", "rank": 1})
        return 1
    rank = note.get("rank", 0) + 1
    await ctx.db.patch("notes", id, {"rank": rank})
    return rank


@mutation(spacing_s=0.1, spaced_by="id")
async def stretch(ctx: MutationCtx, id: str) -> Any:
    """Do as `bump`, ten times a second for each note at most."""
    return await bump(ctx, id)


@mutation
async def remove(ctx: MutationCtx, id: str) -> Any:
    """Delete a note; an error where there is none."""
    if await ctx.db.get("notes", id) is None:
        raise AppError("no such note")
    await ctx.db.delete("notes", id)


@mutation
async def copy_rank(ctx: MutationCtx, to: str, id: str) -> Any:
    """Write first, then read: make the note `to`, and give it the rank of another."""
    await ctx.db.insert("notes", {"_id": to, "owner": "copy"})
    other = await ctx.db.get("notes", id)
    await ctx.db.patch("notes", to, {"rank": other and other.get("rank")})


@mutation
async def count(ctx: MutationCtx, owner: str) -> Any:
    """Count an owner's notes and write nothing."""
    return len(await ctx.db.query("notes").with_index("by_owner", owner=owner).collect())


@mutation
async def fail(ctx: MutationCtx, id: str) -> Any:
    """Write, then fail with the rank that was read."""
    note = await ctx.db.get("notes", id)
    await ctx.db.insert("notes", {"owner": "never"})
    raise AppError(note and note.get("rank"))


@mutation
async def say(ctx: MutationCtx, size: int) -> Any:
    """Return a text of this size."""
    return "x" * size


@mutation
async def parent_name(ctx: MutationCtx, id: str) -> Any:
    """Read a parent's name."""
    parent = await ctx.db.get("parents", id)
    return parent and parent["name"]


@mutation
async def remove_parent(ctx: MutationCtx, id: str) -> Any:
    """Delete a parent, and with it, in Postgres, its children."""
    await ctx.db.delete("parents", id)


@mutation(internal=True)
async def hidden(ctx: MutationCtx) -> Any:
    """For other functions only."""
    return await ctx.db.insert("notes", {"owner": "hidden"})
