"""Texts that would be commands somewhere are texts here: they come back as they went."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from tests.support.client import Failure, open_client
from tests.support.server import token
from tests.support.webapp import WebServer

TEXTS = {
    "SQL": "'; drop table users; --",
    "SQL in double quotes": '"; delete from "conversations"; --',
    "SQL that is always true": "' or '1'='1' union select version() --",
    "dollar quotes": "$$; select pg_sleep(9); $$ $1 $2 :name",
    "backslashes": "\\'; \\x27 \\u0027 E'\\047'",
    "LIKE": "%_%\\%*?",
    "jsonpath": '$.** ? (@ like_regex "^.*$") {a,b} \'"\' [*]',
    "COPY": "\\.\n\\N\t1",
    "formats": "%s %n %(x)s {0} {x.__class__} ${jndi:ldap://x} {{7*7}} <%= 7*7 %>",
    "paths": "../../etc/passwd | cat; `id` $(id)",
    "regular expression": "(a+)+$" + "a" * 30 + "!",
    "names of JavaScript": "__proto__",
    "markup": "</script><script>xss()</script>",
    "direction": "\u202e\u200b\u2028",
}


@pytest.mark.parametrize("name", TEXTS)
async def test_every_text_of_the_chat_comes_back_as_it_went(web: WebServer, name: str) -> None:
    text = TEXTS[name]
    fields: dict[str, Any] = {"title": text, "model": text}
    said = {"role": "user", "content": text, "reasoningText": text}
    said |= {"citations": [{"title": text, "url": text, "snippet": text}]}
    said |= {"tools": [{"name": text, "args": {"x": text}}]}
    async with open_client(web.url) as client:
        subject = text if text.isprintable() else "injection"
        await client.authenticate(token(subject))
        created = await client.mutate("conversations:create", fields)
        await client.mutate(
            "conversations:update", {"conversationId": created, "tags": [text[:40]]}
        )
        target = {"conversationId": created}
        message = await client.mutate("conversations:addMessage", {**target, **said})
        await client.mutate("messages:appendText", {"messageId": message, "text": text})
        query_id = await client.subscribe("conversations:get", target)
        shown = client.results[query_id]

    assert {field: shown[field] for field in fields} == fields
    assert shown["tags"] == [text[:40]]
    [only] = shown["messages"]
    assert only["content"] == text + text
    assert {key: only[key] for key in ("reasoningText", "citations", "tools")} == {
        key: said[key] for key in ("reasoningText", "citations", "tools")
    }


@pytest.mark.parametrize("name", TEXTS)
async def test_every_text_of_a_key_or_an_id_finds_nothing_or_itself(
    web: WebServer, name: str
) -> None:
    text = TEXTS[name]
    async with open_client(web.url) as client:
        await client.mutate("probe:add", {"name": text})
        await client.mutate("probe:put", {"name": text, "value": {"x": text}})
        count = await client.subscribe("probe:count", {"name": text})
        other = await client.subscribe("probe:count", {"name": f"{text}x"})
        box = await client.subscribe("probe:take", {"name": text})
        by_id = await client.subscribe("conversations:get", {"conversationId": text})

    assert (client.results[count], client.results[other]) == (1, 0)
    assert client.results[box] == {"x": text}
    failure = client.results[by_id]
    assert isinstance(failure, Failure)
    assert "ArgumentValidationError" in failure.message


async def test_all_tables_are_still_there(web: WebServer, web_dsn: str) -> None:
    """Runs behind the tests above."""
    database = await asyncpg.connect(web_dsn)
    try:
        sql = "select count(*) from users, conversations, messages, counters, boxes"
        assert await database.fetchval(sql) is not None
    finally:
        await database.close()


@pytest.mark.parametrize("key", ["__proto__", "constructor", "prototype", "toString"])
async def test_names_that_javascript_knows_are_keys_like_any(web: WebServer, key: str) -> None:
    value = {key: {"polluted": True}}
    async with open_client(web.url) as client:
        await client.mutate("probe:put", {"name": f"key {key}", "value": value})
        query_id = await client.subscribe("probe:take", {"name": f"key {key}"})

    assert json.dumps(client.results[query_id]) == json.dumps(value)
