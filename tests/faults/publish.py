"""Puts what came of soaks and of planted bugs into docs/reliability.md.

    python -m tests.faults.publish build/soak.json build/churn.json build/planted.json

The figures are kept in docs/reliability.json; `tests/docs` holds the page to them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "reliability.md"
FIGURES: Final = DOCS / "reliability.json"

Found = Mapping[str, Any]

_NAMES: Final = {
    "acknowledged": "Acknowledged mutations",
    "mutation results": "Mutation results checked",
    "appends found once": "Appends found exactly once",
    "commits": "Commits replayed",
    "external commits": "of these by external SQL",
    "transitions": "Transitions checked",
    "query results": "Query results checked",
    "patched results": "of these held by way of a patch",
    "pages": "of these pages",
    "reads without a ts": "Results over HTTP, in actions and of PyPI clients checked",
    "calls without a session": "Mutations over HTTP, in actions and of PyPI clients checked",
    "actions": "Actions checked to run at most once",
    "first results": "First results checked for recency",
    "real-time orders": "Real-time orders checked",
}


def markdown(found: Found) -> str:
    """Return one report as Markdown."""
    return _RENDER[found["kind"]](found)


def _soak(found: Found) -> str:
    return "\n".join([*_checks(found), "", *_faults(found), *_rest(found)])


def _churn(found: Found) -> str:
    return "\n".join([*_checks(found), "", *_sizes(found), *_rest(found)])


def _checks(found: Found) -> list[str]:
    faults = found["faults"]
    rows = [
        ("Rounds", f"{found['rounds']}, {found['workS'] / 60:.1f} minutes of work"),
        *[(title, f"{found['checks'].get(name, 0):,}") for name, title in _NAMES.items()],
        ("Connections", f"{found['connections']:,}"),
        ("Faults", f"{sum(each['times'] for each in faults.values()):,} of {len(faults)} kinds"),
        ("Converged after the last heal", _spread(found["convergedS"])),
        ("Commit to client, faults included", _spread(found["latencyS"])),
        ("**Anomalies**", f"**{found['anomalies']}**"),
    ]
    table = ["| | |", "|---|---|", *[f"| {name} | {value} |" for name, value in rows]]
    return [f"`{found['command']}`, {found['date']}:", "", *table]


def _spread(spread: Mapping[str, float]) -> str:
    if not spread:
        return "-"
    return f"p50 {spread['p50']:.3f}, p99 {spread['p99']:.3f}, max {spread['max']:.3f} s"


def _faults(found: Found) -> list[str]:
    lines = ["| Fault | Times | Others paused at most |", "|---|---|---|"]
    for name, each in found["faults"].items():
        pause = each["othersPausedS"]
        lines.append(f"| {name} | {each['times']} | {'-' if pause is None else f'{pause:.2f} s'} |")
    return lines


def _sizes(found: Found) -> list[str]:
    lines = [
        "| Process | Minutes | MB at first | MB at last | MB/h | |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each['name']} | {each['minutes']:.1f} | {each['began_mb']:.1f} "
        f"| {each['ended_mb']:.1f} | {each['mb_per_hour']:+.1f} "
        f"| {'flat' if each['isFlat'] else 'rises'} |"
        for each in found["sizes"]
    ]
    return lines


def _rest(found: Found) -> list[str]:
    lines = []
    if found["missing"] and found["kind"] == "soak":
        lines += ["", f"Not had: {', '.join(found['missing'])}."]
    if found["failed"]:
        lines += ["", *[f"* Found something: `{each}`" for each in found["failed"]]]
    return lines


def _planted(found: Found) -> str:
    lines = [
        f"`{found['command']}`, {found['date']}:",
        "",
        "| Bug | Found after | By |",
        "|---|---|---|",
    ]
    for name, each in found["bugs"].items():
        seconds = each["foundAfterS"]
        after = "**not found**" if seconds is None else f"{seconds:.1f} s"
        lines.append(f"| {name} | {after} | {each['schedule']} |")
    return "\n".join(lines)


_RENDER: Final[dict[str, Callable[[Found], str]]] = {
    "soak": _soak,
    "churn": _churn,
    "planted": _planted,
}


def page_with(page: str, figures: Mapping[str, Found]) -> str:
    """Return the page with its sections made anew; the others stay as they are."""
    for kind, found in figures.items():
        before, _, rest = page.partition(f"<!-- {kind} -->\n")
        _, end, behind = rest.partition(f"<!-- /{kind} -->\n")
        assert end, f"the page has no place for {kind}"
        page = f"{before}<!-- {kind} -->\n{markdown(found)}\n{end}{behind}"
    return page


def main(paths: list[str]) -> int:
    """Take reports into the page."""
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    for path in paths:
        found = json.loads(Path(path).read_text())
        figures[found["kind"]] = found
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    PAGE.write_text(page_with(PAGE.read_text(), figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
