"""Parley: a self-hosted reactive sync server that official Convex clients use unchanged.

What an app's functions are written with:

    from parley import MutationCtx, Opt, UNSET, mutation

    @mutation
    async def add(ctx: MutationCtx, title: str, due: Opt[float] = UNSET) -> str:
        return await ctx.db.insert("todos", {"title": title, "due": due})
"""

from parley.errors import AppError
from parley.functions.context import ActionCtx, MutationCtx, QueryCtx
from parley.functions.database import Table
from parley.functions.pagination import PaginationResult
from parley.functions.registry import action, mutation, on_authenticated, query
from parley.functions.validators import UNSET, Opt, PaginationOptions, TableId, UnsetType
from parley.values import Document, Int64

__version__ = "0.1.0"

__all__ = [
    "UNSET",
    "ActionCtx",
    "AppError",
    "Document",
    "Int64",
    "MutationCtx",
    "Opt",
    "PaginationOptions",
    "PaginationResult",
    "QueryCtx",
    "Table",
    "TableId",
    "UnsetType",
    "__version__",
    "action",
    "mutation",
    "on_authenticated",
    "query",
]
