"""One annotation as Label Studio exports it, as a row of the table ANNOTATIONS."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

ASSISTED = {"prediction", "prediction-changed"}  # a region's `origin` in Label Studio

Row = dict[str, Any]


def moment(text: str) -> datetime:
    """A moment as the server states it, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def canonical(value: object) -> str:
    """JSON that is the same for the same content: sorted keys, no spaces.

    >>> canonical({"y": Decimal("2.50"), "x": [1, None, "汽车"]})
    '{"x":[1,null,"汽车"],"y":2.5}'
    """
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_number
    )


def annotation_row(annotation: Row, task: Row, people: dict[int, str], source: str) -> Row:
    """The columns of ANNOTATIONS, with times as ISO text.

    Beside them `parent`, the prediction it was made from where its model version is not stated,
    and `task_changed_at`.
    It is assisted where its maker began from a prediction or left a region of one in it; that
    the project showed a prediction at the time, which `prediction` holds, says nothing.
    """
    data = task["data"]
    parent = annotation.get("parent_prediction")
    seen = annotation.get("prediction") or {}
    assisted = parent is not None or _of_model(annotation["result"])
    seen_is_parent = parent is None or seen.get("id") == parent
    version = seen.get("model_version") if assisted and seen_is_parent else None
    frame = data.get("frame_id") if isinstance(data, dict) else None
    return {
        "annotation_id": str(int(annotation["id"])),
        "task_id": int(task["id"]),
        "frame_id": frame if isinstance(frame, str) else None,
        "annotator": _annotator(annotation.get("completed_by"), people),
        "created_at": moment(annotation["created_at"]).isoformat(),
        "updated_at": moment(annotation["updated_at"]).isoformat(),
        "lead_time_s": _seconds(annotation.get("lead_time")),
        "ground_truth": bool(annotation.get("ground_truth")),
        "skipped": bool(annotation.get("was_cancelled")),
        "origin": "assisted" if assisted else "human",
        "model_version": str(version) if version else None,
        "data": canonical(data),
        "result": canonical(annotation["result"]),
        "source": source,
        "task_changed_at": moment(task["updated_at"]),
        "parent": None if version or parent is None else int(parent),
    }


def _of_model(result: object) -> bool:
    """A region came from a prediction, whether it was changed or not."""
    regions = result if isinstance(result, list) else []
    return any(isinstance(each, dict) and each.get("origin") in ASSISTED for each in regions)


def _annotator(who: object, people: dict[int, str]) -> str | None:
    if isinstance(who, dict):  # where accounts are written out
        who = who.get("id")
    return None if who is None else people.get(int(str(who)), f"user {who}")


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    seconds = float(str(value))
    return seconds if math.isfinite(seconds) else None


def _number(value: object) -> object:
    """A number of JSON as Python's own; one that no float holds stays text."""
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} in JSON")
    number = float(value)
    return number if math.isfinite(number) else str(value)
