"""What the process of an endpoint is told by its environment, by `cityforge serve` or a container."""  # noqa: E501

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Surroundings(BaseSettings):
    """CITYFORGE_* of an endpoint's process; nothing set is a Bento alone, closed to everyone.

    `published`: the file that says which release is served (none: the one in the Bento).
    `answers`: folder of the log of answers. `tokens`: file of those who may call.
    `open_to_all`: no token is asked for. `hosts`: names the endpoint is called by, by commas.
    `cameras`: folder of camera cards. `feedback`: folder where feedback is stored.
    `capture`: folder where pictures are kept, a `capture_share` of the requests; `privacy`: file
    that says what must be made unreadable in them. `compute`: processes that answer pictures
    (0: one a core). `secret`: file of the key that request ids are made with.
    """

    model_config = SettingsConfigDict(env_prefix="CITYFORGE_", extra="ignore", frozen=True)

    published: Path | None = None
    answers: Path | None = None
    tokens: Path | None = None
    open_to_all: bool = False
    hosts: str = ""
    cameras: Path | None = None
    feedback: Path | None = None
    capture: Path | None = None
    capture_share: float = Field(default=0.0, ge=0, le=1)
    privacy: Path | None = None
    compute: int = Field(default=0, ge=0, le=256)
    secret: Path | None = None
