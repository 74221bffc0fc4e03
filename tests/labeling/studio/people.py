"""Accounts of annotators on a real server, made as a person makes one, and their work."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
from pydantic import SecretStr

from cityforge.labeling.studio.client import Studio

PASSWORD = "a long password of a test"
SIZE = (1920, 1080)


@dataclass(frozen=True)
class Person:
    """One account with its legacy token."""

    id: int
    email: str
    token: str


def sign_up(url: str, admin_token: str, name: str) -> Person:
    """Make an account by the link that an administrator hands out."""
    email = f"{name}.{uuid4().hex[:8]}@example.com"
    admin = {"Authorization": f"Token {admin_token}"}
    with httpx.Client(base_url=url, timeout=60, follow_redirects=False) as browser:
        link = browser.get("/api/invite", headers=admin).json()["invite_url"]
        browser.get(link).raise_for_status()
        form = {
            "email": email, "password": PASSWORD,
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }  # fmt: skip
        answer = browser.post(link, data=form, headers={"Referer": url})
        assert answer.status_code == 302, answer.text[:500]
        token = browser.get("/api/current-user/token").json()["token"]
        person = browser.get("/api/current-user/whoami").json()
    assert person["email"] == email
    return Person(int(person["id"]), email, str(token))


@contextmanager
def studio_of(url: str, token: str, patience_s: float = 30) -> Iterator[Studio]:
    """The server as the holder of this token reaches it."""
    with Studio(url, SecretStr(token), patience_s=patience_s) as studio:
        yield studio


def annotate(studio: Studio, task_id: int, result: list[Any], **about: Any) -> dict[str, Any]:
    """Submit an annotation through the API, as its holder."""
    content = {"result": result, "lead_time": 4.25, **about}
    made: dict[str, Any] = studio.make(f"api/tasks/{task_id}/annotations/", content)
    return made


def region(*corners: float, name: str = "bus", **about: Any) -> dict[str, Any]:
    """A box of percent of the picture, as Label Studio states it: x, y, width, height."""
    box = dict(zip(("x", "y", "width", "height"), corners, strict=True))
    return {
        "id": uuid4().hex[:10], "type": "rectanglelabels", "from_name": "label",
        "to_name": "image", "original_width": SIZE[0], "original_height": SIZE[1],
        "image_rotation": 0, "value": {**box, "rotation": 0, "rectanglelabels": [name]}, **about,
    }  # fmt: skip


def random_regions(chance: random.Random, most: int = 4) -> list[dict[str, Any]]:
    """Up to `most` boxes with as many digits as a float has."""
    return [
        region(
            chance.random() * 60, chance.random() * 60, chance.uniform(1, 40),
            chance.uniform(1, 40), name=chance.choice(["bus", "汽车"]),
        )
        for _ in range(chance.randint(0, most))
    ]  # fmt: skip


def log_in(url: str, user: str, password: str) -> httpx.Response:
    """Send the server's login form as a browser does."""
    with httpx.Client(base_url=url, trust_env=False) as browser:
        page = browser.get("/user/login/")
        sent = {
            "email": user,
            "password": password,
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }
        return browser.post(page.url.path, data=sent)
