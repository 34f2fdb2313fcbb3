"""Frames are built once for all who stand at the same place in one tick."""

from __future__ import annotations

from parley.engine.outgoing import FrameCache, Outgoing


def test_frames_weigh_what_all_of_them_weigh() -> None:
    assert Outgoing((b"abc", b"de"), is_transition=True).size_bytes == 5


def test_frames_of_one_key_are_built_once() -> None:
    cache = FrameCache()

    first = cache.get("key", lambda: [b"one"])

    assert cache.get("key", lambda: [b"other"]) is first
    assert cache.get("another", lambda: [b"other"]).frames == (b"other",)


def test_frames_are_forgotten_with_their_tick() -> None:
    cache = FrameCache()
    cache.get("key", lambda: [b"one"])

    cache.clear()

    assert cache.get("key", lambda: [b"other"]).frames == (b"other",)


def test_messages_are_framed_together() -> None:
    assert Outgoing((b"abc", b"de"), is_transition=True).wire == b"\x81\x03abc\x81\x02de"
