"""The HTTP API of PROTOCOL.md §12: functions called once, without a socket."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from parley.auth.admin import admin_identity
from parley.engine.live import Result
from parley.errors import (
    AuthRejected,
    FunctionFailed,
    Overloaded,
    ParleyError,
    ProtocolViolation,
    TooLarge,
    surface,
)
from parley.identity import Identity
from parley.protocol.error_text import error_text
from parley.values import decode, encode_plain, ts_from_wire, ts_to_wire
from parley.web.services import Services
from parley.web.socket import address_of

log = logging.getLogger(__name__)

_BODY_TIMEOUT_S: Final = 30.0
_MAX_BATCH_QUERIES: Final = 100
_ENCODED: Final = frozenset({"convex_encoded_json", "convex_json"})
_PLAIN: Final = frozenset({"json", "convex_clean_json"})
_FLOATS: Final = "convex_encoded_json, whole numbers with a fraction"


class Call(msgspec.Struct):
    """Body of `/api/query`, `/api/mutation` and `/api/action`.

    Attributes:
        args: an object, or an array with one object.
        format: how the value is to be written; see `_write`.
    """

    path: str
    args: Any = msgspec.field(default_factory=dict)
    format: str | None = None


class CallAt(Call, kw_only=True):
    """Body of `/api/query_at_ts`."""

    ts: str


class Batch(msgspec.Struct):
    """Body of `/api/query_batch`."""

    queries: list[Call]


class BadRequest(ProtocolViolation):
    """A body that is not what the route takes."""


class Api:
    """The routes. Function failures are answers (HTTP 200); all else is `{"code", "message"}`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def query(self, request: Request) -> Response:
        """POST or GET /api/query: run a query on the newest state."""
        if request.method == "GET":
            call = _call_of_url(request)
        else:
            call = await self._body(request, Call)
        identity = await self._identity(request)
        answers = await self._services.node.query([(call.path, _one(call.args))], identity)
        return self._result(answers.results[0], call.format)

    async def query_batch(self, request: Request) -> Response:
        """POST /api/query_batch: run several queries at one ts."""
        batch = await self._body(request, Batch)
        if len(batch.queries) > _MAX_BATCH_QUERIES:
            raise BadRequest(f"queries: at most {_MAX_BATCH_QUERIES}")
        identity = await self._identity(request)
        calls = [(call.path, _one(call.args)) for call in batch.queries]
        answers = await self._services.node.query(calls, identity) if calls else None
        results = answers.results if answers is not None else ()
        shown = [
            self._answer(result, call.format)
            for result, call in zip(results, batch.queries, strict=True)
        ]
        return _json(b'{"results":[%b]}' % b",".join(shown))

    async def query_ts(self, request: Request) -> Response:
        """POST /api/query_ts: the ts of the newest state."""
        ts = await self._services.node.fresh()
        return _json(b'{"ts":"%b"}' % ts_to_wire(ts).encode())

    async def query_at_ts(self, request: Request) -> Response:
        """POST /api/query_at_ts: run a query, if what it reads is still as it was at `ts`."""
        call = await self._body(request, CallAt)
        ts = ts_from_wire(call.ts)
        identity = await self._identity(request)
        answers = await self._services.node.query([(call.path, _one(call.args))], identity)
        if ts > answers.ts or not self._services.node.engine.memory.is_unchanged(answers.keys, ts):
            raise BadRequest(
                "ts: the state of that time is gone, or has not come; ask query_ts again"
            )
        return self._result(answers.results[0], call.format)

    async def mutation(self, request: Request) -> Response:
        """POST /api/mutation: run a mutation; answered once it is durable."""
        call = await self._body(request, Call)
        identity = await self._identity(request)
        try:
            answer = await self._services.node.mutate(call.path, _one(call.args), identity)
            if answer.error is not None:
                raise answer.error
        except FunctionFailed as error:
            return _json(self._failure(error))
        return _json(_success(answer.value or b"null", call.format))

    async def action(self, request: Request) -> Response:
        """POST /api/action: run an action."""
        call = await self._body(request, Call)
        identity = await self._identity(request)
        try:
            value = await self._services.node.actions.run(call.path, _one(call.args), identity)
        except FunctionFailed as error:
            return _json(self._failure(error))
        return _json(_success(value, call.format))

    async def function(self, request: Request) -> Response:
        """POST /api/function: any function, internal ones too; for the admin key only."""
        if not request.headers.get("authorization", "").startswith("Convex "):
            raise AuthRejected("/api/function takes an admin key")
        call = await self._body(request, Call)
        identity = await self._identity(request)
        try:
            value = await self._services.node.run_any(call.path, _one(call.args), identity)
        except FunctionFailed as error:
            return _json(self._failure(error))
        return _json(_success(value, call.format))

    async def run(self, request: Request) -> Response:
        """POST /api/run/<mod/path>/<fn>: a public function of any kind, plain JSON by default."""
        module, _, name = request.path_params["path"].rpartition("/")
        call = await self._body(request, Call, path=f"{module}:{name}")
        identity = await self._identity(request)
        try:
            value = await self._services.node.run_any(
                call.path, _one(call.args), identity, internal=False
            )
        except FunctionFailed as error:
            return _json(self._failure(error))
        return _json(_success(value, call.format))

    # --- inside

    async def _body(self, request: Request, shape: type[Any], **given: str) -> Any:
        limit = self._services.settings.max_body_bytes
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise TooLarge(f"the body may be {limit} bytes")
        except TimeoutError as error:
            raise BadRequest(f"the body did not come within {_BODY_TIMEOUT_S:.0f} s") from error
        try:
            raw = orjson.loads(body or b"{}")
            found = msgspec.convert({**raw, **given} if isinstance(raw, dict) else raw, shape)
        except (orjson.JSONDecodeError, msgspec.ValidationError) as error:
            raise BadRequest(f"the body is not what this route takes: {error}") from error
        # PyPI's ConvexHttpClient cannot read 3, only 3.0; its binary WebSocket client reads both.
        is_python = request.headers.get("convex-client", "").startswith("python")
        if is_python and isinstance(found, Call) and found.format in _ENCODED:
            found.format = _FLOATS
        return found

    async def _identity(self, request: Request) -> Identity | None:
        header = request.headers.get("authorization", "")
        kind, _, token = header.partition(" ")
        if not header:
            return None
        if kind == "Convex":
            return _admin_identity(self._services.settings.admin_key, token)
        if kind != "Bearer":
            raise AuthRejected("Authorization is `Bearer <token>`")
        address = address_of(request.scope)
        now = self._services.clock.monotonic()
        if self._services.verifications.take(address, now) > 1:
            raise Overloaded("too many tokens from this address")
        identity = await self._services.verifier.verify(token.strip())
        await self._services.node.signed_in(identity)
        return identity

    def _result(self, result: Result, form: str | None) -> Response:
        return _json(self._answer(result, form))

    def _answer(self, result: Result, form: str | None) -> bytes:
        if result.error is not None:
            return self._failure(result.error)
        return _success(result.value, form)

    def _failure(self, error: FunctionFailed) -> bytes:
        request_id = secrets.token_hex(8)
        text, data = error_text(error, request_id, redact=self._services.redact_errors)
        shown = b"" if data is None else b',"errorData":%b' % data
        return b'{"status":"error","errorMessage":%b%b}' % (orjson.dumps(text), shown)


