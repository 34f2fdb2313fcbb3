"""The Chromium that tests drive: the system's own, else the one that npm has.

`PARLEY_TEST_CHROMIUM=npm` takes npm's always; a path takes that program.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.support.nodejs import find_node

CLIENT_JS = Path(__file__).parents[2] / "client_js"
_UNPACKED = CLIENT_JS / "node_modules/.cache/chromium"
_SYSTEM = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
_UNPACK = 'import chromium from "@sparticuz/chromium"; await chromium.executablePath();'


@dataclass(frozen=True)
class Chromium:
    """How to start one: the program, and what its environment needs beside ours."""

    path: Path
    environ: dict[str, str] = field(default_factory=dict)

    def launch_options(self) -> dict[str, Any]:
        """Return what Playwright's `launch` takes."""
        return {"executable_path": self.path, "env": {**os.environ, **self.environ}}


def find_chromium(wanted: str | None = None) -> Chromium:
    """Return the Chromium that is `wanted`, or that the environment asks for.

    Skips the test when there is none: neither on the system, nor Node.js to unpack npm's.
    """
    wanted = wanted or os.environ.get("PARLEY_TEST_CHROMIUM")
    if wanted and wanted != "npm":
        return Chromium(Path(wanted))
    found = [path for name in _SYSTEM if (path := shutil.which(name))]
    if found and not wanted:
        return Chromium(Path(found[0]))
    return _unpack()


def _unpack() -> Chromium:
    node = find_node(CLIENT_JS)
    if not _UNPACKED.exists():
        _UNPACKED.parent.mkdir(exist_ok=True)
        fresh = tempfile.mkdtemp(dir=_UNPACKED.parent)
        # As on a server without libraries, so that it brings along those that it needs.
        environ = {**os.environ, "TMPDIR": fresh, "AWS_LAMBDA_JS_RUNTIME": "nodejs22.x"}
        command = [node, "--input-type=module", "-e", _UNPACK]
        subprocess.run(command, cwd=CLIENT_JS, env=environ, check=True, timeout=60)
        try:
            os.rename(fresh, _UNPACKED)
        except OSError:
            shutil.rmtree(fresh)  # another test process was faster
    return Chromium(_UNPACKED / "chromium", {"LD_LIBRARY_PATH": str(_UNPACKED / "al2023/lib")})


def running_browsers() -> dict[psutil.Process, list[str]]:
    """Return the browsers' processes below this one, with their command lines."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # also of those that ended and were not waited for
            if "chrom" in process.name():
                found[process] = process.cmdline()
    return found


def kill_browser(profile: Path) -> None:
    """End the browser of a profile and all its processes at once, as a power cut does."""
    [browser] = [p for p, command in running_browsers().items() if _is_main(command, profile)]
    family = [browser, *browser.children(recursive=True)]
    os.killpg(browser.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def _is_main(command: list[str], profile: Path) -> bool:
    is_child = any(word.startswith("--type=") for word in command)
    return f"--user-data-dir={profile}" in command and not is_child
