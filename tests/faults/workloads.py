"""What happens all the time: users who type, subscribe and burst, and SQL from outside."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import asyncpg

from tests.faults.client import Client, MutationFailed
from tests.faults.history import History

CELLS = 12
ACCOUNTS = 10
TOTAL = 100 * ACCOUNTS
TOPICS = [f"topic{number}" for number in range(6)]
BOARDS = [f"board{number}" for number in range(3)]
NOTES = [f"note{number}" for number in range(3)]

ISOLATION_LEVELS: Final[list[Literal["read_committed", "repeatable_read", "serializable"]]] = [
    "read_committed",
    "repeatable_read",
    "serializable",
]

# A COPY that fails leaves asyncpg's connection in a state that it calls an internal error.
LOST: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresError,
)

_ADD: Final = """
    INSERT INTO items (topic, pos, value)
    SELECT $1, coalesce(max(pos), -1) + 1, $2 FROM items WHERE topic = $1"""
_MOVE: Final = """
    UPDATE items SET topic = $2
    WHERE id = (SELECT id FROM items WHERE topic = $1 ORDER BY pos LIMIT 1)"""
_DROP: Final = """
    DELETE FROM items WHERE id = (SELECT id FROM items WHERE topic = $1 ORDER BY pos LIMIT 1)"""
# Both in one statement: nobody may see the sum change.
_PAY: Final = """
    UPDATE accounts SET balance = balance + CASE name WHEN $1 THEN -1 ELSE 1 END
    WHERE name IN ($1, $2)"""
_UPSERT: Final = """
    INSERT INTO boards (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = excluded.name"""
_MERGE: Final = """
    MERGE INTO notes n USING (SELECT $1::text AS name) s ON n.name = s.name
    WHEN MATCHED THEN UPDATE SET content = $2
    WHEN NOT MATCHED THEN INSERT (name, content) VALUES (s.name, $2)"""

Op = tuple[str, Mapping[str, Any]]


def check_value(path: str, value: Any) -> str | None:
    """Say what is wrong with a result that no order of commits could have given."""
    if path == "app:total" and value != TOTAL:
        return f"{value}, not {TOTAL}"
    if path == "app:ring":
        seen, at = set(), 0
        while at not in seen and at < len(value):
            seen.add(at)
            at = int(value[at])
        if len(seen) != CELLS:
            return f"no ring: {value}"
    return None


class User:
    """Somebody at a client; one in four only looks, all of these at the same."""

    def __init__(self, client: Client, rng: random.Random, think_s: float) -> None:
        self._client = client
        self._rng = rng
        self._think_s = think_s
        self._count = 0
        self._has_looked = False
        self._pages: list[int] = []
        self._topic = TOPICS[0]
        self._subscribed: list[int] = []
        self._canary = f"canary-u{client.number}-"
        self._is_onlooker = client.number % 4 == 2

    def _look(self) -> None:
        """Subscribe to a few things."""
        if self._is_onlooker:
            self._client.subscribe("app:topic", {"topic": TOPICS[0]})
            return
        for path in ("app:total", "app:ring", "app:mine"):
            self._client.subscribe(path, {})
        for _ in range(4):
            self._subscribe()

    async def run(self, schedule: str = "calm") -> None:
        """Go on until cancelled; where the schedule is quiet, only look."""
        if not self._has_looked:
            self._has_looked = True
            self._look()
        if schedule == "quiet" or self._is_onlooker:
            return
        choices: list[tuple[int, Callable[[], Any]]] = [
            (80, self._one),
            (6, self._churn),
            (2, self._burst),
            (3, self._stream),
            (4, self._turn_page),
            (4, self._relay),
        ]
        weights = [weight for weight, _ in choices]
        while True:
            [(_, act)] = self._rng.choices(choices, weights)
            await act()
            await asyncio.sleep(self._rng.expovariate(1 / self._think_s))

    def _subscribe(self) -> None:
        rng = self._rng
        kind = rng.choice(["topic", "tail", "after", "balance", "note", "board", "topic"])
        args: dict[str, Any]
        match kind:
            case "topic":
                args = {"topic": rng.choice(TOPICS)}
            case "tail":
                args = {"topic": rng.choice(TOPICS), "count": rng.randint(1, 5)}
            case "after":
                args = {"topic": rng.choice(TOPICS), "pos": rng.randint(-1, 60), "count": 4}
            case "balance":
                args = {"name": rng.randint(0, ACCOUNTS + 1)}  # some do not exist
            case "note":
                args = {"name": rng.choice(NOTES)}
            case _:
                args = {"name": rng.choice(BOARDS)}
        self._subscribed.append(self._client.subscribe(f"app:{kind}", args))

    async def _churn(self) -> None:
        for _ in range(self._rng.randint(1, 3)):
            if self._subscribed and self._rng.random() < 0.5:
                place = self._rng.randrange(len(self._subscribed))
                self._client.unsubscribe(self._subscribed.pop(place))
            elif len(self._subscribed) < 8:
                self._subscribe()

    async def _relay(self) -> None:
        self._count += 1
        value = self._client.number * 1_000_000 + self._count
        self._client.act("app:relay", {"topic": self._rng.choice(TOPICS), "value": value})

    async def _turn_page(self) -> None:
        """As a list that is scrolled: open its first page, the next one, or close all."""
        if not self._pages:
            self._topic = self._rng.choice(TOPICS)
            self._open_page(None)
            return
        shown = self._client.results.get(self._pages[-1])
        if shown is None:
            return
        if shown["isDone"] or len(self._pages) > 3:
            for query_id in self._pages:
                self._client.unsubscribe(query_id)
            self._pages = []
        elif "splitCursor" in shown and self._rng.random() < 0.3:
            # Its two halves, as the official client does it when a page has grown.
            [query_id] = self._pages[-1:]
            cursor = self._client.queries[query_id][1]["paginationOpts"]["cursor"]
            self._open_page(cursor, shown["splitCursor"])
            self._open_page(shown["splitCursor"], shown["continueCursor"])
        else:
            self._open_page(shown["continueCursor"])

    def _open_page(self, cursor: str | None, end: str | None = None) -> None:
        self._count += 1
        options: dict[str, Any] = {"numItems": 7, "cursor": cursor, "id": self._count}
        if end is not None:
            options["endCursor"] = end
        args = {"topic": self._topic, "paginationOpts": options}
        self._pages.append(self._client.subscribe("app:page", args))

    async def _one(self) -> None:
        await self._done(self._client.mutate(*self._choose()))

    async def _burst(self) -> None:
        """As after a while offline: many at once, in order."""
        count = self._rng.randint(5, 15)
        for future in [self._client.mutate(*self._choose()) for _ in range(count)]:
            await self._done(future)

    async def _stream(self) -> None:
        name = self._rng.choice(NOTES)
        for _ in range(self._rng.randint(5, 20)):
            self._count += 1
            chunk = f"{self._client.number}.{self._count} "
            await self._done(self._client.mutate("app:write", {"name": name, "chunk": chunk}))
            await asyncio.sleep(0.03)

    async def _done(self, future: asyncio.Future[Any]) -> None:
        with contextlib.suppress(MutationFailed):  # the oracle knows which may fail
            await asyncio.shield(future)

    def _choose(self) -> Op:
        rng = self._rng
        self._count += 1
        value = self._client.number * 1_000_000 + self._count
        match rng.choices(
            ["append", "move", "swap", "transfer", "audit", "keep", "pin", "clear", "refused"],
            [30, 6, 12, 22, 4, 6, 8, 2, 2],
        )[0]:
            case "append":
                return "app:append", {"topic": rng.choice(TOPICS), "value": value}
            case "move":
                source, target = rng.sample(TOPICS, 2)
                return "app:move", {"source": source, "target": target}
            case "swap":
                return "app:swap", {"at": rng.randrange(CELLS)}
            case "transfer":
                payer, payee = rng.sample(range(ACCOUNTS), 2)
                amount = rng.randint(1, 40)
                return "app:transfer", {"source": payer, "target": payee, "amount": amount}
            case "audit":
                return "app:audit", {}
            case "keep":
                return "app:keep", {"body": f"{self._canary}{value}"}
            case "pin":
                return "app:pin", {"board": rng.choice(BOARDS), "title": str(value)}
            case "clear":
                return "app:clear", {"board": rng.choice(BOARDS)}
            case _:
                # Of its own: constraints are looked at once a batch, so another mutation of the
                # batch that moves or drops the row would let it pass.
                return "app:refused", {"topic": "refused"}


class Outsider:
    """Writes the same tables with SQL of its own, in every isolation level."""

    def __init__(
        self,
        number: int,
        connect: Callable[[], Any],
        history: History,
        rng: random.Random,
        pause_s: float,
    ) -> None:
        self._number = number
        self._connect = connect
        self._history = history
        self._rng = rng
        self._pause_s = pause_s
        self._count = 0

    async def run(self) -> None:
        """Go on until cancelled; a lost connection is made anew."""
        while True:
            try:
                connection = await self._connect()
            except (OSError, TimeoutError, asyncpg.PostgresError):
                await asyncio.sleep(0.2)
                continue
            try:
                while True:
                    await self._transaction(connection)
                    await asyncio.sleep(self._rng.expovariate(1 / self._pause_s))
            except LOST:
                await asyncio.sleep(0.1)
            finally:
                connection.terminate()

    async def _transaction(self, connection: asyncpg.Connection[Any]) -> None:
        isolation = self._rng.choice(ISOLATION_LEVELS)
        transaction = connection.transaction(isolation=isolation)
        started = time.monotonic()
        await transaction.start()
        txid, rows, is_ok = 0, 0, False
        try:
            await connection.execute("SET LOCAL lock_timeout = '1s'")
            if self._rng.random() < 0.3:
                await connection.execute("SET LOCAL synchronous_commit = off")
            txid = await connection.fetchval("SELECT pg_current_xact_id()::text::bigint")
            rows = await self._write(connection)
            if self._rng.random() < 0.05:  # takes its ts at once, and holds the turn until the end
                await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            if self._rng.random() < 0.1:
                await transaction.rollback()
                return
            await transaction.commit()
            is_ok = True
        except asyncpg.PostgresError as error:
            # Our own conflicts: with batches, with each other, with what faults do to the server.
            self._history.add("ext-error", state=error.sqlstate)
            if connection.is_closed():
                raise
            if isinstance(
                error, asyncpg.PostgresConnectionError | asyncpg.OperatorInterventionError
            ):
                raise
            if connection.is_in_transaction():
                await transaction.rollback()
        finally:
            if txid:
                self._history.add(
                    "ext",
                    x=txid,
                    t0=started,
                    t1=time.monotonic(),
                    ok=is_ok,
                    rows=rows,
                    level=isolation,
                )

    async def _write(self, connection: asyncpg.Connection[Any]) -> int:
        """Do one thing; return how many rows it changed."""
        rng, self._count = self._rng, self._count + 1
        value = 900_000_000 + self._number * 1_000_000 + self._count
        topic, board = rng.choice(TOPICS), rng.choice(BOARDS)
        special = rng.randrange(12)
        if special == 0:
            return await self._with_savepoint(connection, topic, value)
        if special == 1:
            records = [(topic, 500 + number, value) for number in range(3)]
            columns = ["topic", "pos", "value"]
            return _count(
                await connection.copy_records_to_table("items", records=records, columns=columns)
            )
        statements: list[tuple[Any, ...]] = [
            (_ADD, topic, value),
            (_ADD, topic, value),
            (_MOVE, topic, rng.choice(TOPICS)),
            (_DROP, topic),
            (_PAY, *rng.sample(range(ACCOUNTS), 2)),
            ("UPDATE notes SET content = content || 'x'",),
            ("DELETE FROM items WHERE topic = $1 AND pos >= 500", topic),
            (_UPSERT, board),
            ("DELETE FROM boards WHERE name = $1", board),  # its cards go with it
            (_MERGE, rng.choice(NOTES), f"{value} "),
        ]
        return _count(await connection.execute(*rng.choice(statements)))

    async def _with_savepoint(
        self, connection: asyncpg.Connection[Any], topic: str, value: int
    ) -> int:
        inner = connection.transaction()
        await inner.start()
        await connection.execute("DELETE FROM boards WHERE name = $1", self._rng.choice(BOARDS))
        await inner.rollback()
        return _count(
            await connection.execute(
                "INSERT INTO items (topic, pos, value) VALUES ($1, 600, $2), ($1, 600, $2)",
                topic,
                value,
            )
        )


def _count(tag: str) -> int:
    return int(tag.split()[-1])
