"""What each validator takes, gives and says (PROTOCOL.md §11.2)."""

import math
from typing import Any

import pytest

from parley.errors import ArgumentsInvalid
from parley.functions.validators import (
    UNSET,
    Anything,
    Arguments,
    Array,
    Constant,
    Field,
    Id,
    Integer,
    Mismatch,
    Object,
    Record,
    Scalar,
    Union,
    Validator,
)
from parley.values import Int64

UUID = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
STRING = Scalar("string")
FLOAT = Scalar("float64")
ROLE = Union((Constant("user"), Constant("assistant")))
CITATION = Object((Field("title", STRING), Field("snippet", STRING, is_optional=True)))


@pytest.mark.parametrize(
    ("validator", "value", "given"),
    [
        (STRING, "a", "a"),
        (Scalar("boolean"), False, False),
        (FLOAT, 3, 3),
        (FLOAT, 0.5, 0.5),
        (Scalar("int64"), Int64(3), Int64(3)),
        (Scalar("bytes"), b"a", b"a"),
        (Scalar("null"), None, None),
        (Integer(), 3, 3),
        (Integer(), 3.0, 3),
        (Integer(), -0.0, 0),
        (Integer(), 2.0**53, 2**53),
        (Anything(), [{"a": None}], [{"a": None}]),
        (Constant("user"), "user", "user"),
        (Constant(1), 1.0, 1),
        (Constant(True), True, True),
        (Id("users"), UUID, UUID),
        (Array(Integer()), [1.0, 2], [1, 2]),
        (Record(Integer()), {"a b": 1.0}, {"a b": 1}),
        (CITATION, {"title": "a"}, {"title": "a"}),
        (CITATION, {"title": "a", "snippet": "b"}, {"title": "a", "snippet": "b"}),
        (Union((Integer(), STRING)), 1.0, 1),
        (Union((Integer(), FLOAT)), 1.5, 1.5),
        (Union((STRING, Scalar("null"))), None, None),
    ],
)
def test_matching_value_is_given_in_its_python_type(
    validator: Validator, value: Any, given: object
) -> None:
    checked = validator.check(value)

    assert checked == given
    assert type(checked) is type(given)


@pytest.mark.parametrize(
    ("validator", "value"),
    [
        (STRING, b"a"),
        (Scalar("boolean"), 1),
        (FLOAT, True),
        (FLOAT, Int64(3)),
        (FLOAT, "3"),
        (Scalar("int64"), 3),
        (Scalar("bytes"), "a"),
        (Scalar("null"), False),
        (Integer(), 1.5),
        (Integer(), True),
        (Integer(), Int64(1)),
        (Integer(), math.nan),
        (Integer(), math.inf),
        (Integer(), 1e300),
        (Constant("user"), "User"),
        (Constant(1), True),
        (Constant(1), Int64(1)),
        (Constant(True), 1),
        (Id("users"), UUID.upper()),
        (Id("users"), UUID.replace("-", "")),
        (Id("users"), f"{{{UUID}}}"),
        (Id("users"), UUID + "\n"),
        (Id("users"), "j57d2k8vz3w9"),
        (Id("users"), 5),
        (Array(STRING), "a"),
        (Record(STRING), ["a"]),
        (CITATION, []),
        (ROLE, "system"),
        (Union(()), None),
    ],
)
def test_other_value_does_not_match(validator: Validator, value: Any) -> None:
    with pytest.raises(Mismatch, match=r"Value does not match validator\.") as mismatch:
        validator.check(value)

    assert str(mismatch.value).endswith(f"\nValidator: {validator}")


@pytest.mark.parametrize(
    ("validator", "notation"),
    [
        (STRING, "v.string()"),
        (FLOAT, "v.float64()"),
        (Scalar("int64"), "v.int64()"),
        (Integer(), "v.float64() /* integer */"),
        (Anything(), "v.any()"),
        (Constant("us\u00e9r"), 'v.literal("us\u00e9r")'),
        (Constant(True), "v.literal(true)"),
        (Id("users"), 'v.id("users")'),
        (Array(Id("users")), 'v.array(v.id("users"))'),
        (Record(Anything()), "v.record(v.string(), v.any())"),
        (CITATION, "v.object({title: v.string(), snippet: v.optional(v.string())})"),
        (Object((Field("a b", STRING),)), "v.object({'a b': v.string()})"),
        (ROLE, 'v.union(v.literal("user"), v.literal("assistant"))'),
    ],
)
def test_validator_prints_in_convex_notation(validator: Validator, notation: str) -> None:
    assert str(validator) == notation


# Arguments.

ARGUMENTS = Arguments(
    Object(
        (
            Field("conversationId", Id("conversations")),
            Field("citations", Array(CITATION), is_optional=True),
            Field("role", ROLE, is_optional=True),
        )
    ),
    {"conversationId": "conversation_id", "citations": "citations", "role": "role"},
)


def test_arguments_arrive_under_their_python_names() -> None:
    args: dict[str, Any] = {"conversationId": UUID, "citations": [{"title": "a"}]}

    assert ARGUMENTS.validate(args) == {"conversation_id": UUID, "citations": [{"title": "a"}]}


def test_function_cannot_change_its_caller_s_arguments() -> None:
    args: dict[str, Any] = {"conversationId": UUID, "citations": [{"title": "a"}]}

    ARGUMENTS.validate(args)["citations"][0].clear()

    assert args["citations"] == [{"title": "a"}]


MISSING = (
    "Object is missing the required field `{}`. Consider wrapping the field validator in "
    "`v.optional(...)` if this is expected."
)


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (
            {"role": "user"},
            [MISSING.format("conversationId"), "", 'Object: {"role":"user"}', ARGUMENTS.shape],
        ),
        (
            {"conversationId": UUID, "user": 1},
            [
                "Object contains extra field `user` that is not in the validator.",
                "",
                f'Object: {{"conversationId":"{UUID}","user":1}}',
                ARGUMENTS.shape,
            ],
        ),
        (
            {"conversationId": "x"},
            [
                "Value does not match validator.",
                "Path: .conversationId",
                'Value: "x"',
                'v.id("conversations")',
            ],
        ),
        (
            {"conversationId": UUID, "citations": [{"title": "a"}, {"title": Int64(5)}]},
            [
                "Value does not match validator.",
                "Path: .citations[1].title",
                'Value: "5"',
                "v.string()",
            ],
        ),
        (
            {"conversationId": UUID, "citations": [{}]},
            [MISSING.format("title"), "Path: .citations[0]", "Object: {}", CITATION],
        ),
        (
            {"conversationId": UUID, "role": None},
            ["Value does not match validator.", "Path: .role", "Value: null", ROLE],
        ),
    ],
    ids=["missing", "extra", "id", "nested", "missing inside", "null is not absent"],
)
def test_refusal_says_where_what_and_why_in_convex_words(args: Any, lines: list[Any]) -> None:
    headline, path, value, validator = lines

    with pytest.raises(ArgumentsInvalid) as refusal:
        ARGUMENTS.validate(args)

    assert refusal.value.message == (
        f"ArgumentValidationError: {headline}\n{path}\n{value}\nValidator: {validator}"
    )


def test_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(ArgumentsInvalid) as refusal:
        ARGUMENTS.validate({"conversationId": "x" * 10_000})

    assert len(refusal.value.message.splitlines()[2]) == len("Value: ") + 200
    assert refusal.value.message.splitlines()[2].endswith("x…")


def test_unset_is_falsy_and_says_its_name() -> None:
    assert (UNSET or "New Conversation") == "New Conversation"
    assert repr(UNSET) == "UNSET"
