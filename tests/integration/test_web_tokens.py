"""Forged tokens on real connections: what their bearer is told, and what is logged."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from parley.errors import AuthRejected
from tests.support.attacks import ATTACKS, NOW, OIDC, SUPABASE_KEYS, TEXTS, Build, hs
from tests.support.client import SyncClient, open_client
from tests.support.clock import StoppedClock
from tests.support.issuer import Issuer, running_issuer
from tests.support.tokens import key_set, public_jwk
from tests.support.webapp import WebServer, open_http, serving_web

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUERY = {"path": "probe:who", "args": {}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as running:
        running.bodies["/auth/v1/.well-known/jwks.json"] = key_set(*SUPABASE_KEYS)
        running.bodies["/oidc/keys"] = key_set(public_jwk("oidc-rsa"))
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(web_dsn: str, issuer: Issuer) -> AsyncIterator[WebServer]:
    """A server with every kind of provider, at the time of the tokens."""
    with serving_web(
        web_dsn,
        clock=StoppedClock(NOW),
        supabase_url=issuer.url,
        auth_issuer=OIDC,
        auth_jwks_url=f"{issuer.url}/oidc/keys",
        auth_audience="app",
        max_verifications_per_s=1000,
    ) as server:
        async with open_client(server.url) as client:  # while this loop can give it the keys
            await client.authenticate(hs()(f"{issuer.url}/auth/v1"))
        yield server


async def signed_in(client: SyncClient, token: str) -> int:
    """Become Alice, and return the id of a query that says so."""
    await client.authenticate(token)
    query_id = await client.subscribe("probe:who")
    assert client.results[query_id] == "alice"
    return query_id


def assert_is_logged_without(token: str, caplog: pytest.LogCaptureFixture) -> None:
    """Check that a refusal is one line of the server's log, and nothing of its token in any."""
    theirs = ("httpcore", "httpx", "websockets")  # the client's
    lines = [r.getMessage() for r in caplog.records if not r.name.startswith(theirs)]
    assert len([line for line in lines if line.startswith("token refused: ")]) == 1
    parts = [text for text in (token, *token.split(".")) if len(text) > 8]
    assert not [part for part in parts for line in lines if part in line]


@pytest.mark.parametrize(("build", "error"), ATTACKS.values(), ids=ATTACKS)
async def test_a_forged_token_ends_its_connection_and_is_in_no_log(
    guarded: WebServer,
    issuer: Issuer,
    caplog: pytest.LogCaptureFixture,
    build: Build,
    error: type[AuthRejected],
) -> None:
    caplog.set_level(logging.INFO)
    iss = f"{issuer.url}/auth/v1"
    token = build(iss)
    async with open_client(guarded.url) as client:
        await signed_in(client, hs()(iss))
        at = len(client.frames)

        await client.send(type="Authenticate", baseVersion=1, tokenType="User", value=token)
        await client.send(
            type="Mutation", requestId=0, udfPath="probe:add", args=[{"name": "forged"}]
        )
        code = await client.until_closed()

    assert code in {1000, 1005}
    assert client.frames[at:] == [
        {
            "type": "AuthError",
            "error": TEXTS[error][1],
            "baseVersion": 1,
            "authUpdateAttempted": True,
        }
    ]
    assert_is_logged_without(token, caplog)


HEADERS = {
    name: attack
    for name, attack in ATTACKS.items()
    if re.fullmatch(r"[!-~ ]{1,12000}", attack[0]("https://iss.test"))
}


@pytest.mark.parametrize(("build", "error"), HEADERS.values(), ids=HEADERS)
async def test_a_forged_token_in_a_header_is_a_401_and_in_no_log(
    guarded: WebServer,
    issuer: Issuer,
    caplog: pytest.LogCaptureFixture,
    build: Build,
    error: type[AuthRejected],
) -> None:
    caplog.set_level(logging.INFO)
    token = build(f"{issuer.url}/auth/v1")
    async with open_http(guarded) as http:
        response = await http.post(
            "/api/query", json=QUERY, headers={"authorization": f"Bearer {token}"}
        )

    code, message = TEXTS[error]
    assert (response.status_code, response.json()) == (401, {"code": code, "message": message})
    assert_is_logged_without(token, caplog)


async def test_what_was_sent_behind_forged_tokens_has_never_run(guarded: WebServer) -> None:
    """Runs behind the tests above, on what they left."""
    async with open_client(guarded.url) as client:
        query_id = await client.subscribe("probe:count", {"name": "forged"})

    assert client.results[query_id] == 0


async def test_a_subject_of_sql_is_a_name_like_any(
    guarded: WebServer, issuer: Issuer, web_dsn: str
) -> None:
    subject = "x'; drop table users; -- \" $1 %s {0} \\"
    async with open_client(guarded.url) as client:
        await client.authenticate(hs(sub=subject)(f"{issuer.url}/auth/v1"))
        query_id = await client.subscribe("probe:who")
        assert client.results[query_id] == subject

    database = await asyncpg.connect(web_dsn)
    try:
        sql = "select count(*) from users where supabase_user_id = $1"
        assert await database.fetchval(sql, subject) == 1
    finally:
        await database.close()


async def test_a_token_is_good_until_it_expires_also_after_its_user_left(
    guarded: WebServer, issuer: Issuer
) -> None:
    """As documented: there is no list of revoked tokens."""
    token = hs()(f"{issuer.url}/auth/v1")
    async with open_client(guarded.url) as client:
        query_id = await signed_in(client, token)
        await client.authenticate(None)
        assert client.results[query_id] is None

    async with open_client(guarded.url) as again:
        await signed_in(again, token)


async def test_a_refresh_that_comes_behind_the_end_of_its_token_is_too_late(
    guarded: WebServer, issuer: Issuer
) -> None:
    iss = f"{issuer.url}/auth/v1"
    async with open_client(guarded.url) as client:
        await signed_in(client, hs()(iss))
        short = hs(exp=NOW - 1000)(iss)
        await client.send(type="Authenticate", baseVersion=1, tokenType="User", value=short)
        await client.send(type="Authenticate", baseVersion=2, tokenType="User", value=hs()(iss))

        await client.until_closed()

    assert client.frames[-1]["error"] == "Token expired"
    assert client.version.identity == 1
