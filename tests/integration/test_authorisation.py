"""Who may do what: every registered function, by every caller, to every kind of id.

`RULES` has one row per function, and the build fails without it. Denied and nonexistent look the
same; a denied call writes nothing, not even to the log; and nothing of Bob's reaches anybody else.
Alice has a conversation, Bob has one, Carol is a stranger to both, Dave's row was deleted.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import pytest
import pytest_asyncio

from parley import AppError
from parley.errors import ArgumentsInvalid, FunctionFailed, FunctionNotFound
from parley.identity import Identity
from parley.protocol.messages import Mutation
from parley.values import encode
from tests.support.app import serving
from tests.support.authorisation import (
    CALLERS,
    CANARY,
    CONFLICT,
    PUBLIC,
    REGISTRY,
    RULES,
    TARGETED,
    Outcome,
    World,
    denial,
    denied_ids,
    functions,
    kind_of,
    malformed_ids,
    nothing_written,
    populate,
)
from tests.support.chat import person
from tests.support.postgres import Cluster
from tests.support.wire import connect, fresh

# One database for the whole file: what is denied changes nothing, and each test checks that.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(cluster: Cluster) -> AsyncIterator[World]:
    async with (
        cluster.database(await cluster.template()) as dsn,
        serving(dsn, "parley.chat") as app,
    ):
        world = World(app)
        await populate(world)
        yield world


async def told(world: World, caller: str, path: str, args: dict[str, Any]) -> Outcome:
    """Call a function and return all that its caller learns; nothing of Bob's, unless he asks."""
    try:
        outcome = Outcome(await world.app.call(path, args, world.people[caller].identity))
    except FunctionFailed as error:
        data = error.data if isinstance(error, AppError) else error.message
        outcome = Outcome(error=type(error).__name__, data=data)
    shown = encode([outcome.value, outcome.error, outcome.data]).decode()
    asked = json.dumps(args)
    if caller != "bob":
        assert CANARY not in shown
        for name in ("bob's", "bob's message", "bob's user"):
            assert world.ids[name] in asked or world.ids[name] not in shown
    return outcome


async def test_every_function_has_a_rule() -> None:
    assert {function.path for function in REGISTRY} == set(RULES)


# --- ids of all kinds


@pytest.mark.parametrize(("path", "caller"), list(product(TARGETED, CALLERS)))
async def test_what_is_not_the_callers_is_as_what_does_not_exist(
    world: World, caplog: pytest.LogCaptureFixture, path: str, caller: str
) -> None:
    rule = RULES[path]
    assert rule.target is not None
    targets = denied_ids(caller, rule)

    async with nothing_written(world):
        outcomes = {
            target: await told(world, caller, path, {**rule.args, rule.target: world.ids[target]})
            for target in targets
        }

    assert outcomes == dict.fromkeys(targets, denial(kind_of(path), caller, rule))
    assert CANARY not in caplog.text


@pytest.mark.parametrize(("path", "caller"), list(product(TARGETED, CALLERS)))
async def test_what_is_no_id_is_refused_before_anybody_looks(
    world: World, path: str, caller: str
) -> None:
    rule = RULES[path]
    assert rule.target is not None
    malformed = malformed_ids(world)

    async with nothing_written(world):
        errors = [
            (await told(world, caller, path, {**rule.args, rule.target: bad})).error
            for bad in malformed
        ]

    assert errors == ["ArgumentsInvalid"] * len(malformed)


@pytest.mark.parametrize("path", TARGETED)
async def test_the_owner_may(world: World, path: str) -> None:
    rule = RULES[path]
    assert rule.target is not None
    alice = world.people["alice"]
    own = await alice.create(title="for this test")
    message = await alice.say(own, "for this test")
    args = {**rule.args, rule.target: own if rule.acts_on == "conversation" else message}

    outcome = await told(world, "alice", path, args)

    assert outcome.error is None
    assert kind_of(path) == "mutation" or outcome.value != rule.nothing


# --- functions about the caller

OWN = functions(lambda function, rule: not function.is_internal and not rule.target)


@pytest.mark.parametrize("path", [path for path in OWN if kind_of(path) == "query"])
@pytest.mark.parametrize("caller", ["anon", "dave"])
async def test_who_has_no_row_has_nothing(world: World, path: str, caller: str) -> None:
    async with nothing_written(world):
        outcome = await told(world, caller, path, RULES[path].args)

    assert outcome == Outcome(RULES[path].nothing)


