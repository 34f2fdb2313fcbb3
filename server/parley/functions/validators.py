"""Arguments checked against annotations, in Convex's words (PROTOCOL.md §11.2).

`validator_for` turns an annotation into a tree of frozen records; `check` walks it over a decoded
value; `str` prints it in Convex's notation (`v.array(v.string())`). The tree is plain data, so that
other tools (a generator of TypeScript types) can walk it too.

| annotation                              | takes from the wire              | gives            |
|-----------------------------------------|----------------------------------|------------------|
| str, bool, bytes, None, Int64           | that value                       | the same         |
| float                                   | any JSON number                  | int or float     |
| int                                     | a JSON number without fraction   | int              |
| Literal["a", 1, True]                   | exactly these                    | the same         |
| Annotated[str, TableId("messages")]     | a row id: lower-case uuid text   | str              |
| list[T], dict[str, T]                   | array, object with any keys      | list, dict       |
| a TypedDict                             | object with exactly these fields | dict             |
| A | B, Optional[T]                      | what one of them takes           | as the first one |
| Any                                     | anything                         | the same         |
| Opt[T] (only of a parameter or a field) | T, or its absence                | T or its default |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import NoneType
from typing import (
    Any,
    Final,
    Literal,
    NoReturn,
    NotRequired,
    Protocol,
    TypeAlias,
    TypedDict,
    TypeVar,
)

from parley.errors import ArgumentsInvalid
from parley.store.tables import is_id
from parley.values import MAX_SAFE_INT, Int64, Value, encode_plain
from parley.values.rules import key_step

T = TypeVar("T")

_SHOWN_CHARACTERS: Final = 200


class UnsetType(Enum):
    """The type of `UNSET`: an optional argument or field that was not given. Falsy."""

    UNSET = "UNSET"

    def __bool__(self) -> Literal[False]:
        """Return False, so that `title or "New"` does what it says."""
        return False

    def __repr__(self) -> str:
        """Return `UNSET`."""
        return "UNSET"


UNSET: Final = UnsetType.UNSET

# An argument or field that may be absent; Convex's `v.optional`. null is not absent.
Opt: TypeAlias = T | UnsetType


@dataclass(frozen=True, slots=True)
class TableId:
    """Marks text as the id of a row: `Annotated[str, TableId("conversations")]`.

    Attributes:
        table: the table's name.
    """

    table: str


class PaginationOptions(TypedDict):
    """What `usePaginatedQuery` passes as `paginationOpts` (§13.3), ready for `paginate()`."""

    numItems: float
    cursor: str | None
    endCursor: NotRequired[str | None]
    id: NotRequired[float]
    maximumRowsRead: NotRequired[float]
    maximumBytesRead: NotRequired[float]


class Mismatch(Exception):
    """A value that a validator refuses; each container adds its step to the path.

    Attributes:
        headline: the first line of the message.
        label: what `value` is called: "Value" or "Object".
        steps: path steps, innermost first.
    """

    def __init__(self, validator: Validator, value: Value, headline: str, label: str) -> None:
        super().__init__(headline)
        self.validator = validator
        self.value = value
        self.headline = headline
        self.label = label
        self.steps: list[str] = []

    def __str__(self) -> str:
        """Return the whole text, as Convex writes it."""
        path = "".join(reversed(self.steps))
        return (
            f"ArgumentValidationError: {self.headline}\n"
            f"{path and f'Path: {path}'}\n"
            f"{self.label}: {_shown(self.value)}\n"
            f"Validator: {self.validator}"
        )


class Validator(Protocol):
    """One node of the tree. `str()` gives it in Convex's notation."""

    def check(self, value: Value) -> Any:
        """Return what the function gets for a decoded `value`; raise `Mismatch` if it must not."""
        ...


ScalarKind = Literal["string", "boolean", "float64", "int64", "bytes", "null"]

