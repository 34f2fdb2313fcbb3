"""Long lists of documents, in blocks that a list shares with the one it was read after.

A list that is read again holds the very same objects but for what changed, and Python compares
slices of the same objects fifty times as fast as a loop over them could. So what a change costs
here is a comparison for each block, and a look at each document of the blocks that differ.

Where a function returns just what it read, even that is spared: the range it was read from knows
which block has changed. With thousands of documents each look at all of them counts, because every
document is a wait for memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple, cast

from parley.values.types import Document, only_documents_are_equal

_BLOCK: Final = 64  # documents; smaller ones are more to compare, larger ones more to look through
_LONG: Final = 256  # documents; of fewer, blocks are compared as quickly
_MAX_EDITS: Final = 64  # of blocks that nobody asks for; comparing them all once costs less


class Block(list[Document]):
    """Documents of a list; shared, and never changed."""

    @cached_property
    def json_bytes(self) -> int:
        """Of all of it as wire JSON, with commas between."""
        return sum([len(document._json) for document in self]) + len(self) - 1


class Documents:
    """A list of nothing but documents, in a tree; not empty, never changed.

    Attributes:
        blocks: the documents in order, none of the blocks empty.
    """

    __slots__ = ("_length", "blocks")

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks
        self._length = sum(map(len, blocks))

    def __len__(self) -> int:
        """Return the number of documents."""
        return self._length

    def __iter__(self) -> Iterator[Document]:
        """Iterate over the documents."""
        for block in self.blocks:
            yield from block


class Listing:
    """Documents in order that change one by one, as a range of memory holds them.

    Attributes:
        documents: all of them.
    """

    __slots__ = ("_blocks", "_edits", "documents")

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self._blocks: list[Block] | None = None  # the same; made when a result is made of them
        self._edits = 0  # since somebody asked for the blocks

    def insert(self, at: int, document: Document) -> None:
        """Put a document in front of the one that is at `at`."""
        behind = len(self.documents) - at
        self.documents.insert(at, document)
        self._edit(behind, 0, [document])

    def remove(self, at: int) -> None:
        """Take the document at `at` out."""
        del self.documents[at]
        self._edit(len(self.documents) - at, 1, [])

    def replace(self, start: int, end: int, documents: list[Document]) -> None:
        """Put any number of documents in place of those from `start` to `end`."""
        self.documents[start:end] = documents
        self._blocks = None

    def copy(self) -> list[Document]:
        """Return a list of its own of all documents."""
        if len(self.documents) < _LONG:
            return self.documents.copy()
        copied = Excerpt(self.documents)
        copied.listing = self
        return copied

    def blocks_after(self, before: object) -> list[Block]:
        """Return all documents in blocks; those that have not changed are the same as last time.

        Args:
            before: as for `documents_of`, if it is the first time.
        """
        if self._blocks is None:
            made = _made_of(self.documents, before)
            assert made is not None  # noqa: S101 (there is nothing else here)
            self._blocks = made.blocks
        self._edits = 0
        return self._blocks.copy()

    def _edit(self, behind: int, count: int, new: list[Document]) -> None:
        """Put `new` in place of `count` documents with `behind` others behind; one or none each."""
        blocks = self._blocks
        self._edits += 1
        if not blocks or self._edits > _MAX_EDITS:
            self._blocks = None
            return
        number = len(blocks) - 1  # conversations change at their ends
        while behind + count > len(blocks[number]):
            behind -= len(blocks[number])
            number -= 1
        block = blocks[number]
        end = len(block) - behind
        edited = block[: end - count] + new + block[end:]
        if number and len(blocks[number - 1]) + len(edited) <= _BLOCK:
            number -= 1
            edited = blocks[number] + edited
            del blocks[number]
        is_short = 0 < len(edited) <= 2 * _BLOCK  # else lists that grow would be cut all the time
        blocks[number : number + 1] = [Block(edited)] if is_short else _cut(edited)


class Excerpt(list[Document]):
    """A copy of a `Listing`, for whoever reads it to change as any list.

    Attributes:
        listing: of which it is a copy; None for a list that somebody made of this type.
    """

    listing: Listing | None = None


def _listing_of(value: object) -> Listing | None:
    """Return the listing that holds now just what `value` holds, to the byte."""
    listing = value.listing if type(value) is Excerpt else None
    if listing is None:
        return None
    with only_documents_are_equal():
        # Called so, it asks our documents and never what somebody put in their place.
        return listing if list.__eq__(listing.documents, value) else None


def documents_of(value: Sequence[object], before: object) -> Documents | None:
    """Return a copy of a list of nothing but documents, which is not empty; else None.

    Args:
        value: the list.
        before: anything; if it is `Documents`, blocks of it are shared where they are the same.
    """
    if not value or type(value[0]) is not Document:
        return None
    listing = _listing_of(value)
    if listing is not None:
        return Documents(listing.blocks_after(before))
    # Another type may say one thing when it is iterated over and another when it is cut.
    is_plain = type(value) is list or type(value) is Excerpt
    return _made_of(cast("list[Document]", value if is_plain else list(value)), before)


def _made_of(documents: list[Document], before: object) -> Documents | None:
    if type(before) is Documents and len(documents) > _BLOCK:
        return _made_after(before, documents)
    return Documents(_cut(documents)) if _are_documents(documents) else None


def _made_after(before: Documents, documents: list[Document]) -> Documents | None:
    front, start, back, end = _found_again(before.blocks, documents)
    middle = documents[start:end]
    if not _are_documents(middle):
        return None
    if front and middle and len(front[-1]) + len(middle) <= _BLOCK:
        middle = front.pop() + middle  # else lists that grow would come to be of blocks of one
    return Documents(front + _cut(middle) + back)


def _are_documents(items: list[Any]) -> bool:
    return set(map(type, items)) <= {Document}


def _cut(documents: list[Document]) -> list[Block]:
    return [Block(documents[at : at + _BLOCK]) for at in range(0, len(documents), _BLOCK)]


def _found_again(
    known: list[Block], documents: list[Document]
) -> tuple[list[Block], int, list[Block], int]:
    """Return blocks that `documents` begins with, where they end; and the same from its end.

    These are the same to the byte, also where there are other things than documents.
    """
    start, end = 0, len(documents)
    front: list[Block] = []
    back: list[Block] = []
    with only_documents_are_equal():
        for block in known:
            if not list.__eq__(block, documents[start : start + len(block)]):
                break
            front.append(block)
            start += len(block)
        for block in reversed(known[len(front) :]):
            if end - len(block) < start:
                break
            if not list.__eq__(block, documents[end - len(block) : end]):
                break
            back.append(block)
            end -= len(block)
    return front, start, back[::-1], end


class Unshared(NamedTuple):
    """What two lists share, block by block, and what they do not.

    Attributes:
        front, back: the blocks that both begin with, and those that both end with.
        old, new: the blocks of each between these.
    """

    front: list[Block]
    old: list[Block]
    new: list[Block]
    back: list[Block]


def unshared(old: Documents, new: Documents) -> Unshared:
    """Return where two lists differ."""
    front = 0
    for block, other in zip(old.blocks, new.blocks, strict=False):
        if block is not other:
            break
        front += 1
    before, after, back = old.blocks[front:], new.blocks[front:], 0
    while before and after and before[-1] is after[-1]:
        before.pop()
        after.pop()
        back += 1
    return Unshared(old.blocks[:front], before, after, old.blocks[len(old.blocks) - back :])
