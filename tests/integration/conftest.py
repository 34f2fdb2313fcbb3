"""A web server that the tests of one module share; they keep apart by names of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.support.postgres import Cluster
from tests.support.server import add_probe_tables
from tests.support.webapp import ADMIN_KEY, WebServer, serving_web


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web_dsn(cluster: Cluster) -> AsyncIterator[str]:
    """A database with the chat and the probe tables, for one test module."""
    async with cluster.database(await cluster.template()) as dsn:
        await add_probe_tables(dsn)
        yield dsn


@pytest.fixture(scope="module")
def web(web_dsn: str) -> Iterator[WebServer]:
    """A server with the limits that operators get, and errors shown."""
    with serving_web(web_dsn, admin_key=ADMIN_KEY, redact_errors=False) as server:
        yield server
