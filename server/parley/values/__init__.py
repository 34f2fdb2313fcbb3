"""Convex values: what functions take and return, and their JSON on the wire (PROTOCOL.md §14).

| Convex        | Python            | wire JSON                                                   |
|---------------|-------------------|-------------------------------------------------------------|
| null          | None              | null                                                        |
| boolean       | bool              | true, false                                                 |
| float64       | int, float        | number; NaN, ±Infinity and -0.0 are `{"$float": base64}`    |
| int64         | Int64             | `{"$integer": base64}`                                      |
| string        | str               | string                                                      |
| bytes         | bytes             | `{"$bytes": base64}`                                        |
| array         | list (tuple out)  | array                                                       |
| object        | dict, Document    | object                                                      |

Every value is checked on the way in *and* on the way out: official JavaScript clients check object
keys while they apply a Transition, and one key they refuse (`$ref`, or any that is not ASCII) stops
every query of that client for good. So nothing may leave the server that has not passed here.
"""

from parley.values.decoding import decode, ts_from_wire
from parley.values.documents import Listing
from parley.values.encoding import (
    compact,
    encode,
    encode_plain,
    to_wire,
    ts_to_wire,
)
from parley.values.patches import Patch, diff
from parley.values.rules import MAX_ARRAY, MAX_DEPTH, MAX_KEY, MAX_OBJECT, MAX_SAFE_INT
from parley.values.splicing import LongText, long_text_of
from parley.values.trees import encode_tree, tree_of
from parley.values.types import Document, Int64, Value, size

__all__ = [
    "MAX_ARRAY",
    "MAX_DEPTH",
    "MAX_KEY",
    "MAX_OBJECT",
    "MAX_SAFE_INT",
    "Document",
    "Int64",
    "Listing",
    "LongText",
    "Patch",
    "Value",
    "compact",
    "decode",
    "diff",
    "encode",
    "encode_plain",
    "encode_tree",
    "long_text_of",
    "size",
    "to_wire",
    "tree_of",
    "ts_from_wire",
    "ts_to_wire",
]
