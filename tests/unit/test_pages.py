"""Which files the pages may be made of, and what a page may do."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parley.config import Settings
from parley.web import pages
from parley.web.pages import content_security_policy, find_file, page_config

SUPABASE = "https://x.supabase.co"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with files of all kinds, itself reached by a link, with a secret beside it."""
    real = tmp_path / "real"
    (real / "sub").mkdir(parents=True)
    for name in ("a.js", "sub/b.css", "x.min.js", ".hidden.js", "a.py", "a.js.map", "no-ending"):
        (real / name).write_text(name)
    (tmp_path / "secret.js").write_text("secret")
    (real / "out.js").symlink_to(tmp_path / "secret.js")
    (real / "up").symlink_to(tmp_path)
    (real / "same.js").symlink_to(real / "a.js")
    link = tmp_path / "link"
    link.symlink_to(real)
    return link


@pytest.mark.parametrize("path", ["a.js", "sub/b.css", "x.min.js"])
def test_files_of_known_kinds_are_found(root: Path, path: str) -> None:
    assert find_file(root, path) == root / path


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "..",
        "../secret.js",
        "sub/../a.js",
        "sub/../../secret.js",
        "/secret.js",
        "//a.js",
        "a.js/",
        "sub//b.css",
        "sub",
        "sub/",
        "a.js/b.css",
        ".hidden.js",
        "sub/.b.js",
        "a.py",
        "a.js.map",
        "no-ending",
        "missing.js",
        "out.js",
        "same.js",
        "up/secret.js",
        "..\\secret.js",
        "a.js\0",
        "a.js\n",
        "%2e%2e/secret.js",
        "é.js",
        "A.JS",
        "a" * 5000 + ".js",
    ],
)
def test_everything_else_is_not_there(root: Path, path: str) -> None:
    assert find_file(root, path) is None


def directives(policy: str) -> dict[str, list[str]]:
    return {name: values for name, *values in (part.split() for part in policy.split("; "))}


def test_a_page_may_load_and_reach_its_own_server_only() -> None:
    policy = directives(content_security_policy(b"", "127.0.0.1:3210", Settings()))

    assert policy == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'", "ws://127.0.0.1:3210", "wss://127.0.0.1:3210"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }


def test_supabase_can_be_reached_where_it_is_configured() -> None:
    settings = Settings(supabase_url=SUPABASE)

    assert SUPABASE in directives(content_security_policy(b"", "h", settings))["connect-src"]


@pytest.mark.parametrize("host", ["", "h;script-src *", "h *", "h\r\nX: y", "'self'", "h" * 300])
def test_a_host_that_is_none_gets_into_no_policy(host: str) -> None:
    policy = content_security_policy(b"", host, Settings())

    assert directives(policy)["connect-src"] == ["'self'"]


def test_the_import_map_runs_by_its_hash_and_no_other_inline_script() -> None:
    text = '\n{"imports": {"a": "/a.js"}}\n'
    page = f'<script type="importmap">{text}</script><script>evil()</script>'

    scripts = directives(content_security_policy(page.encode(), "h", Settings()))["script-src"]

    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert scripts == ["'self'", f"'sha256-{digest}'"]


def test_the_page_has_an_import_map_of_modules_that_are_served() -> None:
    page = (pages.ROOT / "demo" / "index.html").read_text()
    [text] = re.findall('<script type="importmap">(.*?)</script>', page, re.DOTALL)
    folders = {"/demo/": "demo", "/client/src/": "src", "/vendor/": "vendor"}

    modules = json.loads(text)["imports"].values()

    served = [
        find_file(pages.ROOT / folder, module.removeprefix(start))
        for module in modules
        for start, folder in folders.items()
        if module.startswith(start)
    ]
    assert len(served) == len(modules)
    assert None not in served


def test_the_page_asks_for_nothing_inline_that_the_policy_forbids() -> None:
    page = (pages.ROOT / "demo" / "index.html").read_text()

    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", page) == []
    assert [tag for tag in re.findall("<script[^>]*>", page) if "src=" not in tag] == [
        '<script type="importmap">'
    ]


# --- what the page is told


def services(paths: tuple[str, ...] = (), dev_secret: str | None = None, **settings: Any) -> Any:
    registry = [SimpleNamespace(path=path, is_internal=False) for path in paths]
    return SimpleNamespace(
        settings=Settings(**settings),
        dev_secret=dev_secret,
        node=SimpleNamespace(registry=registry),
    )


def test_in_development_mode_anybody_signs_in_by_name() -> None:
    config = page_config(services(("assistant:reply",), dev_secret="s" * 32))

    assert config == {"mode": "development", "hasAssistant": True}


def test_with_supabase_the_page_learns_what_everybody_may_know() -> None:
    config = page_config(
        services(supabase_url=SUPABASE, supabase_anon_key="anon", supabase_jwt_secret="s" * 40)
    )

    assert config == {
        "mode": "supabase",
        "hasAssistant": False,
        "supabaseUrl": SUPABASE,
        "supabaseAnonKey": "anon",
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"supabase_url": SUPABASE},
        {"supabase_anon_key": "anon"},
        {"auth_issuer": "https://issuer.test", "auth_audience": "a"},
    ],
)
def test_elsewhere_the_page_knows_no_way_to_sign_in(settings: dict[str, str]) -> None:
    assert page_config(services(**settings)) == {"mode": "none", "hasAssistant": False}
