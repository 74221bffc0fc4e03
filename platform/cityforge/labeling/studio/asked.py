"""Which frames people are asked to label, in which order, and what their tasks say of them."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from cityforge.cards.dataset import Dataset
from cityforge.labeling.studio.tasks import Row

ASKED_AGAIN = ("gold", "review", "split")  # purposes for which a labelled frame is asked
COLUMNS = (
    "frame_id", "footage_id", "pts_s", "captured_at", "shard", "offset", "bytes", "width", "height"
)  # fmt: skip


def with_footage(card: Dataset, frames: pa.Table, footage: pa.Table) -> list[Row]:
    """Rows of FRAMES with `name`, `camera` and `site` of their footage."""
    sites: dict[str, str | None] = {each.name: each.site for each in card.cameras}
    known = {
        row["footage_id"]: {
            "name": row["name"],
            "camera": row["camera"],
            "site": row["site"] or sites.get(row["camera"]),
        }
        for row in footage.select(["footage_id", "name", "camera", "site"]).to_pylist()
    }
    rows = frames.select(list(COLUMNS)).to_pylist()
    return [row | known[row["footage_id"]] for row in rows]


def in_time(frames: pa.Table, footage: pa.Table) -> list[str]:
    """Frame ids camera by camera, each from its first moment on; frames without one come last."""
    about = footage.select(["footage_id", "camera", "name"])
    joined = frames.select(["frame_id", "footage_id", "captured_at", "pts_s"]).join(
        about, keys="footage_id"
    )
    keys = ("camera", "captured_at", "name", "pts_s", "frame_id")
    ordered = joined.sort_by([(key, "ascending") for key in keys])
    found: list[str] = ordered["frame_id"].to_pylist()
    return found


def queued(queue: pa.Table, labelled: Collection[str], every: bool) -> dict[str, str | None]:
    """Frames in the order of table QUEUE, each with its reason.

    A frame that has labels is asked only where the queue wants it again, or with `every`. A
    frame of known answer carries the reason of its neighbour, so that nothing tells it apart.
    """
    again = set(ASKED_AGAIN)
    order: dict[str, str | None] = {}
    rows = queue.sort_by("rank").to_pylist()
    said = next((row["reason"] for row in rows if row["purpose"] != "gold"), None)
    for row in rows:
        said = row["reason"] if row["purpose"] != "gold" else said
        if every or row["purpose"] in again or row["frame_id"] not in labelled:
            order[row["frame_id"]] = said or None
    return order
