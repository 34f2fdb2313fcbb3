"""A process is set up to hold many connections and to stop for none of them."""

from __future__ import annotations

import gc
import resource

import pytest

from parley.web.process import calm_collector, raise_file_limit, room_for_connections


def test_cycles_are_looked_for_seldom_and_not_in_what_stays() -> None:
    before = gc.get_threshold()
    try:
        calm_collector()

        assert gc.get_threshold() > before
        assert gc.get_freeze_count() > 0
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def test_as_many_files_may_be_open_as_the_system_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(64 + soft // 2, hard), hard))
    try:
        raise_file_limit()

        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("files", "wanted", "room"),
    [(1024, 6000, 896), (1024, 500, 500), (200, 6000, 100), (resource.RLIM_INFINITY, 6000, 6000)],
)
def test_connections_leave_files_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, files: int, wanted: int, room: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (files, files))

    assert room_for_connections(wanted) == room
