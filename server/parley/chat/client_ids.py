"""Rows whose ids were made by a client, so that it may send them again without harm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from parley import UNSET, AppError, MutationCtx, Opt, Table

# Version 7 only: its time in front keeps new rows together in the primary key.
_UUID7: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


async def find_repeat(
    ctx: MutationCtx, table: Table[Any], row_id: Opt[str], content: Mapping[str, Any]
) -> str | None:
    """Return the id if its row is there already with this content; None if it is to be inserted.

    Without an id from the client every call is new. `content` holds the fields that tell a repeat
    from another row, its owner among them; UNSET stands for an absent one.

    Raises:
        AppError: the id is no UUIDv7, or another row has it, whoever that row belongs to.
    """
    if row_id is UNSET:
        return None
    return row_id if await is_there(ctx, table, row_id, content) else None


async def is_there(
    ctx: MutationCtx, table: Table[Any], row_id: str, content: Mapping[str, Any]
) -> bool:
    """Tell whether the row of a client's id is there already.

    Args:
        ctx: of the mutation that would insert it.
        table: where.
        row_id: the id that the client made.
        content: as for `find_repeat`.

    Raises:
        AppError: as `find_repeat`.
    """
    if not _UUID7.fullmatch(row_id):
        raise AppError("id must be a UUIDv7")
    found = await ctx.db.get(table, row_id)
    if found is None:
        return False
    if any(found.get(name, UNSET) != value for name, value in content.items()):
        raise AppError("Conflict: this id is taken")
    return True
