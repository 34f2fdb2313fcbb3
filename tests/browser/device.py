"""A person's browser: its pages, its network, and everything that goes wrong in them."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import (
    BrowserContext,
    BrowserType,
    CDPSession,
    Error,
    Page,
    Route,
    WebError,
    expect,
)

from tests.browser.chromium import Chromium, kill_browser
from tests.support.proxy import Proxy

PAGES = Path(__file__).with_name("pages")
# Where the test page is, beside what the server serves.
TEST_PATH = "/browser-test/"
WAIT_MS = 15_000

# Violations are events of the document; a page that hides its console would hide them too.
_REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP violation: ${event.violatedDirective} ${event.blockedURI}`));
"""

# What Chromium itself says when the network or the server is away.
NETWORK_ERRORS = re.compile(
    r"net::ERR_|WebSocket connection to .* failed|Failed to load resource: .* 50[0-9]"
)

# Everything that a page can read of what is kept on this device, as text.
KEPT = """async () => {
  const opened = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const found = [Object.entries(localStorage), Object.entries(sessionStorage)];
  for (const { name } of await indexedDB.databases()) {
    found.push(name);
    const database = await opened(indexedDB.open(name));
    for (const store of database.objectStoreNames) {
      found.push(await opened(database.transaction(store).objectStore(store).getAll()));
    }
    database.close();
  }
  return JSON.stringify(found, (_key, value) => (typeof value === "bigint" ? `${value}` : value));
}"""

expect.set_options(timeout=WAIT_MS)


class Device:
    """One browser profile: its tabs share storage, locks and channels.

    Attributes:
        context: Playwright's, for what is not here.
        problems: errors that no page should have; the test fails for any that is not allowed.
        network: between this device and the server.
    """

    def __init__(self, context: BrowserContext, network: Proxy, server_url: str) -> None:
        self.context = context
        self.network = network
        self.problems: list[str] = []
        self._server_url = server_url
        self._allowed: list[re.Pattern[str]] = []

    async def prepare(self) -> None:
        """Listen for problems, and serve the test page."""
        self.context.set_default_timeout(WAIT_MS)
        # Documents that Playwright serves have no address; to Chromium they are strangers here.
        await self.context.grant_permissions(["local-network-access"])
        await self.context.add_init_script(_REPORT_VIOLATIONS)
        self.context.on("weberror", self._catch)
        self.context.on("console", lambda line: self._hear(line.type, line.text))
        self.context.on("dialog", lambda dialog: self._refuse(dialog))
        await self.context.route(f"**{TEST_PATH}**", self._serve_test_page)

    def allow(self, pattern: str | re.Pattern[str]) -> None:
        """Let errors that contain this pass: the test brings them about."""
        self._allowed.append(re.compile(pattern))

    def unexpected(self) -> list[str]:
        """Return the problems that were not allowed."""
        return [
            problem
            for problem in self.problems
            if not any(pattern.search(problem) for pattern in self._allowed)
        ]

    @property
    def url(self) -> str:
        """The deployment URL through this device's network."""
        return self.network.url

    async def open(self, path: str = "/") -> Page:
        """Open a tab."""
        page = await self.context.new_page()
        await page.goto(self.url + path)
        return page

    async def open_client(self, **options: Any) -> Tab:
        """Open a tab of the test page with a client in it; `options` as `pages/client.js` has."""
        page = await self.open(f"{TEST_PATH}client.html#{json.dumps(options)}")
        await page.wait_for_function("window.isReady === true")
        return Tab(page)

    async def close(self) -> None:
        """End it; what it is being served then is of no interest."""
        with suppress(Error):  # of a tab that crashed
            await self.context.unroute_all(behavior="ignoreErrors")
        await self.context.close()

    async def go_offline(self) -> None:
        """Cut the network. Documents still come, as from a cache; sockets and data do not."""
        self.allow(NETWORK_ERRORS)
        await self.context.route(self._is_document, self._serve_from_cache)
        self.network.is_open = False
        self.network.cut()
        await self.context.set_offline(True)

    async def go_online(self) -> None:
        """Undo `go_offline`."""
        self.network.is_open = True
        await self.context.set_offline(False)
        await self.context.unroute(self._is_document, self._serve_from_cache)

    async def cdp(self, page: Page) -> CDPSession:
        """Return a session of the Chrome DevTools Protocol."""
        return await self.context.new_cdp_session(page)

    def _catch(self, error: WebError) -> None:
        stack = getattr(error.error, "stack", None) or ""
        self.problems.append(f"threw: {error.error}\n{stack}")

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error":
            self.problems.append(text)

    async def _refuse(self, dialog: Any) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    async def _serve_test_page(self, route: Route) -> None:
        name = urlsplit(route.request.url).path.removeprefix(TEST_PATH)
        await route.fulfill(path=PAGES / name)

    def _is_document(self, url: str) -> bool:
        path = urlsplit(url).path
        return not path.startswith((TEST_PATH, "/api/", "/dev/"))

    async def _serve_from_cache(self, route: Route) -> None:
        parts = urlsplit(route.request.url)
        response = await route.fetch(url=self._server_url + parts.path)
        await route.fulfill(response=response)


