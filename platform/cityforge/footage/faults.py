"""Faults that show only beside a camera's other pictures: out of focus, and moved.

Black, covered and frozen pictures are found one after the other by `quality.Watcher`. What is
found here can only be told once all shards are written. What it cannot tell: a camera that was out
of focus in most of its pictures, or moved before its first one, is taken as it is. `moved` is told
of a shard as a whole; every later shard has it too, until the camera looks where it first did.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from cityforge.footage.views import from_bytes, has_moved, structure
from cityforge.tables import FRAMES

# Of black, covered and frozen, those that hide the scene: such a picture has no sharpness.
UNSEEN = ("black", "covered")
FOUND_HERE = ("out_of_focus", "moved")

# Sharpness under this share of the median of the same camera and lighting. In every scene that was
# looked at, from sun to rain, it stays above 0.49; a blur of 1.5 pixels of 640 (standard
# deviation) brings it to 0.01 to 0.16, one of 1 pixel to 0.04 to 0.28.
OUT_OF_FOCUS_SHARE = 0.25
# Frames of one camera and lighting under which their median says too little.
LEAST_FRAMES = 20
# Share of a shard's frames that must be of one lighting before its background is compared.
LIGHTING_SHARE = 2 / 3


def judge_cameras(
    frames: pa.Table,
    backgrounds: dict[str, bytes],
    camera_of: dict[str, str],
    mobile: set[str],
) -> pa.Table:
    """Complete the column `faults` by `out_of_focus` and `moved`; all else stays as it is.

    Backgrounds are compared with the first one of the same camera and lighting, by captured_at;
    day, night and infrared are not compared with each other. Judging again changes nothing.

    Args:
        frames: table FRAMES, in any order.
        backgrounds: name of a shard to its background, 64×36 luma bytes.
        camera_of: footage_id to camera; frames of other footage are left as they are.
        mobile: cameras whose view changes: of them neither fault is told.

    Raises:
        DataError: a background of another size.
    """
    if frames.num_rows == 0:
        return frames
    before = [set(faults) - set(FOUND_HERE) for faults in frames["faults"].to_pylist()]
    seen = _seen(frames, before, camera_of, mobile)
    moved = seen["shard"].isin(_moved_shards(seen, backgrounds)) & ~seen["unseen"]
    blurred = _out_of_focus(seen.loc[~moved]).reindex(seen.index, fill_value=False)
    after = [
        sorted(known | ({"out_of_focus"} if a else set()) | ({"moved"} if b else set()))
        for known, a, b in zip(before, blurred, moved, strict=True)
    ]
    field = FRAMES.field("faults")
    place = frames.schema.get_field_index("faults")
    return frames.set_column(place, field, pa.array(after, field.type))


def _seen(
    frames: pa.Table, faults: list[set[str]], camera_of: dict[str, str], mobile: set[str]
) -> Any:
    """What is judged by, one row a frame, as pandas; `camera` is missing where nothing is told."""
    wanted = ["footage_id", "pts_s", "captured_at", "shard", "sharpness", "lighting"]
    seen = frames.select(wanted).to_pandas()
    fixed = {footage: camera for footage, camera in camera_of.items() if camera not in mobile}
    seen["camera"] = seen["footage_id"].map(fixed)
    seen["unseen"] = [not known.isdisjoint(UNSEEN) for known in faults]
    return seen


def _out_of_focus(seen: Any) -> Any:
    """Of which rows it is told; rows of a moved camera, which sees something else, are left out."""
    usable = seen.loc[~seen["unseen"]]
    sharpness = usable.groupby(["camera", "lighting"])["sharpness"]
    low = usable["sharpness"] < OUT_OF_FOCUS_SHARE * sharpness.transform("median")
    return low & (sharpness.transform("size") >= LEAST_FRAMES)


def _moved_shards(seen: Any, backgrounds: dict[str, bytes]) -> list[str]:
    found: list[str] = []
    for _, group in _shards(seen).groupby(["camera", "lighting"]):
        first = None
        for shard in group["shard"]:
            if shard not in backgrounds:
                continue
            view = structure(from_bytes(backgrounds[shard], f"shard '{shard}'"))
            if first is None or view is None:
                first = view if first is None else first
            elif has_moved(first, view):
                found.append(shard)
    return found


def _shards(seen: Any) -> Any:
    """Shards of one camera and one lighting in the order of their recording."""
    usable = seen.loc[~seen["unseen"] & seen["camera"].notna()]
    by_light = usable.groupby(["shard", "lighting"]).size().unstack(fill_value=0)
    if by_light.empty:
        return usable[["camera", "lighting", "shard"]]
    order = usable.sort_values(["captured_at", "footage_id", "pts_s"], na_position="last")
    first = order.groupby("shard").agg(
        captured_at=("captured_at", "min"),
        footage_id=("footage_id", "first"),
        pts_s=("pts_s", "first"),
        camera=("camera", "first"),
        cameras=("camera", "nunique"),
    )
    first["lighting"] = by_light.idxmax(axis=1)
    steady = by_light.max(axis=1) / by_light.sum(axis=1) >= LIGHTING_SHARE
    kept = first.loc[steady & (first["cameras"] == 1)].reset_index()
    return kept.sort_values(["captured_at", "footage_id", "pts_s", "shard"], na_position="last")
