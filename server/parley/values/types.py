"""The Python types of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeAlias, cast

import orjson

from parley.errors import ValueInvalid

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
_only_documents: Final = ContextVar("only documents are equal to documents", default=False)


class Int64(int):
    """A Convex int64: a whole number that keeps all 64 bits, unlike a JSON number.

    Compares and computes like an int; results of arithmetic are plain ints.

    Args:
        value: a whole number.

    Raises:
        ValueInvalid: outside -2**63 … 2**63 - 1.
    """

    __slots__ = ()

    def __new__(cls, value: int = 0) -> Int64:
        """Return `value` as an int64."""
        if not _INT64_MIN <= value <= _INT64_MAX:
            # Without the number: a huge one cannot even be printed.
            raise ValueInvalid("Invalid value: expected an integer of at most 64 bits")
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        """Return `Int64(5)`."""
        return f"Int64({self})"

    def __str__(self) -> str:
        """Return the decimal text."""
        return int.__repr__(self)


class Document(Mapping[str, Any]):
    """A row as functions see it: an immutable mapping of wire names, with its wire JSON at hand.

    Reading a list or dict field gives a copy, so nothing a function does to it reaches memory that
    other functions read. Equal to a document with equal JSON, and to any other mapping with equal
    fields; not hashable.

    Args:
        fields: wire name -> valid value; owned by the document from now on.
        json: the canonical wire JSON of `fields` (see `encode`); trusted, and sent as it is.
    """

    __slots__ = ("_fields", "_fragment", "_json")

    def __init_subclass__(cls) -> None:
        """Refuse: what is a document, and equal to one, is decided here alone."""
        raise TypeError("Document cannot be subclassed")

    def __init__(self, fields: dict[str, Value], json: bytes) -> None:
        self._fields: dict[str, Value] | None = fields
        self._json = json
        # Kept, because making 1,000 of them costs more than joining them; the joined text itself
        # must not be built here, since one more large allocation costs more than everything else.
        self._fragment = orjson.Fragment(json)

    @property
    def json(self) -> bytes:
        """The canonical wire JSON."""
        return self._json

    @property
    def fields(self) -> Mapping[str, Value]:
        """The fields themselves, for readers that change nothing below them."""
        return self._unfolded() if self._fields is None else self._fields

    def fold(self) -> None:
        """Keep nothing but the JSON; whoever reads a field next has all decoded anew.

        Decoded, a row takes three times as much. Most are only ever sent.
        """
        self._fields = None

    def _unfolded(self) -> dict[str, Value]:
        from parley.values.decoding import decode

        self._fields = cast("dict[str, Value]", decode(orjson.loads(self._json)))
        return self._fields

    def __getitem__(self, key: str) -> Any:
        """Return a field's value; KeyError where the document has none."""
        fields = self._fields
        return _copy((self._unfolded() if fields is None else fields)[key])

    def __iter__(self) -> Iterator[str]:
        """Iterate over the field names."""
        return iter(self.fields)

    def __len__(self) -> int:
        """Return the number of fields."""
        return len(self.fields)

    def __contains__(self, key: object) -> bool:
        """Tell whether the document has this field."""
        return key in self.fields

    def __eq__(self, other: object) -> bool:
        """Compare by JSON with a document, by fields with another mapping."""
        if isinstance(other, Document):
            return self._json == other._json
        return not _only_documents.get() and self.fields == other

    __hash__ = None  # type: ignore[assignment]  # fields may hold lists

    def __repr__(self) -> str:
        """Return `Document({...})`."""
        return f"Document({self.fields!r})"


@contextmanager
def only_documents_are_equal() -> Iterator[None]:
    """Let no document be equal to another mapping meanwhile, not even `{"n": 1}` to `{"n": True}`.

    Lists of documents are then equal only if their JSON is.
    """
    token = _only_documents.set(True)
    try:
        yield
    finally:
        _only_documents.reset(token)


Value: TypeAlias = (
    "bool | int | float | str | bytes | list[Value] | dict[str, Value] | Document | None"
)


def size(value: object) -> int:
    """Return the size of a valid value in bytes, as Convex's limits count it (§14)."""
    if isinstance(value, str):
        return 2 + (len(value) if value.isascii() else len(value.encode()))
    if isinstance(value, bytes):
        return 2 + len(value)
    if isinstance(value, bool) or value is None:
        return 1
    if isinstance(value, int | float):
        return 9
    if isinstance(value, list | tuple):
        return 2 + sum(map(size, value))
    fields = value.fields if isinstance(value, Document) else cast("dict[str, Value]", value)
    return 2 + sum(len(key) + 1 + size(item) for key, item in fields.items())


def _copy(value: Any) -> Any:
    """Return a value that shares nothing mutable with `value`."""
    if type(value) is list:
        return [_copy(item) for item in value]
    if type(value) is dict:
        return {key: _copy(item) for key, item in value.items()}
    return value
