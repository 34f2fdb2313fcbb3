"""Prometheus metrics; `docs/operations.md` lists them, and a test compares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from parley.clock import Clock
from parley.engine.node import Node

_LOOP_EVERY_S: Final = 0.5
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)


@dataclass(slots=True)
class Sent:
    """What sockets have sent, beside the Transitions that were written at once."""

    frames: int = 0
    bytes: int = 0


class _NodeCollector(Collector):
    """Reads the node's own counters when the page is asked for."""

    def __init__(
        self, node: Node, clock: Clock, open_connections: Callable[[], int], sent: Sent
    ) -> None:
        self._node = node
        self._sent = sent
        self._clock = clock
        self._open_connections = open_connections

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield what the engine counts."""
        engine = self._node.engine
        stats = engine.stats
        gauge, counter = GaugeMetricFamily, CounterMetricFamily
        yield gauge("parley_connections", "Open sync sockets.", self._open_connections())
        yield gauge("parley_live_queries", "Distinct queries kept true.", len(engine.live))
        yield gauge(
            "parley_memory_bytes", "Estimate of the rows in memory.", engine.memory.size_bytes
        )
        yield gauge(
            "parley_history_bytes", "Recent commits in memory.", engine.memory.history_bytes
        )
        yield gauge("parley_result_bytes", "Results of live queries.", engine.held.size_bytes)
        yield gauge(
            "parley_log_read_age_seconds",
            "Time since the log of commits was last read.",
            self._clock.monotonic() - self._node.follower.read_at,
        )
        yield gauge(
            "parley_mutations_waiting", "Mutations without an answer.", len(engine.committer)
        )
        yield gauge(
            "parley_commit_timestamp_seconds",
            "Commit that memory stands at.",
            engine.memory.ts / 1e9,
        )
        yield counter("parley_commits", "Commits applied from the log.", stats.commits)
        yield counter("parley_batches", "Batches sent to Postgres.", stats.batches)
        yield counter("parley_batched_mutations", "Mutations in these batches.", stats.batched)
        yield counter(
            "parley_mutation_runs", "Runs of mutations, retries too.", stats.mutation_runs
        )
        yield counter("parley_query_runs", "Runs of queries.", stats.query_runs)
        yield counter("parley_range_loads", "Pieces of ranges asked of Postgres.", stats.loads)
        frames = self._sent.frames + stats.pushed_frames
        yield counter("parley_sent_frames", "Frames sent to clients.", frames)
        yield counter(
            "parley_sent_bytes", "Bytes of these frames.", self._sent.bytes + stats.pushed_bytes
        )


class Metrics:
    """The metrics of one process.

    Attributes:
        sent: what has been sent so far.
    """

    def __init__(self, node: Node, clock: Clock, open_connections: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self.sent = Sent()
        self._registry.register(_NodeCollector(node, clock, open_connections, self.sent))
        self.closed = Counter(
            "parley_closed_connections",
            "Sync sockets that the server ended, by error code.",
            ["code"],
            registry=self._registry,
        )
        self.http_seconds = Histogram(
            "parley_http_seconds",
            "Time to answer a request of the HTTP API.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )

        self.loop_lag_seconds = Histogram(
            "parley_loop_lag_seconds",
            "How late a timer was, twice a second: what every message waits for others.",
            buckets=_SECONDS,
            registry=self._registry,
        )

    def page(self) -> bytes:
        """Return the page in Prometheus's text format."""
        return generate_latest(self._registry)


async def measure_loop(metrics: Metrics, clock: Clock) -> None:
    """Measure for ever how late the event loop comes to what is due."""
    while True:
        due = clock.monotonic() + _LOOP_EVERY_S
        await asyncio.sleep(_LOOP_EVERY_S)
        metrics.loop_lag_seconds.observe(max(0.0, clock.monotonic() - due))
