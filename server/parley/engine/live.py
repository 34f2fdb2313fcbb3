"""Live queries: one function call kept true for everybody who subscribes to it.

A live query is filed under the keys that it read. A commit names keys; the queries filed under them
are looked at more closely, with the exact part of the index they read. Cost follows the change and
its audience, never the number of queries that it does not concern.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from parley.engine.memory import Memory, Touched
from parley.engine.transaction import Read
from parley.errors import FunctionFailed
from parley.functions.registry import Function
from parley.identity import Identity
from parley.protocol.responses import VALUE_AT, joined_tail, patched_tail, updated_tail
from parley.store.tables import suffix_between
from parley.values import LongText, encode_tree

if TYPE_CHECKING:
    from collections.abc import Hashable


# To look at all of a longer value costs more than to send it; that it came back to what somebody
# still holds is then not seen.
MAX_DIGESTED: Final = 64 << 10


class Subscriber(Protocol):
    """Whoever holds a query of a live query: one client connection."""

    def query_settled(self, query_id: int, *, is_new: bool) -> None:
        """Hear that the query ran: it is clean, and `is_new` tells whether its result changed."""
        ...

    def identity_needed(self, query_id: int) -> None:
        """Subscribe the query again: it depends on who asks, or goes on as another one."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked: function, arguments, and the journal a paginated run continues.

    Attributes:
        path: of the function, canonical where it is known.
        args_json: the arguments as canonical wire JSON; part of what makes two calls equal.
        journal: see `functions.pagination`.
        function, args: what to run, with validated arguments by parameter name.
        refusal: why the call cannot be run at all; then `function` is None.
    """

    path: str
    args_json: bytes
    journal: str | None = None
    function: Function | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    refusal: FunctionFailed | None = None

    @property
    def key(self) -> Hashable:
        """Return what two equal calls have in common."""
        return (self.path, self.args_json, self.journal, self.refusal and self.refusal.message)


class Step(NamedTuple):
    """How one result became the next: the digest of the one before, and a patch's operations."""

    digest: bytes
    ops: bytes


class Result:
    """What a live query gives its subscribers. Compared by identity; see `digest` for more.

    Attributes:
        digest: equal only for results that a client cannot tell apart.
        size_bytes: of `tail`.
        value_bytes: of the value's wire JSON; 0 for a failure.
        tree: the value to compare the next one with; None where that is not done.
        text: the long value that parts of the next one's JSON may be copied from.
        steps: how older results became this one, oldest first.
        journal: of the page.
        is_forgotten: only digests were kept: the query has to run again for whoever lacks it.
        error: the failure.
        request_id: of the failure, as its text says.
    """

    __slots__ = (
        "_content",
        "_patches",
        "_tail",
        "digest",
        "error",
        "is_forgotten",
        "journal",
        "request_id",
        "size_bytes",
        "steps",
        "text",
        "tree",
        "value_bytes",
    )

    def __init__(
        self,
        digest: bytes,
        *,
        value: Sequence[bytes | memoryview] | None = None,
        content: bytes | None = None,
        value_bytes: int = 0,
        tail: bytes | None = None,
        tree: object = None,
        text: LongText | None = None,
        steps: tuple[Step, ...] = (),
        journal: str | None = None,
        error: FunctionFailed | None = None,
        request_id: str = "",
    ) -> None:
        self.digest = digest
        self.tree = tree
        self.text = text
        self.steps = steps
        self.journal = journal
        self.error = error
        self.request_id = request_id
        self.is_forgotten = value is None and tail is None and tree is None
        self.value_bytes = value_bytes if value is None else sum(map(len, value))
        self._tail = joined_tail(value, journal) if value is not None else tail
        if self._tail is None:
            self.size_bytes = self.value_bytes + len(updated_tail(b"", journal))
        else:
            self.size_bytes = len(self._tail)
        self._content = content
        self._patches: dict[bytes, bytes] = {}

    @property
    def tail(self) -> bytes:
        """The rest of a query modification behind its query id, as wire JSON."""
        if self._tail is None:
            assert not self.is_forgotten  # noqa: S101
            self._tail = updated_tail(encode_tree(self.tree), self.journal)
        return self._tail

    @property
    def value(self) -> bytes:
        """The value as wire JSON."""
        assert self.error is None  # noqa: S101
        return bytes(self.view)

    @property
    def view(self) -> memoryview:
        """The value as wire JSON, without a copy of it."""
        return memoryview(self.tail)[VALUE_AT : VALUE_AT + self.value_bytes]

    @property
    def content(self) -> bytes:
        """The digest of the value, or of what the failure says; equal results have equal ones."""
        if self._content is None:
            self._content = self.digest if self.error is not None else digest_of(self.value)
        return self._content

    def has_value(self, value: bytes) -> bool:
        """Tell whether this is the value, as wire JSON."""
        if self.error is not None or self.is_forgotten:
            return self.content == digest_of(value)
        return len(value) == self.value_bytes and self.tail.startswith(value, VALUE_AT)

    def light(self) -> Result:
        """Return it without what is easily made again: from the tree, or by a run."""
        if self.tree is not None:
            self._tail = None
            self._patches.clear()
            return self
        return self if self.value_bytes > MAX_DIGESTED else self.forgotten()

    def forgotten(self) -> Result:
        """Return only the digests of it."""
        return Result(self.digest, content=self.content, error=self.error)

    def patch_since(self, digest: bytes | None) -> bytes | None:
        """Return the tail that makes this result of an older one; None where only all of it can."""
        for at, step in enumerate(self.steps):
            if step.digest == digest:
                tail = self._patches.get(step.digest)
                if tail is None:  # made once for all who stand there
                    ops = b",".join([step.ops for step in self.steps[at:]])
                    tail = self._patches[step.digest] = patched_tail(ops, self.journal)
                return tail
        return None


