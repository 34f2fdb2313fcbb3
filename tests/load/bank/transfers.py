"""Two balances per mutation: the shape of a benchmark of contention."""

from __future__ import annotations

from typing import Annotated, TypedDict

from parley import AppError, Int64, MutationCtx, Table, TableId, mutation

AccountId = Annotated[str, TableId("accounts")]


class Account(TypedDict):
    _id: AccountId
    _creationTime: float
    balance: Int64


ACCOUNTS = Table("accounts", Account)


async def _balance(ctx: MutationCtx, account_id: AccountId) -> int:
    account = await ctx.db.get(ACCOUNTS, account_id)
    if account is None:
        raise AppError("no such account")
    return account["balance"]


@mutation
async def transfer(
    ctx: MutationCtx, source_id: AccountId, target_id: AccountId, amount: int
) -> None:
    """Move money from one account to another."""
    source, target = await _balance(ctx, source_id), await _balance(ctx, target_id)
    if source < amount:
        raise AppError("not enough")
    await ctx.db.patch(ACCOUNTS, source_id, {"balance": source - amount})
    await ctx.db.patch(ACCOUNTS, target_id, {"balance": target + amount})


@mutation
async def total(ctx: MutationCtx) -> Int64:
    """Return the sum of all accounts, which are in memory from then on."""
    accounts = await ctx.db.query(ACCOUNTS).with_index("by_id").collect()
    return Int64(sum(account["balance"] for account in accounts))