@pytest.mark.parametrize("path", [path for path in OWN if kind_of(path) == "query"])
async def test_a_stranger_sees_nothing_of_others(world: World, path: str) -> None:
    async with nothing_written(world):
        outcome = await told(world, "carol", path, RULES[path].args)

    assert outcome.error is None
    assert world.ids["alice's"] not in encode(outcome.value).decode()


@pytest.mark.parametrize("path", [path for path in OWN if kind_of(path) == "query"])
async def test_bob_sees_his_own_so_the_canary_sings(world: World, path: str) -> None:
    outcome = await told(world, "bob", path, RULES[path].args)

    assert CANARY in encode(outcome.value).decode()


@pytest.mark.parametrize("path", [path for path in OWN if kind_of(path) == "mutation"])
@pytest.mark.parametrize("caller", ["anon", "dave"])
async def test_who_has_no_row_can_make_nothing(world: World, path: str, caller: str) -> None:
    async with nothing_written(world):
        outcome = await told(world, caller, path, RULES[path].args)

    assert outcome == denial("mutation", caller, RULES[path])


@pytest.mark.parametrize("path", functions(lambda function, rule: function.is_internal))
@pytest.mark.parametrize("caller", [*CALLERS, "bob"])
async def test_an_internal_function_does_not_exist_for_anybody(
    world: World, path: str, caller: str
) -> None:
    async with nothing_written(world):
        outcome = await told(world, caller, path, RULES[path].args)

    assert outcome.error == FunctionNotFound.__name__


# --- ids made by clients


@pytest.mark.parametrize("path", functions(lambda function, rule: rule.own_id))
@pytest.mark.parametrize("caller", ["alice", "carol"])
async def test_an_id_that_somebody_has_is_a_conflict_and_nobodys_row_changes(
    world: World, path: str, caller: str
) -> None:
    rule = RULES[path]
    assert rule.own_id is not None
    own = await world.people[caller].create()
    taken = "bob's message" if rule.target else "bob's"
    args = {**rule.with_id(world.ids[taken]), **({rule.target: own} if rule.target else {})}

    async with nothing_written(world):
        outcome = await told(world, caller, path, args)

    assert outcome == Outcome(error="AppError", data=CONFLICT)


@pytest.mark.parametrize("path", functions(lambda function, rule: rule.own_id))
@pytest.mark.parametrize("caller", ["anon", "dave"])
async def test_who_may_not_write_learns_nothing_of_taken_ids(
    world: World, path: str, caller: str
) -> None:
    rule = RULES[path]
    target = {rule.target: world.ids["bob's"]} if rule.target else {}

    async with nothing_written(world):
        outcomes = [
            await told(world, caller, path, {**rule.with_id(world.ids[name]), **target})
            for name in ("bob's", "bob's message", "random")
        ]

    assert outcomes == [denial("mutation", caller, rule)] * 3


# --- more than ids


UNKNOWN_FIELDS = [
    (path, field)
    for path in PUBLIC
    for field in ("_id", "_creationTime", "userId", "createdAt", "ownerId")
    if field not in RULES[path].args
]


@pytest.mark.parametrize(("path", "field"), UNKNOWN_FIELDS)
async def test_a_field_that_no_argument_names_cannot_be_set(
    world: World, path: str, field: str
) -> None:
    rule = RULES[path]
    args = {**rule.args, **({rule.target: world.ids["alice's"]} if rule.target else {})}

    async with nothing_written(world):
        outcome = await told(world, "alice", path, {**args, field: world.ids["bob's user"]})

    assert outcome.error == ArgumentsInvalid.__name__
    assert f"extra field `{field}`" in outcome.data


@pytest.mark.parametrize("path", functions(lambda function, rule: "paginationOpts" in rule.args))
async def test_a_cursor_of_bobs_or_an_edited_one_opens_nothing(world: World, path: str) -> None:
    bob, alice = world.people["bob"], world.people["alice"]
    target = RULES[path].target
    theirs = {target: world.ids["bob's"]} if target else {}
    hers = {target: world.ids["alice's"]} if target else {}
    first = {"numItems": 1, "cursor": None}
    for _ in range(2):
        await bob.create(title=CANARY)
        await bob.say(world.ids["bob's"], CANARY)
        await alice.create()
        await alice.say(world.ids["alice's"], "x")
    stolen = (await bob.query(path, **theirs, paginationOpts=first))["continueCursor"]
    own = (await alice.query(path, **hers, paginationOpts=first))["continueCursor"]
    swapped = own[:-4] + ("A" if own[-4] != "A" else "B") + own[-3:]
    async with nothing_written(world):
        outcomes = [
            await told(world, "alice", path, {**hers, "paginationOpts": {**first, field: cursor}})
            for field, cursor in product(["cursor", "endCursor"], [stolen, swapped, "x", "é", "="])
        ]

    invalid = {"isConvexSystemError": True, "paginationError": "InvalidCursor"}
    assert outcomes == [Outcome(error="AppError", data=invalid)] * 10


