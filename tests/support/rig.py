"""The engine over a model database, step by step: `engine.node` without any waiting."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from parley.engine.batch import Answer
from parley.engine.calls import caller_of, mutation_call, query_call
from parley.engine.engine import Engine
from parley.engine.live import Call
from parley.engine.memory import Memory
from parley.engine.outgoing import FrameCache, Outgoing
from parley.engine.runner import Failed, Returned, drive
from parley.engine.sync import SyncWorker
from parley.engine.transaction import Limits, RunTransaction
from parley.errors import ParleyError
from parley.functions.context import Auth, Entropy, QueryCtx
from parley.functions.database import DatabaseReader
from parley.functions.pagination import Pager
from parley.functions.registry import Registry
from parley.identity import Identity
from parley.protocol.connection import State
from parley.protocol.error_text import error_text
from parley.protocol.messages import Add, Mutation
from parley.store.types import (
    Batch,
    BatchOutcome,
    Commit,
    LoadRequest,
    LoadResult,
    RequestId,
)
from parley.values import encode
from tests.support.clock import FakeClock
from tests.support.modelstore import ModelStore
from tests.support.patches import apply_patch
from tests.support.port import FakePort
from tests.support.running import SECRET
from tests.support.tables import SCHEMA, Fields
from tests.support.wire import NPM, WireClient, opened

MAX_BYTES = 10_000
REGISTRY = Registry.from_modules(["tests.support.notes"])
ANN = Identity("https://issuer", "ann", {}, 9e9)
BOB = Identity("https://issuer", "bob", {}, 9e9)


@dataclass
class Ticket:
    """A mutation that was submitted, and its answers: one in the end."""

    answers: list[Answer] = field(default_factory=list)
    is_unwanted: bool = False

    @property
    def value(self) -> Any:
        """What it returned."""
        [answer] = self.answers
        assert answer.error is None, answer
        return json.loads(answer.value or b"")

    @property
    def error(self) -> Any:
        """How it failed."""
        [answer] = self.answers
        assert answer.value is None
        return answer.error


class Rig:
    """A node whose every wait is a method call.

    Attributes:
        store: the database.
        engine: of the node.
        batches: all batches that were sent; the last one may be in flight.
        loads: pieces that were asked for.
        loaded: pieces read from the database that have not reached the engine.
        lookup: a request that the committer wants to know of.
    """

    def __init__(self, *rows: Fields, **options: Any) -> None:
        self.store = ModelStore(SCHEMA)
        self.store.write(*[("notes", fields["_id"], fields) for fields in rows])
        self.clock = FakeClock()
        self.engine = Engine(
            SCHEMA, self.store.ts, clock=self.clock, cursor_secret=SECRET, **options
        )
        self.cache = FrameCache()
        self.batches: list[Batch] = []
        self.is_flying = False
        self.loads: list[LoadRequest] = []
        self.loaded: list[LoadResult] = []
        self.lookup: RequestId | None = None

    # --- clients

    def submit(
        self,
        path: str,
        session: str = "s",
        request: int = 0,
        *,
        identity: Identity | None = None,
        has_session: bool = True,
        timeout_s: float = 15.0,
        ticket: Ticket | None = None,
        **args: Any,
    ) -> Ticket:
        """Submit a mutation of `tests.support.notes`."""
        found = ticket or Ticket()
        self.engine.committer.submit(
            mutation_call(
                REGISTRY.find(f"notes:{path}", "mutation"),
                args,
                identity,
                RequestId(caller_of(identity), session, request),
                Entropy(self.engine.now_ms(), 7),
                self.clock.monotonic() + timeout_s,
                found.answers.append,
                max_bytes=MAX_BYTES,
                is_unwanted=lambda: found.is_unwanted,
                has_session=has_session,
            )
        )
        return found

    def call(self, path: str, journal: str | None = None, **args: Any) -> Call:
        """Return the call of a query of `tests.support.notes`."""
        return query_call(REGISTRY, f"notes:{path}", args, journal, max_bytes=MAX_BYTES)

    def client(self, **options: Any) -> Client:
        """Open a connection."""
        return Client(self, **options)

    # --- the node

    def step(self) -> bool:
        """Take one step; return whether the next one is due at once."""
        self.engine.advance()
        self.lookup = self.engine.committer.take_lookup() or self.lookup
        if self.lookup is None:
            batch = self.engine.next_batch()
            if batch is not None:
                assert not self.is_flying
                self.is_flying = True
                self.batches.append(batch)
        self.loads += self.engine.take_loads()
        is_busy = self.engine.settle(1.0)
        self.loads += self.engine.take_loads()
        self.cache.clear()
        return is_busy

    def land(self, outcome: BatchOutcome | None = None) -> BatchOutcome:
        """End the flight as the database would, or with this outcome."""
        batch = self.batches[-1]
        assert self.is_flying
        found = outcome or self.store.commit(batch)
        self.is_flying = False
        self.engine.batch_landed(found)
        return found

    def tail(self, count: int | None = None) -> None:
        """Read the log on."""
        if self.engine.wants_commits:
            self.engine.take_commits(self.store.log_after(self.engine.memory.ts)[:count])

    def load(self) -> None:
        """Read what was asked for; it arrives with `arrive`."""
        self.loaded += [self.store.load(request) for request in self.loads]
        self.loads.clear()

    def arrive(self) -> None:
        """Hand over all pieces that were read."""
        results, self.loaded = self.loaded, []
        for result in results:
            self.engine.loaded(result)

    def look_up(self) -> None:
        """Answer the lookup."""
        assert self.lookup is not None
        found = self.store.find_settled([self.lookup])
        self.lookup = None
        self.engine.committer.looked_up(found, self.store.ts)

    def write(self, *rows: Fields, **options: Any) -> Commit:
        """Let somebody with psql write notes; one without an owner is deleted."""
        versions = [("notes", f["_id"], f if "owner" in f else None) for f in rows]
        return self.store.write(*versions, **options)

    def turn(self) -> None:
        """Let everything that can happen happen once."""
        self.step()
        self.load()
        self.arrive()
        if self.is_flying:
            self.land()
        if self.lookup is not None:
            self.look_up()
        self.tail()

    def run(self, turns: int = 200) -> None:
        """Go on until nothing is left to do; time passes as needed."""
        for _ in range(turns):
            self.turn()
            is_busy = self.step()
            if not (is_busy or self._has_work()):
                return
            self.clock.advance(0.1)
        raise AssertionError("there is no end to it")

    def _has_work(self) -> bool:
        committer = self.engine.committer
        return (
            not committer.is_idle
            or bool(self.loads or self.loaded or self.is_flying or self.lookup)
            or self.engine.memory.ts < self.store.ts
        )


def fresh(
    store: ModelStore, ts: int, call: Call, identity: Identity | None, journal: str | None
) -> Any:
    """Return what a query gives at a commit, run on nothing but the rows of that moment.

    An error is its text without the line that names the request.
    """
    if call.refusal is not None:
        return error_text(call.refusal, "", redact=False)[0].partition("\n")[2]
    assert call.function is not None
    memory = Memory(SCHEMA, ts, max_bytes=1 << 30)
    while True:
        transaction = RunTransaction(memory, Limits(), FakeClock())
        pager = Pager(SECRET, journal, Limits().max_documents)
        ctx = QueryCtx(DatabaseReader(transaction, pager), Auth(identity), Entropy(0, 0))
        outcome = drive(call.function.handler(ctx, **call.args), call.path)
        if isinstance(outcome, Returned):
            return json.loads(encode(outcome.value))
        if isinstance(outcome, Failed):
            return error_text(outcome.error, "", redact=False)[0].partition("\n")[2]
        assert isinstance(outcome, LoadRequest)
        memory.install(store.load(outcome, ts))


@dataclass
class Asked:
    """What the client had asked for when it sent a version of its query set."""

    version: int
    queries: dict[int, Call]


class Client:
    """One connection: its worker, and what a JS client makes of its frames.

    After each Transition it checks that everything it now shows is what a fresh run gives at the
    Transition's ts, as the identity of its version, for the query set of its version.

    Attributes:
        wire: the client's state; it asserts that the chain of versions holds.
        results: what it shows, by query id: values, or texts of errors.
        responses: mutation and action responses by request id.
        order: what came, in order.
        patches: how many of the results came as patches.
        is_prompt: it takes Transitions as they are made, while nothing else waits for it.
        written: these.
    """

    def __init__(
        self,
        rig: Rig,
        *,
        identity: Identity | None = None,
        max_queries: int = 20,
        max_mutations: int = 200,
        is_parley: bool = False,
        **connect: Any,
    ) -> None:
        self.rig = rig
        self.wire = WireClient()
        self.results: dict[int, Any] = {}
        self.responses: dict[int, dict[str, Any]] = {}
        self.order: list[str] = []
        self.patches = 0
        self.journals: dict[int, str | None] = {}
        self.asked = [Asked(0, {})]
        self.identities = [identity]
        self.connection = opened(replace(NPM, is_parley=is_parley), **connect)
        self.wakes = 0
        self.is_prompt = False
        self.written: list[bytes] = []
        self.worker = SyncWorker(
            self.connection,
            rig.engine,
            rig.cache,
            prepare=self._prepare,
            submit=self._submit,
            has_output=self._has_output,
            max_queries=max_queries,
            max_mutations=max_mutations,
            redact_errors=False,
        )
        self.port = FakePort(self)
        self.worker.attach(self.port)
        self.worker.identity = identity
        self.worker.connected()

    def modify(self, *changes: tuple[int, Call | None]) -> None:
        """Add queries by id; None removes."""
        version = self.connection.received_query_set
        queries = dict(self.asked[-1].queries)
        for query_id, call in changes:
            if call is None:
                del queries[query_id]
            else:
                queries[query_id] = call
        self.asked.append(Asked(version + 1, queries))
        modifications = [
            {"type": "Remove", "queryId": query_id}
            if call is None
            else {
                "type": "Add",
                "queryId": query_id,
                "udfPath": call.path,
                "args": [json.loads(call.args_json or b"{}")],
                "journal": call.journal,
            }
            for query_id, call in changes
        ]
        message: Any = self.connection.receive(
            json.dumps(
                {
                    "type": "ModifyQuerySet",
                    "baseVersion": version,
                    "newVersion": version + 1,
                    "modifications": modifications,
                }
            )
        )
        self.worker.modify(message)

    def add(self, query_id: int, path: str, **args: Any) -> None:
        """Add one query."""
        self.modify((query_id, self.rig.call(path, **args)))

    def authenticate(self, identity: Identity | None) -> None:
        """Become somebody else."""
        version = self.connection.received_identity
        message = {"type": "Authenticate", "baseVersion": version, "tokenType": "None"}
        self.connection.receive(json.dumps(message))
        self.identities.append(identity)
        self.worker.authenticated(identity)

    def mutate(self, request: int, path: str, **args: Any) -> None:
        """Send a mutation."""
        message: Any = self.connection.receive(
            json.dumps(
                {
                    "type": "Mutation",
                    "requestId": request,
                    "udfPath": f"notes:{path}",
                    "args": [args],
                }
            )
        )
        self.worker.mutate(message)

    def take_at_once(self, frame: bytes) -> None:
        """Take a Transition as it is made; see `port.Taker`."""
        assert not self.worker.outbox
        assert self.connection.state is State.OPEN
        self.written.append(frame)
        self._take(frame)

    def read(self, count: int | None = None) -> list[Outgoing]:
        """Take frames off the wire, as a client that reads does."""
        taken = [
            self.worker.outbox.pop(0)
            for _ in range(len(self.worker.outbox) if count is None else count)
        ]
        for outgoing in taken:
            self.worker.written(outgoing)
            for frame in outgoing.frames:
                self._take(frame)
        return taken

    def _take(self, frame: bytes) -> None:
        message = json.loads(frame)
        if message["type"] == "Ping":
            return
        if message["type"].endswith("Response"):
            self.order.append(f"response {message['requestId']}")
            self.responses[message["requestId"]] = message
            return
        self.order.append("transition")
        self.wire.take(frame)
        if message["type"] == "TransitionChunk":
            return
        for change in message["modifications"]:
            query_id = change["queryId"]
            before = self.results.pop(query_id, None)
            if change["type"] == "QueryUpdated":
                self.results[query_id] = change["value"]
            elif change["type"] == "QueryPatched":
                assert self.connection.client.is_parley
                self.results[query_id] = apply_patch(before, change["patch"])
                self.patches += 1
            elif change["type"] == "QueryFailed":
                self.results[query_id] = change["errorMessage"].partition("\n")[2]
            self.journals[query_id] = change.get("journal") or self.journals.get(query_id)
        self.check()

    def check(self, ts: int | None = None) -> None:
        """Check what is shown against fresh runs at the client's ts, or another."""
        version = self.wire.version
        [asked] = [asked for asked in self.asked if asked.version == version.query_set]
        identity = self.identities[version.identity]
        ts = version.ts if ts is None else ts
        assert ts >= self.connection.max_observed_timestamp
        assert self.results == {
            query_id: fresh(self.rig.store, ts, call, identity, self.journals.get(query_id))
            for query_id, call in asked.queries.items()
        }

    def _has_output(self) -> None:
        self.wakes += 1

    def _prepare(self, add: Add) -> Call:
        return query_call(REGISTRY, add.udf_path, add.args, add.journal, max_bytes=MAX_BYTES)

    def _submit(
        self, worker: SyncWorker, message: Mutation, identity: Identity | None, answer: Any
    ) -> bool:
        try:
            function = REGISTRY.find(message.udf_path, "mutation")
        except ParleyError as error:
            answer(Answer(error=error, ts=self.rig.engine.memory.ts))
            return False
        self.rig.engine.committer.submit(
            mutation_call(
                function,
                message.args,
                identity,
                RequestId(caller_of(identity), worker.connection.session_id, message.request_id),
                Entropy(self.rig.engine.now_ms(), 7),
                self.rig.clock.monotonic() + 15.0,
                answer,
                max_bytes=MAX_BYTES,
                is_unwanted=lambda: worker.is_closed or worker.failure is not None,
            )
        )
        return function.spacing is not None
