"""What the chat's documents look like, on the wire and in functions.

The tables are in `schema.sql`. Times are milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NotRequired, TypeAlias, TypedDict

from parley import PaginationResult, Table, TableId

UserId: TypeAlias = Annotated[str, TableId("users")]
ConversationId: TypeAlias = Annotated[str, TableId("conversations")]
MessageId: TypeAlias = Annotated[str, TableId("messages")]

Role: TypeAlias = Literal["user", "assistant", "system"]


class Citation(TypedDict):
    """A source that a message refers to."""

    title: str
    url: str
    snippet: NotRequired[str]


class ToolInvocation(TypedDict):
    """A tool that the assistant called; arguments and result are the tool's own."""

    name: str
    args: Any
    result: NotRequired[Any]


class User(TypedDict):
    """Somebody who has signed in; unique by issuer and the issuer's id of them."""

    _id: UserId
    _creationTime: float
    issuer: str
    supabaseUserId: str
    email: NotRequired[str]
    name: NotRequired[str]
    createdAt: float


class Conversation(TypedDict):
    """A conversation; `updatedAt` moves with each change and each message.

    `originalId` is what it was called where it was imported from.
    """

    _id: ConversationId
    _creationTime: float
    userId: UserId
    title: str
    isPinned: bool
    tags: list[str]
    model: NotRequired[str]
    createdAt: float
    updatedAt: float
    originalId: NotRequired[str]


class Message(TypedDict):
    """A message; those of one millisecond are ordered by `_creationTime`, then `_id`.

    `originalId` is what it was called where it was imported from.
    """

    _id: MessageId
    _creationTime: float
    conversationId: ConversationId
    role: Role
    content: str
    timestamp: float
    citations: NotRequired[list[Citation]]
    reasoningText: NotRequired[str]
    tools: NotRequired[list[ToolInvocation]]
    originalId: NotRequired[str]


class ConversationWithMessages(Conversation):
    """A conversation and all its messages, oldest first."""

    messages: list[Message]


USERS: Final = Table("users", User)
CONVERSATIONS: Final = Table("conversations", Conversation)
MESSAGES: Final = Table("messages", Message)


def no_page() -> PaginationResult[Any]:
    """Return the page of a list that does not exist for the caller: empty, and the last one."""
    return {"page": [], "isDone": True, "continueCursor": ""}
