"""TypeScript types of an app's functions, from the annotations of the Python ones.

Three files, as `convex codegen` has them, for our client and for the official ones alike:

    dataModel.d.ts   Id<"table">
    api.d.ts         `api`: a reference to every public function, with its arguments and its result
    api.js           `api` at run time: any path is a reference; it imports nothing

The text is the same whenever the functions are: it can be kept in git and compared (`--check`).
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, is_typeddict

from parley.errors import SetupError
from parley.functions.annotations import fields_of, validator_for
from parley.functions.registry import Function, Registry
from parley.functions.validators import (
    Anything,
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

_HEAD: Final = "// Written by `parley codegen` from the functions' annotations. Do not edit.\n"
_SCALARS: Final = {
    "string": "string",
    "boolean": "boolean",
    "float64": "number",
    "int64": "bigint",
    "bytes": "ArrayBuffer",
    "null": "null",
}
# Names that the generated files use themselves.
_OWN_NAMES: Final = frozenset({"Array", "ArrayBuffer", "Id", "Record", "Reference"})
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")

_DATA_MODEL: Final = f"""{_HEAD}
/** The id of a row: text, that only functions and this type tell from other text. */
export type Id<TableName extends string> = string & {{ __tableName: TableName }};
"""

_API_HEAD: Final = f"""{_HEAD}
import type {{ Id }} from "./dataModel.js";

/** A reference to a function, as `useQuery` and the others take it. */
type Reference<Kind extends "query" | "mutation" | "action", Args, Result> = {{
  _type: Kind;
  _visibility: "public";
  _args: Args;
  _returnType: Result;
  _componentPath: undefined;
}};
"""

_API_JS: Final = f"""{_HEAD}
const functionName = Symbol.for("functionName");

/** A reference to what stands at these steps: `api.folder.module.name`. */
const reference = (steps) =>
  new Proxy(
    {{}},
    {{
      get(_target, key) {{
        if (typeof key === "string") return reference([...steps, key]);
        if (key !== functionName) return undefined;
        if (steps.length < 2) throw new Error(`api.${{steps.join(".")}} is no function`);
        return `${{steps.slice(0, -1).join("/")}}:${{steps.at(-1)}}`;
      }},
    }},
  );

