"""TypeScript from Python annotations; `tests/compat/test_codegen.py` lets tsc read it."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import pytest

from parley import (
    UNSET,
    ActionCtx,
    Document,
    Int64,
    MutationCtx,
    Opt,
    PaginationOptions,
    PaginationResult,
    QueryCtx,
    TableId,
    action,
    mutation,
    query,
)
from parley.functions.annotations import validator_for
from parley.functions.codegen import generate, type_of
from parley.functions.registry import Definition, Registry

if TYPE_CHECKING:
    from decimal import Decimal

T = TypeVar("T")
NoteId = Annotated[str, TableId("notes")]


class Note(TypedDict):
    _id: NoteId
    body: str
    due: NotRequired[float]
    labels: Opt[list[str]]


class Tree(TypedDict):
    children: list[Tree]
    note: Note | None


class Pair(TypedDict, Generic[T]):
    left: T
    right: list[T]


Odd = TypedDict("Odd", {"a-b": str, "_c": NotRequired[str]})


class Record(TypedDict):
    """A name that TypeScript has, too."""

    note: Note


def api_of(*definitions: Definition[Any, Any, Any], path: str = "app") -> str:
    """Return api.d.ts of these functions."""
    module = types.ModuleType(__name__)
    for number, definition in enumerate(definitions):
        setattr(module, f"f{number}", definition)
    registry = Registry()
    registry.add_module(module, path)
    return generate(registry)["api.d.ts"]


def line_of(text: str, name: str) -> str:
    [found] = [line.strip() for line in text.splitlines() if line.strip().startswith(f"{name}: ")]
    return found


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, "string"),
        (bool, "boolean"),
        (int, "number"),
        (float, "number"),
        (Int64, "bigint"),
        (bytes, "ArrayBuffer"),
        (None, "null"),
        (Any, "any"),
        (Literal["a", 'q"', 1, True], '"a" | "q\\"" | 1 | true'),
        (NoteId, 'Id<"notes">'),
        (list[str], "string[]"),
        (list[str | None], "Array<string | null>"),
        (list[list[NoteId]], 'Id<"notes">[][]'),
        (dict[str, float], "Record<string, number>"),
        (int | float, "number"),
        (str | Any, "any"),
        (
            Note,
            '{ _id: Id<"notes">; body: string; due?: number; labels?: string[] }',
        ),
        (list[Note | None], None),
        (Odd, '{ "a-b": string; _c?: string }'),
    ],
)
def test_an_argument_has_the_type_of_what_it_takes(annotation: Any, expected: str | None) -> None:
    text = type_of(validator_for(annotation))

    note = '{ _id: Id<"notes">; body: string; due?: number; labels?: string[] }'
    assert text == (expected or f"Array<{note} | null>")


def test_a_function_is_a_reference_with_arguments_and_result() -> None:
    @mutation
    async def add_note(
        ctx: MutationCtx, the_body: str, due: Opt[float] = UNSET, done: bool = False
    ) -> NoteId:
        """Add a note; not: */.

        More about it.
        """
        raise NotImplementedError

    text = api_of(add_note)

    assert line_of(text, "addNote") == (
        'addNote: Reference<"mutation", { theBody: string; due?: number; done?: boolean }, '
        'Id<"notes">>;'
    )
    assert "    /** Add a note; not: * /. */\n    addNote:" in text


def test_a_function_without_arguments_takes_none() -> None:
    @action
    async def go(ctx: ActionCtx) -> None: ...

    assert line_of(api_of(go), "go") == 'go: Reference<"action", Record<string, never>, null>;'


def results(annotation: Any) -> tuple[str, str]:
    """Return the type of a result, and the whole file."""

    @query
    async def get(ctx: QueryCtx) -> Any: ...

    get.handler.__annotations__["return"] = annotation
    text = api_of(get)
    start = 'get: Reference<"query", Record<string, never>, '
    return line_of(text, "get").removeprefix(start).removesuffix(">;"), text


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (None, "null"),
        (str | None, "string | null"),
        (Int64, "bigint"),
        (list[Note], "Note[]"),
        (Sequence[Note], "Note[]"),
        (Mapping[str, Note], "Record<string, Note>"),
        (list[Note | None], "Array<Note | null>"),
        (Literal["a", "b"], '"a" | "b"'),
        (Pair[Note], "{ left: Note; right: Note[] }"),
        (Pair[Note | None], "{ left: Note | null; right: Array<Note | null> }"),
        (Document, "any"),
        (object, "any"),
        (set[str], "any"),
    ],
)
def test_a_result_has_the_type_that_its_function_declares(annotation: Any, expected: str) -> None:
    assert results(annotation)[0] == expected


def test_documents_are_named_types_and_may_contain_themselves() -> None:
    _, text = results(Tree)

    assert "\nexport type Tree = {\n  children: Tree[];\n  note: Note | null;\n};\n" in text
    assert text.count("export type Note = {") == 1


def test_a_name_that_the_files_use_themselves_gets_its_module_in_front() -> None:
    shown, text = results(Record)

    assert shown == "TestCodegenRecord"
    assert "export type TestCodegenRecord = {" in text


def test_a_page_is_what_paginated_queries_give() -> None:
    @query
    async def page(ctx: QueryCtx, pagination_opts: PaginationOptions) -> PaginationResult[Note]:
        raise NotImplementedError

    line = line_of(api_of(page), "page")

    assert "{ paginationOpts: { numItems: number; cursor: string | null;" in line
    assert "{ page: Note[]; isDone: boolean; continueCursor: string;" in line


def test_a_result_that_only_type_checkers_can_read_is_any() -> None:
    @query
    async def get(ctx: QueryCtx) -> Decimal:
        raise NotImplementedError

    assert line_of(api_of(get), "get").endswith(", any>;")


def test_folders_are_steps_and_internal_functions_are_left_out() -> None:
    @query
    async def list_(ctx: QueryCtx) -> None: ...

    @mutation(internal=True)
    async def hidden(ctx: MutationCtx) -> None: ...

    text = api_of(list_, hidden, path="admin/users")

    assert "  admin: {\n    users: {\n      list: " in text
    assert "hidden" not in text


def test_a_name_that_is_a_function_and_a_module_is_both() -> None:
    @query(name="users")
    async def outer(ctx: QueryCtx) -> None: ...

    @query(name="list")
    async def inner(ctx: QueryCtx) -> None: ...

    registry = Registry()
    for path, definition in (("admin", outer), ("admin/users", inner)):
        module = types.ModuleType(__name__)
        module.f = definition  # type: ignore[attr-defined]
        registry.add_module(module, path)

    text = generate(registry)["api.d.ts"]

    assert 'users: Reference<"query", Record<string, never>, null> & {' in text


def test_the_same_functions_give_the_same_text_in_any_order() -> None:
    modules = ["parley.chat", "parley.assistant", "tests.support.functions"]

    texts = [generate(Registry.from_modules(order)) for order in (modules, modules[::-1])]

    assert texts[0] == texts[1]


def test_an_app_without_functions_has_an_empty_api() -> None:
    assert "export declare const api: {\n};\n" in generate(Registry())["api.d.ts"]
