"""The chat page: what a person does with it, and what it promises them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.chatpage import ChatPage, open_chat
from tests.browser.conftest import NewDevice
from tests.browser.device import Device, until_kept
from tests.browser.witness import Database, dev_token
from tests.support.client import open_client
from tests.support.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHONE = {"viewport": {"width": 375, "height": 667}, "has_touch": True, "is_mobile": True}
MARKDOWN = """# A heading

Some **bold** text, a [link](https://example.com), and `code`.

| one | two |
|-----|-----|
| 1   | 2   |

```python
print("hello")
```

- [x] done
- [ ] open

> quoted
"""


async def own_contents(database: Database, subject: str) -> list[str]:
    """Return what a user has said, in all conversations, in order."""
    rows = await database.fetch(
        "select m.content from messages m join conversations c on c.id = m.conversation_id"
        " join users u on u.id = c.user_id where u.supabase_user_id = $1 and m.role = 'user'"
        " order by m.creation_time, m.id",
        subject,
    )
    return [row["content"] for row in rows]


async def test_two_windows_side_by_side_one_offline_and_both_right_in_the_end(
    new_device: NewDevice, database: Database
) -> None:
    desk, phone = [await new_device() for _ in range(2)]
    here, there = [await open_chat(device, "sue") for device in (desk, phone)]
    await here.say("Written at the desk")
    await there.open_conversation("Written at the desk")
    await expect(there.own_messages).to_contain_text("Written at the desk")

    await phone.go_offline()
    await expect(there.status).to_contain_text("Offline")
    await there.say("Written on the train")
    await expect(there.status).to_contain_text("1 change is kept on this device")
    await here.say("Meanwhile at the desk")
    await expect(here.messages.filter(has_text="on the train")).to_have_count(0)
    await phone.go_online()

    for chat in (here, there):
        await chat.until_connected()
        await expect(chat.own_messages).to_have_count(3)
        await expect(chat.own_messages).to_contain_text(
            ["Written at the desk", "Meanwhile at the desk", "Written on the train"]
        )
    assert await own_contents(database, "sue") == [
        "Written at the desk",
        "Meanwhile at the desk",
        "Written on the train",
    ]


async def test_page_opens_without_a_connection_and_sends_when_there_is_one(
    device: Device, database: Database
) -> None:
    chat = await open_chat(device, "olga")
    await chat.say("Before the tunnel")
    await chat.until_connected()
    await chat.until_kept()
    for field in ("title", "content"):  # results are kept as texts
        await until_kept(chat.page, rf"\"{field}\":\"Before the tunnel\"")

    await device.go_offline()
    await chat.page.reload()
    await chat.open_conversation("Before the tunnel")
    await expect(chat.own_messages).to_contain_text(["Before the tunnel"])
    await chat.say("In the tunnel")
    await until_kept(chat.page, '"content":"In the tunnel"')
    await chat.composer.fill("Not done yet")
    await chat.page.reload()

    await expect(chat.own_messages).to_contain_text(["Before the tunnel", "In the tunnel"])
    await expect(chat.composer).to_have_value("Not done yet")
    await device.go_online()
    await chat.until_connected()
    assert await own_contents(database, "olga") == ["Before the tunnel", "In the tunnel"]


async def test_assistant_answers_in_development_mode(device: Device) -> None:
    chat = await open_chat(device, "amy")

    await chat.say("Hello")

    answer = chat.page.get_by_role("log", name="Messages").get_by_role("article", name="Assistant")
    await expect(answer).to_have_count(1)
    await expect(answer).not_to_be_empty()


async def focused(chat: ChatPage, role: Any, name: str) -> None:
    """Wait until this has the focus."""
    await expect(chat.page.get_by_role(role, name=name, exact=True)).to_be_focused()


async def press(chat: ChatPage, *keys: str) -> None:
    """Press keys, one after the other."""
    for key in keys:
        await chat.page.keyboard.press(key)


async def test_signing_in_and_writing_need_only_a_keyboard(device: Device) -> None:
    chat = ChatPage(await device.open("/"))
    await expect(chat.page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()

    await press(chat, "Tab")
    await focused(chat, "textbox", "Your name")
    await press(chat, "Control+A")
    await chat.page.keyboard.type("kim")
    await press(chat, "Enter")
    await chat.until_connected()
    await press(chat, "Alt+n")
    await focused(chat, "textbox", "Message")
    await chat.page.keyboard.type("Line one")
    await press(chat, "Shift+Enter")
    await chat.page.keyboard.type("line two")
    await press(chat, "Enter")

    await expect(chat.own_messages).to_contain_text([re.compile(r"Line one\s*line two")])
    await focused(chat, "textbox", "Message")


async def test_the_list_needs_only_a_keyboard(device: Device, server: Server) -> None:
    chat = await open_chat(device, "lex")
    for title in ("First", "Second"):
        await press(chat, "Alt+n")
        await focused(chat, "textbox", "Message")
        await chat.say(title)
        await chat.until_connected()
    link = chat.conversations

    await link.filter(has_text="First").focus()
    await press(chat, "F2")
    await focused(chat, "textbox", "New title of First")
    await chat.page.keyboard.type("Renamed")
    await press(chat, "Enter")
    await link.filter(has_text="Renamed").focus()
    await press(chat, "Tab")
    await focused(chat, "button", "Actions for Renamed")
    await press(chat, "Enter")
    await focused(chat, "menuitem", "Pin")
    await press(chat, "ArrowDown", "ArrowUp", "Enter")
    await expect(chat.page.get_by_role("region", name="Pinned")).to_contain_text("Renamed")

    await link.filter(has_text="Second").focus()
    await press(chat, "Delete")
    await expect(link).to_have_count(1)
    await chat.page.get_by_role("button", name="Undo").focus()
    await press(chat, "Enter")
    await expect(link).to_have_count(2)
    await link.filter(has_text="Second").focus()
    await press(chat, "Delete")
    await chat.page.get_by_role("button", name="Dismiss").focus()
    await press(chat, "Enter")
    await expect(link).to_have_count(1)
    async with open_client(server.url) as witness:
        await witness.authenticate(await dev_token(server, "lex"))
        listing = await witness.subscribe("conversations:list")
        await witness.until(lambda: [c["title"] for c in witness.results[listing]] == ["Renamed"])


async def test_filter_and_connection_details_need_only_a_keyboard(device: Device) -> None:
    chat = await open_chat(device, "max")
    await chat.say("Something")

    await press(chat, "Control+k")
    await focused(chat, "searchbox", "Filter conversations")
    await chat.page.keyboard.type("nothing like it")
    await expect(chat.conversations).to_have_count(0)
    await press(chat, "Escape")
    await expect(chat.conversations).to_have_count(1)
    await chat.status.focus()
    await press(chat, "Enter")
    details = chat.page.get_by_role("dialog", name="Connection details")
    await expect(details).to_be_visible()
    await press(chat, "Escape")

    await expect(details).to_be_hidden()


@pytest.mark.parametrize("screen", ["desk", "phone"])
@pytest.mark.parametrize("colours", ["light", "dark"])
async def test_page_is_clean_for_axe(new_device: NewDevice, colours: str, screen: str) -> None:
    # axe puts styles into the page, which its policy forbids; what fades in has no contrast yet.
    options = {"bypass_csp": True, "reduced_motion": "reduce", "color_scheme": colours}
    device = await new_device(**options, **(PHONE if screen == "phone" else {}))
    chat = ChatPage(await device.open("/"))
    await expect(chat.page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    assert await chat.violations() == []

    await chat.sign_in(f"axel {colours} {screen}")
    assert await chat.violations() == []

    await chat.composer.fill(MARKDOWN)
    await chat.composer.press("Enter")
    await expect(chat.own_messages).to_contain_text("A heading")
    await chat.until_connected()
    assert await chat.violations() == []

    await chat.status.click()
    await expect(chat.page.get_by_role("dialog", name="Connection details")).to_be_visible()
    assert await chat.violations() == []
    await chat.page.keyboard.press("Escape")

    if screen == "phone":
        await chat.page.get_by_role("button", name="Open list").click()
        await expect(chat.conversations.first).to_be_visible()
        assert await chat.violations() == []
        width = await chat.page.evaluate("document.documentElement.scrollWidth")
        assert width == PHONE["viewport"]["width"]  # type: ignore[index]


async def test_long_conversation_comes_page_by_page(
    device: Device, database: Database, server: Server
) -> None:
    async with open_client(server.url) as owner:
        await owner.authenticate(await dev_token(server, "leo"))
        opened = await owner.mutate("conversations:create", {"title": "Long"})
    await database.execute(
        'insert into messages (conversation_id, role, content, "timestamp")'
        " select $1, 'user', 'Number ' || n, clock_timestamp() - (2000 - n) * interval '1 second'"
        " from generate_series(0, 1999) n",
        opened,
    )
    chat = await open_chat(device, "leo")
    await chat.open_conversation("Long")

    await expect(chat.own_messages.last).to_contain_text("Number 1999")
    assert await chat.messages.count() < 200
    assert await chat.messages.filter(has_text="Number 0").count() == 0
    await chat.page.get_by_role("log", name="Messages").evaluate("(log) => log.scrollTo(0, 0)")

    await expect(chat.messages.filter(has_text="Number 1940")).to_have_count(1)
    assert await chat.messages.count() < 400
    await chat.say("And at the end")
    await expect(chat.own_messages.last).to_contain_text("And at the end")


async def test_writing_without_an_account_and_moving_it_into_one(
    device: Device, database: Database
) -> None:
    chat = await open_chat(device)
    await chat.page.get_by_role("button", name="Use without an account").click()
    await chat.say("Only on this device")
    await expect(chat.status).to_contain_text("everything stays on this device")
    await until_kept(chat.page, '"content":"Only on this device"')
    await chat.page.reload()
    await expect(chat.own_messages).to_contain_text(["Only on this device"])

    await chat.account.click()
    await chat.page.get_by_role("menuitem", name="Sign in").click()
    await chat.sign_in("gwen")
    await chat.page.get_by_role("button", name="Move them to gwen").click()
    await expect(chat.page.get_by_role("status", name="Notices")).to_contain_text("Moved")

    await chat.open_conversation("Only on this device")
    await expect(chat.own_messages).to_contain_text(["Only on this device"])
    await chat.until_connected()
    assert await own_contents(database, "gwen") == ["Only on this device"]


async def test_signing_out_asks_about_unsent_writes_and_leaves_nothing(device: Device) -> None:
    chat = await open_chat(device, "ute")
    await chat.say("Known to the server")
    await chat.until_connected()
    await chat.until_kept()
    await device.go_offline()
    await chat.say("A secret of ute")

    await chat.account.click()
    await chat.page.get_by_role("menuitem", name="Sign out").click()
    await chat.page.get_by_role("button", name="Stay signed in").click()
    await expect(chat.own_messages).to_contain_text(["Known to the server", "A secret of ute"])
    await chat.account.click()
    await chat.page.get_by_role("menuitem", name="Sign out").click()
    await chat.page.get_by_role("button", name="Sign out and discard them").click()

    await expect(chat.page.get_by_role("textbox", name="Your name")).to_be_visible()
    names = await chat.page.evaluate(
        "async () => (await indexedDB.databases()).map(({ name }) => name).join()"
    )
    assert "ute" not in names
    assert "ute" not in await chat.page.evaluate("JSON.stringify(Object.entries(localStorage))")


async def test_a_window_that_slept_through_a_change_of_person_shows_the_next_one_nothing(
    device: Device,
) -> None:
    chat = await open_chat(device, "ada")
    await chat.say("A secret of ada")
    await chat.until_connected()
    await device.go_offline()

    # What another window did meanwhile: ada signed out, and ida in.
    await chat.page.evaluate(
        """() => {
          const [key, ida] = ["parley-session", { kind: "development", name: "ida" }];
          localStorage.setItem(key, JSON.stringify(ida));
          window.dispatchEvent(new StorageEvent("storage", { key }));
        }"""
    )

    await expect(chat.account).to_have_accessible_name("Account: ida")
    await expect(chat.conversations).to_have_count(0)
    await expect(chat.page.get_by_text("A secret of ada")).to_have_count(0)


async def test_foreign_conversation_is_not_there(device: Device, server: Server) -> None:
    async with open_client(server.url) as other:
        await other.authenticate(await dev_token(server, "owner of it"))
        theirs = await other.mutate("conversations:create", {"title": "Private"})
    chat = await open_chat(device, "nosy")

    await chat.page.goto(f"{device.url}/#/c/{theirs}")

    await expect(chat.page.get_by_role("heading", name="not there")).to_be_visible()
