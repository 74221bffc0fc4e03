"""What each question is on the wire, and what its answer means; nothing here sends or waits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar, Union

import httpx

from cityforge_client.answers import About, Analysis, Box, Prediction, Thanks, read
from cityforge_client.errors import (
    OF_STATUS,
    BadAnswer,
    BadInput,
    CityforgeClientError,
    OutOfTime,
    Unreachable,
)
from cityforge_client.retry import Outcome, retry_after

T = TypeVar("T")
Source = Union[str, "os.PathLike[str]", bytes, BinaryIO]  # a str is a path
Scene = Union[Mapping[str, Any], str, "os.PathLike[str]"]  # a str is a path of JSON
LONGEST_TEXT = 300


@dataclass(frozen=True)
class Part:
    """One file of a question; a path is opened anew for each attempt and read as it is sent."""

    field: str
    name: str
    source: Path | bytes | BinaryIO


@dataclass(frozen=True)
class Call(Generic[T]):
    """One question; `repeatable`: asked twice, it does no harm."""

    kind: type[T]
    method: str
    path: str
    repeatable: bool = True
    long: bool = False  # the answer may take minutes
    params: dict[str, Any] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    json: Any = None
    parts: tuple[Part, ...] = ()


def predict_call(pictures: tuple[Source, ...], camera: str | None, map: bool) -> Call[Prediction]:
    if not pictures:
        raise BadInput("expected one picture or several, found none")
    parts = tuple(part_of("images", f"picture {k + 1}", each) for k, each in enumerate(pictures))
    params = {"map": "true"} if map else {}
    return Call(Prediction, "POST", "/predict", params=with_camera(params, camera), parts=parts)


def analyze_call(
    clip: Source, scene: Scene | None, camera: str | None, fps: float, evidence: int
) -> Call[Analysis]:
    return Call(
        Analysis,
        "POST",
        "/analyze",
        long=True,
        params=with_camera({"fps": fps, "evidence": evidence}, camera),
        data={} if scene is None else {"scene": scene_text(scene)},
        parts=(part_of("clip", "clip", clip),),
    )


def info_call() -> Call[About]:
    return Call(About, "GET", "/info")


def feedback_call(
    request_id: str,
    right: bool,
    boxes: Iterable[Box | Mapping[str, Any]] | None,
    note: str,
    picture: int,
) -> Call[Thanks]:
    """Not repeatable: the second would be told that the first was stored."""
    body: dict[str, Any] = {
        "request_id": request_id, "right": right, "picture": picture, "note": note,
    }  # fmt: skip
    if boxes is not None:
        body["boxes"] = [corrected(each) for each in boxes]
    return Call(Thanks, "POST", "/feedback", repeatable=False, json=body)


def corrected(box: Box | Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a box that feedback knows."""
    keys = ("class_name", "x1", "y1", "x2", "y2")
    found = box if isinstance(box, Mapping) else vars(box)
    missing = [key for key in keys if key not in found]
    if missing:
        raise BadInput(f"expected boxes with {', '.join(keys)}, found one without {missing[0]}")
    return {key: found[key] for key in keys}


def with_camera(params: dict[str, Any], camera: str | None) -> dict[str, Any]:
    return params if camera is None else {**params, "camera": camera}


def scene_text(scene: Scene) -> str:
    if isinstance(scene, Mapping):
        return json.dumps(scene, ensure_ascii=False, allow_nan=False)
    return Path(scene).read_text(encoding="utf-8")


def part_of(field: str, name: str, source: Source) -> Part:
    """A file of a question.

    Raises:
        BadInput: an open file that cannot be read again, which another attempt would need.
    """
    if isinstance(source, bytes):
        return Part(field, name, source)
    if isinstance(source, (str, os.PathLike)):
        return Part(field, Path(source).name, Path(source))
    if not source.seekable():
        raise BadInput("expected a file that can be read again, found a pipe: read it to bytes")
    own = getattr(source, "name", None)
    return Part(field, Path(own).name if isinstance(own, str) else name, source)


@dataclass(frozen=True)
class Times:
    """Seconds without a byte after which an attempt is given up."""

    short: float
    long: float

    def of(self, call: Call[Any]) -> httpx.Timeout:
        most = max(self.short, self.long) if call.long else self.short
        return httpx.Timeout(self.short, read=most, connect=min(self.short, 10.0))


@contextmanager
def opened(call: Call[Any], times: Times) -> Iterator[dict[str, Any]]:
    """What httpx is given for one attempt; files of paths are closed behind it."""
    with ExitStack() as stack:
        files = []
        for part in call.parts:
            data = part.source
            if isinstance(data, Path):
                data = stack.enter_context(data.open("rb"))
            files.append((part.field, (part.name, data)))
        asked: dict[str, Any] = {"method": call.method, "url": call.path, "params": call.params}
        asked["timeout"] = times.of(call)
        asked |= {"files": files, "data": call.data} if files else {}
        yield asked if call.json is None else {**asked, "json": call.json}


def answer_of(call: Call[T], outcome: Outcome) -> T:
    """The answer, where it is one.

    Raises:
        CityforgeClientError: which of them, errors.py says.
    """
    if isinstance(outcome, (httpx.ReadTimeout, httpx.WriteTimeout)):
        raise OutOfTime(f"expected an answer in time, found none, at {call.path}") from outcome
    if isinstance(outcome, httpx.RequestError):
        said = str(outcome) or type(outcome).__name__
        raise Unreachable(f"expected an endpoint, found: {said}") from outcome
    if not outcome.is_success:
        raise refusal_of(outcome)
    try:
        return read(call.kind, outcome.json())
    except ValueError as error:
        text = f"expected JSON, found {outcome.text[:60]!r}, at {call.path}"
        raise BadAnswer(text, outcome.status_code) from error


def refusal_of(answer: httpx.Response) -> CityforgeClientError:
    """A refusal in the endpoint's own words, or in those of whoever stands before it."""
    try:
        said = answer.json()
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {}
    plain = " ".join(answer.text.split())[:LONGEST_TEXT] or answer.reason_phrase
    kind = OF_STATUS.get(answer.status_code, BadAnswer)
    request_id = said.get("request_id") or answer.headers.get("x-request-id", "")
    text = str(said.get("error") or plain)
    return kind(text, answer.status_code, str(request_id), retry_after(answer))


def is_ready(outcome: Outcome) -> bool:
    """Whether it can answer now: of GET /readyz.

    Raises:
        NotAllowed: it will not say without a token.
    """
    if isinstance(outcome, httpx.RequestError):
        return False
    if outcome.status_code in (401, 403):
        raise refusal_of(outcome)
    return outcome.is_success


def settings_of(address: str, token: str | None) -> dict[str, Any]:
    """What both clients of httpx are made with.

    Raises:
        BadInput: no address of http, or a token that no header can carry.
    """
    from cityforge_client import __version__

    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise BadInput(f"expected an address as http://host:3000, found {address!r}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise BadInput(f"expected an address as http://host:3000, found {address!r}")
    headers = {"User-Agent": f"cityforge-client/{__version__}", "Accept": "application/json"}
    if token is not None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise BadInput("expected a token of printable ASCII, found something else")
        headers["Authorization"] = f"Bearer {token}"
    return {"base_url": url, "headers": headers}
