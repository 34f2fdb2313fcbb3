"""Official clients of several versions, and servers for them to talk to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.compat.driver import Driver, running_driver
from tests.support.nodejs import find_node
from tests.support.postgres import Cluster
from tests.support.server import Server, add_probe_tables, running_server

JS = Path(__file__).with_name("js")

# npm aliases of tests/compat/js/package.json: the newest, and SEED.md's 1.31.3.
VERSIONS = ["convex", "convex-old"]
# Our own client, under the names of `convex/react`: for tests of what React applications see.
REACT_VERSIONS = [*VERSIONS, "parley"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_dsn(cluster: Cluster) -> AsyncIterator[str]:
    """A database with the chat and the probe tables, for one test module."""
    async with cluster.database(await cluster.template()) as dsn:
        await add_probe_tables(dsn)
        yield dsn


@pytest.fixture(scope="module")
def server(shared_dsn: str) -> Iterator[Server]:
    """A server for one test module; its tests keep apart by their own users and names."""
    with running_server(shared_dsn) as running:
        yield running


@pytest.fixture
async def probe_dsn(dsn: str) -> str:
    """A database for one test, with the chat and the probe tables."""
    await add_probe_tables(dsn)
    return dsn


@pytest.fixture
def own_server(probe_dsn: str) -> Iterator[Server]:
    """A server for one test, which may restart it."""
    with running_server(probe_dsn) as running:
        yield running


@pytest.fixture(params=VERSIONS)
def convex(request: pytest.FixtureRequest) -> str:
    """Name of the npm package to test with."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def node() -> str:
    """The Node.js to run, with the packages of package-lock.json in place."""
    return find_node(JS)


@pytest.fixture(scope="session")
def bundles(node: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the pages, bundled: `seed-convex.js`, `probe-convex-old.js`, …"""
    directory = tmp_path_factory.mktemp("bundles")
    subprocess.run([node, JS / "bundle.mjs", directory], check=True, timeout=60)
    return directory


@pytest.fixture
async def clients(node: str, convex: str) -> AsyncIterator[Driver]:
    """A Node.js process for ConvexClient and ConvexHttpClient; commands in `js/clients.mjs`."""
    async with running_driver(node, str(JS / "clients.mjs"), convex) as driver:
        yield driver


@pytest.fixture
async def pages(node: str) -> AsyncIterator[Driver]:
    """A Node.js process for pages in DOMs; commands in `js/pages.mjs`."""
    async with running_driver(node, str(JS / "pages.mjs")) as driver:
        yield driver
        assert not [name for name in driver.events if name.endswith(".error")], driver.events


@pytest.fixture
async def python_client() -> AsyncIterator[Driver]:
    """A process for the clients of PyPI's `convex`; commands in `python_client.py`."""
    async with running_driver(sys.executable, "-m", "tests.compat.python_client") as driver:
        yield driver
