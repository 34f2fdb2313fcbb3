"""What is in the log of a process that was lied to, at the lowest level, in both formats.

Everything hostile goes in by every door; then each line is looked at: it is one event, printable
and of bounded length, nobody forged one, and no secret is in any.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx
import pytest

from parley.logs import MAX_TRACEBACK
from tests.support.client import FunctionError, open_client
from tests.support.rawsocket import CLOSE, RawSocket, frame_of, handshake, open_raw
from tests.support.server import Server, running_server, token
from tests.support.tokens import SECRET

PASSWORD = "the-password-of-the-database"
ADMIN_KEY = "dev:an admin key that is long enough, by far"
WRONG_KEY = "dev:an admin key that somebody has guessed wrong"
GOOD, FORGED = token("alice"), token("mallory")[:-4] + "AAAA"
EXPIRED = token("alice", lifetime_s=-60)
SHORT = "hush-hush"
FORGERY = "2026-01-01T00:00:00Z [error] forged-event"

HOSTILE = {
    "lines": f"x\r\n{FORGERY}\n{FORGERY}",
    "json": 'x"}\n{"event":"forged-event","level":"error"}',
    "colour": "\x1b[2J\x1b[31mred\x1b[0m\x9b31m",
    "separators": f"x\u2028{FORGERY}\u2029{FORGERY}\x85{FORGERY}\x0b{FORGERY}",
    "direction": "\u202egnorw\u2066\u200b",
    "formats": "%s%n%x%(event)s{}{0}{event.__class__}${jndi:ldap://x}",
    "long": "x" * 200_000,
    "long lines": f"{FORGERY}\n" * 5000,
}


def password_of(dsn: str) -> str:
    """Return what the server sends as its password, needed or not."""
    return urlsplit(dsn).password or PASSWORD


@pytest.fixture(scope="module", params=["json", "console"])
def lied_to(request: pytest.FixtureRequest, web_dsn: str) -> Iterator[Server]:
    """A process to lie to, which tells errors to nobody but its log."""
    parts = urlsplit(web_dsn)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{parts.username or 'postgres'}:{password_of(web_dsn)}@{host}"
    environ = {
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": request.param,
        "PARLEY_ADMIN_KEY": ADMIN_KEY,
        "PARLEY_MAX_VERIFICATIONS_PER_S": "1000",
        "PARLEY_CONNECT_TIMEOUT_S": "60",
    }
    with running_server(parts._replace(netloc=netloc).geturl(), environ=environ) as server:
        yield server


async def lie_over_a_socket(server: Server, text: str) -> None:
    async with open_client(server.url, lastCloseReason=text) as client:
        await client.send(type="Event", eventType=text, event={"message": text, text[:100]: 1})
        add = {"type": "Add", "queryId": 0, "udfPath": text, "args": [{"value": text}]}
        await client.modify({**add, "journal": text, "componentPath": text})
        for path, args in (("probe:crash", {"text": text}), (text, {}), ("probe:refuse", {})):
            with pytest.raises(FunctionError):
                await client.mutate(path, args)
        with pytest.raises(FunctionError):
            await client.act(text, {"value": text})
        await client.send(type=text, sessionId=text)
        await client.until_closed()


async def lie_in_a_token(server: Server, kind: str, value: str) -> None:
    async with open_client(server.url) as client:
        await client.send(type="Authenticate", baseVersion=0, tokenType=kind, value=value)
        with contextlib.suppress(AssertionError):  # closed, where the token is refused
            await client.until(lambda: client.version.identity == 1)


async def lie_over_http(server: Server, text: str) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, verify=False) as http:
        body = {"path": "probe:crash", "args": {"text": text}}
        assert "boom" not in (await http.post("/api/mutation", json=body)).text
        await http.post("/api/query", json={"path": text, "args": {text[:100]: text}})
        await http.post(f"/api/run/{quote(text[:1000], safe='')}", json={})
        await http.get(f"/{quote(text[:1000])}?x={quote(text[:1000])}")
        for value in (GOOD, FORGED, EXPIRED, SHORT):
            headers = {"authorization": f"Bearer {value}", "user-agent": SHORT}
            await http.post("/api/query", json={"path": "probe:who"}, headers=headers)
        for key in (ADMIN_KEY, WRONG_KEY):
            await http.post("/api/function", json=body, headers={"authorization": f"Convex {key}"})
            await http.get(f"/api/query?path=probe:who&adminKey={quote(key)}")


async def lie_in_bytes(server: Server, text: str) -> None:
    raw_text = text[:5000].encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"GET /%b HTTP/1.1\r\nConnection: close\r\nX: %b\r\n\r\n" % (raw_text[:500], raw_text)
    )
    raw = RawSocket(reader, writer)
    await raw.until_gone()
    await raw.abort()
    for headers in ({"Origin": "x\x1b[31m"}, {"Convex-Client": "%s{}"}, {"Sec-WebSocket-Key": "x"}):
        _, raw = await handshake(server.port, headers=headers)
        await raw.abort()
    async with open_raw(server.port, session=str(uuid4())) as raw:
        reason = text.encode()[:100].decode(errors="ignore").encode()
        raw.writer.write(frame_of(CLOSE, (4000).to_bytes(2, "big") + reason))
        await raw.until_gone()


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_lie_makes_a_line_of_its_own_in_a_log(lied_to: Server, name: str) -> None:
    at = len(lied_to.log())
    text = HOSTILE[name]
    await lie_over_a_socket(lied_to, text)
    await lie_over_http(lied_to, text)
    await lie_in_bytes(lied_to, text)

    lines = lied_to.log()[at:].split("\n")
    assert not [
        line for line in lines if "uvicorn" in line
    ]  # a line for each who comes, or is wrong
    assert any("function probe:crash failed" in line for line in lines)  # what is expected is there
    for line in lines:
        shown = re.sub(r"\x1b\[\d*m", "", line)
        assert shown.isprintable(), ascii(line[:500])
        assert len(line) < 2 * MAX_TRACEBACK
        assert not line.startswith("2026-01-01")
        if line.startswith("{"):
            assert json.loads(line)["event"] != "forged-event"
    assert len(lines) < 3000


async def test_no_secret_is_in_a_log(lied_to: Server, web_dsn: str) -> None:
    admin = base64.b64encode(b'{"issuer":"https://a.test","subject":"bob"}').decode()
    for value in (GOOD, FORGED, EXPIRED, SHORT):
        await lie_in_a_token(lied_to, "User", value)
    for value in (ADMIN_KEY, WRONG_KEY, f"{ADMIN_KEY}:{admin}"):
        await lie_in_a_token(lied_to, "Admin", value)
    await lie_over_http(lied_to, "x")

    log = lied_to.log()
    assert "token refused" in log
    secrets = [SECRET, password_of(web_dsn), ADMIN_KEY, ADMIN_KEY[4:], WRONG_KEY, SHORT, admin]
    secrets += [part for value in (GOOD, FORGED, EXPIRED) for part in value.split(".")[1:]]
    assert [secret for secret in secrets if secret in log] == []
