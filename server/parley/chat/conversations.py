"""The caller's conversations."""

from __future__ import annotations

from parley import (
    UNSET,
    AppError,
    MutationCtx,
    Opt,
    PaginationOptions,
    PaginationResult,
    QueryCtx,
    mutation,
    query,
)
from parley.chat.client_ids import find_repeat
from parley.chat.model import (
    CONVERSATIONS,
    MESSAGES,
    Citation,
    Conversation,
    ConversationId,
    ConversationWithMessages,
    MessageId,
    Role,
    ToolInvocation,
    User,
    no_page,
)
from parley.chat.users import current_user, require_user


@query
async def list_(ctx: QueryCtx) -> list[Conversation]:
    """Return all conversations of the caller, the last changed first; none when signed out."""
    user = await current_user(ctx)
    if user is None:
        return []
    return (
        await ctx.db.query(CONVERSATIONS)
        .with_index("by_user_updated", userId=user["_id"])
        .order("desc")
        .collect()
    )


@query
async def list_page(
    ctx: QueryCtx, pagination_opts: PaginationOptions
) -> PaginationResult[Conversation]:
    """Return a page of `list`."""
    user = await current_user(ctx)
    if user is None:
        return no_page()
    return (
        await ctx.db.query(CONVERSATIONS)
        .with_index("by_user_updated", userId=user["_id"])
        .order("desc")
        .paginate(pagination_opts)
    )


@query
async def get(ctx: QueryCtx, conversation_id: ConversationId) -> ConversationWithMessages | None:
    """Return a conversation with its messages, oldest first; null unless it is the caller's."""
    conversation = await find_own(ctx, conversation_id)
    if conversation is None:
        return None
    messages = (
        await ctx.db.query(MESSAGES)
        .with_index("by_conversation", conversationId=conversation_id)
        .order("asc")
        .collect()
    )
    return {**conversation, "messages": messages}


@mutation
async def create(
    ctx: MutationCtx,
    title: Opt[str] = UNSET,
    model: Opt[str] = UNSET,
    id: Opt[ConversationId] = UNSET,
) -> ConversationId:
    """Add an empty conversation and return its id.

    A client may make the id itself, a UUIDv7: a repeat with the same title and model is then the
    same conversation.
    """
    user = await require_user(ctx)
    conversation = {
        "userId": user["_id"],
        "title": "New Conversation" if title is UNSET else title,
        "model": model,
    }
    if repeat := await find_repeat(ctx, CONVERSATIONS, id, conversation):
        return repeat
    now = ctx.now()
    return await ctx.db.insert(
        CONVERSATIONS,
        {
            **conversation,
            "_id": id,
            "isPinned": False,
            "tags": [],
            "createdAt": now,
            "updatedAt": now,
        },
    )


@mutation
async def add_message(
    ctx: MutationCtx,
    conversation_id: ConversationId,
    role: Role,
    content: str,
    citations: Opt[list[Citation]] = UNSET,
    reasoning_text: Opt[str] = UNSET,
    tools: Opt[list[ToolInvocation]] = UNSET,
    id: Opt[MessageId] = UNSET,
) -> MessageId:
    """Add a message to the end of a conversation and return its id.

    A client may make the id itself, a UUIDv7: a repeat with the same content is then the same
    message.
    """
    await require_own(ctx, conversation_id)
    message = {
        "conversationId": conversation_id,
        "role": role,
        "content": content,
        "citations": citations,
        "reasoningText": reasoning_text,
        "tools": tools,
    }
    if repeat := await find_repeat(ctx, MESSAGES, id, message):
        return repeat
    now = ctx.now()
    await ctx.db.patch(CONVERSATIONS, conversation_id, {"updatedAt": now})
    return await ctx.db.insert(MESSAGES, {**message, "_id": id, "timestamp": now})


@mutation
async def update(
    ctx: MutationCtx,
    conversation_id: ConversationId,
    title: Opt[str] = UNSET,
    is_pinned: Opt[bool] = UNSET,
    tags: Opt[list[str]] = UNSET,
    model: Opt[str] = UNSET,
) -> None:
    """Change what is given; the rest stays."""
    await require_own(ctx, conversation_id)
    await ctx.db.patch(
        CONVERSATIONS,
        conversation_id,
        {
            "title": title,
            "isPinned": is_pinned,
            "tags": tags,
            "model": model,
            "updatedAt": ctx.now(),
        },
    )


@mutation
async def remove(ctx: MutationCtx, conversation_id: ConversationId) -> None:
    """Delete a conversation and all its messages."""
    await require_own(ctx, conversation_id)
    # Its messages go with it, however many they are: their foreign key says `on delete cascade`.
    await ctx.db.delete(CONVERSATIONS, conversation_id)


async def find_own(ctx: QueryCtx, conversation_id: ConversationId) -> Conversation | None:
    """Return a conversation of the caller; None for anybody else's, as for one that never was."""
    user = await current_user(ctx)
    return None if user is None else await _find_of(ctx, user, conversation_id)


async def require_own(ctx: QueryCtx, conversation_id: ConversationId) -> Conversation:
    """Return a conversation of the caller.

    Raises:
        AppError: as `require_user`, or "Conversation not found".
    """
    conversation = await _find_of(ctx, await require_user(ctx), conversation_id)
    if conversation is None:
        raise AppError("Conversation not found")
    return conversation


async def _find_of(
    ctx: QueryCtx, user: User, conversation_id: ConversationId
) -> Conversation | None:
    conversation = await ctx.db.get(CONVERSATIONS, conversation_id)
    if conversation is None or conversation["userId"] != user["_id"]:
        return None
    return conversation
