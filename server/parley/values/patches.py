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
from typing import Any, Final, cast

from parley.values.encoding import Documents, encode_tree, fields_of
from parley.values.types import Document

_CHUNK: Final = 256
_MAX_DEPTH: Final = 8  # of what is looked into: each level may cost as much as writing all below it
Path = tuple[str | int, ...]


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
    are_lists = isinstance(old, list) and isinstance(new, list)
    if not are_lists and not (_is_object(old) and _is_object(new)):
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
        elif not is_deep and isinstance(old, list) and isinstance(new, list):
            self._arrays(old, new, path)
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

    def _arrays(self, old: list[Any], new: list[Any], path: Path) -> None:
        start = _shared_start(old, new)
        shared_end = _shared_end(old, new, min(len(old), len(new)) - start)
        gaps = list(_gaps(old, new, (start, len(old) - shared_end, start, len(new) - shared_end)))
        # From behind, so that what is in front is still where it was.
        for gap in reversed(gaps):
            self._gap(old, new, gap, path)
        self.growth += _commas(len(new)) - _commas(len(old))

    def _gap(
        self, old: list[Any], new: list[Any], gap: tuple[int, int, int, int], path: Path
    ) -> None:
        """Turn the elements of a gap into others: changed ones are compared, the rest replaced."""
        old_start, old_end, new_start, new_end = gap
        first, end = old_start, new_end
        while first < old_end and new_start < end and _is_version(old[first], new[new_start]):
            first, new_start = first + 1, new_start + 1
        while first < old_end and new_start < end and _is_version(old[old_end - 1], new[end - 1]):
            old_end, end = old_end - 1, end - 1
            self.compare(old[old_end], new[end], (*path, old_end))
        count, items = old_end - first, new[new_start:end]
        if count or items:
            growth = sum(map(_size, items)) - sum(map(_size, old[first:old_end]))
            self._add(growth, "splice", path, first, count, items)
        for back in range(1, first - old_start + 1):
            self.compare(old[first - back], new[new_start - back], (*path, first - back))


def _gaps(
    old: list[Any], new: list[Any], middle: tuple[int, int, int, int]
) -> Iterator[tuple[int, int, int, int]]:
    """Cut what differs at the elements that stay: (old start, old end, new start, new end)."""
    old_at, old_end, new_at, new_end = middle
    if old_at < old_end and new_at < new_end:
        for old_kept, new_kept in _kept(old, new, middle):
            yield old_at, old_kept, new_at, new_kept
            old_at, new_at = old_kept + 1, new_kept + 1
    yield old_at, old_end, new_at, new_end


def _kept(
    old: list[Any], new: list[Any], middle: tuple[int, int, int, int]
) -> list[tuple[int, int]]:
    """Return the most elements that stay in their order, as places in both."""
    old_start, old_end, new_start, new_end = middle
    places = {encode_tree(old[at]): at for at in range(old_start, old_end)}
    tops: list[int] = []  # the smallest old place at which a chain of each length ends
    links: list[tuple[int, int, Any]] = []  # those chains: (old place, new place, chain before)
    for new_at in range(new_start, new_end):
        old_at = places.get(encode_tree(new[new_at]))
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


def _shared_start(old: list[Any], new: list[Any]) -> int:
    """Return how many elements are the same at the beginning of both."""
    length, at = min(len(old), len(new)), 0
    if type(old) is type(new) is Documents:
        while at < length and old[at : at + _CHUNK] == new[at : at + _CHUNK]:
            at += _CHUNK
    while at < length and _is_same(old[at], new[at]):
        at += 1
    return min(at, length)


def _shared_end(old: list[Any], new: list[Any], length: int) -> int:
    """Return how many elements, at most `length`, are the same at the end of both."""
    at, old_end, new_end = 0, len(old), len(new)
    if type(old) is type(new) is Documents:
        while (
            at + _CHUNK <= length
            and old[old_end - at - _CHUNK : old_end - at]
            == new[new_end - at - _CHUNK : new_end - at]
        ):
            at += _CHUNK
    while at < length and _is_same(old[old_end - at - 1], new[new_end - at - 1]):
        at += 1
    return at


def _is_same(old: object, new: object) -> bool:
    """Tell whether a client cannot tell these apart; 1, 1.0 and true are not the same."""
    if old is new:
        return True
    if isinstance(old, dict | list | Document):
        return isinstance(new, dict | list | Document) and encode_tree(old) == encode_tree(new)
    return type(old) is type(new) and old == new


def _is_version(old: object, new: object) -> bool:
    """Tell whether `new` seems to be what became of `old`."""
    if _is_object(old) and _is_object(new):
        return _is_same(_id(old), _id(new))
    if isinstance(old, str) and isinstance(new, str):
        return new.startswith(old)
    return isinstance(old, list) and isinstance(new, list)


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
