"""Which Python function answers which path.

The decorators only wrap: `@query`, `@mutation` and `@action` return a `Definition`, which is still
called like the function it holds. Nothing is served until a `Registry` is built from the modules
that the operator names; there is no global state.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Concatenate, Final, Generic, Literal, ParamSpec, TypeVar, overload

from parley.errors import FunctionNotFound, SetupError
from parley.functions.annotations import arguments_for, wire_name
from parley.functions.context import ActionCtx, MutationCtx, QueryCtx
from parley.functions.paths import canonical, not_found
from parley.functions.validators import Arguments

Kind = Literal["query", "mutation", "action"]

P = ParamSpec("P")
R = TypeVar("R")
Ctx = TypeVar("Ctx")

MAX_SPACING_S: Final = 5.0  # well below the time in which a mutation has to be answered

# A module may choose its own path: `__parley_path__ = "admin/users"`.
_PATH_ATTRIBUTE: Final = "__parley_path__"


@dataclass(frozen=True, slots=True)
class Spacing:
    """How far apart the commits of a mutation are, for each caller and value of an argument.

    Attributes:
        seconds: from one commit to the next.
        argument: by whose value: the name of the parameter in a definition, on the wire in a
            function that is served.
    """

    seconds: float
    argument: str


@dataclass(frozen=True, eq=False)
class Definition(Generic[Ctx, P, R]):
    """A decorated function: what it shall be, before a registry gives it a path.

    Calling it runs the function itself, in the caller's own transaction and without checking
    arguments, so functions can use one another as helpers.

    Attributes:
        handler: the function.
        kind: what it may do.
        is_internal: only other functions can call it, never a client.
        name: its name on the wire; None derives it from the function's name.
        is_on_authenticated: run when an identity is first accepted.
        spacing: how far apart its commits are; None commits each as soon as it can be.
    """

    handler: Callable[Concatenate[Ctx, P], Coroutine[Any, Any, R]]
    kind: Kind
    is_internal: bool = False
    name: str | None = None
    is_on_authenticated: bool = False
    spacing: Spacing | None = None

    def __post_init__(self) -> None:
        """Refuse what the engine could not drive."""
        if not (inspect.isfunction(self.handler) and inspect.iscoroutinefunction(self.handler)):
            raise SetupError(f"{_place(self.handler)}: only an `async def` can be a {self.kind}")

    def __call__(self, ctx: Ctx, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call the function."""
        return self.handler(ctx, *args, **kwargs)


@dataclass(frozen=True, slots=True)
class Decorator(Generic[Ctx]):
    """`query`, `mutation` or `action`: bare, or with keywords.

    Attributes:
        kind: what the decorated functions are.
    """

    kind: Kind

    @overload
    def __call__(
        self, handler: Callable[Concatenate[Ctx, P], Coroutine[Any, Any, R]], /
    ) -> Definition[Ctx, P, R]: ...

    @overload
    def __call__(
        self,
        *,
        internal: bool = False,
        name: str | None = None,
        spacing_s: float | None = None,
        spaced_by: str | None = None,
    ) -> Callable[
        [Callable[Concatenate[Ctx, P], Coroutine[Any, Any, R]]], Definition[Ctx, P, R]
    ]: ...

    def __call__(
        self,
        handler: Callable[..., Coroutine[Any, Any, Any]] | None = None,
        *,
        internal: bool = False,
        name: str | None = None,
        spacing_s: float | None = None,
        spaced_by: str | None = None,
    ) -> Any:
        """Define `handler` as a function clients can call.

        Args:
            handler: `async def f(ctx, ...)` with an annotation on every parameter.
            internal: other functions can call it, clients cannot.
            name: the name on the wire; by default the Python name in camelCase, without a trailing
                underscore.
            spacing_s: of a mutation: what one caller does to one `spaced_by` is committed together,
                so many seconds after the last such commit; at once where that was longer ago.
            spaced_by: the parameter whose value tells what is committed together.
        """
        spacing = None
        if spacing_s is not None or spaced_by is not None:
            spacing = Spacing(spacing_s or 0.0, spaced_by or "")

        def define(handler: Callable[..., Coroutine[Any, Any, Any]]) -> Definition[Any, ..., Any]:
            return Definition(handler, self.kind, is_internal=internal, name=name, spacing=spacing)

        return define if handler is None else define(handler)


