"""A live endpoint held against the model it serves, on the same frames, over the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.dataset.labelled import LabelledFrames
from cityforge.errors import DataError, ServiceError
from cityforge.export.answers import Gap, answer_gap, answers_of, truth_of
from cityforge.export.found import Parity
from cityforge.export.sides import Answered, Way, parity_of
from cityforge.inference.package import About
from cityforge.inference.runtime import Answer, answer_of
from cityforge.tasks.picture import decode_and_fit

TIMEOUT_S = 60.0
PICTURES = 8  # a request
ROUNDED_TO = 1e-5  # scores in the JSON


def served_by(address: str, token: str = "") -> dict[str, Any]:
    """What an endpoint says of its model: `model`, `version`, `digest`, `task`.

    Raises:
        ServiceError: nothing answers there, or something else.
    """
    import httpx

    try:
        found = httpx.get(f"{address.rstrip('/')}/info", timeout=TIMEOUT_S, headers=_headers(token))
        about: dict[str, Any] = found.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ServiceError("an endpoint", found=str(error), where=address) from error
    if not isinstance(about, dict) or not {"version", "digest"} <= about.keys():
        raise ServiceError("an endpoint of cityforge", found="another service", where=address)
    return about


def endpoint_parity(
    about: About,
    frames: LabelledFrames,
    read: Callable[[str], bytes],
    way: Way,
    address: str,
    token: str = "",
) -> Parity:
    """Sides `onnx` and `endpoint`, both over the package's thresholds, which is all it answers.

    The endpoint rounds: edges to 0.001 pixel, scores to 0.00001, cells of a map to 0.0001.

    Raises:
        ServiceError: the endpoint does not answer.
        DataError: it answers otherwise than its task asks.
    """
    ours: list[Answer] = []
    theirs: list[Answer] = []
    gap = Gap()
    for start in range(0, len(frames), PICTURES):
        ids = frames.frame_ids[start : start + PICTURES]
        jpegs = [read(each) for each in ids]
        asked = _ask(about, address, jpegs, token)
        for frame_id, jpeg, other in zip(ids, jpegs, asked, strict=True):
            one = _answer(about, way, jpeg)
            _refuse_other_size(one, other, frame_id, address)
            gap = gap.or_more(answer_gap(about, one, other))
            ours.append(one)
            theirs.append(other)
    found = {"onnx": answers_of(about, ours), "endpoint": answers_of(about, theirs)}
    answered = Answered(truth_of(about, frames), found, {"endpoint": gap}, len(frames))  # type: ignore[arg-type]
    return parity_of(_all_over(about), answered)


def _all_over(about: About) -> About:
    """Without thresholds: all is over them already, and a rounded score may lie under."""
    own = dict.fromkeys(about.classes, ROUNDED_TO) if about.several_labels else None
    return about.model_copy(update={"score_threshold": 0.0, "class_thresholds": own})


def _answer(about: About, way: Way, jpeg: bytes) -> Answer:
    fitted = decode_and_fit(jpeg, about.input_width, about.input_height)
    return answer_of(about, [each[0] for each in way(fitted.canvas[None])], fitted, None)


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _ask(about: About, address: str, jpegs: Sequence[bytes], token: str) -> list[Answer]:
    import httpx

    files = [("images", (f"{n}.jpg", jpeg, "image/jpeg")) for n, jpeg in enumerate(jpegs)]
    query = {"map": "true"} if about.task == "density" else {}
    url = f"{address.rstrip('/')}/predict"
    try:
        found = httpx.post(
            url, params=query, files=files, timeout=TIMEOUT_S, headers=_headers(token)
        )
        pictures = found.raise_for_status().json()["pictures"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise ServiceError(
            f"answers to {len(jpegs)} pictures", found=str(error).splitlines()[0], where=url
        ) from error
    if len(pictures) != len(jpegs):
        raise ServiceError(f"{len(jpegs)} answers", found=str(len(pictures)), where=url)
    try:
        return [_read(about, each) for each in pictures]
    except (KeyError, ValueError) as error:
        raise DataError(
            f"answers of {about.task} with the package's classes", found=repr(error), where=url
        ) from error


def _read(about: About, picture: dict[str, Any]) -> Answer:
    """One picture of an endpoint's JSON as an answer."""
    width, height = picture["width"], picture["height"]
    if about.task == "detection":
        rows = picture["boxes"]
        names = [row["class_name"] for row in rows]
        xyxy = [[row[edge] for edge in ("x1", "y1", "x2", "y2")] for row in rows]
        scores = [row["score"] for row in rows]
    else:
        rows = picture["classes" if about.task == "classification" else "counts"]
        names = [row["name"] for row in rows]
        xyxy = [[0.0, 0.0, width, height]] * len(rows)
        scores = [row.get("score", 1.0) for row in rows]
    return Answer(
        width,
        height,
        np.array(xyxy, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array([about.classes.index(name) for name in names], np.int64),
        **(_counted(picture) if about.task == "density" else {}),
    )


def _counted(picture: dict[str, Any]) -> dict[str, Any]:
    over = picture["map"]
    shape = (len(picture["counts"]), over["height"], over["width"])
    density: NDArray[Any] = np.array(over["values"], np.float32).reshape(shape)
    counts = np.array([row["count"] for row in picture["counts"]], np.float64)
    return {"counts": counts, "density": density, "cell_px": over["cell"]}


def _refuse_other_size(one: Answer, other: Answer, frame_id: str, address: str) -> None:
    if (one.width, one.height) != (other.width, other.height):
        raise DataError(
            f"a picture of {one.width}×{one.height}", found=f"{other.width}×{other.height}",
            where=f"{address}, frame {frame_id}",
        )  # fmt: skip
