"""Functions that misbehave."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from parley import ActionCtx, QueryCtx, action, query


@action
async def leave(ctx: ActionCtx) -> None:
    """End the process, as it believes."""
    sys.exit(3)


@action
async def give_up(ctx: ActionCtx) -> None:
    """End as if cancelled, though nobody did."""
    raise asyncio.CancelledError


@action
async def boast(ctx: ActionCtx, size: int) -> str:
    """Return more than anybody asked for."""
    return "x" * size


@action
async def dawdle(ctx: ActionCtx) -> None:
    """Wait for ever."""
    await asyncio.Event().wait()


@query
async def spin(ctx: QueryCtx) -> Any:
    """Never end."""
    while True:
        pass
