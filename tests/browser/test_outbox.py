"""Writes that were stored happen once, in order, whatever becomes of tab, browser and server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import DEVELOPMENT, NewDevice
from tests.browser.device import Device, Profile, Tab, until_kept
from tests.browser.witness import Database, entries, titles, until_committed
from tests.support.server import Server, running_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

ID = "01900000-0000-7000-8000-{:012d}"
# Written at random, so that it is as large on the disk.
TOO_MUCH = """(topic) => {
  const letters = Array.from({ length: 900_000 }, () => 32 + Math.floor(Math.random() * 90));
  const body = new TextDecoder().decode(new Uint8Array(letters));
  return send("probe:append", { topic, position: 0, body })
    .then(() => ({ code: "stored" }), ({ code, message }) => ({ code, message }));
}"""
CLOCK_OFF_BY = """
(() => {
  const RealDate = Date;
  const off = %d;
  globalThis.Date = class extends RealDate {
    constructor(...given) { given.length ? super(...given) : super(RealDate.now() + off); }
    static now() { return RealDate.now() + off; }
  };
})();
"""


@pytest.fixture
def own_server(shared_dsn: str, tmp_path: Path) -> Iterator[Server]:
    """A server that the test may restart."""
    environ = {**DEVELOPMENT, "PARLEY_DATA": str(tmp_path / "data")}
    with running_server(shared_dsn, environ=environ) as running:
        yield running


async def open_topic(device: Device, topic: str, **options: object) -> Tab:
    """Open a tab that shows a topic's entries."""
    tab = await device.open_client(**options)
    await tab.watch("bodies", "probe:bodies", topic=topic)
    return tab


async def test_offline_writes_survive_reload_and_a_killed_browser_and_happen_once_in_order(
    profile: Profile, server: Server, database: Database
) -> None:
    topic = "offline and killed"
    device = await profile.launch()
    tab = await open_topic(device, topic)
    await tab.until_shown("bodies", [], isStale=False)

    await device.go_offline()
    await tab.append(topic, "a", "b")
    await tab.page.reload()
    await tab.watch("bodies", "probe:bodies", topic=topic)
    await tab.until_shown("bodies", ["a", "b"], isStale=True)
    await tab.append(topic, "c")
    profile.kill()

    device = await profile.launch()
    tab = await open_topic(device, topic)
    await tab.until_shown("bodies", ["a", "b", "c"], isStale=True)
    assert [write["state"] for write in await tab.js("() => outbox()")] == ["stored"] * 3
    assert await entries(database, topic) == []

    await device.go_online()
    await tab.until_shown("bodies", ["a", "b", "c"], isStale=False)
    await tab.until_state(unsent=0, failed=0)
    assert await entries(database, topic) == ["a", "b", "c"]


@pytest.mark.parametrize("user", [None, "rita"])
async def test_results_are_shown_again_without_a_connection_and_marked_stale(
    device: Device, user: str | None
) -> None:
    topic = f"results of {user}"
    tab = await open_topic(device, topic, user=user)
    await tab.append(topic, "a")
    await tab.until_shown("bodies", ["a"], isStale=False)
    await tab.until_state(unsent=0)
    await until_kept(tab.page, r"[\"a\"]")

    await device.go_offline()
    await tab.page.reload()
    await tab.watch("bodies", "probe:bodies", topic=topic)

    await tab.until_shown("bodies", ["a"], isStale=True)


@pytest.mark.parametrize("moment", ["sent", "answered"])
async def test_browser_killed_while_writes_are_on_their_way_loses_and_doubles_nothing(
    profile: Profile, server: Server, database: Database, moment: str
) -> None:
    topic = f"killed when {moment}"
    device = await profile.launch()
    tab = await open_topic(device, topic)
    await tab.until_shown("bodies", [], isStale=False)
    device.network.drops_replies = moment == "sent"
    await tab.append(topic, *"abc")
    await until_committed(server, topic, *"abc")

    profile.kill()
    device.network.drops_replies = False
    tab = await open_topic(await profile.launch(), topic)
    await tab.append(topic, "d")

    await tab.until_shown("bodies", list("abcd"), isStale=False)
    await tab.until_state(unsent=0, failed=0)
    assert await entries(database, topic) == list("abcd")


async def test_offline_writes_of_two_tabs_happen_in_the_order_in_which_they_were_stored(
    device: Device, database: Database
) -> None:
    topic = "two tabs offline"
    one, other = [await open_topic(device, topic) for _ in range(2)]
    await device.go_offline()
    for n in range(10):
        await one.append(topic, f"one {n}")
        await other.append(topic, f"other {n}")
    expected = [f"{tab} {n}" for n in range(10) for tab in ("one", "other")]
    for tab in (one, other):  # each shows what the other wrote, too
        await tab.until_shown("bodies", expected)

    await device.go_online()

    for tab in (one, other):
        await tab.until_shown("bodies", expected, isStale=False)
        await tab.until_state(unsent=0, failed=0)
    assert await entries(database, topic) == expected