Endpoint = Callable[[Request], Awaitable[Response]]


def answered(services: Services, name: str, endpoint: Endpoint) -> Endpoint:
    """Return `endpoint` with its errors turned into answers, its time measured, its id told."""

    async def handle(request: Request) -> Response:
        with services.metrics.http_seconds.labels(name).time():
            try:
                response = await endpoint(request)
            except ClientDisconnect:
                response = Response(status_code=400)
            except Exception as error:
                response = _error(error)
        response.headers["convex-request-id"] = secrets.token_hex(8)
        return response

    return handle


def _error(error: Exception) -> Response:
    code, shown = surface(error)
    if isinstance(error, ParleyError):
        message = error.message
    else:
        log.error("a request failed", exc_info=error)
        message = "Something went wrong here; the log says what."
    return Response(
        orjson.dumps({"code": code, "message": message}),
        shown.http_status,
        media_type="application/json",
    )


def _success(value: bytes, form: str | None) -> bytes:
    return b'{"status":"success","value":%b}' % _write(value, form)


def _write(value: bytes, form: str | None) -> bytes:
    """Return a value in the format asked for; plain JSON where nothing is."""
    if form in _ENCODED:
        return value
    if form == _FLOATS:
        return orjson.dumps(_with_floats(orjson.loads(value)))
    if form is None or form in _PLAIN:
        return encode_plain(decode(orjson.loads(value)))
    raise BadRequest("format: expected convex_encoded_json or json")


def _with_floats(value: Any) -> Any:
    if type(value) is int:
        return float(value)
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_floats(item) for key, item in value.items()}
    return value


def _one(args: Any) -> Any:
    """Return the arguments: an object, or the only element of an array."""
    if isinstance(args, list):
        args = args[0] if len(args) == 1 else {} if not args else None
    if not isinstance(args, dict):
        raise BadRequest("args: expected an object, or an array with one object")
    return args


def _call_of_url(request: Request) -> Call:
    query = request.query_params
    try:
        return Call(query["path"], orjson.loads(query.get("args") or "{}"), query.get("format"))
    except KeyError as error:
        raise BadRequest("path: missing in the query string") from error
    except orjson.JSONDecodeError as error:
        raise BadRequest("args: expected JSON in the query string") from error


def _admin_identity(admin_key: str | None, token: str) -> Identity | None:
    key, _, acting_as = token.strip().partition(":")
    if not acting_as:
        return admin_identity(key, admin_key)
    try:
        attributes = orjson.loads(base64.b64decode(acting_as, validate=True))
    except (binascii.Error, orjson.JSONDecodeError) as error:
        raise AuthRejected("the identity to act as is base64 of JSON") from error
    if not isinstance(attributes, dict):
        raise AuthRejected("the identity to act as is a JSON object")
    return admin_identity(key, admin_key, attributes)


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
