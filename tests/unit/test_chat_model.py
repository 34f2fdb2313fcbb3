"""The chat's functions take SEED.md's arguments, word for word."""

from __future__ import annotations

import pytest

from parley.chat.model import no_page
from parley.functions.registry import Registry

REGISTRY = Registry.from_modules(["parley.chat"])

CITATIONS = (
    "citations: v.optional(v.array(v.object("
    "{title: v.string(), url: v.string(), snippet: v.optional(v.string())})))"
)
TOOLS = (
    "tools: v.optional(v.array(v.object("
    "{name: v.string(), args: v.any(), result: v.optional(v.any())})))"
)
PAGE = (
    "paginationOpts: v.object({numItems: v.float64(), cursor: v.union(v.string(), v.null()), "
    "endCursor: v.optional(v.union(v.string(), v.null())), id: v.optional(v.float64()), "
    "maximumRowsRead: v.optional(v.float64()), maximumBytesRead: v.optional(v.float64())})"
)
ROLE = 'role: v.union(v.literal("user"), v.literal("assistant"), v.literal("system"))'
CONVERSATION = 'conversationId: v.id("conversations")'

IMPORTED = (
    'messages: v.array(v.object({id: v.id("messages"), originalId: v.optional(v.string()), '
    f"{ROLE}, content: v.string(), timestamp: v.float64(), {CITATIONS}, "
    f"reasoningText: v.optional(v.string()), {TOOLS}}}))"
)

# path -> (kind, argument fields). SEED.md's, and beyond it: `id`, `listPage`, imports, `messages`,
# `users`.
SIGNATURES = {
    "conversations:list": ("query", []),
    "conversations:get": ("query", [CONVERSATION]),
    "conversations:create": (
        "mutation",
        [
            "title: v.optional(v.string())",
            "model: v.optional(v.string())",
            'id: v.optional(v.id("conversations"))',
        ],
    ),
    "conversations:addMessage": (
        "mutation",
        [
            CONVERSATION,
            ROLE,
            "content: v.string()",
            CITATIONS,
            "reasoningText: v.optional(v.string())",
            TOOLS,
            'id: v.optional(v.id("messages"))',
        ],
    ),
    "conversations:update": (
        "mutation",
        [
            CONVERSATION,
            "title: v.optional(v.string())",
            "isPinned: v.optional(v.boolean())",
            "tags: v.optional(v.array(v.string()))",
            "model: v.optional(v.string())",
        ],
    ),
    "conversations:remove": ("mutation", [CONVERSATION]),
    "conversations:listPage": ("query", [PAGE]),
    "conversations:importConversation": (
        "mutation",
        [
            'id: v.id("conversations")',
            "title: v.string()",
            "isPinned: v.boolean()",
            "tags: v.array(v.string())",
            "createdAt: v.float64()",
            "updatedAt: v.float64()",
            "model: v.optional(v.string())",
            "originalId: v.optional(v.string())",
        ],
    ),
    "conversations:importMessages": ("mutation", [CONVERSATION, IMPORTED]),
    "messages:appendText": (
        "mutation",
        [
            'messageId: v.id("messages")',
            "text: v.string()",
            "reasoningText: v.optional(v.string())",
            CITATIONS,
            TOOLS,
        ],
    ),
    "messages:edit": (
        "mutation",
        [
            'messageId: v.id("messages")',
            "content: v.optional(v.string())",
            "reasoningText: v.optional(v.string())",
            CITATIONS,
            TOOLS,
        ],
    ),
    "messages:list": ("query", [CONVERSATION, PAGE]),
    "messages:remove": ("mutation", ['messageId: v.id("messages")']),
    "users:me": ("query", []),
}


def test_clients_can_call_these_functions_and_no_others() -> None:
    public = {function.path for function in REGISTRY if not function.is_internal}

    assert public == set(SIGNATURES)


@pytest.mark.parametrize("path", SIGNATURES)
def test_a_function_takes_what_the_seed_says(path: str) -> None:
    kind, fields = SIGNATURES[path]

    [function] = [function for function in REGISTRY if function.path == path]

    assert function.kind == kind
    assert [str(field) for field in function.arguments.shape.fields] == fields


def test_the_page_of_a_list_that_is_not_there_is_empty_and_last() -> None:
    assert no_page() == {"page": [], "isDone": True, "continueCursor": ""}