async def until_true(page: Page, condition: str, arg: Any = None) -> None:
    """Wait until `async (arg) => …` is true in the page; Playwright's own way awaits no promise."""
    poll = f"""async (arg) => {{
      while (!(await ({condition})(arg))) await new Promise((resolve) => setTimeout(resolve, 20));
    }}"""
    async with asyncio.timeout(WAIT_MS / 1000):
        await page.evaluate(poll, arg)


async def until_kept(page: Page, text: str) -> None:
    """Wait until this is on the device's disk."""
    await until_true(page, f"async (text) => (await ({KEPT})()).includes(text)", text)


class Tab:
    """A tab of the test page; `js` runs with what `pages/client.js` puts on `window`."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def js(self, script: str, arg: Any = None) -> Any:
        """Run a function, `async (arg) => …`, and return its result."""
        return await self.page.evaluate(script, arg)

    async def until(self, condition: str, arg: Any = None) -> None:
        """Wait until `(arg) => …` is true in the page."""
        # By the clock: frames of a tab that is not in front may not be drawn.
        await self.page.wait_for_function(condition, arg=arg, polling=20)

    async def watch(self, name: str, path: str, **args: Any) -> None:
        """Subscribe to a query, under a name."""
        await self.js("([name, path, args]) => watch(name, path, args)", [name, path, args])

    async def until_shown(self, name: str, value: Any, **result: Any) -> None:
        """Wait until a watched query shows this."""
        wanted = {"value": value, **result}
        await self.until("([name, wanted]) => isShown(name, wanted)", [name, wanted])

    async def shown(self, name: str) -> Any:
        """Return the newest value that a watched query has shown."""
        return await self.js("(name) => shown[name]?.at(-1)?.value", name)

    async def send(self, path: str, **args: Any) -> str:
        """Begin a mutation, wait until it is stored, and return its key."""
        key: str = await self.js("([path, args]) => send(path, args)", [path, args])
        return key

    async def append(self, topic: str, *bodies: str) -> None:
        """Add entries to a topic, one mutation each; each is stored."""
        for body in bodies:
            await self.send("probe:append", topic=topic, position=0, body=body)

    async def state(self) -> dict[str, Any]:
        """Return the client's connection state."""
        found: dict[str, Any] = await self.js("() => client.connectionState()")
        return found

    async def until_state(self, **fields: Any) -> None:
        """Wait until the connection state has these fields."""
        await self.until("(wanted) => hasState(wanted)", fields)

    async def crash(self, device: Device) -> None:
        """End the tab's process."""
        device.allow("crash")
        session = await device.cdp(self.page)
        crashed = asyncio.get_running_loop().create_future()
        self.page.once("crash", lambda _: crashed.set_result(None))
        sent = asyncio.ensure_future(session.send("Page.crash"))
        await crashed
        sent.cancel()

    async def freeze(self, device: Device) -> CDPSession:
        """Stop the tab where it is; ends with the session's `Debugger.disable`.

        The lifecycle state that Chromium has for it is only for tabs in the background, which
        there are none of without a screen.
        """
        session = await device.cdp(self.page)
        await session.send("Debugger.enable")
        stopped = asyncio.get_running_loop().create_future()
        session.once("Debugger.paused", lambda _: stopped.set_result(None))
        await session.send("Debugger.pause")
        # It stops at the next thing that it does, which is this.
        doing = asyncio.ensure_future(session.send("Runtime.evaluate", {"expression": "0"}))
        await stopped
        doing.cancel()
        return session


class Profile:
    """A device whose browser is a process of its own, and may be killed and started again.

    Attributes:
        directory: where its profile is kept.
        devices: one for each `launch`, the newest last.
    """

    def __init__(
        self, browsers: BrowserType, chromium: Chromium, directory: Path, network: Proxy, url: str
    ) -> None:
        self.directory = directory
        self.devices: list[Device] = []
        self._browsers = browsers
        self._chromium = chromium
        self._network = network
        self._url = url

    async def launch(self) -> Device:
        """Start the browser; the network is as it was left."""
        options = self._chromium.launch_options()
        context = await self._browsers.launch_persistent_context(self.directory, **options)
        device = Device(context, self._network, self._url)
        await device.prepare()
        if not self._network.is_open:
            await device.go_offline()
        self.devices.append(device)
        return device

    def kill(self) -> None:
        """End the browser's processes as a power cut does."""
        kill_browser(self.directory)
