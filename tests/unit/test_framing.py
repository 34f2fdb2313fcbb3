"""Frames are what any WebSocket implementation makes of the same text."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from parley.protocol.framing import text_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_a_text_of_any_length_is_framed(size: int) -> None:
    payload = b"x" * size

    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