@pytest.mark.parametrize("path", functions(lambda f, rule: rule.target and f.kind == "query"))
async def test_a_subscription_ends_with_the_ownership_it_rests_on(world: World, path: str) -> None:
    rule = RULES[path]
    alice = world.people["alice"]
    own = await alice.create()
    await alice.say(own, "x")
    args = {**rule.args, rule.target: own}

    async with world.app.watching(path, args, alice.identity) as watcher:
        before = watcher.value
        await world.app.database.execute(
            "update conversations set user_id = $1 where id = $2", world.ids["bob's user"], own
        )
        after = await watcher.next()

    assert before != rule.nothing
    assert after == rule.nothing


@pytest.mark.parametrize("path", functions(lambda f, rule: not f.is_internal and f.kind == "query"))
async def test_a_subscription_ends_with_the_user(world: World, path: str) -> None:
    rule = RULES[path]
    erin = await person(world.app, "erin")
    own = await erin.create()
    await erin.say(own, "x")
    args = {**rule.args, **({rule.target: own} if rule.target else {})}

    async with world.app.watching(path, args, erin.identity) as watcher:
        before = watcher.value
        await world.app.database.execute("delete from users where supabase_user_id = 'erin'")
        after = await watcher.next()

    assert before != rule.nothing
    assert after == rule.nothing


# --- requests of somebody else's session (RELIABILITY H8)

SESSION = "11111111-2222-4333-8444-555555555555"


async def request(
    world: World, identity: Identity | None, number: int, title: str
) -> dict[str, Any]:
    """Send `create` as request `number` of SESSION, as a socket would; return the response."""
    worker = world.app.node.open(fresh(), lambda: None)
    worker.connection.receive(connect(SESSION))
    worker.connected()
    worker.authenticated(identity)
    message = worker.connection.receive(
        json.dumps(
            {
                "type": "Mutation",
                "requestId": number,
                "udfPath": "conversations:create",
                "args": [{"title": title}],
            }
        )
    )
    assert isinstance(message, Mutation)
    worker.mutate(message)
    try:
        # Another mutation, of no session, is answered after all that were taken before it.
        await world.people["carol"].create()
        [response] = [
            json.loads(frame)
            for outgoing in worker.outbox
            for frame in outgoing.frames
            if b"MutationResponse" in frame
        ]
    finally:
        worker.close()
    answer: dict[str, Any] = response
    return answer


async def test_a_session_id_of_bobs_gives_nobody_his_results(world: World) -> None:
    bob, carol = world.people["bob"], world.people["carol"]

    his = await request(world, bob.identity, 1, f"{CANARY} secret")
    again = await request(world, bob.identity, 1, f"{CANARY} secret")
    hers = await request(world, carol.identity, 1, f"{CANARY} secret")
    signed_out = await request(world, None, 1, f"{CANARY} secret")

    assert his["success"]
    assert again["result"] == his["result"]
    assert hers["success"]
    assert hers["result"] != his["result"]
    assert not signed_out["success"]


async def test_a_request_number_cannot_be_claimed_before_its_owner_uses_it(world: World) -> None:
    bob, carol = world.people["bob"], world.people["carol"]

    claimed = await request(world, carol.identity, 7, "claimed")
    his = await request(world, bob.identity, 7, "mine")

    assert claimed["success"]
    assert his["success"]
    assert (await bob.get(his["result"]))["title"] == "mine"


async def test_a_request_number_used_for_another_call_is_refused_loudly(world: World) -> None:
    bob = world.people["bob"]
    await request(world, bob.identity, 9, "first")

    again = await request(world, bob.identity, 9, "second")

    assert not again["success"]
    assert "used for another call" in again["result"]
    assert "second" not in await bob.titles()
