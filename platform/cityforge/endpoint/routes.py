"""Which scope each route of an endpoint asks for; what is not named here asks for admin."""

from __future__ import annotations

ADMIN = frozenset({"admin"})
PREDICT = frozenset({"predict"})
FEEDBACK = frozenset({"feedback"})
LOOK = frozenset({"predict", "admin"})


def _seen_by(scopes: frozenset[str]) -> dict[str, frozenset[str]]:
    return {"GET": scopes, "HEAD": scopes}


# Path -> method -> scopes, one of which a token must have. What is not here needs admin.
ROUTES: dict[str, dict[str, frozenset[str]]] = {
    "/predict": {"POST": PREDICT},
    "/analyze": {"POST": PREDICT},
    "/feedback": {"POST": FEEDBACK},
    **{each: _seen_by(LOOK) for each in ("/", "/info", "/livez", "/readyz", "/healthz")},
    **{each: _seen_by(LOOK) for each in ("/docs", "/docs.json", "/openapi.json")},
    **{each: _seen_by(ADMIN) for each in ("/metrics", "/schema.json")},
}
FOLDERS: dict[str, dict[str, frozenset[str]]] = {
    "/page/": _seen_by(LOOK),
    "/static_content/": _seen_by(LOOK),  # of /docs
}
ELSEWHERE: dict[str, frozenset[str]] = {}
PAGES = ("/", "/page/")  # what a person's browser opens: it may ask for a password


def place_of(path: str) -> tuple[str, dict[str, frozenset[str]]]:
    """The route of a path, from a bounded set, and what its methods ask for."""
    found = ROUTES.get(path)
    if found is not None:
        return path, found
    for folder, methods in FOLDERS.items():
        if path.startswith(folder):
            return folder, methods
    return "other", ELSEWHERE