query: Final[Decorator[QueryCtx]] = Decorator("query")
mutation: Final[Decorator[MutationCtx]] = Decorator("mutation")
action: Final[Decorator[ActionCtx]] = Decorator("action")


def on_authenticated(
    handler: Callable[[MutationCtx], Coroutine[Any, Any, R]],
) -> Definition[MutationCtx, [], R]:
    """Define an internal mutation that runs when an identity is first accepted.

    The place to create the row of a new user. At most one per registry; it takes only `ctx`.
    """
    return Definition(handler, "mutation", is_internal=True, is_on_authenticated=True)


@dataclass(frozen=True, slots=True)
class Function:
    """A function as it is served.

    Attributes:
        path: canonical, e.g. `conversations:addMessage`.
        kind: what it may do.
        is_internal: only other functions can call it.
        arguments: its parameters behind ctx.
        handler: called as `handler(ctx, **arguments.validate(args))`.
        doc: its docstring, cleaned; empty where it has none.
        spacing: how far apart its commits are.
    """

    path: str
    kind: Kind
    is_internal: bool
    arguments: Arguments
    handler: Callable[..., Coroutine[Any, Any, Any]]
    doc: str
    spacing: Spacing | None = None


class Registry:
    """The functions that a server serves, by path.

    Attributes:
        on_authenticated: the mutation to run when an identity is first accepted, if any.
    """

    def __init__(self) -> None:
        self.on_authenticated: Function | None = None
        self._functions: dict[str, Function] = {}

    @classmethod
    def from_modules(cls, names: Iterable[str]) -> Registry:
        """Import modules by dotted name and serve every function defined in them.

        Of a package, all submodules are imported; their paths are relative to it: `todos` in
        package `myapp.functions` is `todos:…`, `admin.users` in it `admin/users:…`.

        Raises:
            SetupError: a module cannot be found, or see `add_module`.
        """
        registry = cls()
        for name in names:
            root = _import(name)
            registry.add_module(root)
            for module in _submodules(root):
                registry.add_module(module, module.__name__[len(name) + 1 :].replace(".", "/"))
        return registry

    def add_module(self, module: ModuleType, prefix: str | None = None) -> None:
        """Serve the functions defined in `module`; what it merely imports is left out.

        Args:
            module: an imported module.
            prefix: its path; by default the last part of its name. The module's own
                `__parley_path__` goes before either.

        Raises:
            SetupError: a function that cannot be served, or two of one path; names file, function
                and parameter.
        """
        prefix = getattr(module, _PATH_ATTRIBUTE, prefix or module.__name__.rpartition(".")[2])
        # By identity: a definition under two names in its module is still one function.
        found = {id(item): item for item in vars(module).values() if isinstance(item, Definition)}
        for definition in found.values():
            if definition.handler.__module__ == module.__name__:
                self._add(_function(definition, prefix), definition)

    def find(self, path: str, kind: Kind, *, internal: bool = False) -> Function:
        """Return the function of this path and kind.

        Args:
            path: in any form that clients send.
            kind: what the caller wants to run.
            internal: whether the caller may run internal functions: another function may.

        Raises:
            FunctionNotFound: there is none, it is internal, or it is of another kind; the texts
                are Convex's (§11.2).
        """
        function = self._functions.get(path)
        if function is None:
            path = canonical(path)
            function = self._functions.get(path)
        if function is None or (function.is_internal and not internal):
            raise not_found(path)
        if function.kind != kind:
            module, _, name = path.rpartition(":")
            raise FunctionNotFound(
                f"Trying to execute {module}.js:{name} as {kind.capitalize()}, "
                f"but it is defined as {function.kind.capitalize()}."
            )
        return function

    def kind_of(self, path: str, *, internal: bool = False) -> Kind:
        """Return the kind of the function of this path.

        Raises:
            FunctionNotFound: there is none, or it is internal.
        """
        path = canonical(path)
        function = self._functions.get(path)
        if function is None or (function.is_internal and not internal):
            raise not_found(path)
        return function.kind

    def __iter__(self) -> Iterator[Function]:
        """Iterate over all functions, internal ones too, in the order of their paths."""
        return iter(sorted(self._functions.values(), key=lambda function: function.path))

    def _add(self, function: Function, definition: Definition[Any, ..., Any]) -> None:
        other = self._functions.setdefault(function.path, function)
        if other is not function:
            raise SetupError(
                f"{_place(function.handler)}: {_place(other.handler)} has the same path "
                f"{function.path}; give one of them another name"
            )
        if definition.is_on_authenticated:
            if self.on_authenticated is not None:
                first = _place(self.on_authenticated.handler)
                raise SetupError(
                    f"{_place(function.handler)}: {first} is @on_authenticated already"
                )
            self.on_authenticated = function


