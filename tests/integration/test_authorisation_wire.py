"""The rules of `test_authorisation.py` as callers meet them: over a socket and over HTTP.

For each function, caller and kind of id, all that is received is compared: what is another's and
what does not exist must give the same answer to the letter, and leave nothing behind.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import httpx
import pytest
import pytest_asyncio

from tests.support.app import ISSUER, serving
from tests.support.authorisation import (
    CALLERS,
    CANARY,
    REGISTRY,
    RULES,
    TARGETED,
    World,
    denial,
    denied_ids,
    kind_of,
    malformed_ids,
    nothing_written,
    populate,
)
from tests.support.client import Failure, FunctionError, SyncClient, open_client
from tests.support.postgres import Cluster
from tests.support.server import token
from tests.support.webapp import WebServer, open_http, serving_web

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATHS = [function.path for function in REGISTRY]
WIRES = ["socket", "http"]


@dataclass(frozen=True)
class Told:
    """All that a caller receives: a value, or a text without its request id, and its data."""

    value: Any = None
    text: str | None = None
    data: Any = None


def failed(message: str, data: Any) -> Told:
    return Told(text=message.partition("\n")[2], data=data)


class Caller(Protocol):
    async def call(self, path: str, args: dict[str, Any]) -> Told: ...

    def received(self) -> str:
        """Return all that has come so far."""
        ...


class SocketCaller:
    def __init__(self, client: SyncClient) -> None:
        self.client = client

    async def call(self, path: str, args: dict[str, Any]) -> Told:
        if kind_of(path) == "query":
            query_id = await self.client.subscribe(path, args)
            result = self.client.results[query_id]
            await self.client.unsubscribe(query_id)
            if isinstance(result, Failure):
                return failed(result.message, result.data)
            return Told(result)
        try:
            return Told(await self.client.mutate(path, args))
        except FunctionError as error:
            return failed(str(error), error.data)

    def received(self) -> str:
        return json.dumps(self.client.frames)


class HttpCaller:
    def __init__(self, http: httpx.AsyncClient, token: str | None) -> None:
        self._http = http
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._received: list[str] = []

    async def call(self, path: str, args: dict[str, Any]) -> Told:
        body = {"path": path, "args": args, "format": "convex_encoded_json"}
        response = await self._http.post(f"/api/{kind_of(path)}", json=body, headers=self._headers)
        self._received.append(response.text)
        assert response.status_code == 200, response.text
        answer = response.json()
        if answer["status"] == "error":
            return failed(answer["errorMessage"], answer.get("errorData"))
        return Told(answer["value"])

    def received(self) -> str:
        return "".join(self._received)


TOKENS = {
    "anon": None,
    "alice": token("alice", iss=ISSUER),
    "carol": token("carol", iss=ISSUER),
    "dave": token("dave", iss=ISSUER),
}


@dataclass
class Wired:
    """The people, and each of them on each wire."""

    world: World
    web: WebServer
    callers: dict[tuple[str, str], Caller]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wired(cluster: Cluster) -> AsyncIterator[Wired]:
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(cluster.database(await cluster.template()))
        app = await stack.enter_async_context(serving(dsn, "parley.chat"))
        world = World(app)
        await populate(world)
        web = stack.enter_context(
            serving_web(dsn, functions=("parley.chat",), max_verifications_per_s=10_000)
        )
        http = await stack.enter_async_context(open_http(web))
        callers: dict[tuple[str, str], Caller] = {}
        for name, value in TOKENS.items():
            client = await stack.enter_async_context(open_client(web.url))
            await client.authenticate(value)
            callers["socket", name] = SocketCaller(client)
            callers["http", name] = HttpCaller(http, value)
            # Signing in makes a row; the tests are about what comes behind it.
            await callers["http", name].call("users:me", {})
        await world.app.database.execute("delete from users where supabase_user_id = 'dave'")
        yield Wired(world, web, callers)


def refusal(wire: str, caller: str, path: str) -> Told:
    """Return what a caller is told of what is not theirs, and of what does not exist."""
    outcome = denial(kind_of(path), caller, RULES[path])
    if outcome.error is None:
        return Told(outcome.value)
    return Told(text=f"Uncaught ConvexError: {outcome.data}", data=outcome.data)


INTERNAL = {function.path for function in REGISTRY if function.is_internal}


def is_for_all(path: str, caller: str) -> bool:
    """Tell whether a function is about the caller's own things, and the caller is somebody."""
    return not RULES[path].target and path not in INTERNAL and caller in {"alice", "carol"}


