"""The metrics page: its names are an interface, and its figures are the engine's."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

from prometheus_client.parser import text_string_to_metric_families

from parley.clock import SystemClock
from parley.engine.engine import Engine
from parley.store.tables import Schema
from parley.web.metrics import Metrics, measure_loop
from tests.support.clock import FakeClock

# Dashboards and alerts are made of these; docs/operations.md explains them.
NAMES = {
    "parley_batched_mutations",
    "parley_batches",
    "parley_closed_connections",
    "parley_commit_timestamp_seconds",
    "parley_commits",
    "parley_connections",
    "parley_history_bytes",
    "parley_http_seconds",
    "parley_live_queries",
    "parley_log_read_age_seconds",
    "parley_loop_lag_seconds",
    "parley_memory_bytes",
    "parley_mutation_runs",
    "parley_mutations_waiting",
    "parley_query_runs",
    "parley_range_loads",
    "parley_result_bytes",
    "parley_sent_bytes",
    "parley_sent_frames",
}


def read(metrics: Metrics) -> dict[str, float]:
    """Return the page as sample -> value, labels in the name."""
    samples = {}
    for family in text_string_to_metric_families(metrics.page().decode()):
        for sample in family.samples:
            samples["/".join([sample.name, *sample.labels.values()])] = sample.value
    return samples


def open_metrics() -> tuple[Metrics, Engine]:
    clock = FakeClock()
    engine = Engine(Schema({}, epoch=1), 5_000_000_000, clock=clock, cursor_secret=b"s")
    follower = SimpleNamespace(read_at=clock.monotonic())
    clock.advance(3.0)
    return Metrics(SimpleNamespace(engine=engine, follower=follower), clock, lambda: 7), engine


def test_the_page_has_exactly_the_documented_names() -> None:
    metrics, _ = open_metrics()

    families = text_string_to_metric_families(metrics.page().decode())

    assert {family.name for family in families if not family.name.endswith("_created")} == NAMES


def test_every_metric_says_what_it_is() -> None:
    metrics, _ = open_metrics()

    for family in text_string_to_metric_families(metrics.page().decode()):
        assert family.documentation.endswith("."), family.name


def test_the_page_shows_what_the_engine_counts_at_that_moment() -> None:
    metrics, engine = open_metrics()
    engine.stats.commits = 3
    engine.stats.query_runs = 4

    samples = read(metrics)

    assert samples["parley_commits_total"] == 3
    assert samples["parley_query_runs_total"] == 4
    assert samples["parley_connections"] == 7
    assert samples["parley_commit_timestamp_seconds"] == 5
    assert samples["parley_log_read_age_seconds"] == 3


def test_ends_and_requests_are_counted_by_their_label() -> None:
    metrics, _ = open_metrics()
    metrics.closed.labels("Stalled").inc()
    with metrics.http_seconds.labels("query").time():
        pass

    samples = read(metrics)

    assert samples["parley_closed_connections_total/Stalled"] == 1
    assert samples["parley_http_seconds_count/query"] == 1


async def test_a_loop_that_is_kept_busy_is_seen_to_be_late() -> None:
    metrics, _ = open_metrics()
    measuring = asyncio.create_task(measure_loop(metrics, SystemClock()))
    await asyncio.sleep(0)
    time.sleep(0.7)  # noqa: ASYNC251 - beyond the next measurement
    while read(metrics)["parley_loop_lag_seconds_count"] == 0:  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0)
    measuring.cancel()

    samples = read(metrics)
    assert samples["parley_loop_lag_seconds_count"] == 1
    assert samples["parley_loop_lag_seconds_sum"] > 0.1


def test_two_nodes_in_a_process_do_not_share_their_counts() -> None:
    first, _ = open_metrics()
    second, _ = open_metrics()
    first.sent.frames += 1

    assert read(second)["parley_sent_frames_total"] == 0
