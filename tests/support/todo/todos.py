"""What members do with the todos of their lists."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from parley import (
    UNSET,
    ActionCtx,
    AppError,
    Int64,
    MutationCtx,
    Opt,
    QueryCtx,
    Table,
    TableId,
    action,
    mutation,
    query,
)

ListId = Annotated[str, TableId("todo_lists")]
TodoId = Annotated[str, TableId("todos")]


class Todo(TypedDict):
    _id: TodoId
    _creationTime: float
    listId: ListId
    what: str
    isDone: bool
    rank: float
    effort: int
    cost: NotRequired[Int64]
    due: NotRequired[float]
    photo: NotRequired[bytes]


TODOS = Table("todos", Todo)


async def check_member(ctx: QueryCtx, list_id: str, *, to_edit: bool = False) -> None:
    identity = await ctx.auth.get_user_identity()
    member = identity and (
        await ctx.db.query("todo_members")
        .with_index("by_member", member=identity["subject"], listId=list_id)
        .unique()
    )
    if not member or (to_edit and not member["canEdit"]):
        raise AppError({"code": "NotAllowed"})


@query
async def open_(ctx: QueryCtx, list_id: ListId, above: Opt[float] = UNSET) -> list[Todo]:
    """Return the first three open todos by rank."""
    await check_member(ctx, list_id)
    found = ctx.db.query(TODOS).with_index("by_rank", listId=list_id, isDone=False)
    return await (found if above is UNSET else found.gt(rank=above)).take(3)


@query
async def due(ctx: QueryCtx, list_id: ListId, since: float, until: float) -> list[Todo]:
    await check_member(ctx, list_id)
    by_due = ctx.db.query(TODOS).with_index("by_due", listId=list_id)
    return await by_due.range(due=(since, until)).order("desc").collect()


@query
async def whenever(ctx: QueryCtx, list_id: ListId) -> list[Todo]:
    """Return the todos that are due at no time."""
    await check_member(ctx, list_id)
    return await ctx.db.query(TODOS).with_index("by_due", listId=list_id, due=None).collect()


@mutation
async def create_list(ctx: MutationCtx, title: str) -> ListId:
    identity = await ctx.auth.get_user_identity()
    if identity is None:
        raise AppError({"code": "NotAllowed"})
    list_id = await ctx.db.insert("todo_lists", {"title": title})
    owner = {"listId": list_id, "member": identity["subject"], "canEdit": True}
    await ctx.db.insert("todo_members", owner)
    return list_id


@mutation
async def share(ctx: MutationCtx, list_id: ListId, member: str, can_edit: bool) -> None:
    await check_member(ctx, list_id, to_edit=True)
    await ctx.db.insert("todo_members", {"listId": list_id, "member": member, "canEdit": can_edit})


@mutation
async def add(
    ctx: MutationCtx,
    list_id: ListId,
    what: str,
    rank: float,
    effort: int,
    cost: Opt[Int64] = UNSET,
    due: Opt[float] = UNSET,
    photo: Opt[bytes] = UNSET,
) -> TodoId:
    await check_member(ctx, list_id, to_edit=True)
    todo = {"listId": list_id, "what": what, "rank": rank, "effort": effort, "isDone": False}
    return await ctx.db.insert(TODOS, {**todo, "cost": cost, "due": due, "photo": photo})


@mutation
async def change(
    ctx: MutationCtx, todo_id: TodoId, is_done: Opt[bool] = UNSET, due: Opt[float | None] = UNSET
) -> None:
    """Finish or reopen a todo; a `due` of null takes its date away."""
    todo = await ctx.db.get(TODOS, todo_id)
    if todo is None:
        raise AppError({"code": "NotAllowed"})
    await check_member(ctx, todo["listId"], to_edit=True)
    await ctx.db.patch(TODOS, todo_id, {"isDone": is_done, "due": due})


@mutation(internal=True)
async def drop_done(ctx: MutationCtx, list_id: ListId) -> int:
    await check_member(ctx, list_id, to_edit=True)
    done = await ctx.db.query(TODOS).with_index("by_rank", listId=list_id, isDone=True).collect()
    for todo in done:
        await ctx.db.delete(TODOS, todo["_id"])
    return len(done)


@action
async def tidy(ctx: ActionCtx, list_id: ListId) -> dict[str, int]:
    """Drop what is done; say how much that was, and how much is left without a date."""
    dropped = await ctx.run_mutation("todos:dropDone", {"listId": list_id})
    left = await ctx.run_query("todos:whenever", {"listId": list_id})
    return {"dropped": dropped, "undated": len(left)}
