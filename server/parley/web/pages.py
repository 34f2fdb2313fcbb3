"""The chat page and the modules it is made of: files as they are, under a strict policy.

    /                  demo/index.html
    /demo/…            the page's own files, and config.json, which is made here
    /client/src/…      the browser client
    /vendor/…          what the page loads of other packages

Only files with a known ending, directly from these folders: no links, nothing hidden, no way out.
They are read anew for each request, and browsers ask each time (ETag): an edit shows at a reload.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from parley.config import Settings
from parley.web.api import error_response
from parley.web.services import Services

# In a checkout, links to the folders of client_js.
ROOT: Final = Path(__file__).parent / "static"
MIME_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
# With it the page opens without a connection.
SERVICE_WORKER: Final = "service-worker.js"
_SEGMENT: Final = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}"
_PATH: Final = re.compile(f"{_SEGMENT}(?:/{_SEGMENT}){{0,7}}")
# The chat page's service worker keeps the page itself too, which is above its own folder.
_SERVICE_WORKER: Final = "service-worker.js"
_IMPORT_MAP: Final = re.compile(rb'<script type="importmap">(.*?)</script>', re.DOTALL)
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def find_file(root: Path, path: str) -> Path | None:
    """Return the file that may be served as `path` below `root`; None if there is no such.

    `root` itself may be a link, nothing below it.
    """
    if not _PATH.fullmatch(path):
        return None
    found = root
    for segment in path.split("/"):
        found = found / segment
        if found.is_symlink():
            return None
    return found if found.suffix in MIME_TYPES and found.is_file() else None


def content_security_policy(page: bytes, host: str, settings: Settings) -> str:
    """Return the policy for a page: it may load and reach this server, and Supabase to sign in.

    Args:
        page: HTML; its import map is the only inline script that may run, by its hash.
        host: as the browser named this server; older ones do not count sockets as 'self'.
        settings: names the Supabase project, if any.
    """
    maps = [base64.b64encode(hashlib.sha256(text).digest()) for text in _IMPORT_MAP.findall(page)]
    scripts = ["'self'", *(f"'sha256-{digest.decode()}'" for digest in maps)]
    reachable = ["'self'"]
    if _HOST.fullmatch(host):
        reachable += [f"ws://{host}", f"wss://{host}"]
    if settings.supabase_url:
        reachable.append(settings.supabase_url)
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(scripts)}",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            f"connect-src {' '.join(reachable)}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def page_config(services: Services) -> dict[str, Any]:
    """Return what the page has to know of this server; nothing in it is secret.

    Keys: `mode` ("development", "supabase" or "none": how people sign in), `hasAssistant` (whether
    `assistant:reply` is served), with Supabase also `supabaseUrl` and `supabaseAnonKey`.
    """
    settings = services.settings
    paths = {function.path for function in services.node.registry if not function.is_internal}
    config = {"mode": "none", "hasAssistant": "assistant:reply" in paths}
    if services.dev_secret is not None:
        config["mode"] = "development"
    elif settings.supabase_url and settings.supabase_anon_key:
        config |= {
            "mode": "supabase",
            "supabaseUrl": settings.supabase_url,
            "supabaseAnonKey": settings.supabase_anon_key,
        }
    return config


async def _root(request: Request) -> Response:
    """Return the page; one line for people where it is switched off or was not installed."""
    found = await _file(request, "demo", "index.html")
    return found or PlainTextResponse(
        "This Parley deployment is running. See /version, /health, /ready.\n"
    )


def _folder(name: str) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        found = await _file(request, name, request.path_params["path"])
        return found or error_response(404, "NotFound", "There is no such page")

    return endpoint


async def _config(request: Request) -> Response:
    services: Services = request.app.state.services
    if not services.settings.serve_page:
        return error_response(404, "NotFound", "There is no such page")
    headers = _headers(request, b"", services.settings)
    return JSONResponse(page_config(services), headers=headers)


async def _file(request: Request, folder: str, path: str) -> Response | None:
    settings: Settings = request.app.state.services.settings
    found = find_file(ROOT / folder, path) if settings.serve_page else None
    if found is None:
        return None
    content = await asyncio.to_thread(found.read_bytes)
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    page = content if found.suffix == ".html" else b""
    headers = {**_headers(request, page, settings), "ETag": etag}
    if path == SERVICE_WORKER:
        # Else it could keep only what lies beside it, not the page itself.
        headers["Service-Worker-Allowed"] = "/"
    if (folder, path) == ("demo", _SERVICE_WORKER):
        headers["Service-Worker-Allowed"] = "/"
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers={**headers, "Content-Type": MIME_TYPES[found.suffix]})


def _headers(request: Request, page: bytes, settings: Settings) -> dict[str, str]:
    host = request.headers.get("host", "")
    return {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": content_security_policy(page, host, settings),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


ROUTES: Final = (
    Route("/", _root),
    Route("/demo/config.json", _config),
    Route("/demo/{path:path}", _folder("demo")),
    Route("/client/src/{path:path}", _folder("src")),
    Route("/vendor/{path:path}", _folder("vendor")),
)
