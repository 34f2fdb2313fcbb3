"""Turns waiting mutations into batches, and what Postgres says of a batch into answers.

Mutations run one after another on memory plus the writes of those before them, so within a node
there are no conflicts. One batch is in flight at a time. Meanwhile the next is run ahead, on the
writes of the one in flight; if Postgres makes anything else of those, it is run again. A failure is
an answer too: it is checked, like a success, against what others have committed since the snapshot
it is based on. Pure: the engine hands in outcomes and time.

    submit -> waiting (behind its session) -> ready -> run -> in flight -> committed -> answered
                                                ^  parked (rows missing, rows busy)  |
                                                +------------------------------------+
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from parley.engine.batch import Answer, Entry, Mutation, entry_of, replayed
from parley.engine.failures import refusal
from parley.engine.gathering import Flight, Gathering
from parley.engine.memory import Memory
from parley.engine.overlay import Overlay
from parley.engine.runner import Ended
from parley.engine.waiting import WaitingRoom
from parley.errors import Conflict, ParleyError, ShuttingDown, TimedOut
from parley.store.types import (
    AlreadySettled,
    Batch,
    BatchOutcome,
    Busy,
    Commit,
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
_EXPIRY_S: Final = 0.1
# SQLSTATEs that say: somebody stood in the way of these rows, or they took too long. Not: Postgres
# is down or full, which halving a batch does not help.
_IN_THE_WAY: Final = ("40", "55", "57014")


Run = Callable[[Mutation, Overlay], tuple[Ended | LoadRequest, frozenset[str]]]


class Committer:
    """The one lane from mutations to Postgres.

    Attributes:
        max_queue: so many mutations may wait at once.
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
        self.max_queue = max_queue
        self._max_result_bytes = max_result_bytes
        self._monotonic = monotonic
        self._waiting = WaitingRoom()
        self._flight: Flight | None = None
        self._ahead: Gathering | None = None
        self._unanswered: deque[tuple[int, list[tuple[Mutation, Answer]]]] = deque()
        self._max_batch = MAX_BATCH
        self._not_before = 0.0
        self._settled: list[tuple[Mutation, Answer]] = []
        self._next_expiry = 0.0
        self.min_ts = 0
        self._lookup: RequestId | None = None
        self._is_looking_up = False
        # What was refused again: the mutation, the head that it ran on, and why.
        self._refusal: tuple[Mutation, int, str, str] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether no more mutations should be taken."""
        ahead = 0 if self._ahead is None else len(self._ahead.entries)
        return self._waiting.size + ahead >= self.max_queue

    @property
    def is_idle(self) -> bool:
        """Whether nothing is waiting, running, or unanswered."""
        return self._waiting.is_empty and self._flight is None and not self._settled

    @property
    def is_overtaken(self) -> bool:
        """Whether memory may show what the batch in flight wrote, before anybody was answered."""
        return self._flight is not None and self._memory.ts > self._flight.batch.head

    def submit(self, mutation: Mutation) -> None:
        """Take a mutation; it runs after those of its session taken before."""
        self._waiting.enter(mutation)

    def loaded(self, mutation: Mutation) -> None:
        """Take a mutation back whose missing rows have arrived."""
        if self._waiting.unpark(mutation):
            self._waiting.back([mutation])

    def load_failed(self, mutation: Mutation, error: ParleyError) -> None:
        """Answer a mutation whose missing rows cannot be had."""
        if self._waiting.unpark(mutation):
            self._settled.append((mutation, Answer(error=error)))

    # --- batches out

    def next_batch(self, now: float) -> Batch | None:
        """Run ready mutations and return the batch to commit; None when there is none."""
        self._waiting.wake(now)
        if self._lookup is not None:
            return None
        if self._flight is not None:
            self._run_ahead(self._flight)
            return None
        if now < self._not_before:
            return None
        gathered = self._ran_ahead()
        if gathered is None:
            if self._ahead is not None or self._memory.ts < self.min_ts:
                return None
            gathered = Gathering.on(self._memory)
        if gathered.stands_on(self._memory):
            self._gather(gathered)
        if not gathered.entries:
            return None
        self._flight = Flight(gathered.batch(), gathered)
        return self._flight.batch

    def take_lookup(self) -> RequestId | None:
        """Return, once, a request to look up in Postgres before the next batch can be run."""
        if self._lookup is None or self._is_looking_up:
            return None
        self._is_looking_up = True
        return self._lookup

    def _run_ahead(self, flight: Flight) -> None:
        """Run what is ready on the writes of the batch in flight, while memory holds its head."""
        if not flight.gathered.stands_on(self._memory) or flight.gathered.may_cascade:
            return
        if self._ahead is None:
            self._ahead = Gathering.on(self._memory, flight.gathered.overlay)
        if self._ahead.stands_on(self._memory):
            self._gather(self._ahead, is_ahead=True)

    def _ran_ahead(self) -> Gathering | None:
        """Return what was run ahead, if it can be sent now; it stays where memory lags behind."""
        ahead = self._ahead
        if ahead is None or (ahead.base_ts and self._memory.ts < self.min_ts):
            return None
        if not ahead.catch_up(self._memory):
            self._forget_ahead()
            return None
        self._ahead = None
        return ahead

    def _forget_ahead(self) -> None:
        """Let what was run ahead run again."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            self._waiting.spaced.reopen(ahead.spacings)
            self._waiting.back(ahead.mutations)

    def _gather(self, gathering: Gathering, *, is_ahead: bool = False) -> None:
        """Run what is ready; each on what those before it wrote."""
        # Sockets and timers wait while mutations run.
        deadline = self._monotonic() + MAX_BATCH_S
        is_first = True
        while self._waiting.ready and self._has_room(gathering):
            if not is_first and self._monotonic() > deadline:
                break
            is_first = False
            mutation = self._waiting.ready[0]
            is_solo = mutation.conflicts >= _SOLO_AFTER_CONFLICTS or mutation.refusals > 0
            if is_solo and (is_ahead or gathering.entries):
                break
            self._waiting.ready.popleft()
            if self._waiting.must_wait(mutation, gathering.spacings):
                continue
            is_in = self._join(gathering, mutation)
            gathering.is_closed = gathering.is_closed or is_solo
            if is_in and mutation.spacing_key is not None:
                self._take_along(gathering, mutation, deadline)

    def _take_along(self, gathering: Gathering, taken: Mutation, deadline: float) -> None:
        """Run what its session has behind a spaced mutation, as far as that is spaced too."""
        while self._has_room(gathering) and self._monotonic() <= deadline:
            follower = self._waiting.follow(taken, gathering.spacings)
            if follower is None or not self._join(gathering, follower):
                break
            taken = follower

    def _has_room(self, gathering: Gathering) -> bool:
        return (
            not gathering.is_closed
            and len(gathering.entries) < self._max_batch
            and gathering.size_bytes < MAX_BATCH_BYTES
        )

    def _join(self, gathering: Gathering, mutation: Mutation) -> bool:
        """Run a mutation, and tell whether it joined; what deletes a parent stays by itself."""
        overlay = gathering.overlay
        mark = overlay.mark()
        entry = self._run_one(mutation, overlay)
        if entry is None:
            return False
        if entry.may_cascade(gathering.schema, overlay):
            gathering.is_closed = True
            if gathering.entries:
                overlay.roll_back(mark)
                self._waiting.back([mutation])
                return False
            gathering.may_cascade = True
        gathering.add(entry)
        if mutation.spacing_key is not None:
            self._waiting.spaced.close(mutation.spacing_key)
        return True

    def _run_one(self, mutation: Mutation, overlay: Overlay) -> Entry | None:
        if mutation.is_unwanted():
            self._settled.append((mutation, Answer(error=ShuttingDown("nobody waits for this"))))
            return None
        mark = overlay.mark()
        ended, reads = self._run(mutation, overlay)
        if isinstance(ended, LoadRequest):
            overlay.roll_back(mark)
            self._waiting.park(mutation)
            self._want(ended, mutation)
            return None
        return entry_of(mutation, ended, reads, overlay, mark, self._max_result_bytes)

    # --- outcomes in

    def landed(self, outcome: BatchOutcome, now: float) -> Commit | None:
        """Take what became of the batch in flight; return its log entry, where it has one."""
        flight, self._flight = self._flight, None
        assert flight is not None  # noqa: S101
        if flight.is_of_another_past:
            outcome = Unknown("the database was replaced meanwhile")
        if isinstance(outcome, Committed):
            self._waiting.spaced.rest(flight.gathered.spacings, now)
            return self._committed(flight, outcome.commit)
        self._waiting.spaced.reopen(flight.gathered.spacings)
        self._forget_ahead()  # it stands on what did not happen
        match outcome:
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
                self._waiting.back(flight.gathered.mutations)
        return None

    def reincarnated(self) -> None:
        """Hear that the database is another: what was promised of the old one holds no more.

        What is in flight, or waits for memory to show it, runs again: the new database knows by its
        requests what survived.
        """
        self.min_ts = 0
        self._forget_ahead()
        if self._flight is not None:
            self._flight.is_of_another_past = True
        while self._unanswered:
            _, answers = self._unanswered.pop()
            self._waiting.back([mutation for mutation, _ in answers])

    def _committed(self, flight: Flight, commit: Commit) -> Commit | None:
        self._max_batch = min(MAX_BATCH, self._max_batch * 2)
        self.min_ts = max(self.min_ts, commit.ts)
        answers = [(entry.mutation, entry.answer(commit.ts)) for entry in flight.gathered.entries]
        self._unanswered.append((commit.ts, answers))
        known = flight.recognised(commit, self._memory.schema)
        if known is None:
            self._forget_ahead()
        elif self._ahead is not None:
            self._ahead.base_landed(flight, commit)
        return (known or commit) if flight.batch.must_commit else None

    def _conflicted(self, flight: Flight, indexes: frozenset[int], head: int, now: float) -> None:
        self.min_ts = max(self.min_ts, head)
        if head <= flight.batch.head:
            self._pause(flight, now)  # no commit that could be waited for tells what changed
        again = []
        for index, entry in enumerate(flight.gathered.entries):
            entry.mutation.conflicts += index in indexes
            if entry.mutation.conflicts > MAX_CONFLICTS:
                error = Conflict(
                    "Documents read from or written to while this mutation ran kept changing. "
                    "See https://docs.convex.dev/error#1"
                )
                self._settled.append((entry.mutation, Answer(error=error, ts=self._memory.ts)))
            else:
                again.append(entry.mutation)
        self._waiting.back(again)

    def _busy(self, flight: Flight, rows: frozenset[tuple[str, str]], now: float) -> None:
        again = []
        for entry in flight.gathered.entries:
            if entry.rows & rows:
                self._waiting.rest(entry.mutation, now)
            else:
                again.append(entry.mutation)
        self._waiting.back(again)

    def _obstructed(self, flight: Flight, now: float) -> None:
        """Let those who stand in nobody's way go on: halve the batch, rest who is alone."""
        if len(flight.gathered.entries) > 1:
            self._max_batch = len(flight.gathered.entries) // 2
            self._waiting.back(flight.gathered.mutations)
        else:
            self._waiting.rest(flight.gathered.entries[0].mutation, now)

    def _already_settled(self, flight: Flight, settled: tuple[Settled, ...]) -> None:
        known = {found.request: found for found in settled}
        again, sessions = [], set()
        for entry in flight.gathered.entries:
            found = known.get(entry.mutation.request)
            # Nobody is answered before an earlier one of the session.
            if found is None or entry.mutation.session in sessions:
                again.append(entry.mutation)
                sessions.add(entry.mutation.session)
            else:
                self._settled.append((entry.mutation, replayed(entry.mutation, found)))
                self.min_ts = max(self.min_ts, found.ts or 0)
        self._waiting.back(again)

    def _refused(self, flight: Flight, sqlstate: str, message: str) -> None:
        if len(flight.gathered.entries) > 1:
            # One bad row must not fail its neighbours: halve until the culprit is alone.
            self._max_batch = len(flight.gathered.entries) // 2
            self._waiting.back(flight.gathered.mutations)
            return
        [mutation] = flight.gathered.mutations
        mutation.refusals += 1
        if mutation.refusals > MAX_CONFLICTS:
            self._give_up(mutation, sqlstate, message)
        else:
            # It may only look wrong from here, or be a repeat: look it up, and run it once more on
            # everything committed by now.
            self._lookup = mutation.request
            self._waiting.back([mutation])
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
        if refused is not None and not settled and refused[0] in self._waiting.ready:
            culprit, ran_at, sqlstate, message = refused
            if head <= ran_at:  # nobody has changed anything since: it is wrong as it stands
                self._waiting.ready.remove(culprit)
                self._give_up(culprit, sqlstate, message)
        for found in settled:
            mutation = self._waiting.find_ready(found.request)
            if mutation is not None:
                self._waiting.ready.remove(mutation)
                self._settled.append((mutation, replayed(mutation, found)))

    def _pause(self, flight: Flight, now: float) -> None:
        """Run no batch for a while, longer each time."""
        self._not_before = now + self._waiting.backoff_s(flight.gathered.entries[0].mutation)

    # --- answers

    def finish(self, now: float) -> None:
        """Give the answers that memory has caught up with, and time out what waited too long."""
        while self._unanswered and self._memory.ts >= self._unanswered[0][0]:
            self._settled.extend(self._unanswered.popleft()[1])
        if now >= self._next_expiry:
            self._next_expiry = now + _EXPIRY_S
            self._expire(now)
        settled, self._settled = self._settled, []
        for mutation, answer in settled:
            self._waiting.leave(mutation)
            mutation.answer(answer)

    def next_wake(self) -> float | None:
        """Return the monotonic time at which there is something to do unasked, if any.

        That is: to give an answer, to go on with a resting mutation or a batch, or to time out.
        """
        if self._settled:
            return 0.0
        times = self._waiting.wakes_at()
        if self._waiting.size or self._ahead is not None:
            times.append(self._next_expiry)
        is_held = self._flight is not None or self._lookup is not None
        can_go_on = self._waiting.ready or self._ahead is not None
        if can_go_on and not is_held and self._memory.ts >= self.min_ts:
            times.append(self._not_before)
        return min(times, default=None)

    def _expire(self, now: float) -> None:
        if self._ahead is not None and any(m.deadline <= now for m in self._ahead.mutations):
            self._forget_ahead()
        for mutation in self._waiting.take_expired(now):
            error = TimedOut(f"mutation {mutation.function.path} could not be committed in time")
            self._settled.append((mutation, Answer(error=error)))
