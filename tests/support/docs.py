"""Documents as tests read them: tables, code blocks, links."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """One Markdown file; `name` is its path below the top of the repository."""

    name: str

    @property
    def path(self) -> Path:
        return ROOT / self.name

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def prose(self) -> str:
        """The text without its code blocks."""
        return _FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """Return the code blocks of a language, in order."""
        return [body for found, body in _FENCE.findall(self.text) if found == language]

    def section(self, title: str) -> str:
        """Return what stands under a heading, up to the next one of its level."""
        found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |\Z)", self.text, re.M | re.S)
        assert found, f"{self.name} has no section {title!r}"
        return found.group(2)

    def rows(self, title: str) -> list[list[str]]:
        """Return the cells of the tables under a heading, without their heads."""
        lines = [line for line in self.section(title).splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
        heads = [n for n, row in enumerate(cells) if set("".join(row)) <= {"-", ":"}]
        return [row for n, row in enumerate(cells) if n not in heads and n + 1 not in heads]


PAGES = [
    Page(str(path.relative_to(ROOT)))
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
]


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def code_in(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


@functools.cache
def _functions() -> frozenset[str]:
    """Return all functions below tests, those of classes as `Class.method`."""
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, _FUNCTIONS):
                found.add(node.name)
            elif isinstance(node, ast.ClassDef):
                found |= {
                    f"{node.name}.{each.name}" for each in node.body if isinstance(each, _FUNCTIONS)
                }
    return frozenset(found)


def undefined(names: Iterable[str]) -> list[str]:
    """Return those that are no function below `tests`, or no `Class.method`."""
    return [name for name in names if name not in _functions()]
