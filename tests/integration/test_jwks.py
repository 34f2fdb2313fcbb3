"""The key cache against an issuer on a real socket: rotation, outage, floods and lies."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pytest
from jwt.algorithms import RSAAlgorithm

from parley.auth.jwks import FIRST_RETRY_S as FIRST_S
from parley.auth.jwks import (
    MAX_BODY_BYTES,
    REFRESH_S,
    RETRY_S,
    STALE_S,
    KeyCache,
    Source,
    check_url,
)
from parley.auth.keys import VerifyingKey
from parley.errors import AuthRejected, AuthUnavailable, SetupError
from tests.support.clock import FakeClock
from tests.support.issuer import Issuer, running_issuer
from tests.support.tokens import key_set, private_key, public_jwk

PATH = "/keys"
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as running:
        running.bodies[PATH] = key_set(public_jwk("rsa1"))
        yield running


@pytest.fixture
async def cache(issuer: Issuer, clock: FakeClock) -> AsyncIterator[KeyCache]:
    built = KeyCache(Source(issuer.url + PATH), clock)
    yield built
    await built.aclose()


async def find(cache: KeyCache, key_id: str = "rsa1") -> VerifyingKey:
    return await cache.find(key_id, "RS256")


async def test_found_key_checks_signatures(cache: KeyCache) -> None:
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(b"signed", private_key("rsa1"))

    key = await find(cache)

    assert key.check(b"signed", signature)
    assert not key.check(b"changed", signature)


async def test_keys_are_fetched_once_for_many_tokens(cache: KeyCache, issuer: Issuer) -> None:
    await find(cache)
    await find(cache)

    assert issuer.asked == [PATH]


async def test_nothing_is_fetched_before_the_first_token(cache: KeyCache, issuer: Issuer) -> None:
    await cache.aclose()

    assert issuer.asked == []


async def test_a_new_key_is_found_without_waiting_for_the_refresh(
    cache: KeyCache, issuer: Issuer, clock: FakeClock
) -> None:
    await find(cache)
    issuer.bodies[PATH] = key_set(public_jwk("rsa1"), public_jwk("rsa2"))

    clock.advance(RETRY_S)

    assert await find(cache, "rsa2")
    assert await find(cache, "rsa1")


async def test_a_removed_key_stops_working_with_the_next_refresh(
    cache: KeyCache, issuer: Issuer, clock: FakeClock
) -> None:
    await find(cache)
    issuer.bodies[PATH] = key_set(public_jwk("rsa2"))

    clock.advance(REFRESH_S - 1)
    assert await find(cache)

    clock.advance(1)
    with pytest.raises(AuthRejected) as refusal:
        await find(cache)
    assert refusal.value.code == "Unauthenticated"


async def test_a_flood_of_unknown_keys_costs_one_fetch_in_thirty_seconds(
    cache: KeyCache, issuer: Issuer, clock: FakeClock
) -> None:
    async def flood() -> list[object]:
        names = [f"made-up-{number}" for number in range(200)]
        return await asyncio.gather(*(find(cache, name) for name in names), return_exceptions=True)

    refusals = await flood() + await flood()
    assert {type(refusal) for refusal in refusals} == {AuthRejected}
    assert len(issuer.asked) == 1

    clock.advance(RETRY_S - 0.001)
    await flood()
    assert len(issuer.asked) == 1

    clock.advance(0.001)
    await flood()
    assert len(issuer.asked) == 2


async def test_an_empty_key_set_does_not_invite_more_fetches(
    cache: KeyCache, issuer: Issuer, clock: FakeClock
) -> None:
    """Supabase projects with the old secret publish an empty set."""
    issuer.bodies[PATH] = key_set()

    with pytest.raises(AuthRejected):
        await find(cache)
    clock.advance(RETRY_S - 1)
    with pytest.raises(AuthRejected):
        await find(cache)

    assert len(issuer.asked) == 1


async def test_keys_outlive_an_outage_by_a_day(
    cache: KeyCache, issuer: Issuer, clock: FakeClock
) -> None:
    await find(cache)
    issuer.status = 500

    clock.advance(STALE_S - 1)
    assert await find(cache)

    clock.advance(RETRY_S)
    with pytest.raises(AuthUnavailable):
        await find(cache)

    issuer.status = 200
    clock.advance(RETRY_S)
    assert await find(cache)


async def test_an_unknown_key_during_an_outage_may_be_tried_again_later(
    cache: KeyCache, issuer: Issuer, clock: FakeClock
) -> None:
    await find(cache)
    issuer.status = 503
    clock.advance(RETRY_S)

    with pytest.raises(AuthUnavailable) as refusal:
        await find(cache, "rsa2")

    assert refusal.value.retryable
    assert refusal.value.code == "AuthProviderDiscoveryFailed"


async def test_an_issuer_that_starts_late_is_asked_again_soon(
    cache: KeyCache, issuer: Issuer, clock: FakeClock
) -> None:
    issuer.status = 503
    with pytest.raises(AuthUnavailable):
        await find(cache)
    issuer.status = 200

    clock.advance(FIRST_S - 0.001)
    with pytest.raises(AuthUnavailable):
        await find(cache)
    assert len(issuer.asked) == 1

    clock.advance(0.001)
    assert await find(cache)


async def test_nobody_listening_is_an_outage(clock: FakeClock) -> None:
    async with running_issuer() as issuer:
        url = issuer.url
    cache = KeyCache(Source(url + PATH), clock)

    with pytest.raises(AuthUnavailable):
        await find(cache)
    await cache.aclose()


async def test_all_who_wait_for_a_slow_issuer_share_one_fetch(
    cache: KeyCache, issuer: Issuer
) -> None:
    issuer.open.clear()
    waiting = [asyncio.create_task(find(cache)) for _ in range(20)]
    await issuer.arrived.wait()
    late = asyncio.create_task(find(cache))
    issuer.open.set()

    keys = await asyncio.gather(*waiting, late)

    assert len(keys) == 21
    assert issuer.asked == [PATH]


async def test_one_who_gives_up_does_not_stop_the_fetch_of_the_others(
    cache: KeyCache, issuer: Issuer
) -> None:
    issuer.open.clear()
    first, second = asyncio.create_task(find(cache)), asyncio.create_task(find(cache))
    await issuer.arrived.wait()

    first.cancel()
    await asyncio.wait([first])
    issuer.open.set()

    assert await second
    assert first.cancelled()
    assert issuer.asked == [PATH]


async def test_an_issuer_that_never_answers_is_given_up(issuer: Issuer, clock: FakeClock) -> None:
    cache = KeyCache(Source(issuer.url + PATH), clock, timeout_s=0.05)
    issuer.open.clear()

    with pytest.raises(AuthUnavailable):
        await find(cache)
    await cache.aclose()


async def test_closing_ends_a_fetch_under_way(cache: KeyCache, issuer: Issuer) -> None:
    issuer.open.clear()
    waiting = asyncio.create_task(find(cache))
    await issuer.arrived.wait()

    await cache.aclose()
    await cache.aclose()

    assert (await asyncio.gather(waiting, return_exceptions=True))[0].__class__ is (
        asyncio.CancelledError
    )


async def test_largest_key_set_is_accepted_and_one_byte_more_is_not(
    cache: KeyCache, issuer: Issuer, clock: FakeClock
) -> None:
    issuer.bodies[PATH] = issuer.bodies[PATH].ljust(MAX_BODY_BYTES + 1)
    with pytest.raises(AuthUnavailable):
        await find(cache)

    issuer.bodies[PATH] = issuer.bodies[PATH][:-1]
    clock.advance(RETRY_S)
    assert await find(cache)


async def test_ten_megabytes_are_not_read_to_the_end(
    cache: KeyCache, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.bodies[PATH] = b" " * 10_000_000

    with pytest.raises(AuthUnavailable):
        await find(cache)

    assert "more than 262144 bytes" in caplog.text


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(cache: KeyCache, issuer: Issuer, status: int) -> None:
    async with running_issuer() as other:
        other.bodies[PATH] = issuer.bodies[PATH]
        issuer.status, issuer.headers = status, {"location": other.url + PATH}

        with pytest.raises(AuthUnavailable):
            await find(cache)

        assert other.asked == []


WRONG_CONTENT = {
    "nothing": b"",
    "a page": b"<!doctype html><title>Sign in</title>",
    "a list": b"[]",
    "no keys": b"{}",
    "keys as an object": b'{"keys": {}}',
    "not UTF-8": b'{"keys": ["\xff"]}',
    "nested without end": b"[" * 200_000,
    "too many keys": key_set(*({"kid": str(number)} for number in range(65))),
    "compressed": gzip.compress(key_set(public_jwk("rsa1"))),
}


@pytest.mark.parametrize("body", WRONG_CONTENT.values(), ids=WRONG_CONTENT)
async def test_wrong_content_never_replaces_good_keys(
    cache: KeyCache, issuer: Issuer, clock: FakeClock, body: bytes
) -> None:
    await find(cache)
    issuer.bodies[PATH] = body

    clock.advance(REFRESH_S)

    assert await find(cache)
    assert len(issuer.asked) == 2


async def test_a_failure_is_logged_once_with_its_cause(
    cache: KeyCache, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.status = 500

    await asyncio.gather(*(find(cache) for _ in range(5)), return_exceptions=True)

    messages = [
        record.getMessage() for record in caplog.records if record.name == "parley.auth.jwks"
    ]
    assert len(messages) == 1
    assert "status 500" in messages[0]
    assert issuer.url in messages[0]


async def test_proxies_of_the_environment_are_not_asked_about_this_machine(
    issuer: Issuer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    cache = KeyCache(Source(issuer.url + PATH), clock)

    assert await find(cache)
    await cache.aclose()


def discovered(issuer: Issuer, clock: FakeClock) -> KeyCache:
    return KeyCache(Source(issuer.url + DISCOVERY, issuer.url), clock)


async def test_keys_are_found_by_discovery(issuer: Issuer, clock: FakeClock) -> None:
    document = {"issuer": issuer.url + "/", "jwks_uri": issuer.url + PATH}
    issuer.bodies[DISCOVERY] = json.dumps(document).encode()
    cache = discovered(issuer, clock)

    assert await find(cache)
    assert issuer.asked == [DISCOVERY, PATH]
    await cache.aclose()


DOCUMENTS = {
    "of another issuer": {"issuer": "https://evil.test"},
    "without issuer": {"issuer": None},
    "without key set": {"jwks_uri": None},
    "key set without TLS": {"jwks_uri": "http://evil.test/keys"},
    "key set in a file": {"jwks_uri": "file:///etc/passwd"},
    "key set at no URL": {"jwks_uri": "https://[::1"},
    "key set at a broken port": {"jwks_uri": "http://127.0.0.1:x/keys"},
}


@pytest.mark.parametrize("changes", DOCUMENTS.values(), ids=DOCUMENTS)
async def test_a_discovery_document_that_lies_gives_no_keys(
    issuer: Issuer, clock: FakeClock, changes: dict[str, object]
) -> None:
    document = {"issuer": issuer.url, "jwks_uri": issuer.url + PATH, **changes}
    issuer.bodies[DISCOVERY] = json.dumps(document).encode()
    cache = discovered(issuer, clock)

    with pytest.raises(AuthUnavailable):
        await find(cache)

    assert issuer.asked == [DISCOVERY]
    await cache.aclose()


@pytest.mark.parametrize("body", [b"[]", b"null", b"<html>", b"[" * 200_000])
async def test_a_discovery_document_that_is_none_gives_no_keys(
    issuer: Issuer, clock: FakeClock, body: bytes
) -> None:
    issuer.bodies[DISCOVERY] = body
    cache = discovered(issuer, clock)

    with pytest.raises(AuthUnavailable):
        await find(cache)
    await cache.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/keys",
        "http://127.0.0.1:54321/keys",
        "http://127.9.9.9/keys",
        "http://[::1]/keys",
        "https://127.0.0.1/keys",
    ],
)
def test_this_machine_may_be_asked_only_by_settings_that_name_it(url: str) -> None:
    assert check_url(url, may_be_local=True)
    with pytest.raises(SetupError):
        check_url(url, may_be_local=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.test/keys",
        "http://127.0.0.1.evil.test/keys",
        "http://localhost.evil.test/keys",
        "http://10.0.0.1/keys",
        "ftp://issuer.test/keys",
        "//issuer.test/keys",
        "issuer.test",
        "",
        "https://user@issuer.test/keys",
        "https://user:word@issuer.test/keys",
    ],
)
def test_an_unsafe_url_is_refused(url: str) -> None:
    with pytest.raises(SetupError):
        check_url(url, may_be_local=True)


def test_a_url_with_tls_elsewhere_is_fine() -> None:
    assert not check_url("https://issuer.test/keys", may_be_local=False)
