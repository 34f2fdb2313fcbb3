"""What is to be reached: ratios within a round, and a few absolute figures."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal, TypeAlias

Rounds: TypeAlias = "dict[str, dict[str, list[float]]]"  # figure, unit, a value for each round
Value: TypeAlias = "tuple[str, str]"  # figure, unit


@dataclass(frozen=True)
class Goal:
    """A figure of ours, in proportion to another where there is one.

    Attributes:
        sense: whether the bound is the least that will do, or the most.
    """

    name: str
    ours: Value
    theirs: Value | None
    sense: Literal["least", "most"]
    bound: float


@dataclass(frozen=True)
class Verdict:
    """What became of a goal.

    Attributes:
        found: the median of the rounds; `low` and `high` are the least and the most of any.
        reached: what was found as a part of the bound: 1 and more is reached.
    """

    goal: Goal
    found: float
    low: float
    high: float
    reached: float

    @property
    def text(self) -> str:
        """The verdict in words."""
        if self.reached >= 1:
            return "reached"
        if self.goal.bound == 0:
            return "not reached"
        return f"{self.reached:.0%} of the goal"


def least(name: str, ours: Value, theirs: Value | None, bound: float) -> Goal:
    """Return a goal that is reached from `bound` upwards."""
    return Goal(name, ours, theirs, "least", bound)


def most(name: str, ours: Value, theirs: Value | None, bound: float) -> Goal:
    """Return a goal that is reached from `bound` downwards."""
    return Goal(name, ours, theirs, "most", bound)


def judged(rounds: Rounds, goals: tuple[Goal, ...]) -> list[Verdict]:
    """Return what became of the goals that were measured."""
    return [verdict for goal in goals if (verdict := _judged(rounds, goal)) is not None]


def _judged(rounds: Rounds, goal: Goal) -> Verdict | None:
    ours = _values(rounds, goal.ours)
    if not ours:
        return None
    values = ours
    if goal.theirs is not None:
        theirs = _values(rounds, goal.theirs)
        if not theirs:
            return None
        # Within a round both sides met the same machine; between rounds it changes.
        values = [one / other for one, other in zip(ours, theirs, strict=True)]
    found = statistics.median(values)
    return Verdict(goal, found, min(values), max(values), _reached(goal, found))


def _values(rounds: Rounds, value: Value) -> list[float]:
    figure, unit = value
    return rounds.get(figure, {}).get(unit, [])


def _reached(goal: Goal, found: float) -> float:
    if goal.sense == "least":
        return found / goal.bound
    if found <= goal.bound:
        return max(1.0, goal.bound / found) if found else 1.0
    return goal.bound / found


GOALS = (
    least("addMessage 32 / pgbench 32", ("addMessage 32", "per_s"), ("pgbench 32", "per_s"), 1.3),
    least("addMessage 32 / naive 32", ("addMessage 32", "per_s"), ("naive 32", "per_s"), 3.0),
    least("addMessage 256 / pgbench 32", ("addMessage 256", "per_s"), ("pgbench 32", "per_s"), 2.0),
    least(
        "addMessage 256, two workers / one",
        ("addMessage 256, 2 workers", "per_s"),
        ("addMessage 256, 1 worker", "per_s"),
        1.5,
    ),
    least(
        "pushes per core / Node ws",
        ("push 1000", "pushes_per_cpu_s"),
        ("node ws 1000", "pushes_per_cpu_s"),
        1.2,
    ),
    most(
        "last of 1,000 devices, p99 / raw",
        ("push 1000", "last_device_p99_ms"),
        ("raw push 1000", "last_device_p99_ms"),
        1.5,
    ),
    least(
        "pushes per core / Node ws, sustained",
        ("push, sustained", "pushes_per_cpu_s"),
        ("node ws, sustained", "pushes_per_cpu_s"),
        1.2,
    ),
    least(
        "changes seen per core / Node ws, sustained",
        ("push, sustained", "seen_changes_per_cpu_s"),
        ("node ws, sustained", "seen_changes_per_cpu_s"),
        1.2,
    ),
    *(
        least(
            f"contended transfers {clients} / uncontended",
            (f"transfers {clients}, contended", "per_s"),
            (f"transfers {clients}, uncontended", "per_s"),
            0.9,
        )
        for clients in (32, 64)
    ),
    *(
        least(
            f"contended transfers {clients} / Node and pg",
            (f"transfers {clients}, contended", "per_s"),
            (f"node transfers {clients}, contended", "per_s"),
            1.0,
        )
        for clients in (32, 64)
    ),
    most(
        "to another device, p50 / (commit + echo) p50",
        ("latency", "device_p50_ms"),
        ("latency", "floor_p50_ms"),
        2.0,
    ),
    most(
        "to another device, p99 / (commit + echo) p50",
        ("latency", "device_p99_ms"),
        ("latency", "floor_p50_ms"),
        5.0,
    ),
    *(
        most(
            f"20,000 idle / 0: {what}, {clients} client{'s' * (clients > 1)}",
            (f"addMessage {clients}, 20000 idle", unit),
            (f"addMessage {clients}, 0 idle", unit),
            1.1,
        )
        for clients in (1, 32)
        for what, unit in (("processor time", "server_cpu_us"), ("p50", "p50_ms"))
    ),
    *(
        most(
            f"patches, 10,000 messages / 10: {what}",
            ("patched, 10000 messages", unit),
            ("patched, 10 messages", unit),
            1.2,
        )
        for what, unit in (("processor time", "server_cpu_us"), ("bytes", "frame_bytes"))
    ),
    most(
        "whole result of 10,000 messages / raw bytes, processor time",
        ("whole, 10000 messages", "server_cpu_us"),
        ("raw, 10000 messages", "server_cpu_us"),
        1.3,
    ),
    most("bytes per append, the last / the first", ("streaming", "bytes_growth"), None, 1.2),
    most(
        "rows rewritten per second per streamed message",  # once per spacing, and the first at once
        ("streaming", "rewritten_per_s_and_message"),
        None,
        11,
    ),
    most("acknowledged appends lost", ("streaming", "lost"), None, 0),
    most("hot query: loads per re-run", ("hot query", "loads_per_run"), None, 0),
    most(
        "hot query: result of 1,000 messages / join",
        ("result", "build_us"),
        ("result", "join_us"),
        1.5,
    ),
    *(
        most(f"KB per idle connection, {kind}", (f"memory, {kind}", "kb_per_connection"), None, 60)
        for kind in ("a user each", "one user")
    ),
    *(
        goal
        for kind in ("fresh node", "same node")
        for goal in (
            most(f"storm, {kind}: seconds until synced", (f"storm, {kind}", "synced_s"), None, 5),
            most(f"storm, {kind}: loads / ranges", (f"storm, {kind}", "loads_per_range"), None, 1),
            most(f"storm, {kind}: errors", (f"storm, {kind}", "errors"), None, 0),
        )
    ),
)
