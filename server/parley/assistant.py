"""A scripted assistant, so that the chat page lives without a model. Development mode only.

Its answers are fixed texts that come piece by piece, as a model's would, with all that a message
can have. An app replaces it with an `assistant:reply` of its own; see `parley.devmode`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from parley import ActionCtx, AppError, action
from parley.chat.model import Citation, ConversationId, MessageId, ToolInvocation

ANSWER_S: Final = 3.0
_PIECES: Final = 30
_PAGE: Final = {"numItems": 50, "cursor": None}
_MAX_QUOTED: Final = 120

# (caller, conversation): one answer at a time in each. Development mode is one process.
_answering: set[tuple[str, str]] = set()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the assistant will say: first it thinks, then it calls a tool, then it writes."""

    text: str
    reasoning: str = ""
    tool: ToolInvocation | None = None
    citations: tuple[Citation, ...] = ()


@action
async def reply(ctx: ActionCtx, conversation_id: ConversationId) -> MessageId | None:
    """Answer the last message of a conversation, in about three seconds; return the answer's id.

    Null when the conversation was deleted meanwhile.

    Raises:
        AppError: an answer is being written there already, or as `conversations:addMessage`.
    """
    identity = await ctx.auth.get_user_identity()
    place = ("" if identity is None else str(identity["tokenIdentifier"]), conversation_id)
    if place in _answering:
        raise AppError("The assistant is answering already")
    _answering.add(place)
    try:
        return await _write_answer(ctx, conversation_id)
    finally:
        _answering.discard(place)


async def _write_answer(ctx: ActionCtx, conversation_id: str) -> str | None:
    listing = {"conversationId": conversation_id, "paginationOpts": _PAGE}
    newest = (await ctx.run_query("messages:list", listing))["page"]
    answer = answer_to(newest)
    message = {"conversationId": conversation_id, "role": "assistant", "content": ""}
    message_id: str = await ctx.run_mutation("conversations:addMessage", message)
    steps = steps_of(answer)
    try:
        for step in steps:
            await asyncio.sleep(ANSWER_S / len(steps))
            await ctx.run_mutation("messages:appendText", {"messageId": message_id, **step})
    except AppError as error:
        if error.data != "Message not found":
            raise
        return None  # deleted: nobody waits for the rest
    return message_id


def answer_to(newest: Sequence[dict[str, Any]]) -> Answer:
    """Return the answer to a conversation's newest messages, newest first; each turn another."""
    asked = next((each["content"] for each in newest if each["role"] == "user"), "")
    turn = sum(each["role"] == "assistant" for each in newest)
    return (_hello, _think, _count, _cite)[turn % 4](" ".join(asked.split()))


def steps_of(answer: Answer) -> list[dict[str, Any]]:
    """Return the arguments of `messages:appendText` that write an answer, in order."""
    steps: list[dict[str, Any]] = [
        {"text": "", "reasoningText": piece} for piece in pieces_of(answer.reasoning)
    ]
    if answer.tool is not None:
        called = {name: answer.tool[name] for name in ("name", "args")}
        steps += [{"text": "", "tools": [called]}, {"text": "", "tools": [answer.tool]}]
    steps += [{"text": piece} for piece in pieces_of(answer.text)]
    if answer.citations:
        steps.append({"text": "", "citations": list(answer.citations)})
    return steps


def pieces_of(text: str) -> list[str]:
    """Return a text in at most 30 pieces of whole words."""
    words = re.findall(r"\s*\S+\s*", text)
    size = -(-len(words) // _PIECES) or 1
    return ["".join(words[at : at + size]) for at in range(0, len(words), size)]


def _hello(asked: str) -> Answer:
    text = f"""Hello! You wrote:

> {_quoted(asked)}

I am a **scripted assistant**: no model, a few fixed texts, to show how this page works. Try this:

1. Open this conversation in a *second window*. Both are live.
2. Switch your network off and write. It is kept on this device, and sent when you are back.
3. Change the title, pin it, or give it a tag.

To put a model in my place, serve a function named `assistant:reply`:

```python
@action
async def reply(ctx: ActionCtx, conversation_id: ConversationId) -> None: ...
```
"""
    return Answer(text)


def _think(asked: str) -> Answer:
    reasoning = (
        "This is my second text, so it is the one that shows reasoning. "
        f"The question has {len(asked)} characters, which changes nothing: what follows is fixed. "
        "A table would look good here."
    )
    text = """Now with some reasoning, which you find folded above this. What happens to a message:

| Step | Where | When |
|:--|:--|--:|
| written | on this device | at once |
| stored | in the outbox | a few ms |
| committed | in Postgres | when you are online |
| shown elsewhere | all your devices | right after |

Nothing is sent twice, and nothing gets lost on the way.
"""
    return Answer(text, reasoning=reasoning)


def _count(asked: str) -> Answer:
    words = len(asked.split())
    tool: ToolInvocation = {
        "name": "count_words",
        "args": {"text": _quoted(asked)},
        "result": {"words": words, "characters": len(asked)},
    }
    text = f"""I asked a tool. Your message has **{words}** {"word" if words == 1 else "words"}.

- [x] call the tool
- [x] show what it was given, and what it returned
- [ ] be a real assistant
"""
    return Answer(text, tool=tool)


def _cite(_asked: str) -> Answer:
    text = """This one has sources. Live queries rest on two things that Postgres does well:

* a **log** of what was committed, in order, written by triggers;
* a **notification** that there is something new to read.

See the sources below. Ask again, and I begin from the start.
"""
    citations: tuple[Citation, ...] = (
        {
            "title": "PostgreSQL: CREATE TRIGGER",
            "url": "https://www.postgresql.org/docs/current/sql-createtrigger.html",
            "snippet": "Transition tables hold all rows that one statement changed.",
        },
        {
            "title": "PostgreSQL: NOTIFY",
            "url": "https://www.postgresql.org/docs/current/sql-notify.html",
        },
    )
    return Answer(text, citations=citations)


def _quoted(text: str) -> str:
    shown = text if len(text) <= _MAX_QUOTED else text[: _MAX_QUOTED - 1] + "…"
    return shown or "(nothing)"
