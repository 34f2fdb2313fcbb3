"""Values as *trees*: checked, and as they go on the wire, but with documents still themselves.

What is kept of a result to compare the next one with. See `patches`.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from parley.values.documents import Documents, documents_of
from parley.values.encoding import build_items, build_wire
from parley.values.rules import (
    MAX_ARRAY,
    MAX_OBJECT,
    Invalid,
    check_container,
    check_key,
    key_step,
)
from parley.values.types import Document


def tree_of(value: object, before: object = None) -> object:
    """Return a checked copy of `value` whose documents are still themselves.

    Raises as `encode` does; `encode_tree` of it is what `encode` gives.

    Args:
        value: to be copied.
        before: the tree of an earlier value: what it shares with `value` need not be checked again.
    """
    try:
        return _tree(value, before, 1)
    except Invalid as invalid:
        raise invalid.error("") from None


def encode_tree(tree: object) -> bytes:
    """Return the canonical wire JSON of what `tree_of` gave, or of a part of it."""
    if type(tree) is Document:
        return tree.json
    return orjson.dumps(spliced(tree), option=orjson.OPT_SORT_KEYS)


def fields_of(document: Document) -> dict[str, object]:
    """Return the fields of a document, each as a tree."""
    return {name: build_wire(value) for name, value in document.fields.items()}


def spliced(tree: object) -> object:
    """Return what orjson makes the JSON of a tree from."""
    if type(tree) is Document:
        return tree._fragment
    if type(tree) is Documents:
        return [item._fragment for block in tree.blocks for item in block]
    if isinstance(tree, list):
        return [spliced(item) for item in tree]
    if isinstance(tree, dict):
        return {key: spliced(item) for key, item in tree.items()}
    return tree


def _tree(value: object, before: object, depth: int) -> object:
    if type(value) is Document:
        return value
    if isinstance(value, list | tuple):
        return _array(value, before, depth)
    if isinstance(value, dict):
        return _object(value, before, depth)
    return build_wire(value)


def _array(value: Sequence[object], before: object, depth: int) -> Documents | list[object]:
    check_container("an array", len(value), MAX_ARRAY, depth)
    documents = documents_of(value, before)
    if documents is not None:
        return documents
    return build_items(value, _tree, None, depth)


def _object(value: dict[object, object], before: object, depth: int) -> dict[object, object]:
    check_container("an object", len(value), MAX_OBJECT, depth)
    known = before if type(before) is dict else {}
    fields: dict[object, object] = {}
    for key, item in value.items():
        check_key(key)
        try:
            fields[key] = _tree(item, known.get(key), depth + 1)
        except Invalid as invalid:
            invalid.steps.append(key_step(key))
            raise
    return fields
