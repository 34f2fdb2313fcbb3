"""A process is set up to hold many connections and to stop for none of them."""

from __future__ import annotations

import gc
import resource

from parley.web.process import calm_collector, raise_file_limit


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
