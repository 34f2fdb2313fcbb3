"""What `import parley` gives to an app, and what it must not bring along."""

import subprocess
import sys
import tomllib
from pathlib import Path

import parley

ROOT = Path(__file__).parent.parent.parent

HEAVY = {"asyncpg", "httpx", "starlette", "structlog", "typer", "uvicorn", "uvloop", "websockets"}


def test_public_names_are_these() -> None:
    assert sorted(parley.__all__) == [
        "ActionCtx",
        "AppError",
        "Document",
        "Int64",
        "MutationCtx",
        "Opt",
        "PaginationOptions",
        "PaginationResult",
        "QueryCtx",
        "Table",
        "TableId",
        "UNSET",
        "UnsetType",
        "__version__",
        "action",
        "mutation",
        "on_authenticated",
        "query",
    ]
    assert [name for name in parley.__all__ if not hasattr(parley, name)] == []


def test_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert parley.__version__ == project["version"]


def test_writing_functions_needs_no_server() -> None:
    script = "import parley, sys; print(*{name.partition('.')[0] for name in sys.modules})"

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT / "server",
        capture_output=True,
        text=True,
        check=True,
    )

    assert HEAVY.isdisjoint(done.stdout.split())
