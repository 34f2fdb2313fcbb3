"""The app of SEED.md, on several devices, against a real server: the reason Parley exists."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.compat.conftest import REACT_VERSIONS
from tests.compat.driver import CallFailed, Driver
from tests.support.server import Server, token

CITATIONS = [
    {"title": "RFC 9562", "url": "https://example.org/rfc9562", "snippet": "UUIDs"},
    {"title": "No snippet", "url": "https://example.org/other"},
]
TOOLS: list[dict[str, Any]] = [
    {"name": "search", "args": {"query": "uuid v7", "limit": 3}, "result": [{"rank": 1}]},
    {"name": "pending", "args": {}},
]
STORE = "siam-conversations"
LOCAL = {
    "state": {
        "conversations": [
            {
                "id": "conv-1",
                "title": "From localStorage",
                "model": "gpt-4",
                "messages": [
                    {"role": "user", "content": "first"},
                    {"role": "assistant", "content": "second", "citations": CITATIONS},
                    {"role": "assistant", "content": "third", "tools": TOOLS},
                ],
            },
            {"id": "conv-2", "title": "Empty", "messages": []},
        ]
    },
    "version": 2,
}


class Devices:
    """Pages of one bundle, each a device of its own."""

    def __init__(self, pages: Driver, server: Server, bundle: Path) -> None:
        self.pages = pages
        self._server = server
        self._bundle = bundle

    async def open(self, name: str, subject: str | None, **stored: str) -> None:
        """Open the app on a device where `subject` is signed in."""
        tokens = [] if subject is None else [token(subject), token(subject, lifetime_s=3000)]
        globals_ = {"NEXT_PUBLIC_CONVEX_URL": self._server.url, "supabaseTokens": tokens}
        await self.pages.call("open", name, str(self._bundle), globals_, stored)
        await self.pages.until(name, lambda seen: seen["isSignedIn"] == bool(subject))

    async def titles(self, name: str, *titles: str) -> list[dict[str, Any]]:
        """Wait until the list on a device has these titles, and return it."""

        def has_titles(seen: dict[str, Any]) -> bool:
            return [each["title"] for each in seen["conversations"]] == list(titles)

        seen = await self.pages.until(name, has_titles)
        found: list[dict[str, Any]] = seen["conversations"]
        return found

    async def messages(self, name: str, *contents: str) -> list[dict[str, Any]]:
        """Wait until the open conversation on a device says this, and return its messages."""

        def has_contents(seen: dict[str, Any]) -> bool:
            return [each["content"] for each in seen["messages"]] == list(contents)

        found: list[dict[str, Any]] = (await self.pages.until(name, has_contents))["messages"]
        return found


@pytest.fixture(params=REACT_VERSIONS)
def convex(request: pytest.FixtureRequest) -> str:
    """Name of the client that `convex/react` stands for; ours among them."""
    name: str = request.param
    return name


@pytest.fixture
def devices(pages: Driver, server: Server, bundles: Path, convex: str) -> Devices:
    """Devices that run the app with one version of the client."""
    return Devices(pages, server, bundles / f"seed-{convex}.js")


@pytest.fixture
async def database(shared_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection to the server's database."""
    connection = await asyncpg.connect(shared_dsn)
    yield connection
    await connection.close()


