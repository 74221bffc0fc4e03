"""From originals to stored frames: sample, write shards, describe each frame."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from cityforge.cards.dataset import Dataset
from cityforge.compute import map_in_processes
from cityforge.errors import CheckFailed, DataError
from cityforge.footage.sample import sample_film, still_jpeg
from cityforge.footage.shards import Member, read_shard, write_shard
from cityforge.tables import FRAMES, from_rows, write_table

STILLS_PER_SHARD = 512
FRAMES_TABLE = "frames.parquet"


@dataclass(frozen=True)
class ShardPlan:
    """One shard to write: its name, and the originals whose frames it holds."""

    path: Path
    originals: tuple[tuple[str, Path, bool], ...]  # footage_id, file, is a still
    seconds: float


def ingest(
    card: Dataset,
    folder: Path,
    footage: pa.Table,
    out: Path,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """Bring `out` to what the catalogue says; shards that are there already are kept.

    Args:
        card: says how films are sampled.
        folder: the dataset's folder, which the catalogue's paths start from.
        footage: table FOOTAGE.
        out: folder of shards and of the frames table.

    Returns:
        Table FRAMES, sorted by frame_id, also written to `out`.

    Raises:
        DataError: no footage.
        CheckFailed: the card asks for a redaction that is not to be had.
    """
    if footage.num_rows == 0:
        raise DataError(
            "footage",
            found="none",
            where=f"dataset '{card.name}'",
            do=f"cityforge footage add {card.name} PATH",
        )
    if card.privacy.redact:
        raise CheckFailed(
            "redacted frames only",
            found=f"no detector for {' and '.join(card.privacy.redact)}",
            where=f"dataset '{card.name}', key 'privacy.redact'",
            do="no frame was stored; redact the films before `footage add` and clear the key",
        )
    plans = plan_shards(card, folder, footage, out)
    rows = footage.select(["footage_id", "started_at"]).to_pylist()
    started = {row["footage_id"]: row["started_at"] for row in rows}
    found: list[dict[str, Any]] = []
    for done, described in enumerate(map_in_processes(build_shard, plans, workers), start=1):
        found.extend(described)
        if progress:
            progress(done, len(plans))
    for row in found:
        row["captured_at"] = _moment(started[row["footage_id"]], row["pts_s"])
    table = from_rows(sorted(found, key=lambda row: str(row["frame_id"])), FRAMES)
    _drop_strays(out, {plan.path.name for plan in plans})
    write_table(table, FRAMES, out / FRAMES_TABLE)
    return table


def plan_shards(card: Dataset, folder: Path, footage: pa.Table, out: Path) -> list[ShardPlan]:
    """Which shards there must be: one a film, and one for each 512 stills of a camera."""
    seconds = card.sampling.seconds
    plans: list[ShardPlan] = []
    stills: dict[str, list[tuple[str, Path, bool]]] = {}
    for row in sorted(footage.to_pylist(), key=lambda row: str(row["footage_id"])):
        still = row["duration_s"] == 0 and row["fps"] is None
        original = (str(row["footage_id"]), folder / str(row["path"]), still)
        if still:
            stills.setdefault(str(row["camera"]), []).append(original)
        else:
            name = f"{original[0]}-every{seconds:g}s.tar"
            plans.append(ShardPlan(out / name, (original,), seconds))
    for camera in sorted(stills):
        for start in range(0, len(stills[camera]), STILLS_PER_SHARD):
            batch = tuple(stills[camera][start : start + STILLS_PER_SHARD])
            digest = hashlib.sha256("".join(each[0] for each in batch).encode()).hexdigest()
            plans.append(ShardPlan(out / f"stills-{digest[:16]}.tar", batch, seconds))
    return plans


def build_shard(plan: ShardPlan) -> list[dict[str, Any]]:
    """Write a shard unless it is there, and describe every frame in it."""
    if not plan.path.exists():
        write_shard(plan.path, _frames_of(plan))
    return [_describe(member, plan.path.name) for member in read_shard(plan.path)]


def _frames_of(plan: ShardPlan) -> Iterator[tuple[str, bytes]]:
    for footage_id, path, still in plan.originals:
        if not path.is_file():
            raise DataError(
                "an original", found="no file", where=str(path), do="dvc pull, or add it again"
            )
        if still:
            yield f"{footage_id}-0.jpg", still_jpeg(path)
        else:
            for milliseconds, jpeg in sample_film(path, plan.seconds):
                yield f"{footage_id}-{milliseconds}.jpg", jpeg


def _describe(member: Member, shard: str) -> dict[str, Any]:
    import cv2
    import imagehash
    import numpy as np
    from PIL import Image

    image = cv2.imdecode(np.frombuffer(member.data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DataError("a JPEG", found="another content", where=f"{shard}, {member.name}")
    small = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    frame_id = member.name.removesuffix(".jpg")
    footage_id, _, milliseconds = frame_id.rpartition("-")
    return {
        "frame_id": frame_id,
        "footage_id": footage_id,
        "pts_s": int(milliseconds) / 1000,
        "captured_at": None,
        "shard": shard,
        "offset": member.offset,
        "bytes": len(member.data),
        "width": image.shape[1],
        "height": image.shape[0],
        "phash": str(imagehash.phash(Image.fromarray(small))),
        "sharpness": float(cv2.Laplacian(image, cv2.CV_64F).var()),
        "brightness": float(image.mean()),
        "redactions": 0,
    }


def _moment(started_at: datetime | None, pts_s: float) -> datetime | None:
    return started_at + timedelta(seconds=pts_s) if started_at else None


def _drop_strays(out: Path, wanted: set[str]) -> None:
    """Remove shards that nothing names, and what a killed run left half written beside them."""
    for path in [*out.glob("*.tar"), *out.glob(".*.tar.*"), *out.glob(".*.parquet.*")]:
        if path.name not in wanted:
            path.unlink()
