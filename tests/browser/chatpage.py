"""The chat page as a person uses it: by what things are called, not by how they are made."""

from __future__ import annotations

import re

from playwright.async_api import Locator, Page, expect

from tests.browser.chromium import CLIENT_JS
from tests.browser.device import Device, until_true
from tests.support.nodejs import find_node

AXE = CLIENT_JS / "node_modules/axe-core/axe.min.js"
_VIOLATIONS = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.map(({ id, nodes }) =>
    [id, ...nodes.map(({ target, failureSummary }) => `${target}: ${failureSummary}`)].join("\\n"));
}"""
_IS_KEPT = """async () => {
  if (!navigator.serviceWorker.controller) return false;
  const urls = performance.getEntriesByType("resource").map(({ name }) => name)
    .filter((url) => /\\.(js|css)$/.test(url) && !url.includes("service-worker"));
  const found = await Promise.all(["/", ...urls].map((url) => caches.match(url)));
  return urls.length > 10 && found.every(Boolean);
}"""


class ChatPage:
    """One window with the chat page in it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def status(self) -> Locator:
        """The line that says how the connection is."""
        return self.page.get_by_role("button", name="Connection:")

    @property
    def composer(self) -> Locator:
        """Where messages are written."""
        return self.page.get_by_role("textbox", name="Message", exact=True)

    @property
    def account(self) -> Locator:
        """The menu of who is here."""
        return self.page.get_by_role("button", name=re.compile("^Account:"))

    @property
    def messages(self) -> Locator:
        """The messages of the open conversation that are on the page."""
        return self.page.get_by_role("log", name="Messages").get_by_role("article")

    @property
    def own_messages(self) -> Locator:
        """Those of them that the person wrote."""
        return self.page.get_by_role("log", name="Messages").get_by_role(
            "article", name=re.compile("^You")
        )

    @property
    def conversations(self) -> Locator:
        """The links of the list."""
        return self.page.get_by_role("navigation", name="Conversation list").get_by_role("link")

    async def sign_in(self, name: str) -> None:
        """Sign in by the form of development mode."""
        await self.page.get_by_role("textbox", name="Your name").fill(name)
        await self.page.get_by_role("button", name="Sign in", exact=True).click()
        await self.until_connected()

    async def until_connected(self) -> None:
        """Wait until everything is sent and live."""
        await expect(self.status).to_have_accessible_name("Connection: Connected")

    async def until_kept(self) -> None:
        """Wait until the page can be opened without a connection."""
        await until_true(self.page, _IS_KEPT)

    async def say(self, text: str) -> None:
        """Send a message in the open conversation, or begin one, and see it."""
        await self.composer.fill(text)
        await self.composer.press("Enter")
        await expect(self.own_messages.last).to_contain_text(text)

    async def open_conversation(self, title: str) -> None:
        """Open a conversation from the list."""
        await self.conversations.filter(has_text=title).first.click()

    async def act(self, title: str, action: str) -> None:
        """Choose from the menu of a conversation in the list."""
        row = self.page.get_by_role("navigation", name="Conversation list")
        await row.get_by_role("button", name=f"Actions for {title}").click()
        await self.page.get_by_role("menuitem", name=action, exact=True).click()

    async def violations(self) -> list[str]:
        """Return what axe finds wrong with the page as it is now."""
        find_node(CLIENT_JS)  # else skip: axe is one of its packages
        await self.page.evaluate(AXE.read_text())
        found: list[str] = await self.page.evaluate(_VIOLATIONS)
        return found


async def open_chat(device: Device, name: str | None = None, path: str = "/") -> ChatPage:
    """Open the page in a tab, and sign in if a name is given."""
    chat = ChatPage(await device.open(path))
    if name is not None:
        await chat.sign_in(name)
    return chat
