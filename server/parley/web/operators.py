"""Pages for operators: health, readiness, metrics, version; and the tokens of development mode."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from parley import __version__
from parley.auth.admin import admin_identity
from parley.auth.development import mint_token
from parley.devmode import is_loopback
from parley.errors import AuthRejected, Unavailable
from parley.web.api import error_response
from parley.web.services import Services
from parley.web.socket import address_of

_READY_LAG_S: Final = 10.0
_READY_ANSWER_S: Final = 2.0
# Not `X-Forwarded-Proto`: the meshes in which metrics are gathered add that to every request.
_OF_PROXIES: Final = (
    *("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"),
    *("cf-connecting-ip", "true-client-ip", "client-ip"),
)


async def _version(_request: Request) -> Response:
    return PlainTextResponse(__version__)


async def _instance_name(_request: Request) -> Response:
    return PlainTextResponse("parley")


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _ready(request: Request) -> Response:
    """Tell whether Postgres answers and memory follows its log; to operators also why not."""
    services: Services = request.app.state.services
    lag_s = services.clock.monotonic() - services.node.follower.read_at
    problems = []
    if services.node.is_draining:
        problems.append("stopping")
    if lag_s > _READY_LAG_S:
        problems.append(f"the log was last read {lag_s:.0f} s ago")
    try:
        async with asyncio.timeout(_READY_ANSWER_S):
            await services.node.fresh()
    except (Unavailable, TimeoutError):
        problems.append("the newest commit cannot be read from Postgres")
    status = "unavailable" if problems else "ready"
    details = {"problems": problems} if _is_operator(request) else {}
    return JSONResponse({"status": status, **details}, 503 if problems else 200)


async def _metrics(request: Request) -> Response:
    if not _is_operator(request):
        text = "Metrics are for the private network, or for who sends the admin key"
        return error_response(403, "Forbidden", text)
    services: Services = request.app.state.services
    page = services.metrics.page()
    return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")


def _is_operator(request: Request) -> bool:
    """Tell whether somebody of the private network asks, or whoever has the admin key.

    Not a page that they visit, nor anybody for whom a proxy forwards.
    """
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind in {"Bearer", "Convex"}:
        services: Services = request.app.state.services
        try:
            admin_identity(key.strip(), services.settings.admin_key)
        except AuthRejected:
            return False
        return True
    if "origin" in request.headers or _is_forwarded(request):
        return False
    try:
        address = ipaddress.ip_address(address_of(request.scope))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_private


def _is_forwarded(request: Request) -> bool:
    """Tell whether a proxy, perhaps one on this machine, forwards for somebody else."""
    return any(name in request.headers for name in _OF_PROXIES)


def _is_local(request: Request) -> bool:
    """Tell whether a person on this machine asks, by a page of this machine or by none.

    A foreign page in their browser could ask too, under its own origin or, after DNS rebinding,
    under its own host name.
    """
    server = request.scope.get("server") or ("", 0)
    origin = request.headers.get("origin")
    hosts = [address_of(request.scope), str(server[0]), request.url.hostname or ""]
    if origin is not None:
        hosts.append(urlsplit(origin).hostname or "")
    return not _is_forwarded(request) and all(is_loopback(host) for host in hosts)


async def _dev_token(request: Request) -> Response:
    """Give a token to anybody on this machine: development mode only."""
    services: Services = request.app.state.services
    if services.dev_secret is None or not _is_local(request):
        return JSONResponse({"code": "NotFound", "message": "Not in development mode"}, 404)
    subject = request.query_params.get("sub", "")
    if not subject:
        return JSONResponse({"code": "BadRequest", "message": "sub: missing, e.g. ?sub=alice"}, 400)
    claims = {k: v for k in ("name", "email") if (v := request.query_params.get(k))}
    token = mint_token(services.dev_secret, subject, services.clock, claims=claims)
    return JSONResponse({"token": token})


ROUTES: Final = (
    Route("/version", _version),
    Route("/instance_name", _instance_name),
    Route("/instance_version", _version),
    Route("/health", _health),
    Route("/ready", _ready),
    Route("/metrics", _metrics),
    Route("/dev/token", _dev_token),
)
