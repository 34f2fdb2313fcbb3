"""The asyncio shell around the engine, on a real database."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator, Sequence

import pytest

from parley.engine.alarm import ALARM
from parley.errors import ArgumentsInvalid, Internal, LimitExceeded, Unavailable
from parley.store import sql
from parley.store.pool import StoreConnection
from parley.store.types import Batch, LoadRequest, LoadResult
from tests.support.app import App, identity_of, serving
from tests.support.chat import person

UNRULY = "tests.support.unruly"
END_S = 5.0


@pytest.fixture
def _short_alarm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    monkeypatch.setattr("parley.engine.alarm.MAX_RUN_S", 0.1)
    monkeypatch.setattr("parley.engine.alarm._LOOK_S", 0.02)
    ALARM.install()
    yield
    monkeypatch.setattr(ALARM, "_is_installed", False)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    signal.setitimer(signal.ITIMER_REAL, *timer)


def count_log_reads(app: App, monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], asyncio.Event]:
    """Return a list that grows with each read of the log from now on, and the first's event."""
    reads: list[float] = []
    began = asyncio.Event()
    store = app.node.follower._store
    read_log = store.read_log

    async def counted(after_ts: int) -> object:
        reads.append(time.monotonic())
        began.set()
        return await read_log(after_ts)

    monkeypatch.setattr(store, "read_log", counted)
    return reads, began


# --- following


