"""The routes of an endpoint, as FastAPI describes them; `running.Running` does the work."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cityforge.endpoint import analyzing, feedback_route, page_route, predicting
from cityforge.endpoint.refusal import Refusal, problem
from cityforge.endpoint.running import Running
from cityforge.endpoint.schema import About, Analysis, Prediction, Problem
from cityforge.endpoint.telling import about_of

DESCRIPTION = """Pictures and clips in; boxes, classes, counts, tracks and events out.

Every refusal is a `Problem`: one line that says what was expected and what was found.
An endpoint that is stopped takes nothing new, and finishes what it has for a minute; what is not
answered by then is refused with 503."""
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "a picture or clip that does not decode",
        401: "no token, or a wrong one",
        403: "another scope, a foreign Host or Origin",
        408: "a body that comes too slowly",
        413: "too much in one request",
        422: "not as described here",
        429: "over the caller's rate; see Retry-After",
        503: "full, starting, ending or barred; see Retry-After",
        504: "out of time",
    }.items()
}
Camera = Annotated[
    str | None, Query(max_length=200, description="A camera whose card the endpoint has.")
]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    running: Running = app.state.endpoint
    await running.start()
    yield
    await running.close()


def create_app() -> FastAPI:
    """The app; `app.state.endpoint`, a `Running`, is set before it starts."""
    app = FastAPI(
        title="cityforge endpoint",
        description=DESCRIPTION,
        version="1",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_exception_handler(RequestValidationError, _not_as_described)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _plainly)
    app.add_api_route(
        "/predict", predict, methods=["POST"], response_model=Prediction, responses=REFUSALS,
        openapi_extra=predicting.BODY,
    )  # fmt: skip
    app.add_api_route(
        "/analyze", analyze, methods=["POST"], response_model=Analysis, responses=REFUSALS,
        openapi_extra=analyzing.BODY,
    )  # fmt: skip
    app.add_api_route(
        "/info", info, methods=["GET"], response_model=About,
        responses={each: REFUSALS[each] for each in (401, 403, 429)},
    )  # fmt: skip
    app.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)
    app.add_api_route("/metrics", metrics, methods=["GET"], include_in_schema=False)
    app.include_router(feedback_route.router, responses=REFUSALS)
    app.include_router(page_route.router)
    return app


async def predict(
    request: Request,
    with_map: Annotated[
        bool, Query(alias="map", description="Density: also say where they are.")
    ] = False,
    camera: Camera = None,
) -> Response:
    """Find objects, classes or counts in pictures (JPEG, PNG, WebP, BMP or TIFF)."""
    return await predicting.predict(request, request.app.state.endpoint, with_map, camera)


async def analyze(
    request: Request,
    camera: Camera = None,
    fps: Annotated[float, Query(ge=1, le=30, description="Frames looked at a second.")] = 5.0,
    evidence: Annotated[int, Query(ge=0, le=3, description="Drawn frames an event.")] = 1,
) -> Response:
    """Follow objects through a clip, and say what happened by the rules of the algorithm."""
    running: Running = request.app.state.endpoint
    return await analyzing.analyze(request, running, camera, fps, evidence)


async def info(request: Request) -> About:
    """Say which model answers, and what it was approved on."""
    return about_of(request.app.state.endpoint)


async def docs(request: Request) -> Response:
    """A page to try the API by hand."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="cityforge endpoint",
        swagger_js_url="static_content/swagger-ui-bundle.js",
        swagger_css_url="static_content/swagger-ui.css",
        swagger_favicon_url="static_content/favicon-light-32x32.png",
    )


async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    import anyio.to_thread
    from bentoml._internal.configuration.containers import BentoMLContainer

    request.app.state.endpoint.tell_figures()
    client = BentoMLContainer.metrics_client.get()
    content = await anyio.to_thread.run_sync(client.generate_latest)
    return Response(content, media_type=client.CONTENT_TYPE_LATEST)


async def _not_as_described(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return problem(
        422, f"expected what the API describes, found {first['msg']}, in {where}", _new_id(request)
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return problem(error.status, str(error), _new_id(request))


async def _plainly(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = f"expected another request, found {str(error.detail).lower()}: "
    found = problem(
        error.status_code, f"{text}{request.method} {request.url.path}", secrets.token_hex(16)
    )
    found.headers.update(error.headers or {})
    return found


def _new_id(request: Request) -> str:
    running: Running = request.app.state.endpoint
    return running.ids.new(running.exchange.now.digest)
