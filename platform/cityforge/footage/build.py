"""Writes one shard, and beside it the table of what its frames are."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cityforge.cards.dataset import Privacy
from cityforge.errors import DataError, FootageError
from cityforge.footage.near import NearDuplicates, perceptual_hash
from cityforge.footage.plan import ShardPlan
from cityforge.footage.quality import Watcher
from cityforge.footage.redact import Redacted, Redactor
from cityforge.footage.sample import Sample, sample_film
from cityforge.footage.shards import ShardWriter, begin_shard
from cityforge.footage.stills import encode_jpeg, still_bgr, still_jpeg
from cityforge.tables import FRAMES, from_rows

KEY = b"cityforge.shard"


@dataclass
class Built:
    """What stands beside a shard."""

    frames: pa.Table  # FRAMES, captured_at and the camera's faults still unknown
    background: str | None  # median thumbnail of 64×36 luma, hexadecimal
    refused: list[dict[str, str]]  # frames that could not be made private: where, found
    duplicates: int  # near-duplicates that were left out


def side_path(shard: Path) -> Path:
    """Where the table of a shard lies."""
    return shard.with_suffix(".parquet")


def build_shard(plan: ShardPlan) -> Path:
    """Write a shard and its side table unless both are there; returns the shard.

    A side table that cannot be read is made anew, with its shard.
    """
    side = side_path(plan.path)
    if not (plan.path.exists() and _is_readable(side)):
        _work_alone()
        under_way = _UnderWay(plan)
        with begin_shard(plan.path) as shard:
            for frame_id, jpeg, sample in _originals(plan):
                under_way.add(shard, frame_id, jpeg, sample)
            under_way.write_side(side)  # before the shard, which says that both are there
    return plan.path


def read_side(shard: Path) -> Built:
    """Read what stands beside a shard, and hold the shard's size against it.

    Raises:
        DataError: the shard or its table is gone, or the shard was cut.
    """
    try:
        found = pq.read_table(side_path(shard))
        about = json.loads(found.schema.metadata[KEY])
        size = shard.stat().st_size
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DataError(
            "a shard and its table", found=str(error), where=str(shard), do="ingest again"
        ) from error
    frames = found.replace_schema_metadata(FRAMES.metadata).cast(FRAMES)
    last = pc.max(pc.add(frames["offset"], frames["bytes"])).as_py() or 0
    if size < last + 1024:  # two empty blocks end a tar file
        raise DataError(
            "a whole tar shard", found=f"{size} bytes", where=str(shard),
            do="remove it and ingest again",
        )  # fmt: skip
    return Built(frames, about["background"], about["refused"], about["duplicates"])


def _is_readable(side: Path) -> bool:
    try:
        return KEY in (pq.read_schema(side).metadata or {})
    except (OSError, pa.ArrowException):
        return False


def _work_alone() -> None:
    """In a worker OpenCV has one core: the work is spread over processes already."""
    import cv2

    if multiprocessing.parent_process() is not None:
        cv2.setNumThreads(1)


@dataclass
class _UnderWay:
    plan: ShardPlan
    rows: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)
    duplicates: int = 0

    def __post_init__(self) -> None:
        self.watcher = Watcher(keeps=self.plan.redactor is None)
        near = self.plan.sampling.near_duplicates
        self._frozen = False
        self._near = NearDuplicates(near) if near is not None and not self.plan.still else None

    def add(self, shard: ShardWriter, frame_id: str, jpeg: bytes | None, sample: Sample) -> None:
        """Store one frame: look at it, make it private, write it, describe it."""
        watcher = Watcher() if self.plan.still else self.watcher
        look = watcher.look(sample.bgr, sample.milliseconds / 1000)
        phash = perceptual_hash(watcher.grey)
        if self._is_duplicate(phash, "frozen" in look.faults):
            self.duplicates += 1
            return
        try:
            stored = self._private(sample, jpeg)
        except FootageError as error:
            self.refused.append({"where": frame_id, "found": error.found})
            return
        if self.plan.redactor is not None and not self.plan.still:
            self.watcher.keep(_decoded(stored.jpeg, frame_id))  # nothing of the original stays
        offset = shard.add(f"{frame_id}.jpg", stored.jpeg)
        self.rows.append(
            {
                "frame_id": frame_id,
                "footage_id": frame_id.rpartition("-")[0],
                "pts_s": sample.milliseconds / 1000,
                "captured_at": None,
                "shard": self.plan.path.name,
                "offset": offset,
                "bytes": len(stored.jpeg),
                "width": sample.bgr.shape[1],
                "height": sample.bgr.shape[0],
                "phash": phash,
                "sharpness": look.sharpness,
                "brightness": look.brightness,
                "contrast": look.contrast,
                "lighting": look.lighting,
                "faults": list(look.faults),
                "redactions": [vars(find) for find in stored.finds],
                "redacted_by": self.plan.redactor,
            }
        )

    def _is_duplicate(self, phash: str, frozen: bool) -> bool:
        """A near-duplicate, unless it is the first that shows that the picture stands still."""
        first_frozen, self._frozen = frozen and not self._frozen, frozen
        return self._near is not None and not self._near.is_new(phash) and not first_frozen

    def _private(self, sample: Sample, jpeg: bytes | None) -> Redacted:
        if self.plan.redactor is None:
            return Redacted(jpeg or encode_jpeg(sample.bgr), [])
        redactor = _redactor(self.plan.privacy.model_dump_json(), self.plan.folder)
        return redactor.redact(sample.bgr, sample.before, sample.after)

    def write_side(self, path: Path) -> None:
        """Write the side table, whole or not at all."""
        background = None if self.plan.still else self.watcher.background()
        about = {
            "background": background.hex() if background else None,
            "refused": self.refused,
            "duplicates": self.duplicates,
        }
        metadata = {**FRAMES.metadata, KEY: json.dumps(about, ensure_ascii=False).encode()}
        table = from_rows(self.rows, FRAMES).replace_schema_metadata(metadata)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            pq.write_table(table, beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@lru_cache(maxsize=2)
def _redactor(privacy: str, folder: Path) -> Redactor:
    """One redactor a process, its networks loaded once."""
    return Redactor(Privacy.model_validate_json(privacy), folder)


def _originals(plan: ShardPlan) -> Iterator[tuple[str, bytes | None, Sample]]:
    """Frame id, the bytes of a JPEG that may be stored as it is, and the picture."""
    for original in plan.originals:
        if not original.path.is_file():
            raise DataError(
                "an original",
                found="no file",
                where=str(original.path),
                do="dvc pull, or add it again",
            )
        if plan.still:
            jpeg = still_jpeg(original.path) if plan.redactor is None else None
            picture = _decoded(jpeg, str(original.path)) if jpeg else still_bgr(original.path)
            yield f"{original.footage_id}-0", jpeg, Sample(0, picture)
            continue
        hold = plan.privacy.redaction.hold_s if plan.redactor and plan.privacy.redaction else 0.0
        for sample in sample_film(
            original.path, plan.sampling, plan.stretch, hold, plan.quota, plan.damaged
        ):
            yield f"{original.footage_id}-{sample.milliseconds}", None, sample


def _decoded(jpeg: bytes, where: str) -> NDArray[np.uint8]:
    import cv2

    picture = cv2.imdecode(
        np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    )
    if picture is None:
        raise DataError("a JPEG that decodes", found="another content", where=where)
    return picture  # type: ignore[no-any-return]
