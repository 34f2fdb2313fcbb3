"""Annotations of Python parameters turned into validators, once, when functions are registered."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from types import NoneType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    is_typeddict,
)

from parley.errors import SetupError
from parley.functions.validators import (
    Anything,
    Arguments,
    Array,
    Constant,
    Field,
    Id,
    Integer,
    Object,
    Record,
    Scalar,
    TableId,
    Union,
    UnsetType,
    Validator,
)
from parley.store.tables import camel
from parley.values import Int64

_Outer = tuple[type, ...]  # the TypedDicts around an annotation, to notice one inside itself

_PLAIN: Final[dict[Any, Validator]] = {
    str: Scalar("string"),
    bool: Scalar("boolean"),
    float: Scalar("float64"),
    int: Integer(),
    Int64: Scalar("int64"),
    bytes: Scalar("bytes"),
    NoneType: Scalar("null"),
    Any: Anything(),
}
_SUPPORTED: Final = (
    "str, bool, float, int, Int64, bytes, None, Any, Literal, list[T], dict[str, T], a TypedDict, "
    'Annotated[str, TableId("table")], unions of these, and Opt[T] for what may be absent'
)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def validator_for(annotation: Any) -> Validator:
    """Return the validator of an evaluated annotation (see the table in `validators`).

    Raises:
        SetupError: nothing on the wire corresponds to it.
    """
    return _validator(NoneType if annotation is None else annotation, ())


def arguments_for(handler: Callable[..., Any]) -> Arguments:
    """Return the arguments of a function: all its parameters but the first, `ctx`.

    A parameter may be absent on the wire exactly if it has a default.

    Raises:
        SetupError: no `ctx`, `*args`, `**kwargs`, a positional-only or unannotated parameter, an
            annotation without validator, `Opt` without default, or two parameters of one wire
            name. The message names the parameter.
    """
    parameters = list(inspect.signature(handler).parameters.values())
    if not parameters or parameters[0].name != "ctx" or not _is_positional(parameters.pop(0)):
        raise SetupError("the first parameter must be ctx")
    hints = _hints(handler, parameters)
    fields = [_argument(parameter, hints[parameter.name]) for parameter in parameters]
    names = {
        field.name: parameter.name for field, parameter in zip(fields, parameters, strict=True)
    }
    if len(names) < len(fields):
        raise SetupError(f"two parameters share a wire name: {[f.name for f in fields]}")
    return Arguments(Object(tuple(fields)), names)


def _is_positional(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)


def wire_name(name: str) -> str:
    """Return the wire name of a Python function or parameter: `list_page` -> `listPage`.

    One trailing underscore is dropped, so `list_` and `from_` are `list` and `from`.

    Raises:
        SetupError: it starts with an underscore or is not ASCII.
    """
    if not _NAME.fullmatch(name):
        raise SetupError(f"the name {name!r} must be ASCII and start with a letter")
    return camel(name.removesuffix("_"))


def _hints(handler: Callable[..., Any], parameters: list[inspect.Parameter]) -> dict[str, Any]:
    """Return the evaluated annotations of `parameters`.

    Only theirs: ctx and the result may name what was imported for type checkers alone.
    """
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            kind = parameter.kind.description
            raise SetupError(f"parameter {parameter.name!r} is {kind}; arguments come by name")
        if parameter.annotation is parameter.empty:
            raise SetupError(f"parameter {parameter.name!r} has no annotation")
    carrier = types.SimpleNamespace(__annotations__={p.name: p.annotation for p in parameters})
    names = inspect.unwrap(handler).__globals__
    try:
        return typing.get_type_hints(carrier, globalns=names, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise SetupError(f"an annotation cannot be evaluated: {error}") from error


def _argument(parameter: inspect.Parameter, annotation: Any) -> Field:
    has_default = parameter.default is not parameter.empty
    try:
        if _is_opt(annotation) and not has_default:
            raise SetupError("Opt[...] needs the default UNSET")
        return Field(wire_name(parameter.name), _present(annotation, ()), has_default)
    except SetupError as error:
        raise SetupError(f"parameter {parameter.name!r}: {error.message}") from None


def _validator(annotation: Any, outer: _Outer) -> Validator:
    if isinstance(annotation, type) and annotation in _PLAIN:
        return _PLAIN[annotation]
    if is_typeddict(annotation):
        return _object(annotation, outer)
    builder = _BUILDERS.get(typing.get_origin(annotation))
    if builder is None or not typing.get_args(annotation):
        shown = annotation.__qualname__ if isinstance(annotation, type) else repr(annotation)
        raise SetupError(f"the annotation {shown} is not supported; use {_SUPPORTED}")
    return builder(annotation, outer)


def _literal(annotation: Any, _outer: _Outer) -> Validator:
    return _union_of(map(_constant, typing.get_args(annotation)))


def _constant(value: object) -> Validator:
    if value is None:
        return Scalar("null")
    if type(value) in (str, int, bool):
        return Constant(value)  # type: ignore[arg-type]  # one of these, see above
    raise SetupError(
        f"Literal[{value!r}] is not supported; use text, whole numbers, booleans, None"
    )


def _list(annotation: Any, outer: _Outer) -> Validator:
    (element,) = typing.get_args(annotation)
    return Array(_validator(element, outer))


def _record(annotation: Any, outer: _Outer) -> Validator:
    key, value = typing.get_args(annotation)
    if key is not str:
        raise SetupError("dict keys must be str")
    return Record(_validator(value, outer))


def _annotated(annotation: Any, outer: _Outer) -> Validator:
    base, *marks = typing.get_args(annotation)
    tables = [mark.table for mark in marks if isinstance(mark, TableId)]
    if not tables:
        return _validator(base, outer)
    if base is not str:
        raise SetupError("TableId marks str")
    return Id(tables[0])


def _union(annotation: Any, outer: _Outer) -> Validator:
    return _union_of(_validator(member, outer) for member in typing.get_args(annotation))


def _union_of(members: Iterable[Validator]) -> Validator:
    flat: list[Validator] = []
    for member in members:
        flat += member.members if isinstance(member, Union) else (member,)
    return flat[0] if len(flat) == 1 else Union(tuple(flat))


def _object(annotation: Any, outer: _Outer) -> Object:
    if annotation in outer:
        raise SetupError(f"{annotation.__qualname__} contains itself; use Any for the inner one")
    inside = (*outer, annotation)
    return Object(tuple(_field(annotation, hint, inside) for hint in fields_of(annotation)))


class FieldHint(NamedTuple):
    """A field of a TypedDict: its evaluated annotation, without what says that it may be absent."""

    name: str
    annotation: Any
    is_optional: bool


def fields_of(owner: Any) -> Iterator[FieldHint]:
    """Yield the fields of a TypedDict, inherited ones too."""
    for name, hint in typing.get_type_hints(owner, include_extras=True).items():
        # `__optional_keys__` knows `total=False` but not a NotRequired that was written as text
        # (`from __future__ import annotations`); the evaluated hint knows the latter.
        is_optional = name in owner.__optional_keys__
        if typing.get_origin(hint) in (NotRequired, Required):
            is_optional = typing.get_origin(hint) is NotRequired
            (hint,) = typing.get_args(hint)
        yield FieldHint(name, hint, is_optional or _is_opt(hint))


def _field(owner: Any, hint: FieldHint, outer: _Outer) -> Field:
    try:
        return Field(hint.name, _present(hint.annotation, outer), hint.is_optional)
    except SetupError as error:
        raise SetupError(f"{owner.__qualname__}.{hint.name}: {error.message}") from None


def _is_opt(annotation: Any) -> bool:
    return UnsetType in typing.get_args(annotation)


def _present(annotation: Any, outer: _Outer) -> Validator:
    """Return the validator of what is there when it is not absent."""
    if not _is_opt(annotation):
        return _validator(annotation, outer)
    present = [member for member in typing.get_args(annotation) if member is not UnsetType]
    return _union_of(_validator(member, outer) for member in present)


_BUILDERS: Final[dict[Any, Callable[[Any, _Outer], Validator]]] = {
    Literal: _literal,
    list: _list,
    dict: _record,
    Annotated: _annotated,
    typing.Union: _union,
    types.UnionType: _union,
}
