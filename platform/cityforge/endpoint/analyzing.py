"""POST /analyze: a clip in; tracks, events and evidence out."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from cityforge.cards.camera import Scene
from cityforge.endpoint.limits import CLIP_S, MOST_CLIP, MOST_SECONDS
from cityforge.endpoint.predicting import take_back
from cityforge.endpoint.refusal import Refusal, problem
from cityforge.endpoint.running import Running
from cityforge.endpoint.telling import camera_of, named, row_of
from cityforge.endpoint.upload import Bounds, Part
from cityforge.inference.served import Served

BOUNDS = Bounds("clip", 1, MOST_CLIP, MOST_CLIP, "clip", on_disk=True)
SCENE_EXAMPLE = '{"width": 1280, "height": 720, "lines": {"stop line": [[100, 500], [900, 480]]}}'
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["clip"],
                    "properties": {
                        "clip": {
                            "type": "string", "format": "binary", "description": "A film.",
                        },
                        "scene": {
                            "type": "string",
                            "description": "JSON: zones, lines and ground of this view, instead "
                            "of the camera's card.",
                            "example": SCENE_EXAMPLE,
                        },
                    },
                }
            }
        },
    }
}  # fmt: skip


async def analyze(
    request: Request, running: Running, camera: str | None, fps: float, evidence: int
) -> Response:
    """Answer one request."""
    begun = time.monotonic()
    served = running.exchange.now
    answer_id = running.ids.new(served.digest)
    try:
        running.refuse_barred()
        running.refuse_full(running.clips)
        asked = {
            "camera": camera_of(running, camera), "fps": fps, "evidence": evidence,
            "most_s": MOST_SECONDS, "request_id": answer_id,
        }  # fmt: skip
        with running.clip_place():
            size, head, body = await _received(request, running, served, asked)
    except Refusal as error:
        return problem(error.status, str(error), answer_id)
    except ClientDisconnect:
        return Response(status_code=499)
    if head["marked"]:
        running.figures.outside.inc()
    running.log.write(row_of(request, served, answer_id, "analyze", head["frames"], size, begun))
    about = json.dumps({**named(served), "request_id": answer_id}, ensure_ascii=False)
    return Response(
        about[:-1].encode() + b"," + bytes(body)[1:],
        headers={"X-Request-Id": answer_id},
        media_type="application/json",
    )


async def _received(
    request: Request, running: Running, served: Served, asked: dict[str, Any]
) -> tuple[int, dict[str, Any], Any]:
    """Take a clip in and answer it: its bytes, and the reply; nothing of it stays on the disk."""
    parts = await running.intake.form(request, BOUNDS)
    try:
        clip, path = _clip(parts)
        more = {"path": path, "name": clip.filename or "clip", "scene": _scene(parts)}
        running.refuse_full(running.clips)
        head, body = await _answer(request, running, served, {**asked, **more})
        return clip.size, head, body
    finally:
        await asyncio.to_thread(_close, parts)  # a large file takes its time to go


def _close(parts: list[Part]) -> None:
    for part in parts:
        part.close()


async def _answer(
    request: Request, running: Running, served: Served, asked: dict[str, Any]
) -> tuple[dict[str, Any], Any]:
    job = running.clips.submit(served.digest, asked, b"")
    watch = asyncio.ensure_future(take_back(request, [job]))
    try:
        return await running.outcome(job, CLIP_S + 10)
    except asyncio.CancelledError:
        if watch.done():
            raise ClientDisconnect() from None
        raise
    finally:
        job.drop()
        watch.cancel()


def _clip(parts: list[Part]) -> tuple[Part, str]:
    """The clip, and the path that it has for another process of ours while its file is open."""
    for part in parts:
        if part.name == "clip" and part.file:
            return part, f"/proc/{os.getpid()}/fd/{part.file.fileno()}"
    raise Refusal(422, "expected a file in the multipart field 'clip', found none")


def _scene(parts: list[Part]) -> dict[str, Any] | None:
    """The scene of the request.

    Raises:
        Refusal: it is no scene.
    """
    texts = [bytes(part.data) for part in parts if part.name == "scene"]
    try:
        return Scene.model_validate_json(texts[0]).model_dump(mode="json") if texts else None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["scene", *map(str, first["loc"])])
        raise Refusal(422, f"expected a scene, found {first['msg']}, in {where}") from error