def digest_of(value: bytes) -> bytes:
    """Return 16 bytes that stand for a result."""
    return hashlib.blake2b(value, digest_size=16).digest()


class LiveQuery:
    """One call, run once for all its subscribers.

    Attributes:
        call: what it runs; with the end of its page, once it has paginated.
        identity: as whom it runs; None also for a call that never looks.
        is_shared: it runs without an identity and fails over to one per identity if it looks.
        reads: what its newest result depends on.
        result: None until it has run.
        patched: the subscribers that take patches.
        is_dirty: its result may no longer be true at memory's ts.
    """

    __slots__ = (
        "call",
        "identity",
        "is_dirty",
        "is_shared",
        "key",
        "loads",
        "patched",
        "reads",
        "result",
        "subscribers",
    )

    def __init__(
        self, key: Hashable, call: Call, identity: Identity | None, *, is_shared: bool
    ) -> None:
        self.key = key
        self.call = call
        self.identity = identity
        self.is_shared = is_shared
        self.reads: list[Read] = []
        self.result: Result | None = None
        self.is_dirty = True
        self.loads = 0
        self.subscribers: dict[tuple[int, int], Subscriber] = {}
        self.patched: set[tuple[int, int]] = set()

    def add(self, subscriber: Subscriber, query_id: int, *, takes_patches: bool = False) -> None:
        """Let `subscriber` hear of results as its query `query_id`."""
        self.subscribers[id(subscriber), query_id] = subscriber
        if takes_patches:
            self.patched.add((id(subscriber), query_id))

    def remove(self, subscriber: Subscriber, query_id: int) -> None:
        """Undo `add`."""
        self.subscribers.pop((id(subscriber), query_id), None)
        self.patched.discard((id(subscriber), query_id))

    def tell(self, *, is_new: bool) -> None:
        """Tell all subscribers that the query has run."""
        for (_, query_id), subscriber in list(self.subscribers.items()):
            subscriber.query_settled(query_id, is_new=is_new)


class LiveQueries:
    """All live queries of a node, by call and by the keys they read."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, LiveQuery] = {}
        self._filed: defaultdict[str, set[LiveQuery]] = defaultdict(set)
        self._tables: defaultdict[str, set[LiveQuery]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[LiveQuery]:
        return iter(list(self._by_key.values()))

    def get(self, key: Hashable) -> LiveQuery | None:
        """Return the live query of a key, if there is one."""
        return self._by_key.get(key)

    def add(self, query: LiveQuery) -> None:
        """Begin to keep a live query."""
        self._by_key[query.key] = query

    def move(self, query: LiveQuery, key: Hashable) -> None:
        """Keep a live query under another key."""
        del self._by_key[query.key]
        query.key = key
        self._by_key[key] = query

    def remove(self, query: LiveQuery) -> None:
        """Forget a live query that nobody subscribes to."""
        self.file(query, [])
        if self._by_key.get(query.key) is query:
            del self._by_key[query.key]

    def file(self, query: LiveQuery, reads: Iterable[Read]) -> None:
        """File a live query under the keys of its newest run, and under no others."""
        for read in query.reads:
            for filed, key in ((self._filed, read.key), (self._tables, read.table)):
                filed[key].discard(query)
                if not filed[key]:
                    del filed[key]
        query.reads = list(reads)
        for read in query.reads:
            self._filed[read.key].add(query)
            self._tables[read.table].add(query)

    def touched_by(self, change: Touched, memory: Memory) -> list[LiveQuery]:
        """Return the live queries whose result this change may alter, in no order."""
        candidates: set[LiveQuery] = set()
        for key in (*change.change.keys, change.table.name):
            filed = self._filed.get(key)
            if filed:
                candidates |= filed
        return [
            query
            for query in candidates
            if not query.is_dirty and any(_meets(change, read, memory) for read in query.reads)
        ]

    def on_table(self, table: str) -> list[LiveQuery]:
        """Return the live queries that read anything of a table."""
        return list(self._tables.get(table, ()))


def _meets(change: Touched, read: Read, memory: Memory) -> bool:
    """Tell whether a row change falls into what a read looked at, before or after it."""
    if read.table != change.table.name:
        return False
    index = change.table.indexes[read.index]
    for row in (change.before, change.after):
        if row is not None:
            position = change.table.position(index, row.document.fields)
            if suffix_between(position, read.prefix, read.lower, read.upper) is not None:
                return True
    # A row that memory did not hold was not in any part that memory covers; elsewhere, who knows.
    return change.before is None and not memory.covers(
        read.table, read.index, read.prefix, read.lower, read.upper
    )
