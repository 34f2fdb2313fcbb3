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
from parley.engine.failures import report
from parley.engine.live import Result
from parley.errors import (
    AuthRejected,
    FunctionFailed,
    ParleyError,
    ProtocolViolation,
    ShuttingDown,
    TooLarge,
    Unavailable,
    ValueInvalid,
    surface,
)
from parley.identity import Identity
from parley.protocol.error_text import error_text
from parley.values import decode, encode_plain, ts_from_wire, ts_to_wire
from parley.web.services import Services
from parley.web.socket import address_of

log = logging.getLogger(__name__)

BODY_TIMEOUT_S = 30.0  # a test may set it lower
ORIGIN_NOT_ALLOWED: Final = ("OriginNotAllowed", "This origin is not allowed")
_MAX_BATCH_QUERIES: Final = 100
_ENCODED: Final = frozenset({"convex_encoded_json", "convex_json", "export_json"})
_PLAIN: Final = frozenset({None, "json", "convex_clean_json"})
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

    def __post_init__(self) -> None:
        """Refuse what could not be answered, before anything runs."""
        if self.format not in _ENCODED | _PLAIN:
            raise ValueError("format: expected convex_encoded_json or json")


class CallAt(Call, kw_only=True):
    """Body of `/api/query_at_ts`."""

    ts: str


class Batch(msgspec.Struct):
    """Body of `/api/query_batch`."""

    queries: list[Call]


class BadRequest(ProtocolViolation):
    """A body that is not what the route takes."""


class Api:
    """One request. Function failures are answers (HTTP 200); all else is `{"code", "message"}`.

    Attributes:
        request_id: in the answer's header, in the text of a failure, and in the log.
    """

    def __init__(self, services: Services, route: str) -> None:
        self._route = route
        self.request_id = secrets.token_hex(8)
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
        try:
            ts = ts_from_wire(call.ts)
        except ValueInvalid as error:
            raise BadRequest("ts: expected base64 of 8 bytes") from error
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
        limit = self._services.settings.body_limit
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise TooLarge(f"the body may be {limit} bytes")
        except TimeoutError as error:
            raise BadRequest(f"the body did not come within {BODY_TIMEOUT_S:.0f} s") from error
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
        if "adminKey" in request.query_params:
            raise BadRequest(
                "adminKey: keys in URLs end up in logs; send `Authorization: Convex <key>`"
            )
        header = request.headers.get("authorization", "")
        kind, _, token = header.partition(" ")
        if not header:
            return None
        if kind == "Convex":
            return _admin_identity(self._services.settings.admin_key, token)
        if kind != "Bearer":
            raise AuthRejected("Authorization is `Bearer <token>`")
        try:
            return await self._services.identify(token.strip(), address_of(request.scope))
        except AuthRejected as error:  # at most as often as tokens are verified
            log.info("token refused: %s", error.reason or error.message)
            raise

    def _result(self, result: Result, form: str | None) -> Response:
        return _json(self._answer(result, form))

    def _answer(self, result: Result, form: str | None) -> bytes:
        if result.error is not None:
            return self._failure(result.error)
        return _success(result.value, form)

    def _failure(self, error: FunctionFailed) -> bytes:
        report(error, self.request_id, f"called by /api/{self._route}")
        text, data = error_text(error, self.request_id, redact=self._services.redact_errors)
        shown = b"" if data is None else b',"errorData":%b' % data
        return b'{"status":"error","errorMessage":%b%b}' % (orjson.dumps(text), shown)


async def answer(services: Services, name: str, request: Request) -> Response:
    """Return the answer of the route `name`: errors as answers, time measured, id told."""
    # CORS alone would keep the answer from a foreign page, and still do what it asked for.
    if not services.lets_in(request.headers.get("origin")):
        return error_response(403, *ORIGIN_NOT_ALLOWED)
    api = Api(services, name)
    endpoint: Callable[[Request], Awaitable[Response]] = getattr(api, name)
    with services.metrics.http_seconds.labels(name).time():
        try:
            response = await endpoint(request)
        except ClientDisconnect:
            response = Response(status_code=400)
        except Exception as error:
            response = _error(error, api.request_id)
    response.headers["convex-request-id"] = api.request_id
    return response


def error_response(status: int, code: str, message: str) -> Response:
    """Return the answer to a request that did not get as far as a function."""
    body = orjson.dumps({"code": code, "message": message})
    return Response(body, status, media_type="application/json")


def _error(error: Exception, request_id: str) -> Response:
    if isinstance(error, ShuttingDown):
        # Its code makes the clients of a socket come back soon; to a proxy it would be a fault.
        error = Unavailable(error.message)
    code, shown = surface(error)
    if isinstance(error, ParleyError):
        message = error.message
    else:
        log.error("request %s failed", request_id, exc_info=error)
        message = f"Something went wrong here; the log says what, at request {request_id}."
    return error_response(shown.http_status, code, message)


def _success(value: bytes, form: str | None) -> bytes:
    return b'{"status":"success","value":%b}' % _write(value, form)


def _write(value: bytes, form: str | None) -> bytes:
    """Return a value in the format of a `Call`; plain JSON where none was asked for."""
    if form in _ENCODED:
        return value
    if form == _FLOATS:
        return orjson.dumps(_with_floats(orjson.loads(value)))
    return encode_plain(decode(orjson.loads(value)))


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
        raw = {**query, "args": orjson.loads(query.get("args") or "{}")}
        return msgspec.convert(raw, Call)
    except (orjson.JSONDecodeError, msgspec.ValidationError) as error:
        raise BadRequest(f"the query string is not what this route takes: {error}") from error


def _admin_identity(admin_key: str | None, token: str) -> Identity | None:
    key, _, acting_as = token.strip().rpartition(":")
    if not key or _is_admin_key(token.strip(), admin_key):  # a key itself may hold a colon
        return admin_identity(token.strip(), admin_key)
    try:
        attributes = orjson.loads(base64.b64decode(acting_as, validate=True))
    except (binascii.Error, orjson.JSONDecodeError) as error:
        raise AuthRejected("the identity to act as is base64 of JSON") from error
    if not isinstance(attributes, dict):
        raise AuthRejected("the identity to act as is a JSON object")
    return admin_identity(key, admin_key, attributes)


def _is_admin_key(given: str, admin_key: str | None) -> bool:
    try:
        return admin_identity(given, admin_key) is None
    except AuthRejected:
        return False


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