async def test_conversation_and_message_made_offline_hang_together(
    device: Device, database: Database
) -> None:
    tab = await device.open_client(user="hanna")
    await tab.until_state(phase="connected")
    await tab.watch("list", "conversations:list")
    await tab.until_shown("list", [], isStale=False)

    await device.go_offline()
    await tab.send("conversations:create", id=ID.format(1), title="made offline")
    message = {"conversationId": ID.format(1), "role": "user", "content": "hello"}
    await tab.send("conversations:addMessage", id=ID.format(2), **message)
    await tab.page.reload()
    await tab.watch("list", "conversations:list")
    await tab.until("() => shown.list.at(-1)?.value?.[0]?.title === 'made offline'")
    await device.go_online()

    await tab.until_state(phase="connected", unsent=0, failed=0)
    assert await titles(database, "hanna") == ["made offline"]
    rows = await database.fetch(
        "select content from messages where conversation_id = $1", ID.format(1)
    )
    assert [row["content"] for row in rows] == ["hello"]


async def test_failed_write_blocks_no_other_and_can_be_tried_again_or_discarded(
    device: Device, database: Database
) -> None:
    tab = await device.open_client(user="fay")
    await tab.until_state(phase="connected")
    orphan = {"conversationId": ID.format(11), "role": "user", "content": "too early"}

    key = await tab.send("conversations:addMessage", **orphan)
    lost = await tab.send("probe:refuse", data="no")
    await tab.append("after a failure", "a")

    await tab.until_state(unsent=0, failed=2)
    assert await entries(database, "after a failure") == ["a"]
    assert "Conversation not found" in await tab.js("(key) => String(handles[key].error)", key)
    await tab.send("conversations:create", id=ID.format(11), title="now it is there")
    await tab.page.reload()  # what failed is known after it, too
    await tab.until_state(phase="connected", failed=2)
    await tab.js("() => client.outbox().find((write) => write.path === 'probe:refuse').discard()")
    await tab.js("() => client.outbox()[0].retry()")

    await tab.until_state(unsent=0, failed=0)
    rows = await database.fetch(
        "select content from messages where conversation_id = $1", ID.format(11)
    )
    assert [row["content"] for row in rows] == ["too early"]
    assert lost != key


async def test_write_that_the_full_disk_refuses_is_an_error_and_the_others_are_kept(
    device: Device, database: Database
) -> None:
    topic = "full disk"
    # Before anything is written: Chromium does not look again for half a minute.
    blank = await device.open("/version")
    browser, origin = await device.cdp(blank), {"origin": device.url}
    await browser.send("Storage.overrideQuotaForOrigin", {**origin, "quotaSize": 850_000})
    tab = await open_topic(device, topic)
    await tab.until_shown("bodies", [], isStale=False)
    await device.go_offline()
    await tab.append(topic, "a")

    refusal = await tab.js(TOO_MUCH, topic)

    assert refusal["code"] == "StorageFull"
    assert await tab.shown("bodies") == ["a"]  # what was not stored is not shown
    await browser.send("Storage.overrideQuotaForOrigin", origin)  # somebody made room
    await tab.append(topic, "b")
    await device.go_online()
    await tab.until_shown("bodies", ["a", "b"], isStale=False)
    await tab.until_state(unsent=0, failed=0)
    assert await entries(database, topic) == ["a", "b"]


@pytest.mark.parametrize("how", ["restarted", "killed"])
async def test_writes_go_on_when_the_server_comes_back(
    own_server: Server, new_device: NewDevice, database: Database, how: str
) -> None:
    topic = f"server {how}"
    device = await new_device(own_server)
    device.allow("WebSocket connection to")
    tab = await open_topic(device, topic)
    await tab.until_shown("bodies", [], isStale=False)
    await tab.append(topic, "before")

    # In a thread: the network between is in this one.
    await asyncio.to_thread(own_server.stop if how == "restarted" else own_server.kill)
    await tab.until_state(isWebSocketConnected=False)
    await tab.append(topic, "while it is away")
    await asyncio.to_thread(own_server.start)

    await tab.until_shown("bodies", ["before", "while it is away"], isStale=False)
    await tab.until_state(phase="connected", unsent=0, failed=0)
    assert await entries(database, topic) == ["before", "while it is away"]


@pytest.mark.parametrize("days", [-400, 400])
async def test_clock_that_is_wrong_breaks_nothing(
    device: Device, database: Database, days: int
) -> None:
    topic = f"clock off by {days} days"
    await device.context.add_init_script(CLOCK_OFF_BY % (days * 86_400_000))
    tab = await open_topic(device, topic, user="connie")
    await tab.until_state(phase="connected")

    await tab.append(topic, "a")
    await tab.until_shown("bodies", ["a"], isStale=False)
    await device.go_offline()
    await tab.append(topic, "b")
    await tab.page.reload()
    await device.go_online()

    await tab.until_state(phase="connected", unsent=0, failed=0)
    assert await entries(database, topic) == ["a", "b"]
