"""A user's row appears at the first sign-in and follows the token from then on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from parley.identity import Identity
from tests.support.app import ISSUER, App, identity_of, serving
from tests.support.chat import Person, person


@pytest.fixture
async def app(dsn: str) -> AsyncIterator[App]:
    async with serving(dsn, "parley.chat") as app:
        yield app


async def head(app: App) -> int:
    newest: int = await app.database.fetchval("select max(ts) from parley.log_tx")
    return newest


async def test_nobody_is_null(app: App) -> None:
    assert await app.query("users:me") is None
    assert await app.query("users:me", {}, identity_of("never signed in")) is None


async def test_the_first_sign_in_makes_the_row(app: App) -> None:
    alice = await person(app, "a-1", email="alice@example.com", name="Alice")

    me = await alice.query("users:me")

    del me["_id"], me["_creationTime"], me["createdAt"]
    assert me == {
        "issuer": ISSUER,
        "supabaseUserId": "a-1",
        "email": "alice@example.com",
        "name": "Alice",
    }


async def test_a_row_that_appears_is_seen_by_who_waits_for_it(app: App) -> None:
    alice = identity_of("alice")

    async with app.watching("users:me", {}, alice) as watcher:
        before = watcher.value
        await app.node.signed_in(alice)
        after = await watcher.next()

    assert before is None
    assert after["supabaseUserId"] == "alice"


async def test_email_and_name_follow_the_token(app: App) -> None:
    before = await (await person(app, "a-1", email="old@example.com", name="Old")).query("users:me")

    changed = await (await person(app, "a-1", email="new@example.com")).query("users:me")

    del before["name"]
    assert changed == {**before, "email": "new@example.com"}


async def test_signing_in_again_writes_nothing_when_nothing_changed(app: App) -> None:
    await person(app, "a-1", email="alice@example.com")
    before = await head(app)

    await person(app, "a-1", email="alice@example.com")

    assert await head(app) == before


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": "Top", "user_metadata.name": "Meta"}, "Top"),
        ({"user_metadata.full_name": "Full", "user_metadata.name": "Meta"}, "Full"),
        ({"user_metadata.name": "Meta"}, "Meta"),
        ({"user_metadata.full_name": 5, "user_metadata.name": ["x"]}, None),
        ({"user_metadata.full_name": ""}, None),
    ],
)
async def test_the_name_is_where_supabase_puts_it(
    app: App, claims: dict[str, Any], name: str | None
) -> None:
    me = await Person(app, await app.sign_in("a-1", **claims)).query("users:me")

    assert me.get("name") == name


async def test_one_subject_of_two_issuers_is_two_users(app: App) -> None:
    here = identity_of("same")
    there = Identity("https://other.test", "same", {}, expires_at=4e9)
    await app.node.signed_in(here)
    await app.node.signed_in(there)
    created = await Person(app, here).create()

    assert await Person(app, there).get(created) is None
    assert await app.database.fetchval("select count(*) from users") == 2


async def test_first_sign_ins_at_once_on_two_nodes_make_one_row(app: App, dsn: str) -> None:
    alice = identity_of("alice")
    async with serving(dsn, "parley.chat") as other:
        nodes = [app.node, other.node] * 5

        await asyncio.gather(*[node.signed_in(alice) for node in nodes])

        ids = {(await each.query("users:me", {}, alice))["_id"] for each in (app, other)}
    assert len(ids) == 1
    assert await app.database.fetchval("select count(*) from users") == 1
