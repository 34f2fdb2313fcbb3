"""Answers that are written piece by piece: 30 pieces a second in each of 50 conversations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack

import asyncpg

from tests.load import servers
from tests.load.databases import Connection, Postgres, create_database
from tests.load.meters import Cpu, Figure, percentile_ms
from tests.load.parley_client import WITH_PATCHES, Device, opened
from tests.load.run import Run
from tests.load.servers import Process

CONVERSATIONS, PER_S = 50, 30
_START = "An answer that is long already. " * 125  # 4,000 bytes
_STATISTICS_S = 1.1  # what Postgres counts is a second old at most, when it next commits


def measure_streaming(run: Run, postgres: Postgres, stack: ExitStack) -> None:
    """appendText at a fixed rate, each conversation watched by a device that takes patches."""
    dsn = create_database(postgres, "streaming")
    parley = stack.enter_context(servers.running_parley(dsn))
    for _ in run.rounds_of("streaming"):
        run.measure("streaming", streaming(parley, dsn, run.seconds))


class Answer:
    """One answer: who writes it, and what has been sent and acknowledged."""

    def __init__(self, writer: Device, message_id: str) -> None:
        self.message_id = message_id
        self.pieces: list[str] = []
        self.took_s: list[float] = []
        self._writer = writer
        self._sent_at: list[float] = []
        self._newest = asyncio.Event()
        writer.on_response = self._heard

    def append(self) -> None:
        """Send the next piece, whether or not those before it are acknowledged."""
        piece = f"piece {len(self.pieces):08d} of it. "
        self.pieces.append(piece)
        self._newest.clear()
        self._sent_at.append(time.perf_counter())
        args = {"messageId": self.message_id, "text": piece}
        self._writer.client.send(self._writer.mutation("messages:appendText", args))

    async def is_answered(self) -> None:
        """Wait until all that was sent is acknowledged."""
        await self._newest.wait()

    def lost(self, content: str) -> int:
        """Return how many acknowledged pieces are not in their place in `content`."""
        places = range(len(_START), len(content), len(self.pieces[0]))
        kept = [content[place : place + len(self.pieces[0])] for place in places]
        acknowledged = self.pieces[: len(self.took_s)]
        return sum(each not in kept[index : index + 1] for index, each in enumerate(acknowledged))

    def _heard(self, payload: bytes) -> None:
        if b'"success":true' not in payload[:80]:
            raise RuntimeError(payload.decode())
        self.took_s.append(time.perf_counter() - self._sent_at[len(self.took_s)])
        if len(self.took_s) == len(self.pieces):
            self._newest.set()


class Heard:
    """What the watching devices got, in the first half and in the second."""

    def __init__(self) -> None:
        self.frames = [0, 0]
        self.bytes = [0, 0]
        self.half = 0

    def hear(self, frame: bytes) -> None:
        """Count one frame."""
        self.frames[self.half] += 1
        self.bytes[self.half] += len(frame)


async def streaming(server: Process, dsn: str, seconds: float) -> Figure:
    """Append at the given rate for so long, wait for all answers, and read what is in Postgres."""
    users = [f"reader {number}" for number in range(CONVERSATIONS)]
    writers = await opened(server.port, users)
    answers, queries = [], []
    for writer in writers:
        room = await writer.mutate("conversations:create", {})
        message = {"conversationId": room, "role": "assistant", "content": _START}
        message_id = await writer.mutate("conversations:addMessage", message)
        answers.append(Answer(writer, message_id))
        queries.append([("conversations:get", {"conversationId": room})])
    watching = await opened(server.port, users, queries.__getitem__, WITH_PATCHES)
    heard = Heard()
    for device in watching:
        device.on_transition = heard.hear
    postgres = await asyncpg.connect(dsn)
    before = await _rewritten(postgres, writers[0])
    found = await _at_rate(answers, heard, seconds, server)
    rewritten = await _rewritten(postgres, writers[0]) - before
    rows = await postgres.fetch(
        "select id::text, content from messages where id = any($1::uuid[])",
        [answer.message_id for answer in answers],
    )
    contents = {row["id"]: row["content"] for row in rows}
    await postgres.close()
    for device in [*writers, *watching]:
        device.client.close()
    return {
        **found,
        "rows_rewritten_per_s": round(rewritten / found["took_s"], 1),
        "rewritten_per_s_and_message": round(rewritten / found["took_s"] / len(answers), 2),
        "lost": sum(answer.lost(contents[answer.message_id]) for answer in answers),
    }


async def _at_rate(
    answers: Sequence[Answer], heard: Heard, seconds: float, server: Process
) -> Figure:
    total = round(seconds * PER_S) * len(answers)
    cpu, started = Cpu(server), time.perf_counter()
    acknowledged_at_half = 0
    for number in range(total):
        due = started + number / (PER_S * len(answers))
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        if number == total // 2:
            heard.half = 1
            acknowledged_at_half = sum(len(answer.took_s) for answer in answers)
        answers[number % len(answers)].append()
    sent_s = time.perf_counter() - started
    for answer in answers:
        await answer.is_answered()
    took_s = time.perf_counter() - started
    used = cpu.per(total)
    await asyncio.sleep(0.2)  # the last Transitions
    halves = [acknowledged_at_half, total - acknowledged_at_half]
    first, second = (size / count for size, count in zip(heard.bytes, halves, strict=True))
    all_s = [each for answer in answers for each in answer.took_s]
    return {
        "sent_per_s": round(total / sent_s, 1),
        "answered_per_s": round(total / took_s, 1),
        "took_s": round(took_s, 3),
        "p50_ms": percentile_ms(all_s, 0.5),
        "p99_ms": percentile_ms(all_s, 0.99),
        "bytes_per_append": round(sum(heard.bytes) / total, 1),
        "bytes_growth": round(second / first, 3),
        "appends_per_push": round(total / sum(heard.frames), 2),
        **used,
    }


async def _rewritten(postgres: Connection, writer: Device) -> int:
    """Return how many rows of messages were ever updated."""
    await asyncio.sleep(_STATISTICS_S)
    await writer.mutate("conversations:create", {})  # a commit, with which counts are published
    count: int = await postgres.fetchval(
        "select n_tup_upd from pg_stat_user_tables where relname = 'messages'"
    )
    return count
