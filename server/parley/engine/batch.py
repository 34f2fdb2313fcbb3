"""Mutations and their runs: what goes into a batch, and what its outcome means for each. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from parley.engine.overlay import Overlay
from parley.engine.runner import Ended, Failed, Returned
from parley.errors import FunctionFailed, LimitExceeded, ParleyError, RequestReused
from parley.functions.context import Entropy
from parley.functions.registry import Function
from parley.identity import Identity
from parley.store.tables import Schema
from parley.store.types import BatchEntry, RequestId, Settled
from parley.values import encode

SpacingKey: TypeAlias = "tuple[str, str, bytes]"  # caller, path, digest of the argument


@dataclass(slots=True)  # made all the time: frozen ones take three times as long
class Answer:
    """How a mutation ended.

    Attributes:
        value: its result as wire JSON, when it committed.
        error: why it did not.
        ts: the commit, or for a failure the ts it is true at; None when nothing is known.
    """

    value: bytes | None = None
    error: ParleyError | None = None
    ts: int | None = None


@dataclass(eq=False, slots=True)
class Mutation:
    """One mutation on its way to an answer.

    Attributes:
        args: validated arguments by parameter name, or the refusal they met.
        call_hash: stands for function and arguments; a repeat with another hash is refused.
        deadline: monotonic seconds after which it is answered with TimedOut, unless in flight.
        answer: called once.
        is_unwanted: whether nobody waits for it any more; then it is not run.
        has_session: whether the client may send the same request again; over HTTP it cannot.
        spacing_key: what it shares with those that are committed together with it, and no sooner
            than its function's spacing after the last ones; None where there is no spacing.
        conflicts: how often others had changed what it read.
        refusals: how often Postgres refused it alone.
        setbacks: how often it was held up otherwise; decides how long it waits next time.
    """

    function: Function
    args: dict[str, Any] | FunctionFailed
    identity: Identity | None
    request: RequestId
    call_hash: bytes
    entropy: Entropy
    deadline: float
    answer: Callable[[Answer], None]
    is_unwanted: Callable[[], bool] = lambda: False
    has_session: bool = True
    spacing_key: SpacingKey | None = None
    conflicts: int = 0
    refusals: int = 0
    setbacks: int = 0

    @property
    def spacing_s(self) -> float:
        """Return the seconds between commits of its spacing key."""
        return 0.0 if self.function.spacing is None else self.function.spacing.seconds

    @property
    def session(self) -> tuple[str, str]:
        """Return what orders this mutation: one after another per session."""
        return (self.request.identity, self.request.session_id)


@dataclass(slots=True)  # made all the time: frozen ones take three times as long
class Entry:
    """One run of a mutation in a batch.

    Attributes:
        ended: how the run ended; after a failure the overlay holds nothing of it.
        reads: the keys it read.
        result: what it returned, as wire JSON.
        rows: (table, id) of what it wrote.
        size_bytes: about what it adds to the batch.
    """

    mutation: Mutation
    ended: Ended
    reads: frozenset[str]
    result: bytes
    rows: frozenset[tuple[str, str]]
    size_bytes: int

    def answer(self, ts: int) -> Answer:
        """Return the answer, once the batch is committed, or valid, at `ts`."""
        if isinstance(self.ended, Failed):
            return Answer(error=self.ended.error, ts=ts)
        return Answer(value=self.result, ts=ts)

    def may_cascade(self, schema: Schema, overlay: Overlay) -> bool:
        """Tell whether a row was deleted that rows of other tables refer to.

        What Postgres then does to those shows only once it is committed, so nobody else may run on
        the same overlay: a parent inserted again would find its old children.
        """
        deleted = {table for table, row_id in self.rows if overlay.rows[table][row_id] is None}
        return not deleted.isdisjoint(schema.referenced)


def entry_of(
    mutation: Mutation,
    ended: Ended,
    reads: frozenset[str],
    overlay: Overlay,
    mark: int,
    max_result_bytes: int,
) -> Entry:
    """Return the entry of a run that wrote to `overlay` since `mark`; undo what a failure wrote."""
    result = b"null"
    if isinstance(ended, Returned):
        try:
            result = encode(ended.value)
            if len(result) > max_result_bytes:
                raise LimitExceeded(
                    f"a result may be {max_result_bytes} bytes; this one has {len(result)}"
                )
        except FunctionFailed as error:
            ended = Failed(error)
    if isinstance(ended, Failed):
        overlay.roll_back(mark)
        result = b"null"
    rows = overlay.written_since(mark)
    written = (overlay.rows[table][row_id] for table, row_id in rows)
    size_bytes = sum(200 + len(document.json) for document in written if document is not None)
    return Entry(mutation, ended, reads, result, rows, len(result) + size_bytes)


def batch_entry(entry: Entry) -> BatchEntry:
    """Return what Postgres is told of a run."""
    mutation = entry.mutation
    # A failure leaves no trace; nor does a call without a session that wrote nothing, for nobody
    # can send it again. Still both may be repeats: of a commit whose outcome never reached us.
    is_kept = isinstance(entry.ended, Returned) and (mutation.has_session or bool(entry.rows))
    return BatchEntry(entry.reads, mutation.request, mutation.call_hash, entry.result, is_kept)


def replayed(mutation: Mutation, found: Settled) -> Answer:
    """Return the answer to a repeat from what its first run left."""
    if found.ts is None:
        return Answer(
            error=RequestReused(
                "this request was answered before, with a failure or too long ago, and later "
                "requests of its session have committed; it was not run again"
            )
        )
    if found.call_hash != mutation.call_hash:
        return Answer(
            error=RequestReused(
                "this request number of the session was used for another call; nothing was done"
            )
        )
    return Answer(value=found.result or b"null", ts=found.ts)
