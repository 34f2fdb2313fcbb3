"""The log: one line per event on standard error, for people or as JSON.

Everything logs through the standard library; structlog renders. What clients send may stand in a
line, also as the message of an exception, so texts are cut and control characters escaped: nobody
writes a second line, or in colour.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from parley.config import Settings

MAX_TEXT: Final = 2000
MAX_TRACEBACK: Final = 16_000  # characters, of all its lines
_NO_REQUESTS: Final = ("uvicorn.access", "httpx", "httpcore", "asyncio")
_NO_FRAMES: Final = ("uvicorn", "uvicorn.error", "websockets")
_OF_PEERS: Final = ("connection open", "connection rejected", "Invalid HTTP request")
_INDENT: Final = "    "  # no line of a traceback begins as an event does


def configure_logging(settings: Settings) -> None:
    """Send all logging of this process to standard error as `settings` say; may be called again."""
    is_json = settings.log_format == "json" or (
        settings.log_format == "auto" and not sys.stderr.isatty()
    )
    renderer = structlog.processors.JSONRenderer() if is_json else structlog.dev.ConsoleRenderer()
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        make_safe,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    # One line per request is for a proxy to write; one per socket says nothing; and at its lowest
    # level uvicorn shows frames and headers, with the tokens and keys in them.
    for names, least in (_NO_REQUESTS, logging.WARNING), (_NO_FRAMES, logging.INFO):
        for name in names:
            logging.getLogger(name).setLevel(max(least, root.level))
    logging.getLogger("uvicorn.error").addFilter(_is_of_the_process)


def make_safe(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Cut long texts of an event and escape control characters; only tracebacks have lines."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _safe_traceback(value) if key == "exception" else _safe(value)
    return event


def _safe_traceback(text: str) -> str:
    lines = [_INDENT + _safe(line) for line in text.split("\n")]
    # The first lines say where it began, the last ones what went wrong.
    head, tail = _fitting(lines), _fitting(lines[::-1])
    if head + tail < len(lines):
        lines[head : len(lines) - tail] = [f"{_INDENT}…"]
    return "\n".join(lines)


def _fitting(lines: list[str]) -> int:
    """Return how many of the first lines fit into half of what a traceback may have."""
    left = MAX_TRACEBACK // 2
    for count, line in enumerate(lines):
        left -= len(line) + 1
        if left < 0:
            return count
    return len(lines)


def _safe(text: str) -> str:
    safe = text[: MAX_TEXT + 1]
    if not safe.isprintable():
        safe = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in safe)
    return safe if len(safe) <= MAX_TEXT else f"{safe[:MAX_TEXT]}…"


def _is_of_the_process(record: logging.LogRecord) -> bool:
    """Tell whether a line of uvicorn's is none that any peer has written as often as it likes."""
    message = record.getMessage()
    return '"WebSocket ' not in message and not message.startswith(_OF_PEERS)
