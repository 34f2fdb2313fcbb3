"""A small file system for Postgres, where we may make one."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

_BYTES: Final = 400 << 20


def mount_small_disk(directory: Path) -> bool:
    """Put a file system of its own at `directory`; return False where that is not allowed."""
    options = f"size={_BYTES},mode=711"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def unmount(directory: Path) -> None:
    """Undo `mount_small_disk`."""
    subprocess.run(["umount", "-l", str(directory)], check=True)
