"""The page at `/`, where a person drops a picture or a clip and sees what is found in it."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException, Response

FOLDER = Path(__file__).parent / "page"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Only its own files: no inline script or style, nothing from elsewhere, in nobody's frame.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' blob: data:",
        "media-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SAFE = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
def index() -> Response:
    """The page itself; it names the model, so nothing keeps it."""
    content = (FOLDER / "index.html").read_bytes()
    return Response(content, media_type="text/html", headers={**SAFE, "Cache-Control": "no-store"})


@router.get("/page/{name}")
def asset(name: str) -> Response:
    """A file of the page; only names that lie in its folder."""
    path = next((each for each in FOLDER.iterdir() if each.name == name), None)
    if path is None or path.suffix not in KINDS:
        raise HTTPException(404, "no such file of the page")
    headers = {**SAFE, "Cache-Control": "no-cache"}
    return Response(path.read_bytes(), media_type=KINDS[path.suffix], headers=headers)