# Exact types: bool and Int64 are ints, and neither is a float64.
_SCALAR_TYPES: Final[dict[ScalarKind, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "float64": (int, float),
    "int64": (Int64,),
    "bytes": (bytes,),
    "null": (NoneType,),
}


@dataclass(frozen=True, slots=True)
class Scalar:
    """Any value of one scalar type."""

    kind: ScalarKind

    def check(self, value: Value) -> Any:
        """Return `value` as it is."""
        return value if type(value) in _SCALAR_TYPES[self.kind] else _refuse(self, value)

    def __str__(self) -> str:
        """Return e.g. `v.string()`."""
        return f"v.{self.kind}()"


@dataclass(frozen=True, slots=True)
class Integer:
    """A JSON number without fraction."""

    def check(self, value: Value) -> Any:
        """Return `value` as an int: JavaScript does not tell 3 from 3.0."""
        if type(value) is float and value.is_integer() and abs(value) <= MAX_SAFE_INT:
            return int(value)
        return value if type(value) is int else _refuse(self, value)

    def __str__(self) -> str:
        """Return the notation; Convex has no word for whole numbers."""
        return "v.float64() /* integer */"


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value."""

    def check(self, value: Value) -> Any:
        """Return `value` as it is."""
        return value

    def __str__(self) -> str:
        """Return `v.any()`."""
        return "v.any()"


@dataclass(frozen=True, slots=True)
class Constant:
    """Exactly this value."""

    value: str | int | bool

    def check(self, value: Value) -> Any:
        """Return the constant."""
        kinds = (int, float) if type(self.value) is int else (type(self.value),)
        return self.value if type(value) in kinds and value == self.value else _refuse(self, value)

    def __str__(self) -> str:
        """Return e.g. `v.literal("user")`."""
        return f"v.literal({encode_plain(self.value).decode()})"


@dataclass(frozen=True, slots=True)
class Id:
    """The id of a row of `table`: uuid text as we write it, lower-case with hyphens.

    One text per id, because ids are compared as text everywhere. Whether the row exists, and in
    that table, only the function can know.
    """

    table: str

    def check(self, value: Value) -> Any:
        """Return `value` as it is."""
        return value if is_id(value) else _refuse(self, value)

    def __str__(self) -> str:
        """Return e.g. `v.id("users")`."""
        return f'v.id("{self.table}")'


@dataclass(frozen=True, slots=True)
class Array:
    """An array of elements that all match."""

    element: Validator

    def check(self, value: Value) -> Any:
        """Return a new list of the checked elements."""
        if type(value) is not list:
            return _refuse(self, value)
        return [_checked(self.element, item, f"[{i}]") for i, item in enumerate(value)]

    def __str__(self) -> str:
        """Return e.g. `v.array(v.string())`."""
        return f"v.array({self.element})"


@dataclass(frozen=True, slots=True)
class Record:
    """An object with any keys, whose values all match."""

    value: Validator

    def check(self, value: Value) -> Any:
        """Return a new dict of the checked values."""
        if type(value) is not dict:
            return _refuse(self, value)
        return {key: _checked(self.value, item, key_step(key)) for key, item in value.items()}

    def __str__(self) -> str:
        """Return e.g. `v.record(v.string(), v.any())`."""
        return f"v.record(v.string(), {self.value})"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object, by its wire name."""

    name: str
    validator: Validator
    is_optional: bool = False

    def __str__(self) -> str:
        """Return e.g. `title: v.optional(v.string())`."""
        shown = f"v.optional({self.validator})" if self.is_optional else str(self.validator)
        return f"{self.name if self.name.isidentifier() else repr(self.name)}: {shown}"


@dataclass(frozen=True, slots=True)
class Object:
    """An object with these fields and no others."""

    fields: tuple[Field, ...]

    def check(self, value: Value) -> Any:
        """Return a new dict of the checked fields; optional ones that are absent stay absent."""
        if type(value) is not dict:
            return _refuse(self, value)
        checked = {}
        for field in self.fields:
            if field.name in value:
                step = key_step(field.name)
                checked[field.name] = _checked(field.validator, value[field.name], step)
            elif not field.is_optional:
                raise Mismatch(self, value, _missing(field.name), "Object")
        if len(checked) < len(value):
            extra = next(name for name in value if name not in checked)
            headline = f"Object contains extra field `{extra}` that is not in the validator."
            raise Mismatch(self, value, headline, "Object")
        return checked

    def __str__(self) -> str:
        """Return e.g. `v.object({title: v.string()})`."""
        return f"v.object({{{', '.join(map(str, self.fields))}}})"


@dataclass(frozen=True, slots=True)
class Union:
    """A value that one of the members accepts."""

    members: tuple[Validator, ...]

    def check(self, value: Value) -> Any:
        """Return what the first member that accepts `value` makes of it."""
        for member in self.members:
            try:
                return member.check(value)
            except Mismatch:
                continue
        return _refuse(self, value)

    def __str__(self) -> str:
        """Return e.g. `v.union(v.string(), v.null())`."""
        return f"v.union({', '.join(map(str, self.members))})"


@dataclass(frozen=True, slots=True)
class Arguments:
    """The parameters of a function behind `ctx`.

    Attributes:
        shape: the argument object as it comes over the wire.
        parameters: wire name (camelCase) -> Python parameter (snake_case).
    """

    shape: Object
    parameters: Mapping[str, str]

    def validate(self, args: Mapping[str, Value]) -> dict[str, Any]:
        """Return keyword arguments for the function: every one of `args`, under its Python name.

        Absent optional arguments are left to the parameter's own default.

        Args:
            args: decoded values by wire name.

        Raises:
            ArgumentsInvalid: in Convex's words, with the path of the offending value.
        """
        try:
            checked = self.shape.check(dict(args))
        except Mismatch as mismatch:
            raise ArgumentsInvalid(str(mismatch)) from None
        return {self.parameters[name]: value for name, value in checked.items()}


def _checked(validator: Validator, value: Value, step: str) -> Any:
    try:
        return validator.check(value)
    except Mismatch as mismatch:
        mismatch.steps.append(step)
        raise


def _refuse(validator: Validator, value: Value) -> NoReturn:
    raise Mismatch(validator, value, "Value does not match validator.", "Value")


def _missing(name: str) -> str:
    return (
        f"Object is missing the required field `{name}`. Consider wrapping the field validator in "
        "`v.optional(...)` if this is expected."
    )


def _shown(value: Value) -> str:
    text = encode_plain(value).decode()
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
