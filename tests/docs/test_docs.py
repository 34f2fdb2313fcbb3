"""What all pages must keep to: links that lead somewhere, names that exist, no secrets of ours."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from parley import __version__
from tests.support.docs import PAGES, ROOT, Page, code_in, undefined

NAMES = [page.name for page in PAGES]
README, ARCHITECTURE = Page("README.md"), Page("docs/architecture.md")
DECISIONS = sorted((ROOT / "docs/decisions").glob("0*.md"))

_LINK = re.compile(r"\]\(([^)\s]+)\)")


def tracked() -> list[Path]:
    """Every file of the repository, but not what git ignores."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]


def anchors(page: Path) -> set[str]:
    """The anchors that headings get, as on the usual forges."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_and_headings_that_exist(name: str) -> None:
    page = Page(name)
    links = [link for link in _LINK.findall(page.prose) if "://" not in link]
    targets = [(link, *link.partition("#")[::2]) for link in links]
    places = [
        (link, (page.path.parent / path).resolve() if path else page.path, anchor)
        for link, path, anchor in targets
    ]

    assert [link for link, place, _ in places if not place.exists()] == []
    assert [link for link, place, anchor in places if anchor and anchor not in anchors(place)] == []


def test_every_page_is_linked_from_somewhere() -> None:
    linked = {
        (page.path.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in _LINK.findall(page.prose)
    }

    assert [page.name for page in PAGES if page.path not in linked | {README.path}] == []


@pytest.mark.parametrize("name", NAMES)
def test_make_targets_that_are_named_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    text = Page(name).text
    named = re.findall(r"(?:^|`)(?:\w+=\S+ )*make ([a-z][a-z-]*)", text, re.MULTILINE)

    assert set(named) <= targets


@pytest.mark.parametrize("name", NAMES)
def test_tests_that_are_named_exist(name: str) -> None:
    assert undefined(re.findall(r"`(test_\w+)`", Page(name).text)) == []


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_named_exist(name: str) -> None:
    """Paths in backticks with a folder: from the top, from `server/parley`, or from the page."""
    page = Page(name)
    places = [ROOT, ROOT / "server/parley", page.path.parent]
    found = [text for text in code_in(page.prose) if re.fullmatch(r"[\w./]+/[\w.]*\w", text)]
    theirs = re.compile(
        r"/api/|/health|/ready|/metrics|/version|/instance|/dev/|/demo/|admin/|convex/|\.parley"
    )

    named = [text for text in found if not theirs.match(text)]
    assert [text for text in named if not any((place / text).exists() for place in places)] == []


@pytest.mark.parametrize("name", NAMES)
def test_python_samples_compile(name: str) -> None:
    for block in Page(name).blocks("python"):
        compile(block, name, "exec")


def test_the_function_in_the_readme_is_the_chats() -> None:
    [sample] = README.blocks("python")

    assert sample in (ROOT / "server/parley/chat/conversations.py").read_text()


def test_the_layers_on_the_page_are_those_that_are_enforced() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = config["tool"]["importlinter"]["contracts"]
    [enforced] = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    [drawn] = ARCHITECTURE.blocks("")

    assert [re.split(r"\s{3,}", line)[0] for line in drawn.splitlines()] == enforced


def test_the_architecture_can_be_read_in_one_go() -> None:
    assert len(ARCHITECTURE.text.splitlines()) < 300


def test_decisions_are_numbered_without_gaps_and_all_in_the_list() -> None:
    listed = re.findall(r"\[(\d{4})\]\((\S+)\) \| (.+) \|", Page("docs/decisions/README.md").text)

    assert [int(number) for number, _, _ in listed] == list(range(1, len(listed) + 1))
    assert [name for _, name, _ in listed] == [path.name for path in DECISIONS]
    titles = [path.read_text().splitlines()[0] for path in DECISIONS]
    assert titles == [f"# {int(number)}. {title}" for number, _, title in listed]


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_half_a_page_and_says_what_would_change_our_mind(path: Path) -> None:
    text = path.read_text()

    assert "**Decision.**" in text
    assert "**What would change our mind.**" in text
    assert len(text.split()) < 250


def test_the_changelog_begins_with_this_version() -> None:
    [newest, *_] = re.findall(r"^## (\S+)", Page("CHANGELOG.md").text, re.MULTILINE)

    assert newest == __version__


def test_nothing_names_this_machine_or_a_package_registry() -> None:
    telling = re.compile(
        r"(?<![\w.])/(?:home|Users|root|work)/\w"
        r"|https?://[\w.-]*(?:registry|pypi|pythonhosted|artifactory|mirror)[\w.-]*"
        r"|--(?:extra-)?index-url"
    )
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.name}: {hit}" for hit in telling.findall(text)]

    assert found == []
