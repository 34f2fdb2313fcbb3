"""Users: rows that follow the tokens people sign in with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parley import AppError, MutationCtx, QueryCtx, on_authenticated, query
from parley.chat.model import USERS, User


@query
async def me(ctx: QueryCtx) -> User | None:
    """Return the caller's own user, or null."""
    return await current_user(ctx)


@on_authenticated
async def sign_in(ctx: MutationCtx) -> None:
    """Make the caller's row at their first sign-in; keep e-mail and name as their token says."""
    identity = await ctx.auth.get_user_identity()
    if identity is None:
        return
    email = _text(identity, "email")
    # Supabase tokens carry the name where the user's sign-up put it.
    name = _text(identity, "name", "user_metadata.full_name", "user_metadata.name")

    user = await _find_user(ctx, identity)
    if user is None:
        await ctx.db.insert(
            USERS,
            {
                "issuer": identity["issuer"],
                "supabaseUserId": identity["subject"],
                "email": email,
                "name": name,
                "createdAt": ctx.now(),
            },
        )
    elif (user.get("email"), user.get("name")) != (email, name):
        await ctx.db.patch(USERS, user["_id"], {"email": email, "name": name})


async def current_user(ctx: QueryCtx) -> User | None:
    """Return the caller's user; None when signed out, or when the row was deleted."""
    identity = await ctx.auth.get_user_identity()
    return None if identity is None else await _find_user(ctx, identity)


async def require_user(ctx: QueryCtx) -> User:
    """Return the caller's user.

    Raises:
        AppError: "Not authenticated", or "User not found" when there is no row.
    """
    identity = await ctx.auth.get_user_identity()
    if identity is None:
        raise AppError("Not authenticated")
    user = await _find_user(ctx, identity)
    if user is None:
        raise AppError("User not found")
    return user


async def _find_user(ctx: QueryCtx, identity: Mapping[str, Any]) -> User | None:
    # By issuer too: two issuers may give the same subject to different people.
    return (
        await ctx.db.query(USERS)
        .with_index("by_identity", issuer=identity["issuer"], supabaseUserId=identity["subject"])
        .unique()
    )


def _text(identity: Mapping[str, Any], *claims: str) -> str | None:
    """Return the first of these claims that is text and not empty."""
    found = (identity.get(claim) for claim in claims)
    return next((value for value in found if isinstance(value, str) and value), None)
