"""Real browsers on the real server: one of each per test process, one profile per device."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Error, Playwright, async_playwright

from tests.browser.chromium import Chromium, find_chromium, running_browsers
from tests.browser.device import Device, Profile
from tests.support.postgres import Cluster
from tests.support.proxy import running_proxy
from tests.support.server import Server, add_probe_tables, running_server

NewDevice = Callable[..., Awaitable[Device]]

# Anybody on this machine may be anybody, and all tests come from one address.
DEVELOPMENT = {"SUPABASE_JWT_SECRET": "", "PARLEY_MAX_CONNECTIONS_PER_ADDRESS": "1000"}

# The test page says how its client is; other pages have none to ask.
_STATE = """() => {
  const state = window.client && { ...client.connectionState(), told, shown, outbox: outbox() };
  return JSON.stringify(state)?.slice(0, 4000) ?? '';
}"""

_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Let fixtures know whether their test failed."""
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    """Playwright's driver; at the end no browser may be left."""
    async with async_playwright() as running:
        yield running
    assert running_browsers() == {}


@pytest.fixture(scope="session")
def chromium() -> Chromium:
    """The browser's program."""
    return find_chromium()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(playwright: Playwright, chromium: Chromium) -> AsyncIterator[Browser]:
    """A browser for all devices that are not killed."""
    running = await playwright.chromium.launch(**chromium.launch_options())
    yield running
    await running.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_dsn(cluster: Cluster) -> AsyncIterator[str]:
    """A database with the chat and the probe tables; tests keep apart by users and topics."""
    async with cluster.database(await cluster.template()) as dsn:
        await add_probe_tables(dsn)
        yield dsn


@pytest.fixture(scope="session")
def server(shared_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in development mode."""
    environ = {**DEVELOPMENT, "PARLEY_DATA": str(tmp_path_factory.mktemp("data"))}
    with running_server(shared_dsn, environ=environ) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def database(shared_dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to look at what was really written."""
    connection = await asyncpg.connect(shared_dsn)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(loop_scope="session")
async def new_device(
    browser: Browser, server: Server, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[NewDevice]:
    """Makes devices; `options` are those of Playwright's `new_context`, e.g. `viewport`.

    A device whose pages report an error that the test did not allow fails the test.
    """
    devices: list[Device] = []
    async with AsyncExitStack() as stack:

        async def make(target: Server = server, **options: Any) -> Device:
            context = await browser.new_context(**options)
            network = await stack.enter_async_context(running_proxy(target.port))
            device = Device(context, network, target.url)
            stack.push_async_callback(device.close)
            devices.append(device)
            await device.prepare()
            return device

        yield make
        await check(devices, request, tmp_path)


@pytest_asyncio.fixture(loop_scope="session")
async def profile(
    playwright: Playwright,
    chromium: Chromium,
    server: Server,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> AsyncIterator[Profile]:
    """A device that can be killed."""
    async with running_proxy(server.port) as network:
        made = Profile(playwright.chromium, chromium, tmp_path / "profile", network, server.url)
        yield made
        await check(made.devices, request, tmp_path)
        await made.devices[-1].close()


async def check(devices: list[Device], request: pytest.FixtureRequest, directory: Path) -> None:
    """Fail the test for problems that it did not allow; show those of a failed one."""
    if request.node.stash.get(_FAILED, False):
        await show(devices, directory)
    else:
        assert [device.unexpected() for device in devices] == [[] for _ in devices]


async def show(devices: list[Device], directory: Path) -> None:
    """Print what the pages of a failed test say, and where their pictures are."""
    for number, device in enumerate(devices):
        print(f"--- device {number}: {device.problems}")  # noqa: T201  # pytest shows it
        for place, page in enumerate(device.context.pages):
            path = directory / f"device{number}-tab{place}.png"
            print(f"--- {page.url}: {path}")  # noqa: T201
            with suppress(Error, TimeoutError):  # a page that died or hangs says nothing
                await page.screenshot(path=path, timeout=3000)
                async with asyncio.timeout(3):
                    print(await page.evaluate(_STATE))  # noqa: T201


@pytest_asyncio.fixture(loop_scope="session")
async def device(new_device: NewDevice) -> Device:
    """One device."""
    return await new_device()
