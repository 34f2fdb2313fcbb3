"""Fixtures for all tests: databases that are fresh for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.postgres import Cluster, running_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Postgres server for this test process, started when a test first asks."""
    with running_cluster() as running:
        yield running
        asyncio.run(running.close())


@pytest.fixture
async def dsn(cluster: Cluster) -> AsyncIterator[str]:
    """DSN of a fresh database with Parley's schema."""
    async with cluster.database(await cluster.template()) as fresh:
        yield fresh


@pytest.fixture
async def empty_dsn(cluster: Cluster) -> AsyncIterator[str]:
    """DSN of a fresh database with nothing in it."""
    async with cluster.database() as fresh:
        yield fresh
