"""From annotations to validators; this module's annotations are text, as an app's may be."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NotRequired,
    Optional,
    Required,
    TypedDict,
)

import pytest

from parley.errors import SetupError
from parley.functions.annotations import arguments_for, validator_for, wire_name
from parley.functions.validators import UNSET, Opt, PaginationOptions, TableId, UnsetType
from parley.values import Int64

if TYPE_CHECKING:
    from parley.functions.context import QueryCtx

ConversationId = Annotated[str, TableId("conversations")]


class Citation(TypedDict):
    title: str
    snippet: NotRequired[str]
    note: Opt[str]


class Tool(TypedDict, total=False):
    name: Required[str]
    args: dict[str, Any]


class Named(TypedDict):
    name: str


class Described(Named, total=False):
    text: str


class Tree(TypedDict):
    children: list[Tree]


@pytest.mark.parametrize(
    ("annotation", "notation"),
    [
        (str, "v.string()"),
        (bool, "v.boolean()"),
        (float, "v.float64()"),
        (int, "v.float64() /* integer */"),
        (Int64, "v.int64()"),
        (bytes, "v.bytes()"),
        (None, "v.null()"),
        (Any, "v.any()"),
        (Literal["user"], 'v.literal("user")'),
        (Literal["user", 3, True], 'v.union(v.literal("user"), v.literal(3), v.literal(true))'),
        (
            Literal["a", "b"] | None,
            'v.union(v.literal("a"), v.literal("b"), v.null())',
        ),
        (Literal["a", None], 'v.union(v.literal("a"), v.null())'),
        (str | None, "v.union(v.string(), v.null())"),
        (Optional[float], "v.union(v.float64(), v.null())"),  # noqa: UP045
        (list[str], "v.array(v.string())"),
        (typing.List[str], "v.array(v.string())"),  # noqa: UP006
        (dict[str, list[Int64]], "v.record(v.string(), v.array(v.int64()))"),
        (ConversationId, 'v.id("conversations")'),
        (ConversationId | None, 'v.union(v.id("conversations"), v.null())'),
        (Annotated[list[str], "newest first"], "v.array(v.string())"),
        (Annotated[str, ["not hashable"]], "v.string()"),
        (
            Citation,
            "v.object({title: v.string(), snippet: v.optional(v.string()), "
            "note: v.optional(v.string())})",
        ),
        (Tool, "v.object({name: v.string(), args: v.optional(v.record(v.string(), v.any()))})"),
        (Described, "v.object({name: v.string(), text: v.optional(v.string())})"),
        (list[Named] | None, "v.union(v.array(v.object({name: v.string()})), v.null())"),
        (
            PaginationOptions,
            "v.object({numItems: v.float64(), cursor: v.union(v.string(), v.null()), "
            "endCursor: v.optional(v.union(v.string(), v.null())), id: v.optional(v.float64()), "
            "maximumRowsRead: v.optional(v.float64()), maximumBytesRead: v.optional(v.float64())})",
        ),
    ],
    ids=repr,
)
def test_annotation_has_a_validator(annotation: Any, notation: str) -> None:
    assert str(validator_for(annotation)) == notation


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (set[str], r"set\[str\] is not supported"),
        (list, "list is not supported"),
        (dict, "dict is not supported"),
        (typing.List, "List is not supported"),  # noqa: UP006
        (tuple[int, str], "is not supported"),
        (complex, "complex is not supported"),
        (Callable[[int], str], "is not supported"),
        (list[complex], "complex is not supported"),
        (dict[int, str], "dict keys must be str"),
        (Literal[b"a"], r"Literal\[b'a'\] is not supported"),
        (Annotated[int, TableId("users")], "TableId marks str"),
        (str | UnsetType, "UnsetType is not supported"),
        (list[str | UnsetType], "UnsetType is not supported"),
        (Tree, r"Tree\.children: Tree contains itself"),
    ],
    ids=repr,
)
def test_annotation_without_meaning_on_the_wire_is_refused(annotation: Any, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        validator_for(annotation)


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("list", "list"),
        ("list_page", "listPage"),
        ("list_", "list"),
        ("from_", "from"),
        ("get2nd_one", "get2ndOne"),
        ("getAll", "getAll"),
    ],
)
def test_wire_names_are_camel_case(name: str, wire: str) -> None:
    assert wire_name(name) == wire


@pytest.mark.parametrize("name", ["_private", "größe", ""])
def test_name_that_clients_cannot_write_is_refused(name: str) -> None:
    with pytest.raises(SetupError, match="must be ASCII and start with a letter"):
        wire_name(name)


# Functions.


async def add_message(
    ctx: QueryCtx,
    conversation_id: ConversationId,
    role: Literal["user", "assistant"],
    model: Opt[str] = UNSET,
    *,
    limit: int = 50,
    from_: str | None = None,
) -> list[NameOnlyCheckersKnow]:  # type: ignore[name-defined]  # noqa: F821
    raise NotImplementedError


def test_arguments_of_a_function_are_its_parameters_behind_ctx() -> None:
    arguments = arguments_for(add_message)

    assert str(arguments.shape) == (
        'v.object({conversationId: v.id("conversations"), '
        'role: v.union(v.literal("user"), v.literal("assistant")), '
        "model: v.optional(v.string()), limit: v.optional(v.float64() /* integer */), "
        "from: v.optional(v.union(v.string(), v.null()))})"
    )
    assert arguments.parameters == {
        "conversationId": "conversation_id",
        "role": "role",
        "model": "model",
        "limit": "limit",
        "from": "from_",
    }


async def nothing() -> None: ...
async def no_ctx(context: Any) -> None: ...
async def keyword_ctx(*, ctx: Any) -> None: ...
async def starred_ctx(*ctx: Any) -> None: ...
async def unannotated(ctx: Any, x) -> None: ...  # type: ignore[no-untyped-def]
async def starred(ctx: Any, *xs: str) -> None: ...
async def double_starred(ctx: Any, **xs: str) -> None: ...
async def positional(ctx: Any, x: str, /) -> None: ...
async def unsupported(ctx: Any, x: set[str]) -> None: ...
async def opt_without_default(ctx: Any, x: Opt[str]) -> None: ...
async def unknown(ctx: Any, x: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821
async def private(ctx: Any, _x: str) -> None: ...
async def twins(ctx: Any, a_b: str, aB: str) -> None: ...


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (nothing, "the first parameter must be ctx"),
        (no_ctx, "the first parameter must be ctx"),
        (keyword_ctx, "the first parameter must be ctx"),
        (starred_ctx, "the first parameter must be ctx"),
        (unannotated, "parameter 'x' has no annotation"),
        (starred, "parameter 'xs' is variadic positional; arguments come by name"),
        (double_starred, "parameter 'xs' is variadic keyword; arguments come by name"),
        (positional, "parameter 'x' is positional-only; arguments come by name"),
        (unsupported, r"parameter 'x': the annotation set\[str\] is not supported"),
        (opt_without_default, "parameter 'x': Opt.* needs the default UNSET"),
        (unknown, "an annotation cannot be evaluated: name 'Missing' is not defined"),
        (private, "parameter '_x': the name '_x' must"),
        (twins, r"two parameters share a wire name: \['aB', 'aB'\]"),
    ],
)
def test_function_that_cannot_be_called_from_the_wire_is_refused(
    handler: Callable[..., Any], message: str
) -> None:
    with pytest.raises(SetupError, match=message):
        arguments_for(handler)
