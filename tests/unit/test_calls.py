"""What a client sent becomes a call: found, checked, limited, and recognisable."""

from __future__ import annotations

from typing import Any

import pytest

from parley.engine.batch import Mutation
from parley.engine.calls import caller_of, decoded_args, mutation_call, query_call
from parley.errors import (
    ArgumentsInvalid,
    FunctionFailed,
    FunctionNotFound,
    LimitExceeded,
    ValueInvalid,
)
from parley.functions.context import Entropy
from parley.identity import Identity
from parley.store.types import RequestId
from tests.support.rig import ANN, REGISTRY
from tests.support.tables import uuid


def query(path: str, args: object, *, internal: bool = False, max_bytes: int = 1000) -> Any:
    return query_call(REGISTRY, path, args, "journal", max_bytes=max_bytes, internal=internal)


def mutation(args: object, path: str = "notes:bump") -> Mutation:
    function = REGISTRY.find(path, "mutation")
    request = RequestId("", "s", 1)
    return mutation_call(function, args, None, request, Entropy(0, 0), 9.0, print, max_bytes=1000)


def test_a_query_is_found_and_its_arguments_are_checked() -> None:
    call = query("notes.js:top", {"count": 2.0, "owner": "ann"})

    assert call.path == "notes:top"
    assert call.args == {"owner": "ann", "count": 2}
    assert call.args_json == b'{"count":2.0,"owner":"ann"}'
    assert call.journal == "journal"
    assert call.refusal is None


def test_the_order_of_arguments_does_not_make_another_call() -> None:
    one = query("notes:top", {"owner": "ann", "count": 1})
    other = query("notes:top", {"count": 1, "owner": "ann"})

    assert one.key == other.key


@pytest.mark.parametrize(
    ("path", "args", "error"),
    [
        ("notes:missing", {}, FunctionNotFound),
        ("no path at all", {}, FunctionNotFound),
        ("notes:bump", {}, FunctionNotFound),
        ("notes:top", {"owner": "ann"}, ArgumentsInvalid),
        ("notes:top", {"owner": "ann", "count": 1, "more": 1}, ArgumentsInvalid),
        ("notes:one", {"id": {"$integer": "nonsense"}}, ValueInvalid),
        ("notes:one", {"$integer": "AAAAAAAAAAA="}, ArgumentsInvalid),
        ("notes:one", {"id": "x" * 1000}, LimitExceeded),
    ],
)
def test_a_query_that_cannot_be_run_carries_why(
    path: str, args: object, error: type[FunctionFailed]
) -> None:
    call = query(path, args)

    assert type(call.refusal) is error
    assert call.function is None


def test_an_internal_mutation_is_found_by_other_functions_only() -> None:
    with pytest.raises(FunctionNotFound):
        REGISTRY.find("notes:hidden", "mutation")

    assert REGISTRY.find("notes:hidden", "mutation", internal=True).is_internal


def test_a_mutation_carries_its_checked_arguments() -> None:
    assert mutation({"id": uuid(1)}).args == {"id": uuid(1)}


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({"id": 5}, ArgumentsInvalid),
        ({"id": {"$float": "?"}}, ValueInvalid),
        ({"id": "x" * 1000}, LimitExceeded),
    ],
)
def test_arguments_that_do_not_fit_are_the_mutation_s_to_tell(
    args: object, error: type[FunctionFailed]
) -> None:
    assert type(mutation(args).args) is error


def test_a_repeat_is_known_by_function_and_arguments() -> None:
    one = mutation({"id": uuid(1)})

    assert mutation({"id": uuid(1)}).call_hash == one.call_hash
    assert mutation({"id": uuid(2)}).call_hash != one.call_hash
    assert mutation({"id": uuid(1)}, "notes:remove").call_hash != one.call_hash
    assert len(one.call_hash) == 16


def test_mutations_are_ordered_by_user_and_session() -> None:
    assert mutation({"id": uuid(1)}).session == ("", "s")


def test_arguments_may_have_so_many_bytes_and_no_more() -> None:
    size = len(b'{"id":"xxxx"}')

    assert decoded_args({"id": "xxxx"}, size) == ({"id": "xxxx"}, b'{"id":"xxxx"}')
    with pytest.raises(LimitExceeded, match="arguments may be 12 bytes; these have 13"):
        decoded_args({"id": "xxxx"}, size - 1)


def test_requests_are_remembered_by_the_user_whatever_the_token_says() -> None:
    refreshed = Identity("https://issuer", "ann", {"email": "new@example.org"}, 1.0)

    assert caller_of(ANN) == caller_of(refreshed) == "https://issuer|ann"
    assert caller_of(None) == ""
