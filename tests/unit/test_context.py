"""`ctx`: who calls, what time it is, chance that repeats, and calls of other functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from parley.engine.transaction import MutationIds
from parley.functions.context import (
    ActionCtx,
    Auth,
    Entropy,
    IdentityNeeded,
    MutationCtx,
    QueryCtx,
)
from parley.identity import Identity

ANN = Identity("https://issuer", "ann", {"email": "ann@example.org"}, 9e9)
DB: Any = object()


def mutation_ctx(seed: int = 5) -> MutationCtx:
    return MutationCtx(DB, Auth(None), Entropy(1_800_000_000_123, seed))


async def test_a_signed_in_caller_is_told_by_their_claims() -> None:
    assert await Auth(ANN).get_user_identity() == {
        "tokenIdentifier": "https://issuer|ann",
        "issuer": "https://issuer",
        "subject": "ann",
        "email": "ann@example.org",
    }


async def test_a_signed_out_caller_is_nobody() -> None:
    assert await Auth(None).get_user_identity() is None


@pytest.mark.parametrize("identity", [None, ANN])
async def test_a_shared_run_is_told_of_nobody_signed_out_or_in(identity: Identity | None) -> None:
    with pytest.raises(IdentityNeeded):
        await Auth(identity, is_shared=True).get_user_identity()


def test_needing_an_identity_is_no_exception_that_functions_catch() -> None:
    assert not issubclass(IdentityNeeded, Exception)


def test_a_query_knows_its_rows_its_caller_and_its_time() -> None:
    auth = Auth(ANN)
    ctx = QueryCtx(DB, auth, Entropy(7, 1))

    assert (ctx.db, ctx.auth, ctx.now()) == (DB, auth, 7)


def test_chance_is_the_same_when_a_call_is_run_again() -> None:
    first, again, other = mutation_ctx(), mutation_ctx(), mutation_ctx(seed=6)

    numbers = [first.random().random(), first.random().random()]

    assert numbers[0] != numbers[1]
    assert [again.random().random(), again.random().random()] == numbers
    assert other.random().random() != numbers[0]


def test_new_ids_are_fresh_and_the_same_when_a_call_is_run_again() -> None:
    first, again = mutation_ctx(), mutation_ctx()

    ids = [first.new_id(), first.new_id()]

    assert ids[0] != ids[1]
    assert [again.new_id(), again.new_id()] == ids
    assert all(row_id.startswith("01a3185c-507b-7") for row_id in ids)


def test_ids_of_rows_sort_as_they_were_made_and_repeat() -> None:
    entropy = Entropy(1_800_000_000_123, 5)
    first, again = MutationIds(entropy), MutationIds(entropy)

    ids = [first.next() for _ in range(500)]

    assert ids == sorted(set(ids))
    assert [again.next() for _ in range(500)] == ids


def test_ids_stay_different_beyond_what_can_be_ordered() -> None:
    ids = MutationIds(Entropy(1_800_000_000_123, 5))

    made = [ids.next() for _ in range(5000)]

    assert len(set(made)) == 5000


def test_ids_of_two_calls_of_one_moment_differ() -> None:
    one, other = MutationIds(Entropy(7, 1)), MutationIds(Entropy(7, 2))

    assert one.next() != other.next()


async def test_an_action_reaches_data_through_functions() -> None:
    calls: list[tuple[str, str, Mapping[str, Any]]] = []

    async def run_query(path: str, args: Mapping[str, Any]) -> str:
        calls.append(("query", path, args))
        return "rows"

    async def run_mutation(path: str, args: Mapping[str, Any]) -> str:
        calls.append(("mutation", path, args))
        return "done"

    ctx = ActionCtx(Auth(ANN), run_query, run_mutation)

    assert await ctx.run_query("notes:list", {"owner": "ann"}) == "rows"
    assert await ctx.run_mutation("notes:clear") == "done"
    assert calls == [("query", "notes:list", {"owner": "ann"}), ("mutation", "notes:clear", {})]
