"""Which function answers which path, and what registration refuses."""

from __future__ import annotations

import functools
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from parley.errors import ArgumentsInvalid, FunctionNotFound, SetupError
from parley.functions import registry as module_under_test
from parley.functions.context import ActionCtx, MutationCtx, QueryCtx
from parley.functions.registry import (
    Definition,
    Registry,
    Spacing,
    action,
    mutation,
    on_authenticated,
    query,
)
from parley.functions.validators import PaginationOptions

CTX: Any = object()  # functions here never touch it


@query
async def list_page(ctx: QueryCtx, pagination_opts: PaginationOptions) -> float:
    """Return a page.

    And more.
    """
    return pagination_opts["numItems"]


@query()
async def list_(ctx: QueryCtx) -> list[str]:
    return ["a"]


@mutation(internal=True)
async def wipe(ctx: MutationCtx, user_id: str) -> str:
    return user_id


@action(name="get_all")
async def fetch(ctx: ActionCtx) -> list[str]:
    return []


@on_authenticated
async def enter(ctx: MutationCtx) -> None:
    return None


async def helper(ctx: QueryCtx) -> None:
    raise NotImplementedError


same_as_list = list_


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.add_module(sys.modules[__name__], "things")
    return registry


def module(name: str, **members: object) -> ModuleType:
    """Return a module whose functions were defined in it."""
    made = ModuleType(name)
    for key, member in members.items():
        if isinstance(member, Definition):
            member.handler.__module__ = name
        setattr(made, key, member)
    return made


def define(name: str = "f", decorate: Callable[[Any], Any] = query) -> Any:
    """Return a fresh definition."""

    async def handler(ctx: Any) -> None:
        raise NotImplementedError

    handler.__name__ = name
    return decorate(handler)


# Decorators.


async def test_decorated_function_is_still_called_like_itself() -> None:
    options: PaginationOptions = {"numItems": 3, "cursor": None}

    assert await list_page(CTX, options) == 3
    assert await wipe(CTX, user_id="u") == "u"
    assert await fetch(CTX) == []
    await enter(CTX)


class NotAFunction:
    """Something callable."""

    def __call__(self, ctx: object) -> None:
        """Do nothing."""


def plain(ctx: object) -> None:
    raise NotImplementedError


@pytest.mark.parametrize("decorate", [query, mutation(internal=True), action, on_authenticated])
@pytest.mark.parametrize(
    "handler",
    [plain, NotAFunction(), NotAFunction, functools.partial(helper)],
    ids=["def", "object", "class", "partial"],
)
def test_only_an_async_def_can_be_decorated(decorate: Any, handler: Any) -> None:
    with pytest.raises(SetupError, match=r"only an `async def` can be a (query|mutation|action)$"):
        decorate(handler)


def test_refusal_names_file_line_and_function() -> None:
    with pytest.raises(SetupError, match=r"^/.*test_registry\.py:\d+: plain\(\): only an"):
        query(plain)  # type: ignore[arg-type]


# Finding.


def test_registry_lists_everything_it_serves_by_path(registry: Registry) -> None:
    assert [(f.path, f.kind, f.is_internal) for f in registry] == [
        ("things:enter", "mutation", True),
        ("things:get_all", "action", False),
        ("things:list", "query", False),
        ("things:listPage", "query", False),
        ("things:wipe", "mutation", True),
    ]


async def test_found_function_takes_validated_arguments(registry: Registry) -> None:
    function = registry.find("things.js:listPage", "query")

    given: dict[str, Any] = {"paginationOpts": {"numItems": 10, "cursor": None, "id": 1}}
    arguments = function.arguments.validate(given)

    assert await function.handler(CTX, **arguments) == 10
    assert function.doc == "Return a page.\n\nAnd more."
    with pytest.raises(ArgumentsInvalid, match="missing the required field `numItems`"):
        function.arguments.validate({"paginationOpts": {"cursor": None}})


@pytest.mark.parametrize(
    "path",
    [
        "things:nothing",
        "things:wipe",
        "things:enter",
        "things:helper",
        "things:list_",
        "things:__class__",
        "other:list",
        "things",
    ],
)
def test_path_without_public_function_is_not_found(registry: Registry, path: str) -> None:
    shown = path if ":" in path else f"{path}:default"

    with pytest.raises(FunctionNotFound) as refusal:
        registry.find(path, "query")

    assert refusal.value.message == f"Could not find public function for '{shown}'."


def test_internal_function_of_any_kind_reads_as_missing_to_clients(registry: Registry) -> None:
    with pytest.raises(
        FunctionNotFound, match=r"^Could not find public function for 'things:wipe'"
    ):
        registry.find("things:wipe", "mutation")

    assert registry.find("things:wipe", "mutation", internal=True).path == "things:wipe"


def test_wrong_kind_is_refused_in_convex_words(registry: Registry) -> None:
    with pytest.raises(FunctionNotFound) as refusal:
        registry.find("things:list", "mutation")

    assert refusal.value.message == (
        "Trying to execute things.js:list as Mutation, but it is defined as Query."
    )


def test_hook_for_new_identities_is_known(registry: Registry) -> None:
    assert registry.on_authenticated is registry.find("things:enter", "mutation", internal=True)
    assert Registry().on_authenticated is None


