"""The assistant of development mode, writing into a conversation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from parley import AppError, assistant
from tests.support.app import App, serving
from tests.support.chat import Person, person
from tests.support.webapp import open_http, serving_web

CHAT = ("parley.chat", "parley.assistant")


@pytest.fixture
async def app(dsn: str) -> AsyncIterator[App]:
    async with serving(dsn, *CHAT) as app:
        yield app


@pytest.fixture
async def alice(app: App) -> Person:
    return await person(app, "alice")


async def reply(who: Person, conversation_id: str) -> str | None:
    answered: str | None = await who.app.call(
        "assistant:reply", {"conversationId": conversation_id}, who.identity
    )
    return answered


class Gate:
    """Stands for the time between two pieces: it passes when `open` is called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps = asyncio.Semaphore(0)
        self.waits = asyncio.Event()
        monkeypatch.setattr(assistant, "asyncio", SimpleNamespace(sleep=self._sleep))
        monkeypatch.setattr(assistant, "_PIECES", 4)  # each is committed a while after the other

    async def _sleep(self, _seconds: float) -> None:
        self.waits.set()
        await self.steps.acquire()

    def open(self, count: int = 1000) -> None:
        for _ in range(count):
            self.steps.release()


async def test_an_answer_grows_live_before_the_eyes_of_its_reader(
    app: App, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    conversation = await alice.create()
    await alice.say(conversation, "Hi")
    async with app.watching(
        "conversations:get", {"conversationId": conversation}, alice.identity
    ) as watcher:
        answering = asyncio.ensure_future(reply(alice, conversation))
        started = (await watcher.next())["messages"][-1]
        gate.open(1)
        growing = (await watcher.next())["messages"][-1]
        gate.open()
        message_id = await answering

    answer = (await alice.get(conversation))["messages"][-1]
    assert answer["_id"] == started["_id"] == message_id
    assert (started["role"], started["content"]) == ("assistant", "")
    assert answer["content"].startswith(growing["content"])
    assert 0 < len(growing["content"]) < len(answer["content"])


async def test_four_answers_show_everything_that_a_message_can_have(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    Gate(monkeypatch).open()
    conversation = await alice.create()
    for _ in range(4):
        await alice.say(conversation, "And now?")
        await reply(alice, conversation)

    messages = (await alice.get(conversation))["messages"]
    answers = [message for message in messages if message["role"] == "assistant"]
    assert len(answers) == 4
    assert answers[1]["reasoningText"]
    assert answers[2]["tools"][0]["result"]["words"] == 2
    assert len(answers[3]["citations"]) == 2


async def test_one_answer_at_a_time_is_written_in_a_conversation(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    conversation, other = await alice.create(), await alice.create()
    first = asyncio.ensure_future(reply(alice, conversation))
    await gate.waits.wait()

    with pytest.raises(AppError, match="answering already"):
        await reply(alice, conversation)
    elsewhere = asyncio.ensure_future(reply(alice, other))
    gate.open()
    await asyncio.gather(first, elsewhere)

    assert len(await alice.contents(conversation)) == 1
    await reply(alice, conversation)
    assert len(await alice.contents(conversation)) == 2


async def test_an_answer_into_a_conversation_that_is_deleted_ends_quietly(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    conversation = await alice.create()
    answering = asyncio.ensure_future(reply(alice, conversation))
    await gate.waits.wait()

    await alice.mutation("conversations:remove", conversationId=conversation)
    gate.open()

    assert await answering is None


async def test_what_is_not_the_callers_is_not_answered(
    app: App, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    conversation = await alice.create()
    answering = asyncio.ensure_future(reply(alice, conversation))
    await gate.waits.wait()

    # Also while it is being answered: nobody learns even that.
    with pytest.raises(AppError) as bobs:
        await reply(await person(app, "bob"), conversation)
    with pytest.raises(AppError) as nobodys:
        await reply(Person(app, None), conversation)
    gate.open()
    await answering

    assert bobs.value.data == "Conversation not found"
    assert nobodys.value.data == "Not authenticated"
    assert len(await alice.contents(conversation)) == 1


async def test_the_page_of_a_server_in_development_mode_has_an_assistant(
    dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("data")
    with serving_web(
        dsn,
        functions=("parley.chat",),
        supabase_jwt_secret=None,
        is_development=True,
        data_dir=data,
    ) as server:
        async with open_http(server) as http:
            config = (await http.get("/demo/config.json")).json()

    assert config == {"mode": "development", "hasAssistant": True}
