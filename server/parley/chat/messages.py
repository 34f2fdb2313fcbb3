"""The messages of the caller's conversations, page by page."""

from __future__ import annotations

from parley import PaginationOptions, PaginationResult, QueryCtx, query
from parley.chat.conversations import find_own
from parley.chat.model import MESSAGES, ConversationId, Message, no_page


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
