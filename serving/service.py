"""The endpoint: one BentoML service for every package.

BentoML runs the process, its health checks and its metrics; the routes are FastAPI's, so
that a picture can only be a file that was sent, never an address to fetch.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Annotated, Any

import bentoml
from fastapi import FastAPI, File, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from cityforge.errors import CityforgeError, InputError
from cityforge.inference.package import open_package
from cityforge.inference.runtime import Answer, Model

HERE = Path(__file__).parent
MOST_PICTURES = 32
MOST_BYTES = 32 << 20


class Box(BaseModel):
    """One object; xyxy in pixels of the picture as it was sent."""

    class_name: str = Field(examples=["car"])
    score: float = Field(ge=0, le=1, examples=[0.87])
    x1: float = Field(examples=[12.5])
    y1: float = Field(examples=[40.0])
    x2: float = Field(examples=[220.0])
    y2: float = Field(examples=[160.25])


class Picture(BaseModel):
    """The answer to one picture, in the order they were sent."""

    name: str = Field(examples=["frame.jpg"])
    width: int = Field(examples=[1280])
    height: int = Field(examples=[720])
    boxes: list[Box]


class Info(BaseModel):
    """Which model answers."""

    model: str = Field(examples=["demo_crossing"])
    version: int = Field(examples=[1])
    digest: str = Field(description="sha256 of the model's package")


class Prediction(Info):
    """The answer to one request."""

    request_id: str
    pictures: list[Picture]


class About(Info):
    """The model, and what it was approved on."""

    title: str
    classes: list[str]
    input_width: int
    input_height: int
    score_threshold: float
    envelope: dict[str, Any]
    approval: dict[str, Any]


class Problem(BaseModel):
    """Why a request was refused."""

    error: str
    request_id: str


app = FastAPI(title="cityforge endpoint")
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem},
    413: {"model": Problem},
    422: {"model": Problem},
}


def refuse(request_id: str, status: int, error: str) -> JSONResponse:
    return JSONResponse(
        {"error": error, "request_id": request_id}, status, {"X-Request-Id": request_id}
    )


@app.exception_handler(RequestValidationError)
async def not_as_described(request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    text = f"expected files in the multipart field 'images', found {first['msg']}, in {where}"
    return refuse(uuid.uuid4().hex, 422, text)


@app.post("/predict", responses=REFUSALS)
async def predict(
    request: Request,
    images: Annotated[list[UploadFile], File(description="One or several pictures.")],
) -> Prediction:
    """Find objects in pictures (JPEG, PNG, WebP, BMP or TIFF)."""
    request_id = uuid.uuid4().hex
    if len(images) > MOST_PICTURES:
        text = f"expected at most {MOST_PICTURES} pictures, found {len(images)}"
        return refuse(request_id, 413, text)
    names, pictures = [], []
    for number, image in enumerate(images):
        names.append(image.filename or f"picture {number + 1}")
        data = await image.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            text = f"expected at most {MOST_BYTES >> 20} MiB a picture, found more, in {names[-1]}"
            return refuse(request_id, 413, text)
        pictures.append(data)
    endpoint: Endpoint = request.app.state.endpoint
    answers: list[Answer] = []
    for name, data in zip(names, pictures, strict=True):
        try:
            answers += await run_in_threadpool(endpoint.model.answer, [data])
        except InputError as error:
            where = InputError(error.expected, found=error.found, where=name)
            return refuse(request_id, 400, str(where))
    shown = [endpoint.picture(name, each) for name, each in zip(names, answers, strict=True)]
    found = Prediction(request_id=request_id, pictures=shown, **endpoint.info().model_dump())
    return JSONResponse(found.model_dump(), headers={"X-Request-Id": request_id})


@app.get("/info")
async def info(request: Request) -> About:
    """Say which model answers, and what it was approved on."""
    endpoint: Endpoint = request.app.state.endpoint
    about = endpoint.model.about
    return About(
        **endpoint.info().model_dump(),
        title=about.title,
        classes=about.classes,
        input_width=about.input_width,
        input_height=about.input_height,
        score_threshold=about.score_threshold,
        envelope=about.envelope,
        approval=endpoint.approval,
    )


@bentoml.service(name="cityforge_endpoint", traffic={"timeout": 60}, metrics={"enabled": True})
@bentoml.asgi_app(app, path="/")
class Endpoint:
    """Loads the package of an approved version and answers with it."""

    def __init__(self) -> None:
        self.approval = json.loads((HERE / "approval.json").read_text(encoding="utf-8"))
        try:
            package = open_package(HERE / "package", self.approval["package_digest"])
        except (CityforgeError, KeyError) as error:
            raise RuntimeError(f"this package is not the one that was approved: {error}") from error
        self.model = Model(package)
        app.state.endpoint = self

    def info(self) -> Info:
        about = self.model.about
        return Info(
            model=about.algorithm, version=self.approval["version"], digest=self.model.digest
        )

    def picture(self, name: str, answer: Answer) -> Picture:
        classes = self.model.about.classes
        boxes = []
        for row in range(len(answer.score)):
            x1, y1, x2, y2 = (round(float(each), 3) for each in answer.xyxy[row])
            score = round(float(answer.score[row]), 5)
            boxes.append(
                Box(class_name=classes[answer.cls[row]], score=score, x1=x1, y1=y1, x2=x2, y2=y2)
            )
        return Picture(name=name, width=answer.width, height=answer.height, boxes=boxes)
