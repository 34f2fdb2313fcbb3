"""Who may do what: a rule for every registered function, and the people whom it is tried on.

Alice has a conversation, Bob has one, Carol is a stranger to both, Dave's row was deleted. Nothing
of Bob's, marked by `CANARY`, may reach anybody else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from parley.clock import uuid7
from parley.functions.registry import Function, Registry
from tests.support.app import App
from tests.support.chat import Person, person

CANARY = "canary-of-bob"
MESSAGE = {"role": "user", "content": "x"}
PAGE = {"numItems": 5, "cursor": None}
NO_PAGE = {"page": [], "isDone": True, "continueCursor": ""}
CONFLICT = "Conflict: this id is taken"
IMPORTED = {
    "id": uuid7(1_700_000_000_005),
    "title": "x",
    "isPinned": False,
    "tags": [],
    "createdAt": 1,
    "updatedAt": 1,
}
IMPORTED_MESSAGE = {**MESSAGE, "id": uuid7(1_700_000_000_006), "timestamp": 1}

REGISTRY = Registry.from_modules(["parley.chat"])


@dataclass(frozen=True)
class Rule:
    """What a function lets callers do.

    Attributes:
        args: arguments that it accepts, but for ids.
        target: the argument that names what is acted upon; None: the caller's own things.
        acts_on: what that is.
        own_id: the argument by which a client may choose the new row's id, in a list as `in.id`.
        nothing: what a query gives where there is nothing for the caller.
    """

    args: dict[str, Any]
    target: str | None = None
    acts_on: Literal["conversation", "message"] = "conversation"
    own_id: str | None = None
    nothing: Any = None

    def with_id(self, row_id: str) -> dict[str, Any]:
        """Return the arguments with another id for the new row."""
        assert self.own_id is not None
        name, _, inner = self.own_id.partition(".")
        value = [{**each, inner: row_id} for each in self.args[name]] if inner else row_id
        return {**self.args, name: value}


RULES = {
    "conversations:addMessage": Rule(MESSAGE, target="conversationId", own_id="id"),
    "conversations:create": Rule({}, own_id="id"),
    "conversations:get": Rule({}, target="conversationId", nothing=None),
    "conversations:importConversation": Rule(IMPORTED, own_id="id"),
    "conversations:importMessages": Rule(
        {"messages": [IMPORTED_MESSAGE]}, target="conversationId", own_id="messages.id"
    ),
    "conversations:list": Rule({}, nothing=[]),
    "conversations:listPage": Rule({"paginationOpts": PAGE}, nothing=NO_PAGE),
    "conversations:remove": Rule({}, target="conversationId"),
    "conversations:update": Rule({"title": "x"}, target="conversationId"),
    "messages:appendText": Rule({"text": "x"}, target="messageId", acts_on="message"),
    "messages:edit": Rule({"content": "x"}, target="messageId", acts_on="message"),
    "messages:list": Rule({"paginationOpts": PAGE}, target="conversationId", nothing=NO_PAGE),
    "messages:remove": Rule({}, target="messageId", acts_on="message"),
    "users:me": Rule({}, nothing=None),
    "users:signIn": Rule({}),  # internal
}


class World:
    """The people, their things, and everything that anybody was told."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.people: dict[str, Person] = {}
        self.ids: dict[str, str] = {}


async def populate(world: World) -> None:
    app = world.app
    alice = await person(app, "alice")
    bob = await person(app, f"{CANARY}-sub", email=f"{CANARY}@example.com", name=CANARY)
    world.people = {
        "anon": Person(app, None),
        "alice": alice,
        "bob": bob,
        "carol": await person(app, "carol"),
        "dave": await person(app, "dave"),
    }
    ids = world.ids
    ids["alice's"] = await alice.create(title="hers", id=uuid7(1_700_000_000_000))
    ids["alice's message"] = await alice.say(ids["alice's"], "hers", id=uuid7(1_700_000_000_001))
    ids["bob's"] = await bob.create(
        title=f"{CANARY} title", model=f"{CANARY} model", id=uuid7(1_700_000_000_002)
    )
    await bob.mutation("conversations:update", conversationId=ids["bob's"], tags=[CANARY])
    ids["bob's message"] = await bob.say(
        ids["bob's"],
        f"{CANARY} content",
        id=uuid7(1_700_000_000_003),
        citations=[{"title": CANARY, "url": CANARY}],
        reasoningText=CANARY,
        tools=[{"name": CANARY, "args": {CANARY: CANARY}}],
    )
    ids["bob's user"] = (await bob.query("users:me"))["_id"]
    ids["dave's"] = await world.people["dave"].create()
    ids["deleted"] = await alice.create()
    await alice.mutation("conversations:remove", conversationId=ids["deleted"])
    await app.database.execute("delete from users where supabase_user_id = 'dave'")
    ids["random"] = uuid7(1_700_000_000_004)
    ids["nil"] = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Outcome:
    """What a caller was told: a value, or the class and data of a failure."""

    value: Any = None
    error: str | None = None
    data: Any = None


async def contents(app: App) -> list[Any]:
    """Return all that a write could leave anywhere: rows, requests, the log and its head."""
    tables = ("users", "conversations", "messages", "parley.requests", "parley.log_tx")
    rows = " || ".join(
        f"(select coalesce(md5(string_agg(t::text, '' order by t::text)), '-') from {table} t)"
        for table in (*tables, "parley.log_rows")
    )
    return [await app.database.fetchval(f"select {rows}")]


@asynccontextmanager
async def nothing_written(world: World) -> AsyncIterator[None]:
    """Fail if anything is written inside."""
    before = await contents(world.app)
    yield
    assert await contents(world.app) == before


def functions(select: Callable[[Function, Rule], object]) -> list[str]:
    return [f.path for f in REGISTRY if f.path in RULES and select(f, RULES[f.path])]


PUBLIC = functions(lambda function, rule: not function.is_internal)
TARGETED = functions(lambda function, rule: rule.target)
CALLERS = ["anon", "alice", "carol", "dave"]


def denial(function_kind: str, caller: str, rule: Rule) -> Outcome:
    """Return what a caller is told of what is not theirs, and of what does not exist."""
    if function_kind == "query":
        return Outcome(rule.nothing)
    reasons = {"anon": "Not authenticated", "dave": "User not found"}
    missing = f"{rule.acts_on.capitalize()} not found"
    return Outcome(error="AppError", data=reasons.get(caller, missing))


def kind_of(path: str) -> str:
    [kind] = [function.kind for function in REGISTRY if function.path == path]
    return kind


DENIED_IDS = ["bob's", "bob's message", "bob's user", "dave's", "deleted", "random", "nil"]
ALICES = {"conversation": "alice's", "message": "alice's message"}


def denied_ids(caller: str, rule: Rule) -> list[str]:
    """Return names of ids that are none of the caller's, or not of what is acted upon."""
    own = {ALICES[rule.acts_on]} if caller == "alice" else set()
    return [*DENIED_IDS, *sorted(set(ALICES.values()) - own)]


def malformed_ids(world: World) -> list[Any]:
    """Return what is no id, though there may be one in it; the last ones are lists of ids."""
    return [
        "",
        "conversations",
        world.ids["alice's"].upper(),
        world.ids["alice's"] + "\n",
        "{" + world.ids["alice's"] + "}",
        world.ids["alice's"].replace("-", ""),
        world.ids["alice's"] + "' or '1'='1",
        None,
        1,
        True,
        [world.ids["alice's"], world.ids["bob's"]],
        {"_id": world.ids["bob's"]},
    ]
