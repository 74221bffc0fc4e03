"""What a model found, as the JSON that `schema` describes."""

from __future__ import annotations

import json
from typing import Any

from numpy.typing import NDArray

from cityforge.inference.package import About
from cityforge.inference.runtime import Answer


def shown_picture(
    about: About, name: str, answer: Answer, outside: list[dict[str, str]], with_map: bool
) -> dict[str, Any]:
    """One picture of a `schema.Prediction`; edges to 0.001 pixel, scores to 0.00001."""
    sent = {"name": name, "width": answer.width, "height": answer.height, "outside": outside}
    if answer.counts is not None:
        return {**sent, **_counted(about, answer, with_map)}
    if about.task == "classification":
        return {**sent, "classes": shown_classes(about, answer)}
    return {**sent, "boxes": shown_boxes(about, answer)}


def shown_boxes(about: About, answer: Answer) -> list[dict[str, Any]]:
    """Boxes of a picture, the strongest first."""
    rows = zip(answer.cls.tolist(), answer.score.tolist(), answer.xyxy.tolist(), strict=True)
    return [
        {
            "class_name": about.classes[cls], "score": round(score, 5),
            "x1": round(x1, 3), "y1": round(y1, 3), "x2": round(x2, 3), "y2": round(y2, 3),
        }
        for cls, score, (x1, y1, x2, y2) in rows
    ]  # fmt: skip


def shown_classes(about: About, answer: Answer) -> list[dict[str, Any]]:
    """Classes of a picture, the likeliest first."""
    rows = zip(answer.cls.tolist(), answer.score.tolist(), strict=True)
    return [{"name": about.classes[cls], "score": round(score, 5)} for cls, score in rows]


def shown_counts(about: About, answer: Answer) -> list[dict[str, Any]]:
    """Counts of every class."""
    counts = [] if answer.counts is None else answer.counts.tolist()
    rows = zip(answer.cls.tolist(), counts, strict=True)
    return [{"name": about.classes[cls], "count": round(count, 3)} for cls, count in rows]


def _counted(about: About, answer: Answer, with_map: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"counts": shown_counts(about, answer)}
    if with_map and answer.density is not None and answer.cell_px is not None:
        found["map"] = _density_map(answer.density, answer.cell_px)
    return found


def _density_map(density: NDArray[Any], cell_px: float) -> dict[str, Any]:
    _, height, width = density.shape
    values = [[round(each, 4) for each in one.ravel().tolist()] for one in density]
    return {"width": width, "height": height, "cell": round(cell_px, 3), "values": values}


def as_json(found: dict[str, Any]) -> bytes:
    """Compact UTF-8; refuses what JSON cannot say (NaN, infinity)."""
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
