"""WebSocket frames as a server writes them (RFC 6455 §5.2): whole, unmasked, not compressed."""

from __future__ import annotations

from typing import Final

_TEXT: Final = 0x81
_MAX_SMALL: Final = 125
_MAX_MEDIUM: Final = 0xFFFF


def text_frame(payload: bytes) -> bytes:
    """Return UTF-8 text as one frame."""
    size = len(payload)
    if size <= _MAX_SMALL:
        return b"%c%c%b" % (_TEXT, size, payload)
    if size <= _MAX_MEDIUM:
        return b"%c\x7e%b%b" % (_TEXT, size.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (_TEXT, size.to_bytes(8, "big"), payload)