export const api = reference([]);
"""


def generate(registry: Registry) -> dict[str, str]:
    """Return the text of each file, by its name."""
    results = _Results()
    root = _Node()
    for function in registry:
        if not function.is_internal:
            _place(root, function)
    api = root.text(results, "")  # first: it finds which types there are
    named = "".join(f"\nexport type {name} = {text};\n" for name, text in results.types())
    return {
        "api.d.ts": f"{_API_HEAD}{named}\nexport declare const api: {api};\n",
        "api.js": _API_JS,
        "dataModel.d.ts": _DATA_MODEL,
    }


# --- the tree of paths


@dataclass(slots=True)
class _Node:
    """A step of `api.folder.module.name`; may be a function and hold others at once."""

    function: Function | None = None
    children: dict[str, _Node] = field(default_factory=dict)

    def text(self, results: _Results, indent: str) -> str:
        """Return the type of what stands here."""
        parts = []
        if self.function is not None:
            parts.append(_reference(self.function, results))
        if self.children or self.function is None:
            inner = indent + "  "
            lines = [
                f"{_comment(node.function, inner)}{inner}{_key(name)}: {node.text(results, inner)};"
                for name, node in sorted(self.children.items())
            ]
            parts.append("\n".join(["{", *lines, indent + "}"]))
        return " & ".join(parts)


def _place(root: _Node, function: Function) -> None:
    module, _, name = function.path.rpartition(":")
    node = root
    for step in [*module.split("/"), name]:
        node = node.children.setdefault(step, _Node())
    node.function = function


def _reference(function: Function, results: _Results) -> str:
    shape = function.arguments.shape
    args = type_of(shape) if shape.fields else "Record<string, never>"
    return f'Reference<"{function.kind}", {args}, {results.of(function)}>'


def _comment(function: Function | None, indent: str) -> str:
    if function is None or not function.doc:
        return ""
    first = " ".join(function.doc.partition("\n\n")[0].split()).replace("*/", "* /")
    return f"{indent}/** {first} */\n"


def _key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)


# --- arguments


def type_of(validator: Validator) -> str:
    """Return the type of what a validator takes."""
    match validator:
        case Scalar(kind):
            return _SCALARS[kind]
        case Integer():
            return "number"
        case Constant(value):
            return json.dumps(value)
        case Id(table):
            return f"Id<{json.dumps(table)}>"
        case Array(element):
            return _array(type_of(element))
        case Record(value):
            return f"Record<string, {type_of(value)}>"
        case Object(fields):
            return _object([_argument(each) for each in fields])
        case Union(members):
            return _union([type_of(member) for member in members])
        case Anything():
            return "any"
    raise TypeError(f"no TypeScript type is known for {validator}")


def _argument(argument: Field) -> str:
    return _field(argument.name, type_of(argument.validator), is_optional=argument.is_optional)


def _field(name: str, text: str, *, is_optional: bool) -> str:
    return f"{_key(name)}{'?' if is_optional else ''}: {text}"


def _object(fields: Sequence[str]) -> str:
    return "{ " + "; ".join(fields) + " }" if fields else "Record<string, never>"


def _array(element: str) -> str:
    return f"Array<{element}>" if " | " in element else f"{element}[]"


def _union(members: Sequence[str]) -> str:
    unique = list(dict.fromkeys(members))
    return "any" if "any" in unique else " | ".join(unique)


# --- results


class _Results:
    """Types of results. Each TypedDict is named once and may contain itself."""

    def __init__(self) -> None:
        self._names: dict[Any, str] = {}
        self._bodies: dict[str, str] = {}

    def types(self) -> list[tuple[str, str]]:
        """Return the named types that were met, by name."""
        return sorted(self._bodies.items())

    def of(self, function: Function) -> str:
        """Return the type of a function's result; `any` where its annotation cannot be read."""
        handler = function.handler
        carrier = types.SimpleNamespace(
            __annotations__={"return": handler.__annotations__.get("return", Any)}
        )
        try:
            hints = typing.get_type_hints(
                carrier, globalns=getattr(handler, "__globals__", {}), include_extras=True
            )
        except (NameError, TypeError, SyntaxError):
            return "any"  # what it names was imported for type checkers only
        return self._type(hints["return"], {})

    def _type(self, annotation: Any, variables: Mapping[Any, Any]) -> str:
        annotation = variables.get(annotation, annotation) if variables else annotation
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if is_typeddict(annotation):
            return self._named(annotation)
        if is_typeddict(origin):
            return self._fields(origin, dict(zip(origin.__parameters__, arguments, strict=True)))
        if origin is Annotated:
            tables = [mark.table for mark in arguments[1:] if isinstance(mark, TableId)]
            return f"Id<{json.dumps(tables[0])}>" if tables else self._type(arguments[0], variables)
        if origin in (typing.Union, types.UnionType):
            present = [member for member in arguments if member is not UnsetType]
            return _union([self._type(member, variables) for member in present])
        if isinstance(origin, type) and issubclass(origin, Sequence) and arguments:
            return _array(self._type(arguments[0], variables))
        if isinstance(origin, type) and issubclass(origin, Mapping) and len(arguments) == 2:
            return f"Record<string, {self._type(arguments[1], variables)}>"
        return _plain(annotation)

    def _named(self, owner: Any) -> str:
        if owner not in self._names:
            name = owner.__name__
            if name in self._bodies or name in _OWN_NAMES:
                module = owner.__module__.rpartition(".")[2]
                name = "".join(part.capitalize() for part in module.split("_")) + name
            self._names[owner] = name
            self._bodies[name] = ""  # taken; it may refer to itself
            self._bodies[name] = self._fields(owner, {}, separator="\n")
        return self._names[owner]

    def _fields(self, owner: Any, variables: Mapping[Any, Any], separator: str = " ") -> str:
        fields = [
            _field(name, self._type(annotation, variables), is_optional=is_optional)
            for name, annotation, is_optional in fields_of(owner)
        ]
        if separator == " " or not fields:
            return _object(fields)
        return "{\n" + "".join(f"  {each};\n" for each in fields) + "}"


def _plain(annotation: Any) -> str:
    try:
        return type_of(validator_for(annotation))
    except SetupError:
        return "any"  # nothing that the wire has a type for, e.g. a Document
