"""What an app kept in localStorage comes to the server once, however often one tries."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.browser.device import Device, Tab
from tests.browser.witness import Database

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = "siam-conversations"
COUNT = 12
BEGIN_MS = 1_700_000_000_000
# Resolves when `done` conversations are over there, or with what came of it when it has ended.
MIGRATE = """async ([done]) => {
  const { migrateLocalStorage } = await import("/client/src/migrate.js");
  return new Promise((resolve, reject) => {
    const onProgress = (progress) => progress.done === done && resolve(progress);
    migrateLocalStorage(client, { onProgress }).then(resolve, reject);
  });
}"""


def kept_conversation(number: int) -> dict[str, Any]:
    """Return a conversation as zustand's `persist` wrote it."""
    created = BEGIN_MS + number * 1000
    messages = [
        {"id": f"msg_{number}_{n}", "role": role, "content": f"{n}", "timestamp": created + n}
        for n, role in enumerate(["user", "assistant", "user"])
    ]
    return {
        "id": f"conv_{created}_x{number}",
        "title": f"Kept {number}",
        "messages": messages,
        "createdAt": created,
        "updatedAt": created + 500,
        "isPinned": number % 3 == 0,
        "tags": ["old", f"t{number}"],
    }


async def migrated(database: Database, subject: str) -> list[dict[str, Any]]:
    """Return what a user has, as `kept_conversation` says it, but for the ids of messages."""
    rows = await database.fetch(
        """
        select c.original_id as id, c.title, c.is_pinned, c.tags,
               extract(epoch from c.created_at) * 1000 as created,
               extract(epoch from c.updated_at) * 1000 as updated,
               (select json_agg(json_build_array(m.role, m.content,
                         extract(epoch from m."timestamp") * 1000) order by m."timestamp")
                  from messages m where m.conversation_id = c.id) as messages
          from conversations c join users u on u.id = c.user_id
         where u.supabase_user_id = $1 order by c.created_at
        """,
        subject,
    )
    return [
        {
            "id": row["id"],
            "title": row["title"],
            "isPinned": row["is_pinned"],
            "tags": row["tags"],
            "createdAt": int(row["created"]),
            "updatedAt": int(row["updated"]),
            "messages": [
                {"role": role, "content": content, "timestamp": int(at)}
                for role, content, at in json.loads(row["messages"])
            ],
        }
        for row in rows
    ]


def without_ids(conversation: dict[str, Any]) -> dict[str, Any]:
    """Leave out the ids of messages."""
    messages = [{k: v for k, v in m.items() if k != "id"} for m in conversation["messages"]]
    return {**conversation, "messages": messages}


async def open_signed_in(device: Device, user: str) -> Tab:
    """Open a tab in which a migration may begin."""
    tab = await device.open_client(user=user)
    await tab.until_state(phase="connected")
    return tab


async def test_migration_that_broke_off_and_ran_again_brought_everything_once(
    device: Device, database: Database
) -> None:
    conversations = [kept_conversation(n) for n in range(COUNT)]
    text = json.dumps({"state": {"conversations": conversations}, "version": 2})
    tab = await open_signed_in(device, "mia")
    await tab.js("([key, text]) => localStorage.setItem(key, text)", [KEY, text])

    await tab.js(MIGRATE, [5])
    await tab.page.reload()
    await tab.until_state(phase="connected")
    await device.go_offline()
    waiting = asyncio.ensure_future(tab.js(MIGRATE, [COUNT]))
    await tab.until("() => client.outbox().length > 0")
    await device.go_online()
    assert (await waiting)["done"] == COUNT
    result = await tab.js(MIGRATE, [-1])

    assert result["problems"] == []
    assert await tab.js("(key) => localStorage.getItem(key)", KEY) == text
    assert await migrated(database, "mia") == [without_ids(c) for c in conversations]


async def test_two_tabs_that_migrate_at_once_bring_everything_once(
    device: Device, database: Database
) -> None:
    conversations = [kept_conversation(n) for n in range(COUNT)]
    text = json.dumps({"state": {"conversations": conversations}, "version": 2})
    one, other = [await open_signed_in(device, "mike") for _ in range(2)]
    await one.js("([key, text]) => localStorage.setItem(key, text)", [KEY, text])

    results = await asyncio.gather(*(tab.js(MIGRATE, [-1]) for tab in (one, other)))

    assert [result["problems"] for result in results] == [[], []]
    assert await migrated(database, "mike") == [without_ids(c) for c in conversations]
