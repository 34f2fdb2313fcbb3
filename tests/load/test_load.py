"""The benchmarks' own arithmetic: what they count, and what they make of it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from tests.load import commits
from tests.load.databases import ACCOUNTS
from tests.load.goals import GOALS, Goal, Verdict, judged, least, most
from tests.load.meters import Audience, percentile_ms
from tests.load.plot import bars
from tests.load.streaming import Heard
from tests.load.transfers import HOT, chosen
from tests.load.wire import Frames, framed

SIZES = (0, 125, 126, 65_535, 65_536, 1_000_000)


def of_server(payload: bytes) -> bytes:
    """Return a frame as a server sends it: without a mask."""
    frame = bytearray(framed(payload))
    frame[1] &= 0x7F
    del frame[len(frame) - len(payload) - 4 : len(frame) - len(payload)]
    return bytes(frame)


@pytest.mark.parametrize("seed", range(20))
def test_every_frame_is_counted_once_however_it_is_cut(seed: int) -> None:
    source = random.Random(seed)
    payloads = [bytes([source.randrange(256)]) * source.choice(SIZES) for _ in range(8)]
    stream = b"".join(map(of_server, payloads))
    cuts = sorted(source.sample(range(len(stream)), 12))
    cuts += range(max(cuts), min(max(cuts) + 9, len(stream)))  # in the middle of a head, too
    heard: list[tuple[int, bytes]] = []
    frames = Frames(lambda opcode, payload: heard.append((opcode, payload)))

    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        frames.feed(stream[start:end])

    assert heard == [(0x81, payload) for payload in payloads]


def test_a_percentile_is_one_of_the_values_in_milliseconds() -> None:
    seconds = [each / 1000 for each in range(100, 0, -1)]

    assert percentile_ms(seconds, 0.5) == 51
    assert percentile_ms(seconds, 0.99) == 100
    assert percentile_ms([0.25], 0.99) == 250


async def test_an_audience_has_heard_when_the_last_device_has() -> None:
    audience = Audience(3)

    async def change() -> None:
        for _ in range(3):
            audience.hear(b"frame")

    last_s, spread_s = await audience.hears(change)

    assert 0 <= spread_s <= last_s
    assert audience.bytes == 15


def test_bytes_of_the_two_halves_of_a_stream_are_kept_apart() -> None:
    heard = Heard()
    heard.hear(b"12")
    heard.half = 1
    heard.hear(b"123")
    heard.hear(b"4")

    assert (heard.frames, heard.bytes) == ([1, 2], [2, 4])


def test_a_ratio_is_the_median_of_what_each_round_gave() -> None:
    """The machine was three times as fast in the second round; the ratio is not."""
    rounds = {
        "ours": {"per_s": [10.0, 33.0, 12.0]},
        "theirs": {"per_s": [10.0, 30.0, 10.0]},
    }

    [verdict] = judged(rounds, (least("a", ("ours", "per_s"), ("theirs", "per_s"), 1.0),))

    assert verdict.found == pytest.approx(1.1)
    assert [verdict.low, verdict.high] == pytest.approx([1.0, 1.2])
    assert verdict.text == "reached"


@pytest.mark.parametrize(
    ("found", "sense", "bound", "text"),
    [
        (1.0, least, 2.0, "50% of the goal"),
        (2.0, least, 2.0, "reached"),
        (3.0, most, 1.5, "50% of the goal"),
        (1.5, most, 1.5, "reached"),
        (0.0, most, 1.5, "reached"),
        (0.0, most, 0, "reached"),
        (1.0, most, 0, "not reached"),
    ],
)
def test_a_verdict_says_how_much_of_a_goal_is_reached(
    found: float, sense: Callable[..., Goal], bound: float, text: str
) -> None:
    [verdict] = judged({"ours": {"x": [found]}}, (sense("a", ("ours", "x"), None, bound),))

    assert verdict.text == text


def test_a_goal_is_left_out_when_one_side_was_not_measured() -> None:
    goal = least("a", ("ours", "per_s"), ("theirs", "per_s"), 1.0)

    assert judged({"ours": {"per_s": [1.0]}}, (goal,)) == []
    assert judged({"theirs": {"per_s": [1.0]}}, (goal,)) == []


def test_sides_of_unequal_rounds_are_refused() -> None:
    rounds = {"ours": {"per_s": [1.0, 2.0]}, "theirs": {"per_s": [1.0]}}

    with pytest.raises(ValueError, match="shorter"):
        judged(rounds, (least("a", ("ours", "per_s"), ("theirs", "per_s"), 1.0),))


def test_goals_have_different_names() -> None:
    assert len({goal.name for goal in GOALS}) == len(GOALS)


def test_a_picture_has_a_bar_for_each_goal_none_longer_than_twice_the_goal() -> None:
    goals = (least("a < b", ("a", "x"), None, 1.0), least("c & d", ("c", "x"), None, 1.0))
    verdicts: list[Verdict] = judged({"a": {"x": [0.5]}, "c": {"x": [9.0]}}, goals)

    picture = ElementTree.fromstring(bars(verdicts))

    widths = [float(each.get("width", "")) for each in picture.iter() if "rect" in each.tag]
    assert widths[0] * 4 == widths[1]
    assert re.search(r"a &lt; b.*c &amp; d", bars(verdicts), re.DOTALL)


def test_hot_accounts_get_their_share_and_nobody_pays_themselves() -> None:
    source = random.Random(1)
    transfers = [chosen(source, 0.8) for _ in range(5000)]
    sides = [int(each[side][-12:], 16) for each in transfers for side in ("sourceId", "targetId")]
    hot = sum(side <= HOT for side in sides) / len(sides)

    assert all(each["sourceId"] != each["targetId"] for each in transfers)
    assert all(1 <= side <= ACCOUNTS for side in sides)
    assert 0.78 < hot < 0.83


async def test_the_cost_of_a_commit_is_told_for_each_size(
    dsn: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "ROUNDS", 1)

    await commits.measure(dsn, (1, 3))

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "3"]
