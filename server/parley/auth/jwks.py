"""An issuer's public keys, fetched when needed, kept for a while.

    find(kid) ── known, fetched < 10 min ago ──────────────► the key
        │
        └─ else ── an attempt < 30 s ago ──► what we have ◄── failed: kept up to 24 h
                └─ fetch (one for all who wait) ─┘

Never more than one fetch at a time, nor more than one in 30 s, whatever tokens arrive: a flood of
made-up key ids costs the issuer nothing (RELIABILITY.md §3.2).
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
from dataclasses import dataclass
from typing import Final

import httpx

from parley.auth.claims import normalised_issuer, refused
from parley.auth.keys import KeySet, VerifyingKey, parse_jwks
from parley.clock import Clock
from parley.errors import AuthUnavailable, SetupError

FETCH_TIMEOUT_S: Final = 5.0  # for all of one fetch, discovery included
MAX_BODY_BYTES: Final = 256 * 1024
REFRESH_S: Final = 600.0  # a key that the issuer removed works no longer than this
RETRY_S: Final = 30.0  # between attempts
FIRST_RETRY_S: Final = 5.0  # the same until the first success: the issuer may be starting too
STALE_S: Final = 24 * 3600.0  # how long keys outlive an issuer that cannot be reached

_UNAVAILABLE: Final = "The keys of the token's issuer cannot be fetched now"
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Where an issuer's keys are.

    Attributes:
        url: of the key set, or of the OIDC discovery document that names it.
        issuer: set when `url` is the discovery document: the issuer it must be of.
    """

    url: str
    issuer: str | None = None


class KeyCache:
    """The keys of one issuer. Call from one event loop only; `aclose` it in the end.

    Args:
        source: where the keys are; https, or http on this machine.
        clock: for ages.
        timeout_s: for one fetch.

    Raises:
        SetupError: the URL is not one that may be fetched from.
    """

    def __init__(self, source: Source, clock: Clock, *, timeout_s: float = FETCH_TIMEOUT_S) -> None:
        """Prepare; fetch nothing yet."""
        self._source = source
        self._clock = clock
        self._timeout_s = timeout_s
        is_local = check_url(source.url, may_be_local=True)
        # Proxies of the environment are for the world outside, never for this machine.
        self._client = httpx.AsyncClient(trust_env=not is_local, timeout=timeout_s)
        self._is_local = is_local
        self._keys: KeySet = {}
        self._fetched_at: float | None = None  # when `_keys` came; None: never
        self._tried_at: float | None = None
        self._has_failed = False  # whether the last attempt did
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str, algorithm: str) -> VerifyingKey:
        """Return the key of this id and algorithm, fetching the set first where that may help.

        Safe to cancel: the fetch goes on for the others who wait.

        Raises:
            AuthRejected: the issuer has no such key.
            AuthUnavailable: whether it has one cannot be found out now.
        """
        if self._is_fetch_due(key_id, algorithm):
            await self._fetch_shared()
        if self._age_s() >= STALE_S:
            raise _unavailable()
        key = self._keys.get((key_id, algorithm))
        if key is not None:
            return key
        raise _unavailable() if self._has_failed else refused("the issuer has no such key")

    async def aclose(self) -> None:
        """Stop fetching and close connections; safe to call twice."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self._client.aclose()

    def _age_s(self) -> float:
        if self._fetched_at is None:
            return float("inf")
        return self._clock.monotonic() - self._fetched_at

    def _is_fetch_due(self, key_id: str, algorithm: str) -> bool:
        if (key_id, algorithm) in self._keys and self._age_s() < REFRESH_S:
            return False
        if self._fetching is not None or self._tried_at is None:
            return True  # join the one under way, or be the first
        pause = FIRST_RETRY_S if self._fetched_at is None else RETRY_S
        return self._clock.monotonic() - self._tried_at >= pause

    async def _fetch_shared(self) -> None:
        if self._fetching is None:
            self._tried_at = self._clock.monotonic()
            self._fetching = asyncio.create_task(self._fetch(), name="jwks-fetch")
        await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                self._keys = parse_jwks(await self._get(await self._locate()))
            self._fetched_at = self._clock.monotonic()
            self._has_failed = False
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, SetupError) as error:
            self._has_failed = True
            _log.warning(
                "cannot fetch the keys of an issuer: %s: %s: %s",
                self._source.url,
                type(error).__name__,
                error,
            )
        finally:
            self._fetching = None

    async def _locate(self) -> str:
        if self._source.issuer is None:
            return self._source.url
        url = _key_set_url(await self._get(self._source.url), self._source.issuer)
        check_url(url, may_be_local=self._is_local)  # no issuer may point us into our own machine
        return url

    async def _get(self, url: str) -> bytes:
        """Return the body at `url`; redirects are failures, so no other host is ever asked."""
        body = bytearray()
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self._client.stream("GET", url, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"status {response.status_code}")
            async for part in response.aiter_raw():  # raw: a compressed bomb stays small
                body += part
                if len(body) > MAX_BODY_BYTES:
                    raise ValueError(f"more than {MAX_BODY_BYTES} bytes")
        return bytes(body)


def check_url(url: str, *, may_be_local: bool) -> bool:
    """Tell whether an acceptable URL is on this machine.

    Raises:
        SetupError: neither https nor, where `may_be_local`, http on a loopback address; or it
            holds a user name, which would show in logs.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise SetupError("a URL for authentication cannot be parsed") from None
    is_local = _is_loopback(parsed.host)
    if not parsed.host or parsed.userinfo:
        raise SetupError("a URL for authentication needs a host and no user name")
    if is_local and not may_be_local:
        raise SetupError(f"{url} is on this machine, which a remote issuer may not ask for")
    if parsed.scheme != "https" and not (parsed.scheme == "http" and is_local):
        raise SetupError(f"{url} must begin with https:// (http:// only on this machine)")
    return is_local


def _key_set_url(body: bytes, issuer: str) -> str:
    """Return where the OIDC discovery document in `body` says that `issuer` keeps its keys.

    Raises:
        ValueError: it is no such document, or that of another issuer.
    """
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    found = document if isinstance(document, dict) else {}
    said, url = found.get("issuer"), found.get("jwks_uri")
    if not (isinstance(said, str) and isinstance(url, str)):
        raise ValueError("the discovery document lacks issuer or jwks_uri")
    if normalised_issuer(said) != issuer:
        raise ValueError("the discovery document is of another issuer")
    return url


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unavailable() -> AuthUnavailable:
    return AuthUnavailable(_UNAVAILABLE, reason="the last attempt to fetch them failed")