# Registration.


def test_path_of_a_module_is_the_last_part_of_its_name() -> None:
    registry = Registry()

    registry.add_module(module("app.todos", f=define("add_one")))

    assert [f.path for f in registry] == ["todos:addOne"]


def test_module_may_choose_its_path() -> None:
    registry = Registry()

    registry.add_module(
        module("app.todos_v2", __parley_path__="lists/todos", f=define()), "ignored"
    )

    assert [f.path for f in registry] == ["lists/todos:f"]


def test_imported_functions_are_left_out() -> None:
    registry = Registry()
    first = module("first", f=define())

    second = ModuleType("second")
    second.f = first.f  # type: ignore[attr-defined]
    registry.add_module(first)
    registry.add_module(second)

    assert [f.path for f in registry] == ["first:f"]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (define("f"), define("f"), r"f.* has the same path m:f; give one of them another name"),
        (define("a_b"), define("aB"), "has the same path m:aB"),
        (
            define("f", on_authenticated),
            define("g", on_authenticated),
            "is @on_authenticated already",
        ),
    ],
)
def test_functions_that_collide_are_refused(first: Any, second: Any, message: str) -> None:
    with pytest.raises(SetupError, match=rf"^/.*test_registry\.py:\d+: .*{message}"):
        Registry().add_module(module("m", first=first, second=second))


async def greedy(ctx: MutationCtx, name: str) -> None:
    raise NotImplementedError


async def careless(ctx: QueryCtx, x: set[str]) -> None:
    raise NotImplementedError


async def spaced(ctx: MutationCtx, x: str, y: str = "may be absent") -> None:
    raise NotImplementedError


def test_a_spacing_names_its_argument_as_the_wire_does() -> None:
    async def add(ctx: MutationCtx, note_id: str) -> None:
        raise NotImplementedError

    registry = Registry()
    definition = mutation(spacing_s=0.5, spaced_by="note_id")(add)
    registry.add_module(module("made", f=definition), "m")

    assert registry.find("m:add", "mutation").spacing == Spacing(0.5, "noteId")


@pytest.mark.parametrize(
    ("prefix", "definition", "message"),
    [
        ("m", on_authenticated(greedy), "@on_authenticated functions take only ctx"),  # type: ignore[arg-type]
        ("m", query(careless), r"parameter 'x': the annotation set\[str\] is not supported"),
        ("m", define("_private"), "the name '_private' must"),
        ("m", define("f", query(name="a b")), "'m:a b' is not a path that clients can call"),
        ("my-module", define(), "'my-module:f' is not a path that clients can call"),
        ("m.js", define(), "'m.js:f' is not a path that clients can call"),
        ("m", query(spacing_s=1, spaced_by="x")(spaced), "spacing_s is for mutations, not for a"),
        ("m", mutation(spacing_s=0, spaced_by="x")(spaced), "spacing_s must be above 0"),
        (
            "m",
            mutation(spacing_s=5.1, spaced_by="x")(spaced),
            "spacing_s must be above 0, and 5 at",
        ),
        ("m", mutation(spaced_by="x")(spaced), "spacing_s must be above 0"),
        ("m", mutation(spacing_s=1)(spaced), "spaced_by must name a parameter that is always"),
        ("m", mutation(spacing_s=1, spaced_by="y")(spaced), "spaced_by must name .* not 'y'"),
    ],
)
def test_function_that_cannot_be_served_is_refused_with_its_place(
    prefix: str, definition: Any, message: str
) -> None:
    with pytest.raises(SetupError, match=rf"^/.*test_registry\.py:\d+: .*\(\): {message}"):
        Registry().add_module(module("made", f=definition), prefix)


# Modules by name.


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a package of functions and return its dotted name."""
    name = f"app_{tmp_path.name.replace('-', '_')}"
    function = "import parley\n\n@parley.query\nasync def {0}(ctx) -> None: ...\n"
    files = {
        "__init__.py": "from .todos import add\n" + function.format("ping"),
        "__main__.py": "raise SystemExit('must not be run')\n",
        "todos.py": function.format("add"),
        "admin/__init__.py": function.format("stats"),
        "admin/user_list.py": function.format("get_all"),
        "broken/__init__.py": "",
    }
    for path, text in files.items():
        file = tmp_path / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_package_is_served_whole_by_paths_inside_it(app: str) -> None:
    registry = Registry.from_modules([app])

    assert [f.path for f in registry] == [
        "admin/user_list:getAll",
        "admin:stats",
        f"{app}:ping",
        "todos:add",
    ]


def test_single_modules_can_be_named(app: str) -> None:
    registry = Registry.from_modules([f"{app}.todos", f"{app}.admin.user_list"])

    assert [f.path for f in registry] == ["todos:add", "user_list:getAll"]


def test_module_that_is_not_there_is_a_setup_error() -> None:
    with pytest.raises(SetupError, match="cannot import functions from 'no_such_app'"):
        Registry.from_modules(["no_such_app"])


def test_decorators_keep_no_global_state() -> None:
    assert not [value for value in vars(module_under_test).values() if isinstance(value, Registry)]
    assert list(Registry()) == []
