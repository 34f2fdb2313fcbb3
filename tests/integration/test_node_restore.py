"""A node whose database is replaced or restored under it (H19)."""

from __future__ import annotations

from parley.identity import Identity
from tests.support.app import App, serving

# Put the log and the chat's tables back to what they were at the commit $1, as `pg_restore --clean`
# into the same database does: the triggers are not there while the data comes.
TURN_BACK = """
DROP EVENT TRIGGER IF EXISTS parley_on_ddl;
ALTER TABLE conversations DISABLE TRIGGER ALL;
UPDATE conversations SET title = 'old';
DELETE FROM parley.requests WHERE ts > {ts};
DELETE FROM parley.log_rows USING parley.log_tx t WHERE t.txid = log_rows.txid AND t.ts > {ts};
DELETE FROM parley.log_tx WHERE ts > {ts};
ALTER TABLE conversations ENABLE ALWAYS TRIGGER parley_insert;
ALTER TABLE conversations ENABLE ALWAYS TRIGGER parley_update;
ALTER TABLE conversations ENABLE ALWAYS TRIGGER parley_delete;
ALTER TABLE conversations ENABLE ALWAYS TRIGGER parley_truncate;
"""


async def titled(app: App, who: Identity, title: str) -> str:
    created: str = await app.mutation("conversations:create", {"title": title}, who)
    return created


async def test_an_older_dump_restored_in_place_is_noticed(dsn: str) -> None:
    async with serving(dsn, "parley.chat") as app:
        alice = await app.sign_in("alice")
        conversation = await titled(app, alice, "old")
        backup = await app.node.fresh()
        news = {"conversationId": conversation, "title": "new"}
        await app.mutation("conversations:update", news, alice)
        async with app.watching("conversations:list", {}, alice) as watcher:
            assert [each["title"] for each in watcher.value] == ["new"]

            await app.database.execute(f"BEGIN; {TURN_BACK.format(ts=backup)}; COMMIT")

            assert [each["title"] for each in await watcher.next()] == ["old"]
            await app.mutation("conversations:update", news | {"title": "again"}, alice)
            assert [each["title"] for each in await watcher.next()] == ["again"]
