"""Messages page by page, newest first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from parley import AppError
from tests.support.app import App, serving
from tests.support.chat import Person, person

NO_PAGE = {"page": [], "isDone": True, "continueCursor": ""}


@pytest.fixture
async def app(dsn: str) -> AsyncIterator[App]:
    async with serving(dsn, "parley.chat") as app:
        yield app


@pytest.fixture
async def alice(app: App) -> Person:
    return await person(app, "alice")


@pytest.fixture
async def conversation_id(alice: Person) -> str:
    """A conversation of Alice's with the messages 0 to 6."""
    created = await alice.create()
    for number in range(7):
        await alice.say(created, f"{number}")
    return created


def page_args(conversation_id: str, cursor: str | None = None, **options: Any) -> dict[str, Any]:
    pagination = {"numItems": 3, "cursor": cursor, **options}
    return {"conversationId": conversation_id, "paginationOpts": pagination}


def contents(page: dict[str, Any]) -> list[str]:
    return [message["content"] for message in page["page"]]


async def test_pages_lead_from_the_newest_message_to_the_oldest(
    alice: Person, conversation_id: str
) -> None:
    first = await alice.query("messages:list", **page_args(conversation_id))
    second = await alice.query(
        "messages:list", **page_args(conversation_id, first["continueCursor"])
    )
    third = await alice.query(
        "messages:list", **page_args(conversation_id, second["continueCursor"])
    )

    assert [contents(page) for page in (first, second, third)] == [
        ["6", "5", "4"],
        ["3", "2", "1"],
        ["0"],
    ]
    assert [page["isDone"] for page in (first, second, third)] == [False, False, True]


async def test_a_page_shown_grows_with_new_messages_and_keeps_its_end(
    app: App, alice: Person, conversation_id: str
) -> None:
    async with app.watching("messages:list", page_args(conversation_id), alice.identity) as watcher:
        before = watcher.value
        await alice.say(conversation_id, "7")
        after = await watcher.next()

    assert contents(after) == ["7", "6", "5", "4"]
    assert after["continueCursor"] == before["continueCursor"]


async def test_an_older_page_does_not_hear_of_new_messages(
    app: App, alice: Person, conversation_id: str
) -> None:
    first = await alice.query("messages:list", **page_args(conversation_id))
    older = page_args(conversation_id, first["continueCursor"])
    async with app.watching("messages:list", older, alice.identity) as watcher:
        await alice.say(conversation_id, "7")

        assert contents(watcher.value) == ["3", "2", "1"]
        assert watcher.count == 1


async def test_what_is_not_the_callers_has_no_messages(
    app: App, alice: Person, conversation_id: str
) -> None:
    bob = await person(app, "bob")
    removed = await bob.create()
    await bob.mutation("conversations:remove", conversationId=removed)

    assert await bob.query("messages:list", **page_args(conversation_id)) == NO_PAGE
    assert await bob.query("messages:list", **page_args(removed)) == NO_PAGE
    assert await Person(app, None).query("messages:list", **page_args(conversation_id)) == NO_PAGE


async def test_a_cursor_of_one_conversation_is_refused_by_another(
    alice: Person, conversation_id: str
) -> None:
    other = await alice.create()
    first = await alice.query("messages:list", **page_args(conversation_id))

    with pytest.raises(AppError) as refused:
        await alice.query("messages:list", **page_args(other, first["continueCursor"]))

    assert refused.value.data == {"isConvexSystemError": True, "paginationError": "InvalidCursor"}


# --- writing on


async def test_a_message_grows_at_its_end(alice: Person) -> None:
    conversation = await alice.create()
    answer = await alice.say(conversation, "", role="assistant")

    for piece in ("It ", "", "*grows*."):
        await alice.mutation("messages:appendText", messageId=answer, text=piece)

    assert await alice.contents(conversation) == ["It *grows*."]


async def test_reasoning_grows_too_and_the_rest_is_replaced(alice: Person) -> None:
    conversation = await alice.create()
    answer = await alice.say(conversation, "", role="assistant")
    tool = {"name": "clock", "args": {}}

    async def write(**more: Any) -> None:
        await alice.mutation("messages:appendText", messageId=answer, text="", **more)

    await write(reasoningText="First ")
    await write(reasoningText="this.", tools=[tool])
    await write(tools=[{**tool, "result": 5}], citations=[{"title": "T", "url": "u"}])

    [message] = (await alice.get(conversation))["messages"]
    assert message["reasoningText"] == "First this."
    assert message["tools"] == [{**tool, "result": 5}]
    assert message["citations"] == [{"title": "T", "url": "u"}]


async def test_writing_on_does_not_move_the_conversation_in_lists(alice: Person) -> None:
    older = await alice.create(title="older")
    answer = await alice.say(older, "")
    await alice.create(title="newer")

    await alice.mutation("messages:appendText", messageId=answer, text="more")

    assert await alice.titles() == ["newer", "older"]


async def test_what_streams_in_rewrites_its_message_at_a_bounded_rate(
    alice: Person, app: App
) -> None:
    """However fast the pieces come: by what Postgres logged, not by what the node says."""
    answer = await alice.say(await alice.create(), "", role="assistant")
    pieces = [f"{number} " for number in range(60)]
    for start in range(0, len(pieces), 10):
        ten = pieces[start : start + 10]
        await asyncio.gather(
            *[alice.mutation("messages:appendText", messageId=answer, text=text) for text in ten]
        )

    rows = await app.database.fetch(
        "select ts from parley.log_rows join parley.log_tx using (txid)"
        " where table_name = 'messages' and id::text = $1 order by ts",
        answer,
    )
    row = await app.database.fetchrow("select content from messages where id::text = $1", answer)
    assert row is not None
    assert row["content"] == "".join(pieces)
    assert 1 < len(rows) < len(pieces)
    inserted, *written = [row["ts"] for row in rows]
    assert inserted < written[0]
    # Less a little: a clock may be set back.
    assert min(later - earlier for earlier, later in pairwise(written)) > 90_000_000


# --- editing


async def test_an_edit_changes_what_is_given_and_nothing_else(alice: Person) -> None:
    conversation = await alice.create()
    message_id = await alice.say(conversation, "draft", reasoningText="why")
    await alice.say(conversation, "later")

    await alice.mutation("messages:edit", messageId=message_id, content="final")

    first, _ = (await alice.get(conversation))["messages"]
    assert (first["content"], first["reasoningText"]) == ("final", "why")


async def test_a_removed_message_is_gone_and_the_others_stay(alice: Person) -> None:
    conversation = await alice.create()
    message_id = await alice.say(conversation, "gone")
    await alice.say(conversation, "stays")

    await alice.mutation("messages:remove", messageId=message_id)

    assert await alice.contents(conversation) == ["stays"]


@pytest.mark.parametrize("call", ["edit", "remove"])
async def test_an_edit_or_a_removal_moves_the_conversation_to_the_front(
    alice: Person, call: str
) -> None:
    older = await alice.create(title="older")
    message_id = await alice.say(older, "x")
    await alice.create(title="newer")

    await alice.mutation(f"messages:{call}", messageId=message_id)

    assert await alice.titles() == ["older", "newer"]
