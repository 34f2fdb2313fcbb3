"""The asyncio shell around the engine: it loads, commits, follows the log, and keeps time.

One `Node` per process. All its tasks belong to one task group and end with it. What decides is in
`engine.py`; here is only who waits for what.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from parley.clock import Clock
from parley.engine.actions import Actions
from parley.engine.batch import Answer
from parley.engine.calls import caller_of, mutation_call, query_call
from parley.engine.engine import Engine
from parley.engine.follower import RETRY_S, Follower
from parley.engine.live import Call
from parley.engine.loader import Loader, Work
from parley.engine.oneshot import Answers, OneShot
from parley.engine.outgoing import FrameCache
from parley.engine.sync import SyncWorker
from parley.errors import (
    DatabaseDown,
    FunctionFailed,
    ParleyError,
    ShuttingDown,
    TimedOut,
    TooManyMutations,
    without_frames,
)
from parley.functions.registry import Registry
from parley.identity import Identity
from parley.protocol.connection import Connection
from parley.protocol.messages import Add, Mutation
from parley.store.types import (
    ONCE,
    Batch,
    BatchOutcome,
    RequestId,
    Store,
    Transient,
    Unknown,
)

log = logging.getLogger(__name__)

_SLICE_S: Final = 0.005  # how long live queries may run before sockets and timers get their turn


class Node:
    """Runs functions for this process's clients.

    Attributes:
        engine: the core.
        registry: the functions it serves.
        is_draining: no new work is taken; what was taken is finished.
        follower: keeps memory at the newest commit.
        actions: runs actions.
        on_failure: called once when the node cannot go on; the process has to end.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        engine: Engine,
        clock: Clock,
        *,
        incarnation: str,
        mutation_timeout_s: float = 15.0,
        max_args_bytes: int = 1 << 20,
        max_result_bytes: int = 8 << 20,
        max_queries: int = 500,
        max_mutations: int = 200,
        redact_errors: bool = True,
        max_loads: int = 8,
    ) -> None:
        self.engine = engine
        self.registry = registry
        self.is_draining = False
        self.on_failure: Callable[[], None] = lambda: None
        self.follower = Follower(store, engine, clock, incarnation, self.wake)
        self._store = store
        self._clock = clock
        self._mutation_timeout_s = mutation_timeout_s
        self._max_args_bytes = max_args_bytes
        self._max_queries = max_queries
        self._max_mutations = max_mutations
        self._redact = redact_errors
        self._cache = FrameCache()
        self._loop = asyncio.get_running_loop()
        self._group: asyncio.TaskGroup | None = None
        self._is_scheduled = False
        self._is_sending = False
        self._has_ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._loader = Loader(store, engine, self.spawn, self._loaded, max_loads=max_loads)
        # When everybody comes back together, most wait here instead of being refused, and leave
        # room for mutations.
        self._sign_ins = asyncio.Semaphore(max(1, engine.committer.max_queue // 4))
        self._tasks: set[asyncio.Task[None]] = set()
        self.actions = Actions(
            self, max_args_bytes=max_args_bytes, max_result_bytes=max_result_bytes
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Node]:
        """Follow the log and serve until the context ends; its tasks end with it."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            tasks = [
                group.create_task(self._guarded(self.follower.follow), name="follow"),
                group.create_task(self._guarded(self.follower.listen), name="listen"),
                group.create_task(self._guarded(self.follower.read_heads), name="heads"),
            ]
            try:
                yield self
            finally:
                self.is_draining = True
                self._has_ended = True
                for task in (*tasks, *self._tasks):
                    task.cancel()
                if self._timer is not None:
                    self._timer.cancel()

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new and wait until every mutation taken has its answer, at most so long."""
        self.is_draining = True
        deadline = self._clock.monotonic() + timeout_s
        while not self.engine.committer.is_idle and self._clock.monotonic() < deadline:
            self.wake()
            await asyncio.sleep(0.01)

    # --- for the web

    def open(self, connection: Connection, has_output: Callable[[], None]) -> SyncWorker:
        """Return the worker of a new connection; `worker.close()` when its socket ends."""
        return SyncWorker(
            connection,
            self.engine,
            self._cache,
            prepare=self._prepare,
            submit=self._submit,
            has_output=has_output,
            max_queries=self._max_queries,
            max_mutations=self._max_mutations,
            redact_errors=self._redact,
        )

    def wake(self) -> None:
        """Let the engine take its next step soon."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._step)

    def has_room(self) -> None:
        """Hear that something left for a client; go on if anybody is owed more."""
        if self.engine.due:
            self.wake()

    async def fresh(self) -> int:
        """Wait until memory holds everything committed before this call; see `Follower.fresh`."""
        return await self.follower.fresh(self._mutation_timeout_s)

    async def admit(self, max_observed_ts: int) -> None:
        """Serve no client anything older than it has seen; see `Follower.admit`."""
        await self.follower.admit(max_observed_ts, self._mutation_timeout_s)

    async def signed_in(self, identity: Identity | None) -> None:
        """Run the app's `on_authenticated` mutation for an identity that was just accepted."""
        function = self.registry.on_authenticated
        if identity is None or function is None:
            return
        async with self._sign_ins:
            answer = await self.run_mutation(function.path, {}, identity, internal=True)
        if isinstance(answer.error, FunctionFailed):
            log.error("on_authenticated failed: %s", answer.error.message)
        elif answer.error is not None:
            raise answer.error

    async def query(
        self,
        calls: Sequence[tuple[str, object]],
        identity: Identity | None,
        *,
        internal: bool = False,
    ) -> Answers:
        """Run queries on the newest state, all at one ts.

        Raises:
            Unavailable: the newest state cannot be had.
        """
        await self.fresh()
        prepared = [
            query_call(
                self.registry, path, args, None, max_bytes=self._max_args_bytes, internal=internal
            )
            for path, args in calls
        ]
        asked = OneShot(self.engine, prepared, identity, self._loop)
        self.wake()
        try:
            async with asyncio.timeout(self._mutation_timeout_s):
                return await asked.answers
        except TimeoutError as error:
            raise TimedOut("the query could not be run in time") from error
        finally:
            asked.close()

    async def mutate(self, path: str, args: object, identity: Identity | None) -> Answer:
        """Run a public mutation that has no session to be repeated in.

        Raises:
            FunctionNotFound: there is no such mutation.
            Unavailable: it was not taken, or its outcome is unknown.
        """
        answer = await self.run_mutation(path, args, identity, internal=False)
        if answer.error is not None and not isinstance(answer.error, FunctionFailed):
            raise answer.error
        return answer

    async def run_any(
        self, path: str, args: object, identity: Identity | None, *, internal: bool = True
    ) -> bytes:
        """Run a function of whatever kind and return its value as wire JSON.

        Raises:
            FunctionFailed: it failed, or there is none.
            Unavailable: it was not taken, or its outcome is unknown.
        """
        kind = self.registry.kind_of(path, internal=internal)
        if kind == "action":
            return await self.actions.run(path, args, identity)
        if kind == "mutation":
            answer = await self.run_mutation(path, args, identity, internal=internal)
            if answer.error is not None:
                raise answer.error
            return answer.value or b"null"
        answers = await self.query([(path, args)], identity, internal=internal)
        return answers.only()

    # --- mutations

    async def run_mutation(
        self, path: str, args: object, identity: Identity | None, *, internal: bool
    ) -> Answer:
        """Run a mutation and return how it ended, whatever that is.

        Raises:
            FunctionNotFound: there is no such mutation.
            Unavailable: it was not taken.
        """
        function = self.registry.find(path, "mutation", internal=internal)
        self._refuse_if_full()
        answered: asyncio.Future[Answer] = self._loop.create_future()

        def answer(found: Answer) -> None:
            if not answered.done():
                answered.set_result(found)

        request = RequestId(caller_of(identity), f"{ONCE}{uuid.uuid4()}", 0)
        self.engine.committer.submit(
            mutation_call(
                function,
                args,
                identity,
                request,
                self.engine.entropy(),
                self._clock.monotonic() + self._mutation_timeout_s,
                answer,
                max_bytes=self._max_args_bytes,
                has_session=False,
            )
        )
        self.wake()
        return await answered

    def _submit(
        self,
        worker: SyncWorker,
        message: Mutation,
        identity: Identity | None,
        answer: Callable[[Answer], None],
    ) -> bool:
        """Submit a client's mutation; tell whether the next may follow it, unanswered."""
        session_id = worker.connection.session_id
        try:
            function = self.registry.find(message.udf_path, "mutation")
            self._refuse_if_full()
        except ParleyError as error:
            answer(Answer(error=without_frames(error), ts=self.engine.memory.ts))
            return False
        self.engine.committer.submit(
            mutation_call(
                function,
                message.args,
                identity,
                RequestId(caller_of(identity), session_id, message.request_id),
                self.engine.entropy(),
                self._clock.monotonic() + self._mutation_timeout_s,
                answer,
                max_bytes=self._max_args_bytes,
                is_unwanted=lambda: worker.is_closed or worker.failure is not None,
            )
        )
        self.wake()
        return function.spacing is not None

    def _refuse_if_full(self) -> None:
        if self.is_draining:
            raise ShuttingDown("this server is stopping")
        if self.engine.committer.is_full:
            raise TooManyMutations("too many mutations are waiting on this server")

    def _prepare(self, add: Add) -> Call:
        return query_call(
            self.registry, add.udf_path, add.args, add.journal, max_bytes=self._max_args_bytes
        )

    # --- the step

    def _step(self) -> None:
        self._is_scheduled = False
        if self._is_sending:
            return  # `_sent` comes behind the store's task
        try:
            self._advance()
        except Exception as error:
            self._fail(error)

    def _advance(self) -> None:
        if self.engine.advance():
            self.follower.moved()
        self._send_batch()
        self._loader.load_missing()
        if self._is_sending:
            return
        is_busy = self.engine.settle(_SLICE_S)
        self._loader.load_missing()
        self._cache.clear()
        self.follower.want(self.engine.committer.min_ts)
        if is_busy:
            self.wake()
        self._set_timer()

    def _send_batch(self) -> None:
        request = self.engine.committer.take_lookup()
        if request is not None:
            self.spawn(partial(self._look_up, request), "lookup")
            return
        batch = self.engine.next_batch()
        if batch is not None:
            commit = asyncio.ensure_future(self._store.commit(batch))
            self._is_sending = True
            commit.add_done_callback(partial(self._landed, batch))
            self._loop.call_soon(self._sent)

    def _sent(self) -> None:
        """Go on: the store's task has written the batch, so that Postgres works while we do."""
        self._is_sending = False
        self._step()

    def _set_timer(self) -> None:
        at = self.engine.next_wake()
        if at is None or (self._timer is not None and self._timer_at <= at):
            return  # a wake-up too early does no harm
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        delay = max(0.001, at - self._clock.monotonic())
        self._timer = self._loop.call_later(delay, self._timed)

    def _timed(self) -> None:
        self._timer = None
        self.wake()

    def _landed(self, batch: Batch, commit: asyncio.Future[BatchOutcome]) -> None:
        if self._has_ended:
            return
        try:
            outcome = _outcome_of(commit)
            if isinstance(outcome, Unknown):
                self.follower.want(batch.head + 1)  # if it did happen, the log alone tells
            self.engine.batch_landed(outcome)
            self._send_batch()  # first of all: Postgres is idle
        except Exception as error:
            self._fail(error)
        else:
            self._step()

    # --- I/O

    async def _look_up(self, request: RequestId) -> None:
        while True:
            try:
                settled = await self._store.find_settled([request])
                head = await self._store.head()
                break
            except DatabaseDown:
                await asyncio.sleep(RETRY_S)
        self.engine.committer.looked_up(settled, head)
        self.wake()

    def _loaded(self, ts: int) -> None:
        self.follower.want(ts)
        self.wake()

    def spawn(self, work: Work, name: str) -> None:
        """Run `work` in a task of the node, which ends with the node at the latest."""
        if self._group is None:
            raise ShuttingDown("this node is not running")
        task = self._group.create_task(self._guarded(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Work) -> None:
        try:
            await work()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Give up: memory may not be trusted after an unexpected error, and is soon rebuilt."""
        log.critical("the engine failed; this process must be restarted", exc_info=error)
        if not self.is_draining:
            self.is_draining = True
            self.on_failure()


def _outcome_of(commit: asyncio.Future[BatchOutcome]) -> BatchOutcome:
    try:
        return commit.result()
    except DatabaseDown as error:
        return Transient("08001", error.message)
    except Exception as error:
        # Whatever it was, the fate of the batch is not known; its request rows settle it.
        log.exception("a commit failed")
        return Unknown(str(error))
