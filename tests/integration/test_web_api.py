"""The HTTP API: every route of PROTOCOL.md §12, by plain requests to a real server."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import orjson
import pytest

from parley.web import api
from tests.support.server import token
from tests.support.webapp import ADMIN_KEY, WebServer, open_http, serving_web

ORIGIN = "https://app.example.com"
INT64 = {"$integer": base64.b64encode(struct.pack("<q", 2**60)).decode()}
NAN = {"$float": base64.b64encode(struct.pack("<d", math.nan)).decode()}
BYTES = {"$bytes": "aGk="}


@pytest.fixture
async def http(web: WebServer) -> AsyncIterator[httpx.AsyncClient]:
    async with open_http(web) as client:
        yield client


def call(path: str, args: object = None, **fields: Any) -> dict[str, Any]:
    return {"path": path, "args": {} if args is None else args, **fields}


async def post(http: httpx.AsyncClient, route: str, body: object, **headers: str) -> Any:
    """POST and return the answer's JSON, which has to be a 200."""
    response = await http.post(route, json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


async def value_of(http: httpx.AsyncClient, path: str, args: object = None, **headers: str) -> Any:
    """Run a query and return its value."""
    answer = await post(http, "/api/query", call(path, args), **headers)
    assert answer["status"] == "success", answer
    return answer["value"]


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Return status and code of a refusal; it has exactly the two keys that clients read."""
    body = response.json()
    assert body.keys() == {"code", "message"}
    assert body["message"]
    assert "convex-request-id" in response.headers
    return response.status_code, body["code"]


# --- queries, mutations, actions


async def test_a_query_answers_posts_and_gets_alike(http: httpx.AsyncClient) -> None:
    args = {"value": [1, "two", None]}

    posted = await post(http, "/api/query", call("probe:echo", args))
    got = await http.get("/api/query", params={"path": "probe:echo", "args": json.dumps(args)})

    assert posted == got.json() == {"status": "success", "value": [1, "two", None]}


async def test_a_get_without_arguments_has_none(http: httpx.AsyncClient) -> None:
    response = await http.get("/api/query", params={"path": "probe:who"})

    assert response.json() == {"status": "success", "value": None}


async def test_a_mutation_is_there_for_the_next_query(http: httpx.AsyncClient) -> None:
    for expected in (1, 2):
        answer = await post(http, "/api/mutation", call("probe:add", {"name": "http"}))

        assert answer == {"status": "success", "value": expected}
        assert await value_of(http, "probe:count", {"name": "http"}) == expected


async def test_an_action_answers_with_its_value(http: httpx.AsyncClient) -> None:
    args = {"name": "http-action", "waitS": 0}

    answer = await post(http, "/api/action", call("probe:slowAdd", args))

    assert answer == {"status": "success", "value": [0, 1]}


@pytest.mark.parametrize("args", [{"value": 5}, [{"value": 5}]])
async def test_arguments_are_an_object_or_an_array_with_one(
    http: httpx.AsyncClient, args: object
) -> None:
    assert await value_of(http, "probe:echo", args) == 5


@pytest.mark.parametrize("body", [{"path": "probe:who"}, call("probe:who", [])])
async def test_arguments_may_be_left_out(http: httpx.AsyncClient, body: object) -> None:
    assert (await post(http, "/api/query", body))["value"] is None


@pytest.mark.parametrize("path", ["probe:echo", "probe.js:echo"])
async def test_a_path_may_be_written_as_every_client_does(
    http: httpx.AsyncClient, path: str
) -> None:
    assert await value_of(http, path, {"value": 1}) == 1


@pytest.mark.parametrize("name", [None, "json", "convex_clean_json"])
@pytest.mark.parametrize("route", ["/api/query", "/api/run/probe/echo"])
async def test_plain_json_is_the_default_format(
    http: httpx.AsyncClient, route: str, name: str | None
) -> None:
    given = {"value": {"int64": INT64, "nan": NAN, "bytes": BYTES, "number": 3}}

    answer = await post(http, route, call("probe:echo", given, format=name))

    assert answer["value"] == {"int64": str(2**60), "nan": "NaN", "bytes": "aGk=", "number": 3}


@pytest.mark.parametrize("name", ["convex_encoded_json", "convex_json", "export_json"])
async def test_the_encoded_format_gives_back_what_was_sent(
    http: httpx.AsyncClient, name: str
) -> None:
    given = {"int64": INT64, "nan": NAN, "bytes": BYTES, "number": 3}

    answer = await post(http, "/api/query", call("probe:echo", {"value": given}, format=name))

    assert answer["value"] == given


async def test_the_python_client_gets_every_number_as_a_float(http: httpx.AsyncClient) -> None:
    body = call("probe:echo", {"value": [3]}, format="convex_encoded_json")

    response = await http.post("/api/query", json=body, headers={"Convex-Client": "python-0.8.1"})

    assert response.text == '{"status":"success","value":[3.0]}'


async def test_an_unknown_format_is_refused_before_anything_runs(http: httpx.AsyncClient) -> None:
    body = call("probe:add", {"name": "format"}, format="xml")

    response = await http.post("/api/mutation", json=body)

    assert refusal(response) == (400, "BadRequest")
    assert await value_of(http, "probe:count", {"name": "format"}) == 0


async def test_a_trailing_slash_of_the_deployment_url_does_no_harm(web: WebServer) -> None:
    body = call("probe:echo", {"value": 1})
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(f"{web.url}//api//query", json=body)

    assert response.json()["value"] == 1


# --- failures of functions: always 200


@pytest.mark.parametrize(
    ("route", "path", "args", "says"),
    [
        ("query", "probe:none", {}, "Could not find public function for 'probe:none'."),
        ("query", "no/such:thing", {}, "Could not find public function"),
        ("query", "../etc:passwd", {}, "Could not find public function"),
        ("query", "probe:__class__", {}, "Could not find public function"),
        ("query", "", {}, "Could not find public function"),
        ("query", "users:signIn", {}, "Could not find public function"),
        ("query", "probe:add", {"name": "x"}, "as Query, but it is defined as Mutation."),
        ("mutation", "probe:count", {"name": "x"}, "as Mutation, but it is defined as Query."),
        ("action", "probe:count", {"name": "x"}, "as Action, but it is defined as Query."),
        ("query", "probe:typed", {}, "missing the required field `text`"),
        ("query", "probe:typed", {"text": 1}, "does not match validator"),
        ("query", "probe:typed", {"text": "x", "more": 1}, "extra field `more`"),
        ("mutation", "probe:add", {"name": 1}, "ArgumentValidationError"),
        ("action", "probe:slowAdd", {"name": "x"}, "ArgumentValidationError"),
        ("query", "probe:echo", {"value": {"$integer": "AA=="}}, "Invalid value"),
        ("query", "probe:echo", {"value": {"$nope": 1}}, "Invalid value"),
        ("mutation", "probe:crash", {}, "Uncaught ValueError: boom"),
    ],
)
async def test_a_function_that_fails_is_a_200_that_says_so(
    http: httpx.AsyncClient, route: str, path: str, args: dict[str, Any], says: str
) -> None:
    response = await http.post(f"/api/{route}", json=call(path, args))

    assert response.status_code == 200
    body = response.json()
    assert body.keys() == {"status", "errorMessage"}
    assert body["status"] == "error"
    assert says in body["errorMessage"]


@pytest.mark.parametrize("data", [{"code": 7, "why": "no"}, "text", None])
async def test_an_application_error_carries_its_data(http: httpx.AsyncClient, data: object) -> None:
    answer = await post(http, "/api/mutation", call("probe:refuse", {"data": data}))

    assert answer["status"] == "error"
    assert answer["errorData"] == data
    assert "Uncaught ConvexError: " in answer["errorMessage"]


async def test_the_request_id_of_the_header_is_the_one_in_the_text(http: httpx.AsyncClient) -> None:
    response = await http.post("/api/query", json=call("probe:none"))

    request_id = response.headers["convex-request-id"]
    assert response.json()["errorMessage"].startswith(f"[Request ID: {request_id}] Server Error\n")


async def test_no_two_requests_have_one_id(http: httpx.AsyncClient) -> None:
    answers = [await http.post("/api/query", json=call("probe:who")) for _ in range(3)]

    assert len({answer.headers["convex-request-id"] for answer in answers}) == 3


@pytest.fixture(scope="module")
def small(web_dsn: str) -> Iterator[WebServer]:
    """A server as operators run it, but with limits that are soon reached."""
    with serving_web(
        web_dsn,
        redact_errors=True,
        max_body_bytes=2000,
        max_args_bytes=1000,
        max_result_bytes=1000,
        allowed_origins=(ORIGIN,),
    ) as server:
        yield server


async def test_unexpected_errors_are_not_told_but_application_errors_are(small: WebServer) -> None:
    async with open_http(small) as http:
        crash = await post(http, "/api/mutation", call("probe:crash"))
        refused = await post(http, "/api/mutation", call("probe:refuse", {"data": "why"}))

    assert "boom" not in json.dumps(crash)
    assert crash["errorMessage"].endswith("] Server Error")
    assert refused["errorData"] == "why"


# --- requests that are wrong in themselves: {"code", "message"}


@pytest.mark.parametrize(
    "route", ["/api/query", "/api/mutation", "/api/action", "/api/query_at_ts"]
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"nonsense",
        b'"path"',
        b'{"path": 5}',
        b'{"path": "m:f", "args": 5}',
        b'{"path": "m:f", "args": [{}, {}]}',
        b'{"path": "m:f", "args": ["x"]}',
        b'{"path": "m:f", "args": {"x": NaN}}',
        b'{"path": "m:f", "args": {"x": "\\ud800"}}',
        b'{"path": "m:f", "args": {}} trailing',
        b'\xff\xfe{"path": "m:f"}',
        b'{"path": "m:f", "args": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"path": "m:f", "format": 3}',
    ],
)
async def test_a_body_that_is_wrong_is_a_400(
    http: httpx.AsyncClient, route: str, body: bytes
) -> None:
    response = await http.post(route, content=body)

    assert refusal(response) == (400, "BadRequest")


async def test_what_python_could_not_nest_fails_that_call_only(http: httpx.AsyncClient) -> None:
    body = b'{"path":"probe:echo","args":{"value":' + b"[" * 900 + b"]" * 900 + b"}}"

    response = await http.post("/api/query", content=body)

    assert response.status_code == 200
    assert "levels of nesting" in response.json()["errorMessage"]


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/api/query", "probe:echo"),
        ("/api/mutation", "probe:add"),
        ("/api/action", "probe:slowAdd"),
        ("/api/run/probe/add", ""),
    ],
)
async def test_a_value_in_place_of_arguments_fails_that_call_only(
    http: httpx.AsyncClient, route: str, path: str
) -> None:
    body = {"path": path, "args": {"$integer": "AQAAAAAAAAA="}}

    response = await http.post(route, json=body)

    assert response.status_code == 200
    assert "expected an object" in response.json()["errorMessage"]


@pytest.mark.parametrize(
    "params",
    [{}, {"args": "{}"}, {"path": "m:f", "args": "{"}, {"path": "m:f", "format": "xml"}],
)
async def test_a_get_that_is_wrong_is_a_400(
    http: httpx.AsyncClient, params: dict[str, str]
) -> None:
    response = await http.get("/api/query", params=params)

    assert refusal(response) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/mutation", 405),
        ("DELETE", "/api/query", 405),
        ("GET", "/api/sync", 404),
        ("POST", "/api/nothing", 404),
        ("GET", "/api/1.48.0/sync", 404),
    ],
)
async def test_routes_that_do_not_exist_are_json_too(
    http: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    response = await http.request(method, path)

    assert response.status_code == status
    assert response.json().keys() == {"code", "message"}


async def test_a_server_that_goes_away_is_no_fault_to_whoever_asks(
    web: WebServer, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.services.node, "is_draining", True)

    refused = await http.post("/api/mutation", json=call("probe:add"))

    assert refusal(refused) == (503, "Overloaded")
    assert refused.json()["message"] == "this server is stopping"


def padded(size: int) -> bytes:
    """Return a body of this many bytes that runs a function without arguments."""
    body = b'{"path":"probe:who","pad":"%b"}'
    return body % (b"x" * (size - len(body) + 2))


@pytest.mark.parametrize(("size", "status"), [(2000, 200), (2001, 413), (500_000, 413)])
async def test_a_body_has_a_limit(small: WebServer, size: int, status: int) -> None:
    async with open_http(small) as http:
        response = await http.post("/api/query", content=padded(size))
        after = await http.post("/api/query", json=call("probe:who"))

    assert response.status_code == status
    assert after.status_code == 200


async def test_arguments_of_exactly_the_limit_can_be_sent(http: httpx.AsyncClient) -> None:
    value = "x" * ((1 << 20) - len('{"value":""}'))
    body = orjson.dumps(call("probe:echo", {"value": value}, format="convex_encoded_json"))

    response = await http.post("/api/query", content=body)

    assert response.status_code == 200
    assert response.json()["value"] == value


async def test_a_body_that_does_not_tell_its_length_has_the_same_limit(small: WebServer) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b"x" * 1000

    async with open_http(small) as http:
        response = await http.post("/api/query", content=chunks())

    assert refusal(response) == (413, "MessageTooLarge")


async def test_a_body_that_does_not_end_is_given_up(
    small: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "BODY_TIMEOUT_S", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", small.port)
    writer.write(b"POST /api/query HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")

    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)

    assert head.startswith(b"HTTP/1.1 400 ")
    writer.close()
    await writer.wait_closed()


async def test_arguments_and_results_have_limits_that_fail_the_call(small: WebServer) -> None:
    fits = "x" * (1000 - len('{"value":""}'))
    async with open_http(small) as http:
        at_limit = await post(http, "/api/query", call("probe:echo", {"value": fits}))
        above = await post(http, "/api/query", call("probe:echo", {"value": fits + "x"}))
        mutation = await post(http, "/api/mutation", call("probe:add", {"name": fits + "xx"}))
        for position in range(2):
            entry = {"topic": "long", "position": position, "body": "x" * 500}
            await post(http, "/api/mutation", call("probe:append", entry))
        long_result = await post(http, "/api/query", call("probe:bodies", {"topic": "long"}))

    assert at_limit["status"] == "success"
    assert "arguments may be 1000 bytes" in above["errorMessage"]
    assert "arguments may be 1000 bytes" in mutation["errorMessage"]
    assert "a result may be 1000 bytes; this one has 1007" in long_result["errorMessage"]


# --- who is asking


async def test_a_bearer_token_says_who_asks(http: httpx.AsyncClient) -> None:
    who = await value_of(http, "probe:who", authorization=f"Bearer {token('alice')}")
    nobody = await value_of(http, "probe:who")

    assert (who, nobody) == ("alice", None)


async def test_the_first_request_of_a_user_brings_their_row_about(http: httpx.AsyncClient) -> None:
    bearer = f"Bearer {token('newcomer', email='new@example.com')}"

    me = await value_of(http, "users:me", authorization=bearer)

    assert me["email"] == "new@example.com"


async def test_the_anon_key_is_nobody(http: httpx.AsyncClient) -> None:
    assert await value_of(http, "probe:who", authorization=f"Bearer {token('x', role='anon')}") is (
        None
    )


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("Basic YTpi", "Unauthenticated"),
        ("Bearer", "InvalidAuthHeader"),
        ("Bearer nonsense", "InvalidAuthHeader"),
        ("Bearer a.b.c", "InvalidAuthHeader"),
        ("Token abc", "Unauthenticated"),
        (f"Bearer {token('alice', lifetime_s=-60)}", "Unauthenticated"),
        (f"Bearer {token('alice')[:-4]}AAAA", "Unauthenticated"),
        (f"Bearer {token('x', role='service_role')}", "Unauthenticated"),
        (f"Bearer {token('alice', aud='another')}", "NoAuthProvider"),
        (f"Bearer {token('alice', pad='x' * 9000)}", "InvalidAuthHeader"),
        ("Convex wrong", "Unauthenticated"),
        (f"Convex {ADMIN_KEY[:-1]}", "Unauthenticated"),
        (f"Convex {ADMIN_KEY}:###", "Unauthenticated"),
        (f"Convex {ADMIN_KEY}:{base64.b64encode(b'[]').decode()}", "Unauthenticated"),
        (f"Convex {ADMIN_KEY}:{base64.b64encode(b'{}').decode()}", "Unauthenticated"),
    ],
)
@pytest.mark.parametrize("route", ["/api/query", "/api/run/probe/who"])
async def test_an_authorization_that_proves_nothing_is_a_401(
    http: httpx.AsyncClient, header: str, code: str, route: str
) -> None:
    response = await http.post(route, json=call("probe:who"), headers={"authorization": header})

    assert refusal(response) == (401, code)
    assert header.partition(" ")[2] not in response.text or (" " not in header)


def acting_as(**attributes: str) -> str:
    return f"Convex {ADMIN_KEY}:{base64.b64encode(json.dumps(attributes).encode()).decode()}"


async def test_an_admin_may_act_as_a_user_or_as_nobody(http: httpx.AsyncClient) -> None:
    pair = acting_as(issuer="https://issuer.test", subject="bob")
    whole = acting_as(tokenIdentifier="https://issuer.test|carol")

    assert await value_of(http, "probe:who", authorization=pair) == "bob"
    assert await value_of(http, "probe:who", authorization=whole) == "carol"
    assert await value_of(http, "probe:who", authorization=f"Convex {ADMIN_KEY}") is None


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_admin_key_in_a_url_is_refused_and_not_repeated(
    http: httpx.AsyncClient, method: str
) -> None:
    url = f"/api/query?path=probe:who&adminKey={quote(ADMIN_KEY)}"

    response = await http.request(method, url, content=b'{"path":"probe:who"}')

    assert refusal(response) == (400, "BadRequest")
    assert "Authorization" in response.text
    assert ADMIN_KEY not in response.text


async def test_without_an_admin_key_no_admin_is_let_in(small: WebServer) -> None:
    async with open_http(small) as http:
        for given in ("", " :", f" {ADMIN_KEY}", " None"):
            header = {"authorization": f"Convex{given}"}
            response = await http.post("/api/function", json=call("probe:who"), headers=header)

            assert refusal(response)[0] == 401


@pytest.mark.parametrize(
    ("path", "args", "value"),
    [
        ("probe:echo", {"value": 1}, 1),
        ("probe:add", {"name": "by-admin", "amount": 5}, 5),
        ("probe:slowAdd", {"name": "by-admin-too", "waitS": 0}, [0, 1]),
    ],
)
async def test_the_function_route_runs_any_kind_for_an_admin(
    http: httpx.AsyncClient, path: str, args: dict[str, Any], value: object
) -> None:
    answer = await post(
        http, "/api/function", call(path, args), authorization=f"Convex {ADMIN_KEY}"
    )

    assert answer == {"status": "success", "value": value}


async def test_internal_functions_are_for_the_function_route_alone(
    http: httpx.AsyncClient,
) -> None:
    admin = acting_as(issuer="https://issuer.test", subject="internal")
    body = call("users:signIn")

    inside = await post(http, "/api/function", body, authorization=admin)
    outside = await post(http, "/api/mutation", body, authorization=admin)
    run = await post(http, "/api/run/users/signIn", {}, authorization=admin)

    assert inside["status"] == "success"
    assert "Could not find public function" in outside["errorMessage"]
    assert "Could not find public function" in run["errorMessage"]


@pytest.mark.parametrize("header", ["", f"Bearer {token('alice')}", "Convex wrong"])
async def test_the_function_route_refuses_everybody_else(
    http: httpx.AsyncClient, header: str
) -> None:
    headers = {"authorization": header} if header else {}

    response = await http.post("/api/function", json=call("probe:who"), headers=headers)

    assert refusal(response) == (401, "Unauthenticated")


@pytest.mark.parametrize(
    ("route", "args", "value"),
    [
        ("probe/echo", {"value": 2}, 2),
        ("probe/add", {"name": "by-run"}, 1),
        ("probe/slowAdd", {"name": "by-run-too", "waitS": 0}, [0, 1]),
    ],
)
async def test_the_run_route_takes_the_function_from_its_url(
    http: httpx.AsyncClient, route: str, args: dict[str, Any], value: object
) -> None:
    answer = await post(http, f"/api/run/{route}", {"args": args, "path": "ignored:here"})

    assert answer == {"status": "success", "value": value}


@pytest.mark.parametrize(
    "route", ["probe/none", "echo", "probe:echo", "a/b/c", "probe/", "%2e%2e/x"]
)
async def test_the_run_route_fails_like_a_function_where_there_is_none(
    http: httpx.AsyncClient, route: str
) -> None:
    answer = await post(http, f"/api/run/{route}", {"args": {}})

    assert "Could not find public function" in answer["errorMessage"]


async def test_a_flood_of_tokens_from_one_address_is_refused(
    web_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley.web.limits.MAX_WAIT_S", 0.01)
    bearer = {"authorization": "Bearer a.b.c"}
    with serving_web(web_dsn, max_verifications_per_s=5) as server:
        async with open_http(server) as http:
            flood = (
                http.post("/api/query", json=call("probe:who"), headers=bearer) for _ in range(20)
            )
            statuses = [response.status_code for response in await asyncio.gather(*flood)]
            anonymous = await http.post("/api/query", json=call("probe:who"))

    assert statuses.count(503) >= 5
    assert set(statuses) == {401, 503}
    assert anonymous.status_code == 200


# --- states of one ts


async def timestamp(http: httpx.AsyncClient) -> str:
    answer = await http.post("/api/query_ts")
    ts: str = answer.json()["ts"]
    assert len(base64.b64decode(ts)) == 8
    return ts


async def test_a_query_at_a_ts_answers_while_what_it_reads_is_as_it_was(
    http: httpx.AsyncClient,
) -> None:
    await post(http, "/api/mutation", call("probe:add", {"name": "at"}))
    ts = await timestamp(http)
    await post(http, "/api/mutation", call("probe:add", {"name": "elsewhere"}))

    body = call("probe:count", {"name": "at"}, ts=ts)
    assert await post(http, "/api/query_at_ts", body) == {"status": "success", "value": 1}

    await post(http, "/api/mutation", call("probe:add", {"name": "at"}))
    assert refusal(await http.post("/api/query_at_ts", json=body)) == (400, "BadRequest")


@pytest.mark.parametrize(
    "ts",
    [
        base64.b64encode(struct.pack("<Q", 2**62)).decode(),
        base64.b64encode(struct.pack("<Q", 1)).decode(),
        base64.b64encode(struct.pack("<Q", 2**64 - 1)).decode(),
        "AAAA",
        "nonsense",
        "",
        5,
        None,
    ],
)
async def test_a_ts_that_is_not_there_is_refused(http: httpx.AsyncClient, ts: object) -> None:
    response = await http.post("/api/query_at_ts", json=call("probe:count", {"name": "a"}, ts=ts))

    assert refusal(response) == (400, "BadRequest")


async def test_timestamps_never_go_back(http: httpx.AsyncClient) -> None:
    before = await timestamp(http)
    await post(http, "/api/mutation", call("probe:add", {"name": "later"}))

    after = await timestamp(http)

    assert base64.b64decode(after)[::-1] > base64.b64decode(before)[::-1]


async def test_the_queries_of_a_batch_see_one_state(http: httpx.AsyncClient, web_dsn: str) -> None:
    queries = [call("probe:count", {"name": name}) for name in ("left", "right")]
    database = await asyncpg.connect(web_dsn)
    await database.execute("insert into counters (name) values ('left'), ('right')")

    is_enough = asyncio.Event()

    async def write() -> None:
        while not is_enough.is_set():
            await database.execute(
                "update counters set value = value + 1 where name in ('left', 'right')"
            )

    writing = asyncio.create_task(write())
    seen = []
    async with asyncio.timeout(30):
        while len({left for left, _ in seen}) < 5:
            results = (await post(http, "/api/query_batch", {"queries": queries}))["results"]
            seen.append([result["value"] for result in results])
    is_enough.set()
    await writing
    await database.close()

    assert all(left == right for left, right in seen)


async def test_a_batch_keeps_order_formats_and_failures_apart(http: httpx.AsyncClient) -> None:
    queries = [
        call("probe:echo", {"value": INT64}, format="convex_encoded_json"),
        call("probe:none"),
        call("probe:echo", [{"value": INT64}]),
    ]

    results = (await post(http, "/api/query_batch", {"queries": queries}))["results"]

    assert [result["status"] for result in results] == ["success", "error", "success"]
    assert [results[0]["value"], results[2]["value"]] == [INT64, str(2**60)]


@pytest.mark.parametrize(("count", "status"), [(0, 200), (100, 200), (101, 400)])
async def test_a_batch_has_a_limit(http: httpx.AsyncClient, count: int, status: int) -> None:
    response = await http.post("/api/query_batch", json={"queries": [call("probe:who")] * count})

    assert response.status_code == status


@pytest.mark.parametrize(
    "body", [{}, {"queries": {}}, {"queries": [5]}, {"queries": [call("m:f", 5)]}]
)
async def test_a_batch_that_is_wrong_is_a_400(http: httpx.AsyncClient, body: object) -> None:
    assert refusal(await http.post("/api/query_batch", json=body)) == (400, "BadRequest")


# --- browsers


PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,convex-client",
}


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:5173", "null"])
async def test_any_origin_is_mirrored_unless_some_are_listed(
    http: httpx.AsyncClient, origin: str
) -> None:
    before = await http.options("/api/mutation", headers={"origin": origin, **PREFLIGHT})
    actual = await http.post("/api/query", json=call("probe:who"), headers={"origin": origin})

    assert before.status_code == actual.status_code == 200
    for response in (before, actual):
        assert response.headers["access-control-allow-origin"] == origin
        assert response.headers["access-control-allow-credentials"] == "true"
        assert "Origin" in response.headers["vary"]
    assert actual.headers["access-control-expose-headers"] == "convex-request-id"
    assert before.headers["access-control-max-age"] == "86400"
    assert (
        before.headers["access-control-allow-headers"]
        == PREFLIGHT["access-control-request-headers"]
    )
    methods = set(before.headers["access-control-allow-methods"].split(", "))
    assert methods == {"GET", "POST", "OPTIONS", "PATCH", "DELETE", "PUT"}


@pytest.mark.parametrize(
    ("method", "path", "content"), [("POST", "/api/query", b"{"), ("GET", "/api/none", b"")]
)
async def test_a_page_can_read_refusals_too(
    http: httpx.AsyncClient, method: str, path: str, content: bytes
) -> None:
    response = await http.request(method, path, content=content, headers={"origin": ORIGIN})

    assert response.status_code in {400, 404}
    assert response.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "https://app.example.com.evil.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "null",
        "",
    ],
)
async def test_only_listed_origins_are_let_in(small: WebServer, origin: str) -> None:
    async with open_http(small) as http:
        before = await http.options("/api/query", headers={"origin": origin, **PREFLIGHT})
        actual = await http.post("/api/query", json=call("probe:who"), headers={"origin": origin})

    assert before.status_code == 400
    assert "access-control-allow-origin" not in before.headers
    assert "access-control-allow-origin" not in actual.headers


async def test_a_listed_origin_is_mirrored(small: WebServer) -> None:
    async with open_http(small) as http:
        before = await http.options("/api/query", headers={"origin": ORIGIN, **PREFLIGHT})
        actual = await http.post("/api/query", json=call("probe:who"), headers={"origin": ORIGIN})

    assert before.headers["access-control-allow-origin"] == ORIGIN
    assert actual.headers["access-control-allow-origin"] == ORIGIN


async def test_no_cookie_is_set_or_needed(http: httpx.AsyncClient) -> None:
    response = await http.post("/api/query", json=call("probe:who"), headers={"cookie": "a=b"})

    assert "set-cookie" not in response.headers