def _function(definition: Definition[Any, ..., Any], prefix: str) -> Function:
    handler = definition.handler
    try:
        arguments = arguments_for(handler)
        if definition.is_on_authenticated and arguments.parameters:
            raise SetupError("@on_authenticated functions take only ctx")
        path = f"{prefix}:{definition.name or wire_name(handler.__name__)}"
        if not _is_canonical(path):
            raise SetupError(f"{path!r} is not a path that clients can call")
        spacing = None if definition.spacing is None else _spacing(definition, arguments)
    except SetupError as error:
        raise SetupError(f"{_place(handler)}: {error.message}") from None
    return Function(
        path=path,
        kind=definition.kind,
        is_internal=definition.is_internal,
        arguments=arguments,
        handler=handler,
        doc=inspect.getdoc(handler) or "",
        spacing=spacing,
    )


def _spacing(definition: Definition[Any, ..., Any], arguments: Arguments) -> Spacing:
    """Return the spacing of a definition, with its argument as the wire names it."""
    assert definition.spacing is not None  # noqa: S101
    seconds, parameter = definition.spacing.seconds, definition.spacing.argument
    if definition.kind != "mutation":
        raise SetupError(f"spacing_s is for mutations, not for a {definition.kind}")
    if not 0 < seconds <= MAX_SPACING_S:
        raise SetupError(f"spacing_s must be above 0, and {MAX_SPACING_S:g} at most")
    required = {field.name for field in arguments.shape.fields if not field.is_optional}
    for name, python_name in arguments.parameters.items():
        if python_name == parameter and name in required:
            return Spacing(seconds, name)
    raise SetupError(f"spaced_by must name a parameter that is always given, not {parameter!r}")


def _is_canonical(path: str) -> bool:
    try:
        return canonical(path) == path
    except FunctionNotFound:
        return False


def _place(handler: Callable[..., Any]) -> str:
    """Return where a function is defined: `…/todos.py:12: add()`."""
    if not inspect.isfunction(handler):
        return repr(handler)
    code = inspect.unwrap(handler).__code__
    return f"{code.co_filename}:{code.co_firstlineno}: {handler.__qualname__}()"


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # importing runs the module: anything can happen
        raise SetupError(
            f"cannot import functions from {name!r}: {type(error).__name__}: {error}"
        ) from error


def _submodules(package: ModuleType) -> Iterator[ModuleType]:
    """Yield all modules inside a package, outer ones first; nothing for a plain module."""
    for info in pkgutil.iter_modules(getattr(package, "__path__", [])):
        if info.name != "__main__":  # importing it would run it
            module = _import(f"{package.__name__}.{info.name}")
            yield module
            yield from _submodules(module)
