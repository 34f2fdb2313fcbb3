"""Conversations brought along from elsewhere, as they were there.

A client makes the ids (UUIDv7), always the same for the same original. So an import that broke off
is simply done again: what is there already stays as it is, whatever has become of it since.
"""

from __future__ import annotations

from typing import Final, NotRequired, TypedDict

from parley import UNSET, AppError, MutationCtx, Opt, mutation
from parley.chat.client_ids import is_there
from parley.chat.conversations import require_own
from parley.chat.model import (
    CONVERSATIONS,
    MESSAGES,
    Citation,
    ConversationId,
    MessageId,
    Role,
    ToolInvocation,
)
from parley.chat.users import require_user

__parley_path__ = "conversations"

MAX_MESSAGES: Final = 100


class ImportedMessage(TypedDict):
    """A message as it was elsewhere; `timestamp` in ms since the epoch."""

    id: MessageId
    originalId: NotRequired[str]
    role: Role
    content: str
    timestamp: float
    citations: NotRequired[list[Citation]]
    reasoningText: NotRequired[str]
    tools: NotRequired[list[ToolInvocation]]


@mutation
async def import_conversation(
    ctx: MutationCtx,
    id: ConversationId,
    title: str,
    is_pinned: bool,
    tags: list[str],
    created_at: float,
    updated_at: float,
    model: Opt[str] = UNSET,
    original_id: Opt[str] = UNSET,
) -> ConversationId:
    """Add a conversation with the times that it had elsewhere, and return its id.

    One of the caller's that is there already stays as it is.
    """
    user = await require_user(ctx)
    if await is_there(ctx, CONVERSATIONS, id, {"userId": user["_id"]}):
        return id
    return await ctx.db.insert(
        CONVERSATIONS,
        {
            "_id": id,
            "userId": user["_id"],
            "title": title,
            "isPinned": is_pinned,
            "tags": tags,
            "model": model,
            "createdAt": created_at,
            "updatedAt": updated_at,
            "originalId": original_id,
        },
    )


@mutation
async def import_messages(
    ctx: MutationCtx, conversation_id: ConversationId, messages: list[ImportedMessage]
) -> int:
    """Add messages with the times that they had elsewhere, and return how many were added.

    At most 100 a call, all or none of them. Those that are there already stay as they are.
    `updatedAt` of the conversation does too. Messages of one time are ordered as they come here.
    """
    if len(messages) > MAX_MESSAGES:
        raise AppError(f"messages: at most {MAX_MESSAGES} a call, these are {len(messages)}")
    await require_own(ctx, conversation_id)
    added = 0
    for message in messages:
        place = {"conversationId": conversation_id}
        if not await is_there(ctx, MESSAGES, message["id"], place):
            content = {name: value for name, value in message.items() if name != "id"}
            await ctx.db.insert(MESSAGES, {**content, **place, "_id": message["id"]})
            added += 1
    return added
