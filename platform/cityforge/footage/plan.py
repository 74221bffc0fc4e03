"""Which shards there must be: their names say all that decides what is in them."""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_left, insort
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from cityforge.cards.dataset import Dataset, Privacy, Sampling
from cityforge.footage.slots import WHOLE, Quota, Stretch
from cityforge.footage.stills import JPEG_QUALITY
from cityforge.tables import FRAMES, VERSION_KEY

# Raised with every change of code that takes other frames, stores other bytes, or describes them
# otherwise (quality.py, near.py).
VERSION = 1
STILLS_PER_SHARD = 512
FRAMES_PER_SHARD = 150
LEAST_FRAMES = 10  # of film in a stretch
SHORTEST_STRETCH_S, LONGEST_STRETCH_S = 20.0, 600.0


@dataclass(frozen=True)
class Original:
    """One stored file."""

    footage_id: str
    path: Path


@dataclass(frozen=True)
class ShardPlan:
    """One shard to write, and all that its content depends on."""

    path: Path
    originals: tuple[Original, ...]
    still: bool
    sampling: Sampling
    privacy: Privacy
    folder: Path  # the dataset's, which a detector's path starts from
    redactor: str | None  # digest
    stretch: Stretch = WHOLE
    quota: Quota | None = None
    damaged: bool = False


def plan_shards(
    card: Dataset,
    folder: Path,
    footage: pa.Table,
    barred: set[str],
    out: Path,
    redactor: str | None,
) -> list[ShardPlan]:
    """A shard for each stretch of a film, and one for each 512 stills of a camera.

    Args:
        footage: the whole table FOOTAGE; rows in `barred` keep their place, without a frame.
        redactor: digest of what makes frames private; None where the card asks for nothing.
    """
    common: dict[str, Any] = {
        "sampling": card.sampling,
        "privacy": card.privacy,
        "folder": folder,
        "redactor": redactor,
    }
    rows = sorted(footage.to_pylist(), key=_order)
    quotas = _quotas(card.sampling, rows)
    plans: list[ShardPlan] = []
    stills: dict[str, list[Original]] = {}
    for row in rows:
        original = Original(str(row["footage_id"]), folder / str(row["path"]))
        if is_still(row):
            stills.setdefault(str(row["camera"]), []).append(original)
        elif original.footage_id not in barred:
            plans += _of_film(row, original, quotas.get(original.footage_id), out, common)
    for camera in sorted(stills):
        for start in range(0, len(stills[camera]), STILLS_PER_SHARD):
            batch = stills[camera][start : start + STILLS_PER_SHARD]
            kept = tuple(each for each in batch if each.footage_id not in barred)
            if kept:
                digest = _digest([each.footage_id for each in kept], redactor)
                plans.append(ShardPlan(out / f"stills-{digest}.tar", kept, True, **common))
    return plans


def is_still(row: dict[str, Any]) -> bool:
    """A row of table FOOTAGE that is a photograph."""
    return bool(row["duration_s"] == 0 and row["fps"] is None)


def _order(row: dict[str, Any]) -> tuple[datetime, str]:
    """Footage that was added later stands behind what is there, whose shards stay as they are."""
    return row["added_at"] or datetime.fromtimestamp(0, UTC), str(row["footage_id"])


def _of_film(
    row: dict[str, Any],
    original: Original,
    quota: Quota | None,
    out: Path,
    common: dict[str, Any],
) -> list[ShardPlan]:
    sampling: Sampling = common["sampling"]
    whole = not row["divisible"]
    stretches = [WHOLE] if whole else stretches_of(row["duration_s"], row["frames"], sampling)
    damaged = bool(row["errors"] or row["partial"])
    plans = []
    for number, stretch in enumerate(stretches):
        digest = _digest(
            sampling.model_dump(mode="json"), asdict(stretch),
            asdict(quota) if quota else None, damaged, common["redactor"],
        )  # fmt: skip
        path = out / f"{original.footage_id}-{number:04d}-{digest}.tar"
        plans.append(
            ShardPlan(
                path, (original,), False, stretch=stretch, quota=quota, damaged=damaged, **common
            )
        )
    return plans


def stretches_of(duration_s: float, frames: int, sampling: Sampling) -> list[Stretch]:
    """Parts of a film, each about 150 frames where frames are taken every so many seconds.

    A film with long holes has no more parts than it has tens of frames.
    """
    seconds = max(sampling.seconds, 0.5) if sampling.policy == "keyframes" else sampling.seconds
    length = min(max(FRAMES_PER_SHARD * seconds, SHORTEST_STRETCH_S), LONGEST_STRETCH_S)
    offset = sampling.offset_s or 0.0
    length = max(length, (duration_s - offset) / max(1, frames // LEAST_FRAMES))
    if sampling.seconds > 0:
        length = math.ceil(length / sampling.seconds - 1e-9) * sampling.seconds
    count = max(1, math.ceil((duration_s - offset) / length - 1e-6))
    edges = [0.0, *(offset + number * length for number in range(1, count)), math.inf]
    return [Stretch(begin, end) for begin, end in pairwise(edges)]


def _quotas(sampling: Sampling, rows: list[dict[str, Any]]) -> dict[str, Quota]:
    """For each film its slots of the hour, without those that films before it lie in."""
    if sampling.per_hour is None:
        return {}
    found: dict[str, Quota] = {}
    filled: dict[str, _Spans] = {}
    for row in rows:
        if is_still(row):
            continue
        started = row["started_at"]
        bare = Quota(sampling.per_hour, started)
        span = (bare.slot(0.0), bare.slot(row["duration_s"]))
        spans = filled.setdefault(str(row["camera"]), _Spans()) if started else _Spans()
        found[str(row["footage_id"])] = Quota(sampling.per_hour, started, spans.meeting(span))
        spans.add(span)
    return found


class _Spans:
    """Slots [first, last] of films, sorted by their first."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []
        self._longest = 0

    def add(self, span: tuple[int, int]) -> None:
        insort(self._spans, span)
        self._longest = max(self._longest, span[1] - span[0])

    def meeting(self, span: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """Those that share a slot with `span`."""
        begin = bisect_left(self._spans, (span[0] - self._longest, 0))
        end = bisect_left(self._spans, (span[1] + 1, 0))
        return tuple(each for each in self._spans[begin:end] if each[1] >= span[0])


def _digest(*parts: object) -> str:
    table = FRAMES.metadata[VERSION_KEY].decode()
    text = json.dumps([VERSION, JPEG_QUALITY, table, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
