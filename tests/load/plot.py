"""The verdicts as one picture, written by hand: an SVG needs no library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.load.goals import Verdict

_ROW, _LEFT, _WIDTH, _RIGHT = 22, 410, 400, 150
_MOST = 2.0  # of a goal; a bar ends there
_STYLE = "font: 13px sans-serif; background: #fff"


def bars(verdicts: Sequence[Verdict]) -> str:
    """Return a bar for each goal: how much of it was reached, up to twice."""
    height = _ROW * (len(verdicts) + 2)
    goal_x = _LEFT + _WIDTH / _MOST
    rows = [_bar(verdict, _ROW * (number + 1)) for number, verdict in enumerate(verdicts)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + _RIGHT}" '
            f'height="{height}" style="{_STYLE}">',
            *rows,
            f'<line x1="{goal_x}" y1="{_ROW * 0.5}" x2="{goal_x}" y2="{height - _ROW}" '
            'stroke="#000" stroke-dasharray="4 3"/>',
            f'<text x="{goal_x}" y="{height - 6}" text-anchor="middle">the goal</text>',
            "</svg>\n",
        ]
    )


def _bar(verdict: Verdict, y: int) -> str:
    share = min(verdict.reached, _MOST)
    width = round(_WIDTH * share / _MOST, 1)
    fill = "#2e7d32" if verdict.reached >= 1 else "#c25b17"
    sign = "≥" if verdict.goal.sense == "least" else "≤"
    middle = y + _ROW * 0.7
    return (
        f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end">{escape(verdict.goal.name)}</text>'
        f'<rect x="{_LEFT}" y="{y + 3}" width="{width}" height="{_ROW - 6}" fill="{fill}"/>'
        f'<text x="{_LEFT + _WIDTH + 8}" y="{middle}">'
        f"{verdict.found:.3g} (goal {sign} {verdict.goal.bound:g})</text>"
    )
