"""What is installed: the code, the schema, and the pages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from parley.web.pages import MIME_TYPES

ROOT = Path(__file__).parents[2]
PAGES = ("demo", "src", "vendor")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a wheel has it."""
    target = tmp_path_factory.mktemp("built")
    # The step of a build that says what goes in; the rest zips it.
    command = ["build_py", "--build-lib", str(target)]
    script = f"import sys; sys.argv[1:] = {command!r}; from setuptools import setup; setup()"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)
    return target / "parley"


@pytest.mark.parametrize("folder", PAGES)
def test_every_file_of_the_pages_is_in_the_package(built: Path, folder: str) -> None:
    source = ROOT / "client_js" / folder
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.suffix in MIME_TYPES}

    target = built / "web" / "static" / folder
    packed = {path.relative_to(target) for path in target.rglob("*") if path.is_file()}

    assert wanted <= packed
    assert not any((target / path).is_symlink() for path in packed)


def test_the_schema_and_its_upgrades_are_in_the_package(built: Path) -> None:
    packed = {path.name: path.read_text() for path in (built / "store").glob("*.sql")}

    assert packed["schema.sql"] == (ROOT / "schema.sql").read_text()
    assert "upgrade_2.sql" in packed


def test_nothing_else_of_the_client_is_in_the_package(built: Path) -> None:
    folders = {path.name for path in (built / "web" / "static").iterdir()}

    assert folders == set(PAGES)
    assert not list(built.rglob("node_modules"))
