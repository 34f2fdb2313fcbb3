"""Functions are driven without an event loop: to their end, to missing rows, or to a refusal."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from parley.engine.runner import Failed, NeedsIdentity, Returned, RunOutcome, drive
from parley.errors import AppError, Internal, LimitExceeded
from parley.functions.context import Auth, IdentityNeeded
from parley.functions.transaction import Load
from parley.store.tables import END, START
from parley.store.types import LoadRequest

Function = Callable[[], Coroutine[Any, Any, Any]]

REQUEST = LoadRequest("notes", "by_id", (), START, END, "asc", 1)


def run(function: Function) -> RunOutcome:
    return drive(function(), "notes:f")


def refusal(function: Function) -> str:
    outcome = run(function)
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, Internal)
    return outcome.error.message


def test_a_function_that_waits_for_nothing_runs_to_its_end() -> None:
    async def function() -> int:
        return 5

    assert run(function) == Returned(5)


def test_a_function_may_await_other_coroutines() -> None:
    async def inner() -> int:
        return 5

    async def function() -> int:
        return await inner() + await inner()

    assert run(function) == Returned(10)


def test_missing_rows_end_the_run_with_what_to_load() -> None:
    async def function() -> None:
        await Load(REQUEST)

    assert run(function) is REQUEST


def test_an_app_error_passes_as_it_is() -> None:
    error = AppError({"code": 7})

    async def function() -> None:
        raise error

    assert run(function) == Failed(error)


def test_a_limit_passes_as_it_is() -> None:
    async def function() -> None:
        raise LimitExceeded("too much")

    outcome = run(function)

    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, LimitExceeded)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("secret detail"),
        RecursionError("too deep"),
        SystemExit(1),
        asyncio.CancelledError(),
        GeneratorExit(),
        StopIteration(5),
    ],
    ids=lambda error: type(error).__name__,
)
def test_anything_unexpected_ends_the_function_only_and_becomes_internal(
    error: BaseException,
) -> None:
    async def function() -> None:
        raise error

    outcome = run(function)

    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, Internal)
    assert outcome.error.__cause__ is not None


def test_control_c_is_not_the_function_s_failure() -> None:
    async def function() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(function)


async def other() -> None:
    """Stand for any work that would escape."""


IMPURE: dict[str, Function] = {}


def impure(function: Function) -> Function:
    IMPURE[function.__name__] = function
    return function


@impure
async def sleep() -> None:
    await asyncio.sleep(1)


@impure
async def yield_to_others() -> None:
    await asyncio.sleep(0)


@impure
async def make_a_task() -> None:
    await asyncio.create_task(other())


@impure
async def leave_a_task_behind() -> None:
    asyncio.create_task(other())  # noqa: RUF006


@impure
async def gather() -> None:
    one, two = other(), other()
    try:
        await asyncio.gather(one, two)
    finally:
        two.close()


@impure
async def wait_for_an_event() -> None:
    await asyncio.Event().wait()


@impure
async def ask_the_network() -> None:
    await asyncio.open_connection("127.0.0.1", 1)


@impure
async def leave_for_a_thread() -> None:
    await asyncio.to_thread(print)


@impure
async def run_a_loop_of_its_own() -> None:
    coroutine = other()
    try:
        asyncio.run(coroutine)
    finally:
        coroutine.close()


@impure
async def make_a_future() -> None:
    await asyncio.get_running_loop().create_future()


@impure
async def reach_for_the_socket() -> None:
    with socket.socket() as end:
        await asyncio.get_running_loop().sock_recv(end, 1)


@pytest.mark.parametrize("name", IMPURE)
async def test_nothing_but_the_database_can_be_awaited(name: str) -> None:
    assert refusal(IMPURE[name])


@pytest.mark.parametrize(
    "name", sorted(IMPURE.keys() - {"run_a_loop_of_its_own", "ask_the_network"})
)
async def test_the_refusal_says_where_such_work_belongs(name: str) -> None:
    assert "put network calls and sleeps in an action" in refusal(IMPURE[name])


async def test_a_future_of_the_real_loop_is_refused() -> None:
    future = asyncio.get_running_loop().create_future()

    async def function() -> None:
        await future

    assert "notes:f awaited" in refusal(function)


async def test_going_on_after_the_refusal_does_not_help() -> None:
    future = asyncio.get_running_loop().create_future()

    async def function() -> None:
        try:
            await future
        except Exception:
            await Load(REQUEST)

    assert "went on after an impure await" in refusal(function)


async def test_the_running_loop_is_back_after_every_end() -> None:
    loop = asyncio.get_running_loop()

    async def function() -> None:
        raise ValueError

    run(function)
    run(sleep)

    assert asyncio.get_running_loop() is loop


async def test_no_task_is_left_behind() -> None:
    before = asyncio.all_tasks()

    run(leave_a_task_behind)

    assert asyncio.all_tasks() == before


def test_asking_who_calls_in_a_shared_run_cannot_be_swallowed() -> None:
    auth = Auth(None, is_shared=True)

    async def function() -> str:
        try:
            await auth.get_user_identity()
        except Exception:
            return "swallowed"
        return "unreached"

    assert run(function) == NeedsIdentity()


def test_asking_who_calls_is_told_apart_from_other_base_exceptions() -> None:
    async def function() -> None:
        raise IdentityNeeded

    assert run(function) == NeedsIdentity()


def test_a_function_that_lacks_rows_is_closed() -> None:
    events = []

    async def function() -> None:
        try:
            await Load(REQUEST)
        finally:
            events.append("closed")

    run(function)

    assert events == ["closed"]


def test_a_function_that_awaits_while_it_is_closed_fails_alone() -> None:
    async def function() -> None:
        try:
            await Load(REQUEST)
        finally:
            await Load(REQUEST)

    assert "ignored GeneratorExit" in refusal(function)


def test_a_function_that_raises_while_it_is_closed_fails_alone() -> None:
    async def function() -> None:
        try:
            await Load(REQUEST)
        finally:
            raise ValueError("in finally")

    assert "in finally" in refusal(function)
