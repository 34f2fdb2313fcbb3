"""What no app would do: it breaks the engine that runs it."""

from __future__ import annotations

from typing import Any

from parley import MutationCtx, mutation
from parley.engine.engine import Engine


@mutation
async def fail(ctx: MutationCtx) -> None:
    """Make the engine of this process fail at its next step."""

    def advance(_engine: Any) -> bool:
        raise RuntimeError("broken on purpose")

    Engine.advance = advance  # type: ignore[method-assign]
