"""That the rig sees what it must: errors, violations, dead tabs, dead browsers, dead networks."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, Playwright, Route

from tests.browser.chromium import find_chromium, running_browsers
from tests.browser.device import Device, Profile, Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPEN_SOCKET = """() => new Promise((resolve) => {
  window.socket = new WebSocket(location.origin.replace("http", "ws") + "/api/1.48.0/sync");
  socket.onclose = () => { window.isClosed = true; resolve("closed"); };
  socket.onopen = () => resolve("open");
})"""

WRITE_DURABLY = """() => new Promise((resolve) => {
  const opening = indexedDB.open("kept");
  opening.onupgradeneeded = () => opening.result.createObjectStore("things");
  opening.onsuccess = () => {
    const writing = opening.result.transaction("things", "readwrite", { durability: "strict" });
    writing.objectStore("things").put("a", "key");
    writing.oncomplete = resolve;
  };
})"""


async def plain_page(device: Device) -> Page:
    """Open a page of the server that runs nothing."""
    return await device.open("/version")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("setTimeout(() => { throw new Error('oh no') })", "threw: oh no"),
        ("Promise.reject(new Error('oh no'))", "threw: oh no"),
        ("console.error('oh no')", "oh no"),
        ("setTimeout(() => alert('oh no'))", "dialog: oh no"),
    ],
    ids=["throw", "rejection", "console", "dialog"],
)
async def test_error_in_a_page_is_a_problem(device: Device, script: str, problem: str) -> None:
    page = await plain_page(device)

    await page.evaluate(f"() => {{ {script} }}")
    await page.wait_for_timeout(0)
    await page.evaluate("() => new Promise((resolve) => setTimeout(resolve))")

    assert [text.splitlines()[0] for text in device.unexpected()] == [problem]
    device.allow("oh no")
    assert device.unexpected() == []


async def test_violation_of_the_content_security_policy_is_a_problem(device: Device) -> None:
    async def serve(route: Route) -> None:
        policy = {"content-security-policy": "default-src 'none'"}
        await route.fulfill(body="<img src=/x.png>", content_type="text/html", headers=policy)

    await device.context.route("**/strict", serve)

    await device.open("/strict")

    assert any(text.startswith("CSP violation: img-src") for text in device.unexpected())
    device.allow("CSP violation|Content Security Policy")


async def test_offline_device_has_no_sockets_but_its_documents(device: Device) -> None:
    page = await plain_page(device)
    assert await page.evaluate(OPEN_SOCKET) == "open"

    await device.go_offline()

    await page.wait_for_function("window.isClosed")
    assert await page.evaluate("navigator.onLine") is False
    await page.reload()
    assert await page.evaluate(OPEN_SOCKET) == "closed"

    await device.go_online()

    assert await page.evaluate(OPEN_SOCKET) == "open"


async def test_crashed_tab_leaves_the_others_alive(device: Device) -> None:
    doomed, other = await plain_page(device), await plain_page(device)

    await Tab(doomed).crash(device)

    assert await other.evaluate("1 + 1") == 2


async def test_killed_browser_leaves_its_profile_and_no_process(profile: Profile) -> None:
    page = await plain_page(await profile.launch())
    await page.evaluate(WRITE_DURABLY)

    profile.kill()

    own = [c for c in running_browsers().values() if f"--user-data-dir={profile.directory}" in c]
    assert own == []
    page = await plain_page(await profile.launch())
    assert await page.evaluate("async () => (await indexedDB.databases()).length") == 1


async def test_the_chromium_of_npm_runs_here(playwright: Playwright, device: Device) -> None:
    browser = await playwright.chromium.launch(**find_chromium("npm").launch_options())

    page = await browser.new_page()
    await page.goto(f"{device.url}/version")

    assert await page.evaluate("[isSecureContext, !!navigator.locks, !!indexedDB]") == [True] * 3
    await browser.close()
