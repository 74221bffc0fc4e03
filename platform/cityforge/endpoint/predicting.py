"""POST /predict: pictures in, the model's answer out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from cityforge.endpoint.jobs import Job
from cityforge.endpoint.limits import MOST_BODY, MOST_PICTURE, MOST_PICTURES, REQUEST_S
from cityforge.endpoint.refusal import Refusal, problem
from cityforge.endpoint.running import Running
from cityforge.endpoint.telling import camera_of, named, row_of
from cityforge.endpoint.upload import Bounds, Part
from cityforge.endpoint.wire import Buffer
from cityforge.inference.served import Served

BOUNDS = Bounds("images", MOST_PICTURES, MOST_PICTURE, MOST_BODY)
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {
                            "type": "array",
                            "description": "One or several pictures.",
                            "items": {"type": "string", "format": "binary"},
                            "minItems": 1,
                            "maxItems": MOST_PICTURES,
                        }
                    },
                }
            }
        },
    }
}


async def predict(
    request: Request, running: Running, with_map: bool, camera: str | None
) -> Response:
    """Answer one request."""
    begun = time.monotonic()
    served = running.exchange.now
    answer_id = running.ids.new(served.digest)
    try:
        running.refuse_barred()
        running.refuse_full(running.pictures)  # before a byte of the body is read
        card = camera_of(running, camera)
        parts = await _pictures(request, running)
        running.refuse_full(running.pictures, len(parts))
        asked = {"map": with_map, "camera": card, "request_id": answer_id}
        replies = await _answers(request, running, served, parts, asked)
    except Refusal as error:
        return problem(error.status, str(error), answer_id)
    except ClientDisconnect:
        return Response(status_code=499)
    _book(running, request, served, answer_id, parts, replies, begun)
    return Response(
        _joined(served, answer_id, [body for _, body in replies]),
        headers={"X-Request-Id": answer_id},
        media_type="application/json",
    )


async def _pictures(request: Request, running: Running) -> list[Part]:
    parts = await running.intake.form(request, BOUNDS)
    found = [part for part in parts if part.name == BOUNDS.files]
    if not found or any(part.filename is None for part in found):
        what = "a text" if found else "none"
        raise Refusal(422, f"expected files in the multipart field 'images', found {what}")
    return found


async def _answers(
    request: Request, running: Running, served: Served, parts: list[Part], asked: dict[str, Any]
) -> list[tuple[dict[str, Any], Buffer]]:
    jobs = [
        running.pictures.submit(
            served.digest, {"name": part.filename or f"picture {number + 1}", **asked}, part.data
        )
        for number, part in enumerate(parts)
    ]
    watch = asyncio.ensure_future(take_back(request, jobs)) if running.pictures.waiting else None
    try:
        return [await running.outcome(job, REQUEST_S) for job in jobs]
    except asyncio.CancelledError:
        if watch and watch.done():
            raise ClientDisconnect() from None
        raise
    finally:
        for job in jobs:
            job.drop()
        if watch:
            watch.cancel()


async def take_back(request: Request, jobs: list[Job]) -> None:
    """Nobody computes what nobody waits for: jobs of a caller who left are taken back."""
    with contextlib.suppress(asyncio.CancelledError):
        while (await request.receive())["type"] != "http.disconnect":
            pass
        for job in jobs:
            job.drop()


def _joined(served: Served, answer_id: str, pictures: list[Buffer]) -> bytes:
    """A `schema.Prediction` around pictures that are JSON already."""
    about = json.dumps({**named(served), "request_id": answer_id}, ensure_ascii=False)
    return b'%s,"pictures":[%s]}' % (about[:-1].encode(), b",".join(map(bytes, pictures)))


def _book(
    running: Running,
    request: Request,
    served: Served,
    answer_id: str,
    parts: list[Part],
    replies: list[tuple[dict[str, Any], Buffer]],
    begun: float,
) -> None:
    """Log and count the answer; keep the pictures when that is asked for."""
    running.figures.pictures.inc(len(parts))
    marked = sum(bool(head["marked"]) for head, _ in replies)
    if marked:
        running.figures.outside.inc(marked)
    size = sum(part.size for part in parts)
    running.log.write(row_of(request, served, answer_id, "predict", len(parts), size, begun))
    running.captures.offer(running.clips, served.digest, answer_id, [part.data for part in parts])
