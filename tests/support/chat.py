"""The chat as one person uses it."""

from __future__ import annotations

from typing import Any

from parley.identity import Identity
from tests.support.app import App


class Person:
    """Somebody who is signed in, or nobody (`identity` None), and what they can call."""

    def __init__(self, app: App, identity: Identity | None) -> None:
        self.app = app
        self.identity = identity

    async def query(self, path: str, **args: Any) -> Any:
        return await self.app.query(path, args, self.identity)

    async def mutation(self, path: str, **args: Any) -> Any:
        return await self.app.mutation(path, args, self.identity)

    async def create(self, **args: Any) -> str:
        created: str = await self.mutation("conversations:create", **args)
        return created

    async def say(self, conversation_id: str, content: str, **args: Any) -> str:
        message = {"conversationId": conversation_id, "role": "user", "content": content, **args}
        added: str = await self.mutation("conversations:addMessage", **message)
        return added

    async def get(self, conversation_id: str) -> Any:
        return await self.query("conversations:get", conversationId=conversation_id)

    async def contents(self, conversation_id: str) -> list[str]:
        return [message["content"] for message in (await self.get(conversation_id))["messages"]]

    async def titles(self) -> list[str]:
        listed = await self.query("conversations:list")
        return [conversation["title"] for conversation in listed]


async def person(app: App, subject: str, **claims: Any) -> Person:
    """Return somebody who has just signed in."""
    return Person(app, await app.sign_in(subject, **claims))
