"""README.md's first minute, as a newcomer lives it: its commands, its React page, its SQL."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.conftest import JS
from tests.compat.driver import Driver
from tests.support.docs import ROOT, Page
from tests.support.postgres import shared_temp_dir
from tests.support.server import Server, running_server

README = Page("README.md")
URL = "http://127.0.0.1:3210"

# What a React project has around the page, a browser's fetch (jsdom has none), a test's hands.
AROUND = """
import { createRoot } from "react-dom/client";

window.fetch = (url) => new Promise((resolve, reject) => {
  const request = new XMLHttpRequest();
  request.onload = () => resolve({ json: async () => JSON.parse(request.responseText) });
  request.onerror = reject;
  request.open("GET", url);
  request.send();
});
window.visible = () => [...document.querySelectorAll("li")].map((item) => item.textContent);
window.page = { press: () => document.querySelector("button").click() };
createRoot(document.getElementById("root")).render(<App />);
"""


@pytest.fixture
def data() -> Iterator[Path]:
    with shared_temp_dir() as base:
        yield base / "data"


@pytest.fixture
def newcomer(data: Path) -> Iterator[Server]:
    """`make run` with nothing configured."""
    environ = {"PARLEY_DATA": str(data), "SUPABASE_JWT_SECRET": ""}
    with running_server("", functions="parley.chat", environ=environ) as server:
        yield server


@pytest.fixture
def page(node: str, newcomer: Server, tmp_path: Path) -> Path:
    """The README's page, bundled with the official client."""
    [block] = README.blocks("jsx")
    source = tmp_path / "page.jsx"
    source.write_text(block.replace(URL, newcomer.url) + AROUND)
    bundle = tmp_path / "page.js"
    subprocess.run(
        [
            JS / "node_modules/.bin/esbuild",
            source,
            "--bundle",
            "--format=iife",
            "--jsx=automatic",
            f"--outfile={bundle}",
            "--log-level=error",
            '--define:process.env.NODE_ENV="production"',
        ],
        check=True,
        timeout=60,
        env={"NODE_PATH": str(JS / "node_modules"), "PATH": os.defpath},
    )
    return bundle


async def run(data: Path, *command: str) -> str:
    """Run a command of the README at the top of the repository, and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PARLEY_DATA": str(data)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


def shown(*titles: str) -> object:
    return lambda seen: sorted(seen) == sorted(titles)


async def test_the_first_minute_is_as_the_readme_tells_it(
    newcomer: Server, data: Path, page: Path, pages: Driver
) -> None:
    own = f"{Path(sys.executable).parent}/"
    [calls] = [block for block in README.blocks("sh") if "curl" in block]
    [sql] = README.blocks("sql")

    printed = await run(
        data, "sh", "-ec", calls.replace(URL, newcomer.url).replace(".venv/bin/", own)
    )
    created, _, listed = printed.partition("}")
    assert '"success"' in created
    [conversation] = json.loads(listed)["value"]
    assert conversation["title"] == "Hello"

    await pages.call("open", "one", str(page), {})
    await pages.call("open", "two", str(page), {})
    await pages.until("one", shown("Hello"))
    await pages.until("two", shown("Hello"))
    await pages.call("call", "one", "press")
    await pages.until("two", shown("Hello", "New Conversation"))
    await run(data, f"{own}parley", "psql", "--", "-c", sql)
    await pages.until("one", shown("Renamed by psql", "Renamed by psql"))
    await pages.until("two", shown("Renamed by psql", "Renamed by psql"))