async def test_a_forged_notification_does_not_keep_the_node_reading(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(dsn, "parley.chat") as app:
        reads, began = count_log_reads(app, monkeypatch)

        await app.database.execute("select pg_notify('parley', '9223372036854775807')")
        async with asyncio.timeout(END_S):
            await began.wait()
        await asyncio.sleep(0.3)

        assert len(reads) < 10


async def test_a_client_ahead_of_every_commit_is_let_in_by_one_empty_commit(dsn: str) -> None:
    async with serving(dsn, "parley.chat") as app:
        observed = time.time_ns()

        await asyncio.gather(*(app.node.admit(observed) for _ in range(5)))

        assert app.node.engine.memory.ts >= observed
        count = await app.database.fetchval(
            "select count(*) from parley.log_tx where ts >= $1", observed
        )
        assert count == 1


async def test_a_client_from_the_future_is_sent_away(dsn: str) -> None:
    async with serving(dsn, "parley.chat") as app:
        with pytest.raises(Unavailable):
            await app.node.admit(time.time_ns() + 60_000_000_000)


# --- one-time calls


async def test_a_failure_that_others_watch_keeps_nothing_of_those_who_ask_again(dsn: str) -> None:
    async with serving(dsn, "parley.chat") as app:
        path, args = "conversations:get", {"conversationId": "none"}
        async with app.watching(path, args) as watcher:
            error = watcher.value
            assert isinstance(error, ArgumentsInvalid)
            lengths = []
            for _ in range(3):
                with pytest.raises(ArgumentsInvalid) as raised:
                    await app.node.run_any(path, args, None)
                assert raised.value is error
                lengths.append(len(raised.traceback))

    assert len(set(lengths)) == 1


# --- actions


@pytest.mark.parametrize("path", ["unruly:leave", "unruly:giveUp"])
async def test_an_action_ends_nobody_but_itself(dsn: str, path: str) -> None:
    async with serving(dsn, UNRULY) as app:
        with pytest.raises(Internal):
            await app.action(path)

        assert await app.action("unruly:boast", {"size": 1}) == "x"


async def test_the_result_of_an_action_has_a_limit(dsn: str) -> None:
    async with serving(dsn, UNRULY) as app:
        assert len(await app.action("unruly:boast", {"size": (8 << 20) - 2})) == (8 << 20) - 2
        with pytest.raises(LimitExceeded, match="8388608 bytes"):
            await app.action("unruly:boast", {"size": (8 << 20) - 1})


async def test_a_node_ends_though_an_action_does_not(dsn: str) -> None:
    async with asyncio.timeout(END_S):
        async with serving(dsn, UNRULY) as app:
            app.node.actions.start("unruly:dawdle", {}, None, lambda _: None)
            await asyncio.sleep(0)


# --- functions that never end


@pytest.mark.usefixtures("_short_alarm")
async def test_a_query_that_never_ends_is_ended_and_others_go_on(dsn: str) -> None:
    async with serving(dsn, UNRULY, "parley.chat") as app:
        with pytest.raises(LimitExceeded, match="did not end"):
            await app.query("unruly:spin")

        assert await app.query("conversations:list") == []


# --- signing in


async def test_everybody_may_come_back_at_once(dsn: str) -> None:
    async with serving(dsn, "parley.chat") as app:
        count = app.node.engine.committer.max_queue + 100

        async with asyncio.timeout(60):
            await asyncio.gather(
                *[app.node.signed_in(identity_of(f"user {number}")) for number in range(count)]
            )

        assert await app.database.fetchval("select count(*) from users") == count


# --- pages


async def test_whoever_asks_anew_gets_a_page_of_their_own_size(dsn: str) -> None:
    async with serving(dsn, "parley.chat") as app:
        alice = await person(app, "alice")
        conversation = await app.mutation("conversations:create", {}, alice.identity)
        first = {"conversationId": conversation, "paginationOpts": {"numItems": 2, "cursor": None}}

        async def say(content: str) -> None:
            args = {"conversationId": conversation, "role": "user", "content": content}
            await app.mutation("conversations:addMessage", args, alice.identity)

        for content in "ab":
            await say(content)
        async with app.watching("messages:list", first, alice.identity) as watcher:
            for content in "cdef":
                await say(content)
                await watcher.next()

            fresh = await app.query("messages:list", first, alice.identity)

            assert [each["content"] for each in watcher.value["page"]] == list("fedcba")
            assert [each["content"] for each in fresh["page"]] == list("fe")


async def test_pages_that_end_alike_are_run_once(dsn: str) -> None:
    async with serving(dsn, "parley.chat") as app:
        alice = await person(app, "alice")
        await app.mutation("conversations:create", {}, alice.identity)
        page = {"paginationOpts": {"numItems": 1, "cursor": None}}

        async with (
            app.watching("conversations:listPage", page, alice.identity) as one,
            app.watching("conversations:listPage", page, alice.identity) as other,
        ):
            assert one.value == other.value
            assert one._query is other._query


# --- results


async def test_results_above_the_budget_are_let_go_of_and_run_again_for_whoever_lacks_them(
    dsn: str,
) -> None:
    async with serving(dsn, "parley.chat") as app:
        alice = await person(app, "alice")
        ids = [await alice.create(title=f"{n}") for n in range(5)]
        app.node.engine.held.max_bytes = 500
        async with contextlib.AsyncExitStack() as stack:
            watchers = [
                await stack.enter_async_context(
                    app.watching("conversations:get", {"conversationId": each}, alice.identity)
                )
                for each in ids
            ]
            assert app.node.engine.held.size_bytes <= 500

            async with app.watching(
                "conversations:get", {"conversationId": ids[0]}, alice.identity
            ) as late:
                assert late.value == watchers[0].value

            await alice.say(ids[0], "hello")
            assert (await watchers[0].next())["messages"][0]["content"] == "hello"
            assert [each.count for each in watchers] == [2, 1, 1, 1, 1]
        app.node.wake()
        await asyncio.sleep(0)
        assert app.node.engine.held.size_bytes == 0


# --- committing


async def test_a_batch_goes_out_before_the_next_step_however_many_wake_the_node(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(dsn, "parley.chat") as app:
        alice = await app.sign_in("alice")
        events: list[str] = []
        store, advance, fetch = app.node._store, app.node._advance, StoreConnection.fetch

        def stepped() -> None:
            events.append("step")
            advance()

        async def fetched(connection: StoreConnection, statement: str, *args: object) -> object:
            if statement == sql.COMMIT:
                events.append("sent")
            return await fetch(connection, statement, *args)

        def commit(batch: Batch) -> object:
            app.node.wake()
            asyncio.get_running_loop().call_soon(app.node.wake)
            return type(store).commit(store, batch)  # type: ignore[arg-type]

        monkeypatch.setattr(app.node, "_advance", stepped)
        monkeypatch.setattr(StoreConnection, "fetch", fetched)
        monkeypatch.setattr(store, "commit", commit)
        await app.mutation("conversations:create", {}, alice)

        sent = events.index("sent")
        assert events[: sent + 2] == ["step", "sent", "step"]


async def test_a_node_that_stops_waits_for_what_rests_for_its_spacing(dsn: str) -> None:
    async with serving(dsn, "parley.chat") as app:
        alice = await app.sign_in("alice")
        room = await app.mutation("conversations:create", {}, alice)
        message = {"conversationId": room, "role": "assistant", "content": ""}
        message_id = await app.mutation("conversations:addMessage", message, alice)
        piece = {"messageId": message_id, "text": "word "}
        await app.mutation("messages:appendText", piece, alice)
        second = asyncio.create_task(app.mutation("messages:appendText", piece, alice))
        await asyncio.sleep(0)

        await app.node.drain(10.0)

        assert app.node.engine.committer.is_idle
        assert await second is None
        content = await app.database.fetchval("select content from messages")
        assert content == "word word "


# --- loading


async def test_pieces_that_wait_are_loaded_together_and_one_that_cannot_be_had_fails_alone(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(dsn, "parley.chat") as app:
        alice = await app.sign_in("alice")
        rooms = [await app.mutation("conversations:create", {}, alice) for _ in range(20)]
        store, load = app.node._store, app.node._store.load
        sizes: list[int] = []

        async def loaded(requests: Sequence[LoadRequest]) -> list[LoadResult]:
            sizes.append(len(requests))
            assert len({(request.table, request.index) for request in requests}) == 1
            if any(rooms[7] in request.prefix for request in requests):
                raise RuntimeError("unreadable")
            return await load(requests)

        app.node.engine.reset(app.node.engine.memory.schema, app.node.engine.memory.ts)
        monkeypatch.setattr(store, "load", loaded)
        calls = [("conversations:get", {"conversationId": room}) for room in rooms]
        answers = await app.node.query([(path, args) for path, args in calls], alice)

        failed = [n for n, result in enumerate(answers.results) if result.error is not None]
        assert failed == [7]
        assert max(sizes) > 1
