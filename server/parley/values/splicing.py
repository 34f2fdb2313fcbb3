"""The JSON of a long value made from that of the one before: what stayed is copied as bytes.

Writing 1,000 documents anew takes longer than to copy all of their bytes at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Final

import orjson

from parley.values.documents import Block, Documents, unshared
from parley.values.trees import spliced

Piece = bytes | memoryview
_HOLE: Final = b"\0"  # JSON has no such byte


@dataclass(frozen=True, slots=True)
class LongText:
    """The JSON of a tree around its longest list of documents.

    Attributes:
        head, foot: what is in front of the list and behind it, with its brackets.
        documents: the list.
    """

    head: bytes
    documents: Documents
    foot: bytes

    def pieces(self) -> list[Piece]:
        """Return what joined together is this JSON."""
        return [self.head, _joined(self.documents.blocks), self.foot]

    def pieces_after(self, old: LongText, text: memoryview) -> list[Piece] | None:
        """Return the same, with pieces of an earlier value's JSON, `text`; None if that is it."""
        found = unshared(old.documents, self.documents)
        if (self.head, self.foot) == (old.head, old.foot) and _are_same(found.old, found.new):
            return None
        start, end = len(old.head), len(text) - len(old.foot)
        pieces: list[Piece] = [self.head]
        if found.front:
            pieces += (text[start : start + _bytes_of(found.front)], b",")
        if found.new:
            pieces += (_joined(found.new), b",")
        if found.back:
            pieces += (text[end - _bytes_of(found.back) : end], b",")
        pieces[-1] = self.foot  # in place of the last comma: these lists are never empty
        return pieces


def long_text_of(tree: object) -> LongText | None:
    """Return the JSON of a tree around its longest list; None where there is no such list.

    Looked for in the tree itself and in its fields, not deeper.
    """
    if type(tree) is Documents:
        return LongText(b"[", tree, b"]")
    if type(tree) is not dict:
        return None
    lists = [item for item in tree.values() if type(item) is Documents]
    if not lists:
        return None
    longest = max(lists, key=len)
    fields = {
        key: orjson.Fragment(_HOLE) if item is longest else spliced(item)
        for key, item in tree.items()
    }
    head, _, foot = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).partition(_HOLE)
    return LongText(head + b"[", longest, b"]" + foot)


def _joined(blocks: list[Block]) -> bytes:
    return b",".join([document._json for block in blocks for document in block])


def _are_same(old: list[Block], new: list[Block]) -> bool:
    return old == new or list(chain(*old)) == list(chain(*new))


def _bytes_of(blocks: list[Block]) -> int:
    """Return how long these are together, with commas between."""
    return sum([block.json_bytes for block in blocks]) + len(blocks) - 1
