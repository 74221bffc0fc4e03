"""The endpoint: one BentoML service for every package.

BentoML runs the process, its health checks and its restarts; the routes are FastAPI's, so that
a picture can only be a file that was sent, never an address to fetch. Pictures and clips are
computed in processes of their own; see `cityforge.endpoint`.
"""

from __future__ import annotations

import os
from pathlib import Path

import bentoml

from cityforge.endpoint.app import create_app
from cityforge.endpoint.bounded_http import bound_http
from cityforge.endpoint.bundle_state import kept_in_container
from cityforge.endpoint.entrance import Entrance, Inside
from cityforge.endpoint.observed import Figures
from cityforge.endpoint.request_log import RequestLog
from cityforge.endpoint.running import Running
from cityforge.endpoint.surroundings import Surroundings
from cityforge.endpoint.tokens import Tokens
from cityforge.errors import CityforgeError

HERE = Path(__file__).parent
surroundings = kept_in_container(Surroundings(), os.environ)
figures = Figures()
app = create_app()
entrance = Entrance(
    figures,
    Tokens(surroundings.tokens) if surroundings.tokens else None,
    surroundings.open_to_all,
    surroundings.hosts.split(","),
    lambda: app.state.endpoint,
    RequestLog(surroundings.answers),
)
bound_http(entrance.before)


@bentoml.service(
    name="cityforge_endpoint",
    traffic={"timeout": 3600},  # each route has its own, shorter one
    metrics={"enabled": False},  # `/metrics` is a route of ours
    logging={"access": {"enabled": False}},  # the log of answers says who asked for what
)
@bentoml.asgi_app(app, path="/")
class Endpoint:
    """Answers with the release of an approved version, checked before it answers."""

    def __init__(self) -> None:
        try:
            app.state.endpoint = Running(surroundings, HERE, figures)
        except CityforgeError as error:
            raise RuntimeError(f"this package may not be served: {error}") from error

    async def __is_ready__(self) -> bool:
        """What `/readyz` says: a model may answer, and a process can."""
        running: Running = app.state.endpoint
        return running.can_answer()


Endpoint.add_asgi_middleware(Inside, entrance=entrance)
