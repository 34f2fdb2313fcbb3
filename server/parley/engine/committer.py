"""Turns waiting mutations into batches, and what Postgres says of a batch into answers.

Mutations run one after another on memory plus the writes of those before them in the batch, so
within a node there are no conflicts. One batch is in flight at a time; the next gathers meanwhile.
A failure is an answer too: it is checked, like a success, against what others have committed since
the snapshot it is based on. Pure: the engine hands in outcomes and time.

    submit -> waiting (behind its session) -> ready -> in a batch -> committed -> answered
                                                ^  parked (rows missing, rows busy)  |
                                                +------------------------------------+
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from parley.engine.batch import Answer, Entry, Mutation, batch_of, entry_of, replayed
from parley.engine.failures import refusal
from parley.engine.memory import Memory
from parley.engine.runner import Ended
from parley.engine.transaction import Overlay
from parley.errors import Conflict, ParleyError, ShuttingDown, TimedOut
from parley.store.types import (
    AlreadySettled,
    Batch,
    BatchOutcome,
    Busy,
    Committed,
    Conflicted,
    LoadRequest,
    Refused,
    RequestId,
    Settled,
    Transient,
    Unknown,
)

MAX_BATCH: Final = 64
MAX_BATCH_BYTES: Final = 1 << 20
MAX_BATCH_S: Final = 0.02
MAX_CONFLICTS: Final = 16
_SOLO_AFTER_CONFLICTS: Final = 3
_BACKOFF_S: Final = 0.005
_MAX_BACKOFF_S: Final = 0.5
_EXPIRY_S: Final = 0.1
# SQLSTATEs that say: somebody stood in the way of these rows, or they took too long. Not: Postgres
# is down or full, which halving a batch does not help.
_IN_THE_WAY: Final = ("40", "55", "57014")


@dataclass(slots=True)
class _Flight:
    batch: Batch
    entries: list[Entry]
    is_landed: bool = False
    is_of_another_past: bool = False
    answers: list[tuple[Mutation, Answer]] = field(default_factory=list)

    @property
    def mutations(self) -> list[Mutation]:
        return [entry.mutation for entry in self.entries]


Run = Callable[[Mutation, Overlay], tuple[Ended | LoadRequest, frozenset[str]]]


class Committer:
    """The one lane from mutations to Postgres.

    Attributes:
        min_ts: memory has to reach this before the next batch is run.
    """

    def __init__(
        self,
        memory: Memory,
        run: Run,
        want: Callable[[LoadRequest, Mutation], None],
        *,
        max_queue: int,
        max_result_bytes: int,
        monotonic: Callable[[], float],
    ) -> None:
        self._memory = memory
        self._run = run
        self._want = want
        self._max_queue = max_queue
        self._max_result_bytes = max_result_bytes
        self._monotonic = monotonic
        self._sessions: dict[tuple[str, str], deque[Mutation]] = {}
        self._ready: deque[Mutation] = deque()
        self._resting: list[tuple[float, Mutation]] = []
        self._parked: set[Mutation] = set()
        self._flight: _Flight | None = None
        self._max_batch = MAX_BATCH
        self._not_before = 0.0
        self._settled: list[tuple[Mutation, Answer]] = []
        self._jitter = random.Random()  # noqa: S311 (spreads retries)
        self._next_expiry = 0.0
        self.min_ts = 0
        self._lookup: RequestId | None = None
        self._is_looking_up = False
        # What was refused again: the mutation, the head that it ran on, and why.
        self._refusal: tuple[Mutation, int, str, str] | None = None

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._sessions.values())

    @property
    def is_full(self) -> bool:
        """Whether no more mutations should be taken."""
        return len(self._ready) + len(self._resting) + len(self._parked) >= self._max_queue

    @property
    def is_idle(self) -> bool:
        """Whether nothing is waiting, running, or unanswered."""
        return not self._sessions and self._flight is None and not self._settled

    @property
    def is_overtaken(self) -> bool:
        """Whether memory may show what the batch in flight wrote, before anybody was answered."""
        return self._flight is not None and self._memory.ts > self._flight.batch.head

    def submit(self, mutation: Mutation) -> None:
        """Take a mutation; it runs after those of its session taken before."""
        queue = self._sessions.setdefault(mutation.session, deque())
        queue.append(mutation)
        if len(queue) == 1:
            self._ready.append(mutation)

    def loaded(self, mutation: Mutation) -> None:
        """Take a mutation back whose missing rows have arrived."""
        if mutation in self._parked:
            self._parked.discard(mutation)
            self._ready.appendleft(mutation)

    def load_failed(self, mutation: Mutation, error: ParleyError) -> None:
        """Answer a mutation whose missing rows cannot be had."""
        if mutation in self._parked:
            self._parked.discard(mutation)
            self._settled.append((mutation, Answer(error=error)))

    # --- batches out

    def next_batch(self, now: float) -> Batch | None:
        """Run ready mutations and return the batch to commit; None when there is none."""
        self._wake(now)
        if self._flight is not None or self._lookup is not None:
            return None
        if now < self._not_before or self._memory.ts < self.min_ts:
            return None
        entries, overlay = self._run_ready()
        if not entries:
            return None
        batch = batch_of(self._memory, overlay, entries)
        self._flight = _Flight(batch, entries)
        return batch

    def take_lookup(self) -> RequestId | None:
        """Return, once, a request to look up in Postgres before the next batch can be run."""
        if self._lookup is None or self._is_looking_up:
            return None
        self._is_looking_up = True
        return self._lookup

    def _run_ready(self) -> tuple[list[Entry], Overlay]:
        overlay = Overlay()
        entries: list[Entry] = []
        size = 0
        # Sockets and timers wait while mutations run.
        deadline = self._monotonic() + MAX_BATCH_S
        while self._ready and len(entries) < self._max_batch and size < MAX_BATCH_BYTES:
            if entries and self._monotonic() > deadline:
                break
            mutation = self._ready[0]
            is_solo = mutation.conflicts >= _SOLO_AFTER_CONFLICTS or mutation.refusals > 0
            if is_solo and entries:
                break
            self._ready.popleft()
            mark = overlay.mark()
            entry = self._run_one(mutation, overlay)
            if entry is None:
                continue
            if entry.may_cascade(self._memory.schema, overlay):
                is_solo = True
                if entries:
                    overlay.roll_back(mark)
                    self._ready.appendleft(mutation)
                    break
            entries.append(entry)
            size += entry.size_bytes
            if is_solo:
                break
        return entries, overlay

    def _run_one(self, mutation: Mutation, overlay: Overlay) -> Entry | None:
        if mutation.is_unwanted():
            self._settled.append((mutation, Answer(error=ShuttingDown("nobody waits for this"))))
            return None
        mark = overlay.mark()
        ended, reads = self._run(mutation, overlay)
        if isinstance(ended, LoadRequest):
            overlay.roll_back(mark)
            self._parked.add(mutation)
            self._want(ended, mutation)
            return None
        return entry_of(mutation, ended, reads, overlay, mark, self._max_result_bytes)

    def _wake(self, now: float) -> None:
        due = [mutation for at, mutation in self._resting if at <= now]
        if due:
            self._resting = [(at, m) for at, m in self._resting if at > now]
            self._ready.extendleft(reversed(due))

    # --- outcomes in

    def landed(self, outcome: BatchOutcome, now: float) -> None:
        """Take what became of the batch in flight."""
        flight = self._flight
        assert flight is not None  # noqa: S101
        if flight.is_of_another_past:
            outcome = Unknown("the database was replaced meanwhile")
        match outcome:
            case Committed(commit):
                self._max_batch = min(MAX_BATCH, self._max_batch * 2)
                self.min_ts = max(self.min_ts, commit.ts)
                flight.is_landed = True
                flight.answers = [(e.mutation, e.answer(commit.ts)) for e in flight.entries]
                return
            case Conflicted(indexes, head):
                self._conflicted(flight, indexes, head, now)
            case Busy(rows):
                self._busy(flight, rows, now)
            case AlreadySettled(settled):
                self._already_settled(flight, settled)
            case Refused(sqlstate, message):
                self._refused(flight, sqlstate, message)
            case Transient(sqlstate) if sqlstate.startswith(_IN_THE_WAY):
                self._obstructed(flight, now)
            case Transient() | Unknown():
                # Safe to run again whatever became of it: the request rows let it happen once only.
                self._pause(flight, now)
                self._requeue(flight.mutations)
        self._flight = None

    def reincarnated(self) -> None:
        """Hear that the database is another: what was promised of the old one holds no more.

        What is in flight, or waits for memory to show it, runs again: the new database knows by its
        requests what survived.
        """
        self.min_ts = 0
        flight = self._flight
        if flight is not None and flight.is_landed:
            self._flight = None
            self._requeue(flight.mutations)
        elif flight is not None:
            flight.is_of_another_past = True

    def _conflicted(self, flight: _Flight, indexes: frozenset[int], head: int, now: float) -> None:
        self.min_ts = max(self.min_ts, head)
        if head <= flight.batch.head:
            self._pause(flight, now)  # no commit that could be waited for tells what changed
        again = []
        for index, entry in enumerate(flight.entries):
            entry.mutation.conflicts += index in indexes
            if entry.mutation.conflicts > MAX_CONFLICTS:
                error = Conflict(
                    "Documents read from or written to while this mutation ran kept changing. "
                    "See https://docs.convex.dev/error#1"
                )
                self._settled.append((entry.mutation, Answer(error=error, ts=self._memory.ts)))
            else:
                again.append(entry.mutation)
        self._requeue(again)

    def _busy(self, flight: _Flight, rows: frozenset[tuple[str, str]], now: float) -> None:
        again = []
        for entry in flight.entries:
            if entry.rows & rows:
                self._rest(entry.mutation, now)
            else:
                again.append(entry.mutation)
        self._requeue(again)

    def _obstructed(self, flight: _Flight, now: float) -> None:
        """Let those who stand in nobody's way go on: halve the batch, rest who is alone."""
        if len(flight.entries) > 1:
            self._max_batch = len(flight.entries) // 2
            self._requeue(flight.mutations)
        else:
            self._rest(flight.entries[0].mutation, now)

    def _already_settled(self, flight: _Flight, settled: tuple[Settled, ...]) -> None:
        known = {found.request: found for found in settled}
        again = []
        for entry in flight.entries:
            found = known.get(entry.mutation.request)
            if found is None:
                again.append(entry.mutation)
            else:
                self._settled.append((entry.mutation, replayed(entry.mutation, found)))
                self.min_ts = max(self.min_ts, found.ts or 0)
        self._requeue(again)

    def _refused(self, flight: _Flight, sqlstate: str, message: str) -> None:
        if len(flight.entries) > 1:
            # One bad row must not fail its neighbours: halve until the culprit is alone.
            self._max_batch = len(flight.entries) // 2
            self._requeue(flight.mutations)
            return
        [mutation] = flight.mutations
        mutation.refusals += 1
        if mutation.refusals > MAX_CONFLICTS:
            self._give_up(mutation, sqlstate, message)
        else:
            # It may only look wrong from here, or be a repeat: look it up, and run it once more on
            # everything committed by now.
            self._lookup = mutation.request
            self._requeue([mutation])
            if mutation.refusals > 1:
                self._refusal = (mutation, flight.batch.head, sqlstate, message)

    def _give_up(self, mutation: Mutation, sqlstate: str, message: str) -> None:
        error = refusal(sqlstate, message)
        self._settled.append((mutation, Answer(error=error, ts=self._memory.ts)))

    def looked_up(self, settled: list[Settled], head: int) -> None:
        """Take what the database knows of the request to look up, and its newest commit."""
        self._lookup, self._is_looking_up = None, False
        self.min_ts = max(self.min_ts, head)
        refused, self._refusal = self._refusal, None
        if refused is not None and not settled and refused[0] in self._ready:
            culprit, ran_at, sqlstate, message = refused
            if head <= ran_at:  # nobody has changed anything since: it is wrong as it stands
                self._ready.remove(culprit)
                self._give_up(culprit, sqlstate, message)
        for found in settled:
            mutation = next((m for m in self._ready if m.request == found.request), None)
            if mutation is not None:
                self._ready.remove(mutation)
                self._settled.append((mutation, replayed(mutation, found)))

    def _requeue(self, mutations: list[Mutation]) -> None:
        self._ready.extendleft(reversed(mutations))

    def _pause(self, flight: _Flight, now: float) -> None:
        """Run no batch for a while, longer each time."""
        self._not_before = now + self._backoff(flight.entries[0].mutation)

    def _rest(self, mutation: Mutation, now: float) -> None:
        """Leave one mutation out of batches for a while, longer each time."""
        self._resting.append((now + self._backoff(mutation), mutation))

    def _backoff(self, mutation: Mutation) -> float:
        mutation.setbacks += 1
        longest = min(_MAX_BACKOFF_S, _BACKOFF_S * 2 ** min(mutation.setbacks, 10))
        return float(longest * self._jitter.uniform(0.5, 1.0))

    # --- answers

    def finish(self, now: float) -> None:
        """Give the answers that memory has caught up with, and time out what waited too long."""
        flight = self._flight
        if flight is not None and flight.is_landed and self._memory.ts >= self.min_ts:
            self._flight = None
            self._settled.extend(flight.answers)
        if now >= self._next_expiry:
            self._next_expiry = now + _EXPIRY_S
            self._expire(now)
        settled, self._settled = self._settled, []
        for mutation, answer in settled:
            self._leave_session(mutation)
            mutation.answer(answer)

    def next_wake(self) -> float | None:
        """Return the monotonic time at which there is something to do unasked, if any.

        That is: to give an answer, to go on with a resting mutation or a batch, or to time out.
        """
        if self._settled:
            return 0.0
        times = [at for at, _ in self._resting]
        if self._ready or self._resting or self._parked:
            times.append(self._next_expiry)
        is_held = self._flight is not None or self._lookup is not None
        if self._ready and not is_held and self._memory.ts >= self.min_ts:
            times.append(self._not_before)
        return min(times, default=None)

    def _expire(self, now: float) -> None:
        for mutation in [m for m in self._ready if m.deadline <= now]:
            self._ready.remove(mutation)
            self._time_out(mutation)
        for entry in [entry for entry in self._resting if entry[1].deadline <= now]:
            self._resting.remove(entry)
            self._time_out(entry[1])
        for mutation in [m for m in self._parked if m.deadline <= now]:
            self._parked.discard(mutation)
            self._time_out(mutation)

    def _time_out(self, mutation: Mutation) -> None:
        error = TimedOut(f"mutation {mutation.function.path} could not be committed in time")
        self._settled.append((mutation, Answer(error=error)))

    def _leave_session(self, mutation: Mutation) -> None:
        queue = self._sessions[mutation.session]
        queue.popleft()
        if queue:
            self._ready.append(queue[0])
        else:
            del self._sessions[mutation.session]
