"""Node.js, for the tests that need it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def find_node(packages: Path) -> str:
    """Return the Node.js to run in a directory; without any, skip the test."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("NOT TESTED: there is no Node.js")
    assert (packages / "node_modules").is_dir(), "npm packages are missing: run `make setup`"
    return found
