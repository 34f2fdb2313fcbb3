"""What makes one result of another: the patches of docs/protocol.md.

Results are compared as *trees*: checked values whose documents are still themselves. A document
that did not change is the same object in both, so comparing two long results looks at what differs
and at little else.

Operations are applied one after the other, each to what the one before left:

| operation                              | to                                                 |
|----------------------------------------|----------------------------------------------------|
| `["set", path, value]`                 | an object's field, or an array's element           |
| `["unset", path]`                      | an object's field, which is there                  |
| `["splice", path, index, count, items]`| an array: `items` in place of `count` elements     |
| `["append", path, text]`               | a text that goes on                                |
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, cast

from parley.values.documents import Documents, unshared
from parley.values.trees import encode_tree, fields_of
from parley.values.types import Document

_MAX_DEPTH: Final = 8  # of what is looked into: each level may cost as much as writing all below it
_CONTAINERS: Final = (dict, list, Document, Documents)
Path = tuple[str | int, ...]
List = list[Any] | Documents


@dataclass(frozen=True, slots=True)
class Patch:
    """What to do to a result.

    Attributes:
        ops: operations as wire JSON, with commas between; empty where nothing changed.
        growth: by how many bytes the whole JSON gets longer.
    """

    ops: bytes
    growth: int


def diff(old: object, new: object) -> Patch | None:
    """Return what makes tree `new` of tree `old`; None where only the whole can say it."""
    if not (_is_list(old) and _is_list(new)) and not (_is_object(old) and _is_object(new)):
        return None
    found = _Comparison()
    found.compare(old, new, ())
    return Patch(b",".join(map(encode_tree, found.ops)), found.growth)


class _Comparison:
    """Collects the operations that lead from one tree to another."""

    def __init__(self) -> None:
        self.ops: list[list[object]] = []
        self.growth = 0

    def compare(self, old: object, new: object, path: Path) -> None:
        """Add what makes `new` of `old`, which is at `path`."""
        if old is new:
            return
        is_deep = len(path) >= _MAX_DEPTH
        if not is_deep and _is_object(old) and _is_object(new):
            self._objects(old, new, path)
        elif not is_deep and _is_list(old) and _is_list(new):
            self._arrays(cast("List", old), cast("List", new), path)
        elif isinstance(old, str) and isinstance(new, str) and old and new.startswith(old):
            if len(new) > len(old):
                self._add(_size(new) - _size(old), "append", path, new[len(old) :])
        elif not _is_same(old, new):
            self._add(_size(new) - _size(old), "set", path, new)

    def _add(self, growth: int, name: str, path: Path, *rest: object) -> None:
        self.ops.append([name, list(path), *rest])
        self.growth += growth

    def _objects(self, old: object, new: object, path: Path) -> None:
        if type(old) is Document and type(new) is Document and old.json == new.json:
            return
        before, after = _fields(old), _fields(new)
        for key in sorted(before.keys() - after.keys()):
            self._add(-_size(key) - 1 - _size(before[key]), "unset", (*path, key))
        for key in sorted(after):
            if key in before:
                self.compare(before[key], after[key], (*path, key))
            else:
                self._add(_size(key) + 1 + _size(after[key]), "set", (*path, key), after[key])
        self.growth += _commas(len(after)) - _commas(len(before))

    def _arrays(self, old: List, new: List, path: Path) -> None:
        self.growth += _commas(len(new)) - _commas(len(old))
        first, before, after = _middles(old, new)
        # From behind, so that what is in front is still where it was.
        for gap in reversed(list(_gaps(before, after))):
            self._gap(before, after, gap, path, first)

    def _gap(
        self, old: list[Any], new: list[Any], gap: tuple[int, int, int, int], path: Path, first: int
    ) -> None:
        """Turn the elements of a gap into others: changed ones are compared, the rest replaced.

        `first` is where the first of `old` is in the array at `path`.
        """
        old_start, old_end, new_start, new_end = gap
        at, end = old_start, new_end
        while at < old_end and new_start < end and _is_version(old[at], new[new_start]):
            at, new_start = at + 1, new_start + 1
        while at < old_end and new_start < end and _is_version(old[old_end - 1], new[end - 1]):
            old_end, end = old_end - 1, end - 1
            self.compare(old[old_end], new[end], (*path, first + old_end))
        count, items = old_end - at, new[new_start:end]
        if count or items:
            growth = sum(map(_size, items)) - sum(map(_size, old[at:old_end]))
            self._add(growth, "splice", path, first + at, count, items)
        for back in range(1, at - old_start + 1):
            self.compare(old[at - back], new[new_start - back], (*path, first + at - back))


def _middles(old: List, new: List) -> tuple[int, list[Any], list[Any]]:
    """Return how many elements both begin with, and what is between those and a common end."""
    if type(old) is Documents and type(new) is Documents:
        found = unshared(old, new)
        first = sum(map(len, found.front))
        before, after = list(chain(*found.old)), list(chain(*found.new))
    else:
        first, before, after = 0, list(old), list(new)
    shorter, start, end = min(len(before), len(after)), 0, 0
    while start < shorter and _is_same(before[start], after[start]):
        start += 1
    while start + end < shorter and _is_same(before[-end - 1], after[-end - 1]):
        end += 1
    return first + start, before[start : len(before) - end], after[start : len(after) - end]


def _gaps(old: list[Any], new: list[Any]) -> Iterator[tuple[int, int, int, int]]:
    """Cut what differs at the elements that stay: (old start, old end, new start, new end)."""
    old_at, new_at = 0, 0
    if old and new:
        for old_kept, new_kept in _kept(old, new):
            yield old_at, old_kept, new_at, new_kept
            old_at, new_at = old_kept + 1, new_kept + 1
    yield old_at, len(old), new_at, len(new)


def _kept(old: list[Any], new: list[Any]) -> list[tuple[int, int]]:
    """Return the most elements that stay in their order, as places in both."""
    places = {encode_tree(item): at for at, item in enumerate(old)}
    tops: list[int] = []  # the smallest old place at which a chain of each length ends
    links: list[tuple[int, int, Any]] = []  # those chains: (old place, new place, chain before)
    for new_at, item in enumerate(new):
        old_at = places.get(encode_tree(item))
        if old_at is None:
            continue
        length = bisect_left(tops, old_at)
        link = (old_at, new_at, links[length - 1] if length else None)
        tops[length : length + 1] = [old_at]
        links[length : length + 1] = [link]
    chain: Any = links[-1] if links else None
    found = []
    while chain is not None:
        found.append(chain[:2])
        chain = chain[2]
    return found[::-1]


def _is_same(old: object, new: object) -> bool:
    """Tell whether a client cannot tell these apart; 1, 1.0 and true are not the same."""
    if old is new:
        return True
    if isinstance(old, _CONTAINERS):
        return isinstance(new, _CONTAINERS) and encode_tree(old) == encode_tree(new)
    return type(old) is type(new) and old == new


def _is_version(old: object, new: object) -> bool:
    """Tell whether `new` seems to be what became of `old`."""
    if _is_object(old) and _is_object(new):
        return _is_same(_id(old), _id(new))
    if isinstance(old, str) and isinstance(new, str):
        return new.startswith(old)
    return _is_list(old) and _is_list(new)


def _is_list(node: object) -> bool:
    return isinstance(node, list | Documents)


def _is_object(node: object) -> bool:
    """Tell whether a client has an object there; a mark such as `{"$integer": …}` is a value."""
    if type(node) is dict:
        return not (len(node) == 1 and next(iter(node)).startswith("$"))
    return type(node) is Document


def _fields(node: object) -> dict[str, object]:
    return fields_of(node) if type(node) is Document else cast("dict[str, object]", node)


def _id(node: object) -> object:
    return cast("Any", node).get("_id")


def _size(node: object) -> int:
    return len(encode_tree(node))


def _commas(length: int) -> int:
    return max(length - 1, 0)
