"""What a client makes of a patch: `docs/protocol.md`, written once more, as plainly as it reads."""

from __future__ import annotations

import copy
from typing import Any


class Unfit(Exception):
    """The patch says something of the value that is not so."""


def fits(condition: object) -> None:
    if not condition:
        raise Unfit


def apply_patch(value: Any, patch: list[Any]) -> Any:
    """Return the value after a patch; both in wire JSON."""
    value = copy.deepcopy(value)
    for name, path, *rest in copy.deepcopy(patch):
        if name == "splice":
            found = at(value, path)
            index, count, items = rest
            fits(isinstance(found, list) and isinstance(items, list))
            fits(0 <= index <= index + count <= len(found))
            found[index : index + count] = items
            continue
        *above, last = path
        parent = at(value, above)
        if isinstance(last, str):
            fits(isinstance(parent, dict))
        else:
            fits(name != "unset" and isinstance(parent, list) and 0 <= last < len(parent))
        if name == "set":
            [parent[last]] = rest
        elif name == "unset":
            fits(last in parent and not rest)
            del parent[last]
        elif name == "append":
            [text] = rest
            fits(isinstance(parent, list) or last in parent)
            fits(isinstance(parent[last], str) and isinstance(text, str))
            parent[last] += text
        else:
            raise Unfit(name)
    return value


def at(value: Any, path: list[Any]) -> Any:
    for step in path:
        if isinstance(step, str):
            fits(isinstance(value, dict) and step in value)
        else:
            fits(isinstance(value, list) and 0 <= step < len(value))
        value = value[step]
    return value