# Over HTTP each request signs in, so Dave would be somebody new, with nothing: Carol.
MATRIX = [
    (wire, path, caller)
    for wire, path, caller in product(WIRES, PATHS, CALLERS)
    if (wire, caller) != ("http", "dave")
    and not (is_for_all(path, caller) and kind_of(path) == "mutation")
]


@pytest.mark.parametrize(("wire", "path", "caller"), MATRIX)
async def test_on_the_wire_what_is_not_the_callers_is_as_what_does_not_exist(
    wired: Wired, caplog: pytest.LogCaptureFixture, wire: str, path: str, caller: str
) -> None:
    rule, world, who = RULES[path], wired.world, wired.callers[wire, caller]
    targets = denied_ids(caller, rule) if rule.target else [""]

    async with nothing_written(world):
        told = {
            target: await who.call(
                path, {**rule.args, **({rule.target: world.ids[target]} if rule.target else {})}
            )
            for target in targets
        }

    if path in INTERNAL:
        [answer] = told.values()
        assert answer.text is not None
        assert answer.text.startswith(f"Could not find public function for '{path}'")
    elif is_for_all(path, caller):
        assert told[""].text is None
    else:
        assert told == dict.fromkeys(targets, refusal(wire, caller, path))
    assert CANARY not in who.received()
    assert CANARY not in caplog.text


@pytest.mark.parametrize(("wire", "path"), list(product(WIRES, TARGETED)))
@pytest.mark.parametrize("caller", ["anon", "carol"])
async def test_on_the_wire_what_is_no_id_is_refused_before_anybody_looks(
    wired: Wired, wire: str, path: str, caller: str
) -> None:
    rule, who = RULES[path], wired.callers[wire, caller]
    assert rule.target is not None

    async with nothing_written(wired.world):
        told = [
            await who.call(path, {**rule.args, rule.target: malformed})
            for malformed in malformed_ids(wired.world)
        ]

    assert all(each.value is None and each.data is None for each in told)
    assert {(each.text or "").partition(":")[0] for each in told} == {"ArgumentValidationError"}


@pytest.mark.parametrize(("wire", "path"), list(product(WIRES, TARGETED)))
async def test_on_the_wire_the_owner_may(wired: Wired, wire: str, path: str) -> None:
    rule, world, alice = RULES[path], wired.world, wired.callers[wire, "alice"]
    assert rule.target is not None
    own = (await alice.call("conversations:create", {"title": "for this test"})).value
    said = {"conversationId": own, "role": "user", "content": "for this test"}
    message = (await alice.call("conversations:addMessage", said)).value
    target = {"conversation": own, "message": message}[rule.acts_on]

    told = await alice.call(path, {**rule.args, rule.target: target})

    assert told.text is None
    assert kind_of(path) == "mutation" or told.value != rule.nothing
    await alice.call("conversations:remove", {"conversationId": own})
    assert (
        await world.app.database.fetchval("select count(*) from messages where id = $1", message)
        == 0
    )


@pytest.mark.parametrize("path", PATHS)
async def test_behind_an_expired_token_nothing_is_run(wired: Wired, path: str) -> None:
    rule, world = RULES[path], wired.world
    args = {**rule.args, **({rule.target: world.ids["alice's"]} if rule.target else {})}
    expired = token("alice", iss=ISSUER, lifetime_s=-60)
    async with (
        open_http(wired.web) as http,
        open_client(wired.web.url) as client,
        nothing_written(world),
    ):
        response = await http.post(
            f"/api/{kind_of(path)}",
            json={"path": path, "args": args},
            headers={"authorization": f"Bearer {expired}"},
        )
        await client.send(type="Authenticate", baseVersion=0, tokenType="User", value=expired)
        await client.send(
            type="ModifyQuerySet",
            baseVersion=0,
            newVersion=1,
            modifications=[{"type": "Add", "queryId": 0, "udfPath": path, "args": [args]}],
        )
        await client.send(type="Mutation", requestId=0, udfPath=path, args=[args])
        await client.until_closed()

    assert (response.status_code, response.json()["message"]) == (401, "Token expired")
    assert [frame["type"] for frame in client.frames] == ["AuthError"]
