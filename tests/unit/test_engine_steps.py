"""One step after another: whatever order things come in, the engine asks for the steps it needs."""

from __future__ import annotations

import sys

from parley import QueryCtx, query
from parley.engine.calls import query_call
from parley.engine.engine import Engine
from parley.functions.registry import Registry
from parley.store.tables import Schema
from parley.store.types import Commit
from tests.support.clock import FakeClock


@query
async def constant(ctx: QueryCtx) -> int:
    return 1


class Nobody:
    """A subscriber that does not mind what it hears."""

    def query_settled(self, query_id: int, *, is_new: bool) -> None: ...

    def identity_needed(self, query_id: int) -> None: ...


def test_commits_that_come_while_a_query_waits_to_run_get_a_step_of_their_own() -> None:
    registry = Registry()
    registry.add_module(sys.modules[__name__], "m")
    engine = Engine(Schema({}, "epoch"), 10, clock=FakeClock(), cursor_secret=b"s" * 32)
    call = query_call(registry, "m:constant", {}, None, max_bytes=100)
    engine.subscribe(call, None, Nobody(), 0)
    engine.take_commits([Commit(11, 10)])

    has_moved = engine.advance()
    needs_another = engine.settle(1.0)

    assert (has_moved, needs_another) == (False, True)
    assert engine.advance()
    assert engine.memory.ts == 11
    assert not engine.settle(1.0)
