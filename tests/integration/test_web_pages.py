"""The chat page over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from parley.web import pages
from tests.support.tokens import SECRET
from tests.support.webapp import WebServer, open_http, serving_web

SERVED = ["/", "/demo/index.html", "/demo/config.json", "/client/src/types.js", "/vendor/htm.js"]


@pytest.fixture(scope="module")
def bare(web_dsn: str) -> Iterator[WebServer]:
    """A server without the page."""
    with serving_web(web_dsn, serve_page=False) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "mime"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/client/src/types.js", "text/javascript; charset=utf-8"),
        ("/vendor/preact.js", "text/javascript; charset=utf-8"),
        ("/vendor/import-map.json", "application/json"),
        ("/demo/icon.svg", "image/svg+xml"),
        ("/vendor/licenses/preact.txt", "text/plain; charset=utf-8"),
    ],
)
async def test_a_file_comes_as_what_it_is(web: WebServer, path: str, mime: str) -> None:
    async with open_http(web) as http:
        got = await http.get(path)
        head = await http.head(path)

    assert (got.status_code, got.headers["content-type"]) == (200, mime)
    assert got.content
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("path", SERVED)
async def test_everything_comes_under_the_strict_policy(web: WebServer, path: str) -> None:
    async with open_http(web) as http:
        headers = (await http.get(path)).headers

    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert f"ws://127.0.0.1:{web.port}" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cache-control"] == "no-cache"


async def test_only_the_service_worker_may_keep_the_whole_site(web: WebServer) -> None:
    async with open_http(web) as http:
        worker = await http.get("/demo/service-worker.js")
        other = await http.get("/demo/app.js")

    assert worker.headers["service-worker-allowed"] == "/"
    assert "service-worker-allowed" not in other.headers


async def test_a_browser_that_has_the_file_gets_it_again_only_when_it_changed(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").mkdir()
    page = tmp_path / "demo" / "index.html"
    page.write_text("one")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    async with open_http(web) as http:
        first = await http.get("/")
        known = {"If-None-Match": f'"other", W/{first.headers["etag"]}'}
        same = await http.get("/", headers=known)
        page.write_text("two")
        other = await http.get("/", headers=known)

    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["etag"] == first.headers["etag"]
    assert "content-security-policy" in same.headers
    assert (other.status_code, other.text) == (200, "two")
    assert other.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(
    "path",
    [
        "/demo/",
        "/demo/missing.js",
        "/demo/%2e%2e/package.json",
        "/client/src/..%2fpackage.json",
        "/client/src/%2e%2e%2f%2e%2e%2fpyproject.toml",
        "/client/package.json",
        "/client/node_modules/idb/package.json",
        "/vendor/..%5cpackage.json",
        "/vendor/htm.js%00",
        "/src/types.js",
    ],
)
async def test_nothing_else_of_the_disk_is_served(web: WebServer, path: str) -> None:
    async with open_http(web) as http:
        got = await http.get(path)

    assert got.status_code == 404
    assert got.json()["code"] == "NotFound"


async def test_pages_are_read_and_not_written(web: WebServer) -> None:
    async with open_http(web) as http:
        assert (await http.post("/")).status_code == 405
        assert (await http.put("/demo/index.html")).status_code == 405


@pytest.mark.parametrize("path", SERVED)
async def test_a_server_may_do_without_the_page(bare: WebServer, path: str) -> None:
    async with open_http(bare) as http:
        got = await http.get(path)
        health = await http.get("/health")

    assert got.status_code == (200 if path == "/" else 404)
    assert "<" not in got.text
    assert health.status_code == 200


async def test_no_secret_is_in_what_the_page_is_told(web: WebServer) -> None:
    async with open_http(web) as http:
        got = await http.get("/demo/config.json")

    assert got.json() == {"mode": "none", "hasAssistant": False}
    assert SECRET not in got.text
