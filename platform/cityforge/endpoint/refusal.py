"""Why a request is refused, and how that is said."""

from __future__ import annotations

import json

from starlette.responses import Response

RETRY_S = {503: 1}  # seconds after which trying again makes sense


class Refusal(Exception):
    """A request that is not answered; one line says what was expected and what was found."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


def problem(status: int, error: str, request_id: str) -> Response:
    """A refusal as `schema.Problem`."""
    headers = {"X-Request-Id": request_id}
    if status in RETRY_S:
        headers["Retry-After"] = str(RETRY_S[status])
    content = json.dumps({"error": error, "request_id": request_id}, ensure_ascii=False)
    return Response(content, status, headers, media_type="application/json")
