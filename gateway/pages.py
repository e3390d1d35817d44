"""The web page's files. Built files have a hash in their names and are cached for good; the page itself never is."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

FOLDER = Path(__file__).parent / "web" / "dist"
DOCS = Path(__file__).parent / "docs"
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""Sent with every answer."""
_MISSING = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>PRISMA</title><h1>The page is not built</h1>"
    "<p>Run <code>make web</code>, then load this page again. The API works without it: "
    "<a href=/docs>its documentation</a>.</p></html>"
)


async def page(request: Request) -> Response:
    """A file of the page; the page itself for any other path, as it routes by itself."""
    path = request.url.path.lstrip("/")
    file = _inside(FOLDER, path)
    if path and file is not None:
        caching = "public, max-age=31536000, immutable" if path.startswith("assets/") else "no-cache"
        return FileResponse(file, headers={"cache-control": caching})
    index = FOLDER / "index.html"
    if not index.is_file():
        return HTMLResponse(_MISSING, status_code=503)
    return FileResponse(index, headers={"cache-control": "no-cache"})


async def docs(request: Request) -> Response:
    """The interactive documentation of the API."""
    file = _inside(DOCS, request.path_params.get("file", "") or "index.html")
    if file is None:
        return Response("no such file", status_code=404)
    return FileResponse(file, headers={"cache-control": "no-cache"})


def _inside(folder: Path, path: str) -> Path | None:
    """The file at `path` if it is one below `folder`."""
    try:
        file = (folder / path).resolve()
        return file if file.is_file() and file.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError):
        return None
