"""docs/reliability.md: every promise names what tests it, and that is there."""

from __future__ import annotations

import re

from tests.support.docs import ROOT

PAGE = (ROOT / "docs/reliability.md").read_text()
PROMISES = dict(re.findall(r"^\| (I\d+) \| .*? \| (.*) \|$", PAGE, re.MULTILINE))


def test_all_promises_of_the_specification_are_there() -> None:
    assert list(PROMISES) == [f"I{number}" for number in range(1, 22)]


def test_what_is_named_as_a_test_exists() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    missing = [
        (promise, name)
        for promise, cell in PROMISES.items()
        for name in re.findall(r"`([\w.]+)`", cell)
        if not re.search(rf"def {name.rpartition('.')[2]}\(", source)
    ]

    assert missing == []
    assert all("`" in cell for cell in PROMISES.values())