async def test_two_devices_of_a_user_see_each_other_and_postgres_has_it_all(
    devices: Devices, database: asyncpg.Connection, convex: str
) -> None:
    pages, subject = devices.pages, f"alice-{convex}"
    await devices.open("phone", subject)
    await devices.open("laptop", subject)

    first = await pages.call("call", "phone", "create", {"title": "First", "model": "gpt-4"})
    await devices.titles("laptop", "First")
    second = await pages.call("call", "laptop", "create", {})
    await devices.titles("phone", "New Conversation", "First")

    await pages.call("call", "laptop", "update", {"conversationId": first, "title": "Renamed"})
    await devices.titles("phone", "Renamed", "New Conversation")
    await pages.call("call", "phone", "update", {"conversationId": first, "isPinned": True})
    await pages.until("laptop", lambda seen: seen["conversations"][0]["isPinned"])
    await pages.call("call", "phone", "update", {"conversationId": first, "tags": ["a", "b"]})
    await pages.until("laptop", lambda seen: seen["conversations"][0]["tags"] == ["a", "b"])

    await pages.call("call", "laptop", "open", first)
    question = {"conversationId": first, "role": "user", "content": "What is a UUIDv7?"}
    await pages.call("call", "phone", "addMessage", question)
    await devices.messages("laptop", "What is a UUIDv7?")
    answer = {
        "conversationId": first,
        "role": "assistant",
        "content": "An id that sorts by time.",
        "citations": CITATIONS,
        "reasoningText": "They ask for a definition.",
        "tools": TOOLS,
    }
    await pages.call("call", "phone", "addMessage", answer)
    shown = await devices.messages("laptop", "What is a UUIDv7?", "An id that sorts by time.")

    assert shown[1] == {
        "role": "assistant",
        "content": "An id that sorts by time.",
        "reasoningText": "They ask for a definition.",
        "citations": [[c["title"], c["url"], c.get("snippet", "")] for c in CITATIONS],
        "tools": [["search", TOOLS[0]["args"], TOOLS[0]["result"]], ["pending", {}, None]],
    }
    row = await database.fetchrow(
        """select c.title, c.is_pinned, c.tags, c.model, u.supabase_user_id
           from conversations c join users u on u.id = c.user_id where c.id = $1""",
        first,
    )
    assert row is not None
    assert dict(row) == {
        "title": "Renamed",
        "is_pinned": True,
        "tags": ["a", "b"],
        "model": "gpt-4",
        "supabase_user_id": subject,
    }
    rows = await database.fetch(
        """select role, content, reasoning_text, citations, tools from messages
           where conversation_id = $1 order by "timestamp", creation_time, id""",
        first,
    )
    assert [row["role"] for row in rows] == ["user", "assistant"]
    assert rows[0]["citations"] is None
    assert json.loads(rows[1]["citations"]) == CITATIONS
    assert json.loads(rows[1]["tools"]) == TOOLS
    assert rows[1]["reasoning_text"] == "They ask for a definition."

    await pages.call("call", "laptop", "remove", {"conversationId": first})
    await devices.titles("phone", "New Conversation")
    await devices.messages("laptop")
    assert [second] == [
        str(row["id"])
        for row in await database.fetch(
            """select c.id from conversations c join users u on u.id = c.user_id
               where u.supabase_user_id = $1""",
            subject,
        )
    ]
    count = "select count(*) from messages where conversation_id = $1"
    assert await database.fetchval(count, first) == 0


async def test_conversations_of_local_storage_move_to_the_server(
    devices: Devices, database: asyncpg.Connection, convex: str
) -> None:
    pages, subject = devices.pages, f"mallory-{convex}"
    await devices.open("old", subject, **{STORE: json.dumps(LOCAL)})
    await devices.open("new", subject)

    await pages.call("call", "old", "migrate")

    conversations = await devices.titles("new", "Empty", "From localStorage")
    assert [each["model"] for each in conversations] == [None, "gpt-4"]
    await pages.call("call", "new", "open", conversations[1]["id"])
    messages = await devices.messages("new", "first", "second", "third")
    assert messages[1]["citations"][0] == ["RFC 9562", "https://example.org/rfc9562", "UUIDs"]
    assert messages[2]["tools"][0] == ["search", TOOLS[0]["args"], TOOLS[0]["result"]]
    assert await pages.call("stored", "old", STORE) is None
    rows = await database.fetch(
        """select c.title, count(m.id) from conversations c
           join users u on u.id = c.user_id left join messages m on m.conversation_id = c.id
           where u.supabase_user_id = $1 group by c.id order by c.created_at""",
        subject,
    )
    assert [tuple(row) for row in rows] == [("From localStorage", 3), ("Empty", 0)]


async def test_another_user_sees_and_changes_nothing(devices: Devices, convex: str) -> None:
    pages = devices.pages
    await devices.open("hers", f"carol-{convex}")
    await devices.open("his", f"dave-{convex}")
    secret = await pages.call("call", "hers", "create", {"title": "Secret"})
    message = {"conversationId": secret, "role": "user", "content": "hers alone"}
    await pages.call("call", "hers", "addMessage", message)
    await devices.titles("hers", "Secret")

    await pages.call("call", "his", "open", secret)
    for action, args in [
        ("update", {"conversationId": secret, "title": "Stolen"}),
        ("addMessage", {**message, "content": "his too"}),
        ("remove", {"conversationId": secret}),
    ]:
        with pytest.raises(CallFailed, match="Conversation not found"):
            await pages.call("call", "his", action, args)
    await pages.call("call", "his", "create", {"title": "His own"})
    await devices.titles("his", "His own")

    seen = pages.events["his"]
    assert {c["title"] for each in seen for c in each["conversations"]} == {"His own"}
    assert not any(each["messages"] for each in seen)
    await devices.titles("hers", "Secret")


async def test_signing_out_empties_the_page_and_refuses_to_create(
    devices: Devices, convex: str
) -> None:
    pages = devices.pages
    await devices.open("page", f"erin-{convex}")
    await pages.call("call", "page", "create", {"title": "Mine"})
    await devices.titles("page", "Mine")

    await pages.call("call", "page", "signOut")

    await devices.titles("page")
    with pytest.raises(CallFailed, match="Not authenticated"):
        await pages.call("call", "page", "create", {})
