"""The log: one line per event on standard error, for people or as JSON.

Everything logs through the standard library; structlog renders. What clients send may stand in a
line, so texts are cut and control characters escaped: nobody writes a second line, or in colour.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from parley.config import Settings

MAX_TEXT: Final = 2000


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
        make_safe,
    ]
    if is_json:
        shared.append(structlog.processors.format_exc_info)
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
    # One line per request is for a proxy to write; one per socket says nothing.
    for name in ("uvicorn.access", "httpx", "httpcore", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_is_no_handshake)


def make_safe(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Cut long texts of an event and escape their control characters."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _safe(value)
    return event


def _safe(text: str) -> str:
    text = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _is_no_handshake(record: logging.LogRecord) -> bool:
    return '"WebSocket ' not in record.getMessage()
