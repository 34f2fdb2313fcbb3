"""Conversations on a real node and database: SEED.md's functions, each bound to its owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from parley import AppError
from parley.errors import ArgumentsInvalid
from tests.support.app import App, identity_of, serving
from tests.support.chat import Person, person
from tests.support.clock import FakeClock

NOW = 1_800_000_000_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW / 1000)


@pytest.fixture
async def app(dsn: str, clock: FakeClock) -> AsyncIterator[App]:
    async with serving(dsn, "parley.chat", clock=clock) as app:
        yield app


@pytest.fixture
async def alice(app: App) -> Person:
    return await person(app, "alice")


@pytest.fixture
def nobody(app: App) -> Person:
    return Person(app, None)


async def test_a_new_conversation_has_the_defaults_of_the_seed(alice: Person) -> None:
    created = await alice.create()

    [listed] = await alice.query("conversations:list")
    me = await alice.query("users:me")
    assert listed.pop("_creationTime") >= NOW
    assert listed == {
        "_id": created,
        "userId": me["_id"],
        "title": "New Conversation",
        "isPinned": False,
        "tags": [],
        "createdAt": NOW,
        "updatedAt": NOW,
    }


async def test_title_and_model_are_kept_as_given_even_empty(alice: Person) -> None:
    created = await alice.create(title="", model="m-1")

    found = await alice.get(created)

    assert (found["title"], found["model"]) == ("", "m-1")


async def test_get_gives_the_conversation_and_its_messages_as_the_seed_shapes_them(
    alice: Person,
) -> None:
    created = await alice.create()
    citations = [{"title": "T", "url": "u", "snippet": "s"}, {"title": "T2", "url": "u2"}]
    tools = [{"name": "search", "args": {"q": ["a", 1, None]}, "result": {"n": 0.5}}]
    first = await alice.say(created, "question")
    second = await alice.say(
        created,
        "answer",
        role="assistant",
        citations=citations,
        reasoningText="because",
        tools=tools,
    )

    found = await alice.get(created)

    for message in found["messages"]:
        del message["_creationTime"]
    common = {"conversationId": created, "timestamp": NOW}
    assert found["messages"] == [
        {**common, "_id": first, "role": "user", "content": "question"},
        {
            **common,
            "_id": second,
            "role": "assistant",
            "content": "answer",
            "citations": citations,
            "reasoningText": "because",
            "tools": tools,
        },
    ]


async def test_messages_of_one_millisecond_keep_their_order(alice: Person) -> None:
    created = await alice.create()
    sent = [f"{number}" for number in range(100)]

    await asyncio.gather(*[alice.say(created, content) for content in sent])

    found = await alice.get(created)
    assert {message["timestamp"] for message in found["messages"]} == {NOW}
    assert [message["content"] for message in found["messages"]] == sent


async def test_list_starts_with_what_changed_last(alice: Person, clock: FakeClock) -> None:
    one, two = await alice.create(title="one"), await alice.create(title="two")
    clock.advance(1)
    await alice.create(title="three")

    clock.advance(1)
    await alice.say(one, "hello")
    after_message = await alice.titles()
    clock.advance(1)
    await alice.mutation("conversations:update", conversationId=two, isPinned=True)
    after_update = await alice.titles()

    assert after_message == ["one", "three", "two"]
    assert after_update == ["two", "one", "three"]


@pytest.mark.parametrize(
    "change",
    [{"title": "renamed"}, {"isPinned": True}, {"tags": ["a", "b"]}, {"model": "m-2"}, {}],
    ids=str,
)
async def test_update_changes_what_is_given_and_the_time_and_nothing_else(
    alice: Person, clock: FakeClock, change: dict[str, Any]
) -> None:
    created = await alice.create(title="before", model="m-1")
    before = await alice.get(created)
    clock.advance(5)

    answer = await alice.mutation("conversations:update", conversationId=created, **change)

    assert answer is None
    assert await alice.get(created) == {**before, **change, "updatedAt": NOW + 5000}


async def test_a_field_that_update_does_not_take_is_refused_by_name(alice: Person) -> None:
    created = await alice.create()

    with pytest.raises(ArgumentsInvalid, match="extra field `userId`"):
        await alice.mutation("conversations:update", conversationId=created, userId=created)


async def test_remove_deletes_the_conversation_and_its_messages(app: App, alice: Person) -> None:
    created, other = await alice.create(title="gone"), await alice.create(title="kept")
    await alice.say(created, "gone")
    await alice.say(other, "kept")

    answer = await alice.mutation("conversations:remove", conversationId=created)

    assert answer is None
    assert await alice.get(created) is None
    assert await alice.titles() == ["kept"]
    assert [r["content"] for r in await app.database.fetch("select content from messages")] == [
        "kept"
    ]


@pytest.mark.parametrize("count", [1_500, 10_050])
async def test_remove_takes_more_messages_than_a_mutation_may_write_and_watchers_see_it(
    app: App, alice: Person, count: int
) -> None:
    created = await alice.create()
    await app.database.execute(
        "insert into messages (conversation_id, role, content) "
        "select $1, 'user', n::text from generate_series(1, $2::int) n",
        created,
        count,
    )
    one = {"conversationId": created}
    page = {**one, "paginationOpts": {"numItems": 10, "cursor": None}}

    async with (
        app.watching("conversations:get", one, alice.identity) as whole,
        app.watching("messages:list", page, alice.identity) as newest,
        app.watching("conversations:list", {}, alice.identity) as listed,
    ):
        before = (len(newest.value["page"]), len(listed.value))
        await alice.mutation("conversations:remove", conversationId=created)
        after = (await whole.next(), (await newest.next())["page"], await listed.next())

    assert before == (10, 1)
    assert after == (None, [], [])
    assert await app.database.fetchval("select count(*) from messages") == 0


async def test_a_removed_conversation_made_again_at_once_is_empty(app: App, alice: Person) -> None:
    created = await alice.create()
    await alice.say(created, "old")
    async with app.watching("conversations:get", {"conversationId": created}, alice.identity):
        await asyncio.gather(
            alice.mutation("conversations:update", conversationId=created, title="old"),
            alice.mutation("conversations:remove", conversationId=created),
            alice.create(id=created, title="new"),
            alice.say(created, "new"),
        )

    assert await alice.titles() == ["new"]
    assert await alice.contents(created) == ["new"]


async def test_a_message_written_by_sql_is_seen_live_in_its_place(app: App, alice: Person) -> None:
    created = await alice.create()
    await alice.say(created, "now")

    async with app.watching(
        "conversations:get", {"conversationId": created}, alice.identity
    ) as watcher:
        await app.database.execute(
            "insert into messages (conversation_id, role, content, timestamp) "
            "values ($1, 'system', 'in 2001', '2001-01-01')",
            created,
        )
        seen = await watcher.next()

    assert [message["content"] for message in seen["messages"]] == ["in 2001", "now"]


# --- who may


async def test_signed_out_there_is_nothing_and_nothing_can_be_made(
    nobody: Person, alice: Person
) -> None:
    created = await alice.create()

    with pytest.raises(AppError, match=r"^Not authenticated$"):
        await nobody.create()
    assert await nobody.query("conversations:list") == []
    assert await nobody.get(created) is None


async def test_without_a_row_of_their_own_a_user_has_nothing_and_can_make_nothing(
    app: App,
) -> None:
    never_signed_in = Person(app, identity_of("ghost"))

    with pytest.raises(AppError, match=r"^User not found$"):
        await never_signed_in.create()
    assert await never_signed_in.query("conversations:list") == []


@pytest.mark.parametrize(
    ("path", "args"),
    [
        ("conversations:addMessage", {"role": "user", "content": "intruder"}),
        ("conversations:update", {"title": "intruder"}),
        ("conversations:remove", {}),
    ],
)
async def test_writing_to_anothers_conversation_fails_as_writing_to_none(
    app: App, alice: Person, path: str, args: dict[str, Any]
) -> None:
    bob = await person(app, "bob")
    hers = await alice.create(title="hers")
    before = await alice.get(hers)
    removed = await bob.create()
    await bob.mutation("conversations:remove", conversationId=removed)

    with pytest.raises(AppError) as foreign:
        await bob.mutation(path, conversationId=hers, **args)
    with pytest.raises(AppError) as missing:
        await bob.mutation(path, conversationId=removed, **args)

    assert foreign.value.data == missing.value.data == "Conversation not found"
    assert await alice.get(hers) == before


async def test_anothers_conversation_reads_as_null(app: App, alice: Person) -> None:
    bob = await person(app, "bob")
    hers = await alice.create()

    assert await bob.get(hers) is None
    assert await bob.titles() == []


# --- pages


async def test_list_page_gives_the_list_without_gap_or_repeat(
    alice: Person, clock: FakeClock
) -> None:
    for number in range(7):
        await alice.create(title=f"{number}")
        clock.advance(1)

    titles, cursor, is_done = [], None, False
    for _ in range(3):
        options = {"numItems": 3, "cursor": cursor}
        page = await alice.query("conversations:listPage", paginationOpts=options)
        titles += [conversation["title"] for conversation in page["page"]]
        cursor, is_done = page["continueCursor"], page["isDone"]

    assert titles == await alice.titles() == ["6", "5", "4", "3", "2", "1", "0"]
    assert is_done


async def test_list_page_is_empty_when_signed_out(nobody: Person) -> None:
    options = {"numItems": 3, "cursor": None}

    page = await nobody.query("conversations:listPage", paginationOpts=options)

    assert page == {"page": [], "isDone": True, "continueCursor": ""}


async def test_a_cursor_of_another_user_opens_nothing(app: App, alice: Person) -> None:
    for _ in range(3):
        await alice.create(title="hers")
    bob = await person(app, "bob")
    await bob.create(title="his")
    options = {"numItems": 1, "cursor": None}
    page = await alice.query("conversations:listPage", paginationOpts=options)

    stolen = {"numItems": 1, "cursor": page["continueCursor"]}
    with pytest.raises(AppError) as refused:
        await bob.query("conversations:listPage", paginationOpts=stolen)

    assert refused.value.data == {"isConvexSystemError": True, "paginationError": "InvalidCursor"}
