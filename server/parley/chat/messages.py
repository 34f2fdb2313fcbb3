"""The messages of the caller's conversations, page by page, and what becomes of them later."""

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
from parley.chat.conversations import find_own
from parley.chat.model import (
    CONVERSATIONS,
    MESSAGES,
    Citation,
    ConversationId,
    Message,
    MessageId,
    ToolInvocation,
    no_page,
)
from parley.chat.users import require_user


@query
async def list_(
    ctx: QueryCtx, conversation_id: ConversationId, pagination_opts: PaginationOptions
) -> PaginationResult[Message]:
    """Return a page of messages, newest first: a chat opens at its end and is scrolled back.

    A conversation that is not the caller's has none.
    """
    if await find_own(ctx, conversation_id) is None:
        return no_page()
    return (
        await ctx.db.query(MESSAGES)
        .with_index("by_conversation", conversationId=conversation_id)
        .order("desc")
        .paginate(pagination_opts)
    )


@mutation(spacing_s=0.1, spaced_by="message_id")
async def append_text(
    ctx: MutationCtx,
    message_id: MessageId,
    text: str,
    reasoning_text: Opt[str] = UNSET,
    citations: Opt[list[Citation]] = UNSET,
    tools: Opt[list[ToolInvocation]] = UNSET,
) -> None:
    """Write on at the end of a message: how an answer comes piece by piece.

    `text` and `reasoningText` are put behind what is there; `citations` and `tools` replace what is
    there. `updatedAt` of the conversation stays: lists need not move with every word. However many
    pieces come, a message is written ten times a second at most.
    """
    message = await require_own_message(ctx, message_id)
    before = message.get("reasoningText", "")
    reasoning = UNSET if reasoning_text is UNSET else before + reasoning_text
    await ctx.db.patch(
        MESSAGES,
        message_id,
        {
            "content": message["content"] + text,
            "reasoningText": reasoning,
            "citations": citations,
            "tools": tools,
        },
    )


@mutation
async def edit(
    ctx: MutationCtx,
    message_id: MessageId,
    content: Opt[str] = UNSET,
    reasoning_text: Opt[str] = UNSET,
    citations: Opt[list[Citation]] = UNSET,
    tools: Opt[list[ToolInvocation]] = UNSET,
) -> None:
    """Change what is given; the rest stays, its place in the conversation too."""
    message = await require_own_message(ctx, message_id)
    await ctx.db.patch(
        MESSAGES,
        message_id,
        {
            "content": content,
            "reasoningText": reasoning_text,
            "citations": citations,
            "tools": tools,
        },
    )
    await ctx.db.patch(CONVERSATIONS, message["conversationId"], {"updatedAt": ctx.now()})


@mutation
async def remove(ctx: MutationCtx, message_id: MessageId) -> None:
    """Delete a message."""
    message = await require_own_message(ctx, message_id)
    await ctx.db.delete(MESSAGES, message_id)
    await ctx.db.patch(CONVERSATIONS, message["conversationId"], {"updatedAt": ctx.now()})


async def require_own_message(ctx: QueryCtx, message_id: MessageId) -> Message:
    """Return a message in a conversation of the caller.

    Raises:
        AppError: as `require_user`, or "Message not found".
    """
    await require_user(ctx)
    message = await ctx.db.get(MESSAGES, message_id)
    if message is None or await find_own(ctx, message["conversationId"]) is None:
        raise AppError("Message not found")
    return message
