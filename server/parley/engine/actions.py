"""Actions: functions that asyncio runs, beside everything else, and that may do anything.

They reach data only through queries and mutations, each a transaction of its own, as the caller
that they run for. At most once: an action is never tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol

from orjson import loads

from parley.engine.batch import Answer
from parley.engine.calls import decoded_args
from parley.engine.oneshot import Answers
from parley.engine.runner import ENDINGS
from parley.errors import Internal, LimitExceeded, Overloaded, ParleyError
from parley.functions.context import ActionCtx, Auth
from parley.functions.registry import Registry
from parley.identity import Identity
from parley.values import decode, encode

MAX_ACTIONS: Final = 1000


class Host(Protocol):
    """What actions need of the node they run on."""

    @property
    def registry(self) -> Registry:
        """The functions that are served."""
        ...

    async def query(
        self, calls: Sequence[tuple[str, object]], identity: Identity | None, *, internal: bool
    ) -> Answers:
        """Run queries on the newest state."""
        ...

    async def run_mutation(
        self, path: str, args: object, identity: Identity | None, *, internal: bool
    ) -> Answer:
        """Run a mutation and return how it ended."""
        ...

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Run a task that ends with the node at the latest."""
        ...


class Actions:
    """Runs the actions of one node."""

    def __init__(self, node: Host, *, max_args_bytes: int, max_result_bytes: int) -> None:
        self._node = node
        self._max_args_bytes = max_args_bytes
        self._max_result_bytes = max_result_bytes
        self._running = 0

    async def run(
        self, path: str, args: object, identity: Identity | None, *, internal: bool = False
    ) -> bytes:
        """Run an action and return its value as wire JSON.

        Raises:
            FunctionFailed: it failed.
            Overloaded: too many actions are running.
        """
        function = self._node.registry.find(path, "action", internal=internal)
        if self._running >= MAX_ACTIONS:
            raise Overloaded(f"{MAX_ACTIONS} actions are running on this node")
        decoded, _ = decoded_args(args, self._max_args_bytes)
        checked = function.arguments.validate(decoded)
        ctx = ActionCtx(
            Auth(identity),
            lambda path, args: self._query(path, args, identity),
            lambda path, args: self._mutation(path, args, identity),
        )
        self._running += 1
        try:
            value = encode(await function.handler(ctx, **checked))
        except ParleyError:
            raise
        except ENDINGS as error:
            if _is_cancelled(error):
                raise
            raise Internal(f"{type(error).__name__}: {error}") from error
        finally:
            self._running -= 1
        if len(value) > self._max_result_bytes:
            raise LimitExceeded(
                f"a result may be {self._max_result_bytes} bytes; this one has {len(value)}"
            )
        return value

    def start(
        self,
        path: str,
        args: object,
        identity: Identity | None,
        done: Callable[[bytes | ParleyError], None],
    ) -> None:
        """Run an action in a task of its own; `done` gets its value or its error."""

        async def run() -> None:
            try:
                result: bytes | ParleyError = await self.run(path, args, identity)
            except ParleyError as error:
                result = error
            done(result)
            del result  # which may hold, by its traceback, this frame

        self._node.spawn(run, f"action {path[:80]}")

    async def _query(self, path: str, args: Mapping[str, Any], identity: Identity | None) -> Any:
        # Through the wire form and back: what the action holds and what the query got stay apart.
        wire = loads(encode(dict(args)))
        answers = await self._node.query([(path, wire)], identity, internal=True)
        return decode(loads(answers.only()))

    async def _mutation(self, path: str, args: Mapping[str, Any], identity: Identity | None) -> Any:
        wire = loads(encode(dict(args)))
        answer = await self._node.run_mutation(path, wire, identity, internal=True)
        if answer.error is not None:
            raise answer.error
        return decode(loads(answer.value or b"null"))


def _is_cancelled(error: BaseException) -> bool:
    """Tell whether the task itself is being ended, not merely something that it waited for."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
