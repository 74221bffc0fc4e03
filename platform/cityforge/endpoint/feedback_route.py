"""`POST /feedback`: whether an answer was right, and what would have been."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from cityforge.endpoint.feedback import FeedbackRow, FeedbackStore, FeedbackTwice
from cityforge.endpoint.refusal import Refusal, problem
from cityforge.endpoint.schema import CorrectedBox, Feedback, Problem, Thanks
from cityforge.errors import InputError, ServiceError, suggest
from cityforge.inference.answers import now
from cityforge.inference.request_ids import PREFIX, RequestIds
from cityforge.inference.served import Exchange

MOST_BODY = 256 << 10
BODY_S = 15.0  # a body may take
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (404, 408, 409, 413, 422, 503)
}

router = APIRouter()


class Endpoint(Protocol):
    """What the route needs of `app.state.endpoint`."""

    feedback: FeedbackStore
    ids: RequestIds
    exchange: Exchange


def _body() -> dict[str, Any]:
    """What the OpenAPI description says of the body, which is read here by hand."""
    described = Feedback.model_json_schema(ref_template="#/components/schemas/{model}")
    box = described.pop("$defs")["CorrectedBox"]
    for choice in described["properties"]["boxes"]["anyOf"]:
        if "items" in choice:
            choice["items"] = box
    example = {
        "request_id": "0123456789abcdef-0123456789abcdef0123456789abcdef",
        "right": False,
        "boxes": [{"class_name": "car", "x1": 12.5, "y1": 40, "x2": 220, "y2": 160.25}],
        "note": "the bus is a car",
    }
    content = {"application/json": {"schema": described, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


@router.post("/feedback", response_model=Thanks, responses=REFUSALS, openapi_extra=_body())
async def feedback(request: Request) -> Response:
    """Say whether the answer to a picture was right; once for each picture of a request."""
    endpoint: Endpoint = request.app.state.endpoint
    own_id = endpoint.ids.new(endpoint.exchange.now.digest)
    try:
        said = _read(await _received(request), request.headers.get("content-type", ""))
        row = _row(said, endpoint, str(getattr(request.state, "caller", "")))
        await endpoint.feedback.add_soon(row)
    except FeedbackTwice as error:
        return problem(409, str(error), own_id)
    except InputError as error:
        return problem(422, str(error), own_id)
    except ServiceError as error:
        return problem(503, str(error), own_id)
    except Refusal as error:
        return problem(error.status, str(error), own_id)
    thanks = Thanks(request_id=said.request_id, stored=True).model_dump_json()
    headers = {"X-Request-Id": own_id}
    return Response(thanks, 200, headers, media_type="application/json")


async def _received(request: Request) -> bytes:
    """The whole body, never more than MOST_BODY of it."""
    text = f"expected at most {MOST_BODY >> 10} KiB of feedback, found more"
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BODY:
                    raise Refusal(413, text)
    except TimeoutError as error:
        waited = f"expected a whole body within {BODY_S:.0f} s, found {len(body)} bytes"
        raise Refusal(408, waited) from error
    return bytes(body)


def _read(body: bytes, content_type: str) -> Feedback:
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json":
        raise InputError("application/json", found=f"'{kind[:60]}'", where="Content-Type")
    try:
        # pydantic's own parser: it ends at 200 levels, where Python's json overflows its stack.
        return Feedback.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))[:200]
        raise InputError("feedback as described", found=first["msg"], where=where) from error


def _row(said: Feedback, endpoint: Endpoint, caller: str) -> FeedbackRow:
    if not endpoint.ids.made(said.request_id):
        raise Refusal(404, "expected the id of an answer of this endpoint, found another")
    served = endpoint.exchange.now
    same = said.request_id[:PREFIX] == served.digest[:PREFIX]
    _refuse_unfit(said.boxes or (), served.about.classes if same else None)
    if said.right and said.boxes is not None:
        raise InputError(
            "boxes only where the answer was wrong", found="right: true", where="boxes"
        )
    return FeedbackRow(
        request_id=said.request_id,
        picture=said.picture,
        right=said.right,
        boxes=said.boxes,
        note=said.note,
        caller=caller,
        at=now(),
        algorithm=served.about.algorithm,
        version=served.release.version if same else 0,
    )


def _refuse_unfit(boxes: Sequence[CorrectedBox], classes: Sequence[str] | None) -> None:
    """Raise InputError for what is no box; without `classes` (another version's) any is taken."""
    for number, box in enumerate(boxes):
        where = f"boxes.{number}"
        if classes is not None and box.class_name not in classes:
            raise InputError(
                "a class of the model", found=f"'{box.class_name}'", where=where,
                do=suggest(box.class_name, classes),
            )  # fmt: skip
        # Written so that what is no number (NaN) is refused, too.
        if not (box.x1 < box.x2 and box.y1 < box.y2):
            raise InputError(
                "x1 < x2 and y1 < y2", found=f"{box.x1:g}, {box.y1:g}, {box.x2:g}, {box.y2:g}",
                where=where,
            )  # fmt: skip
