"""From originals to stored frames: shards by stretch of film, and one table of all frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.dataset import Dataset
from cityforge.compute import map_in_processes
from cityforge.errors import CityforgeError, DataError
from cityforge.footage.build import Built, build_shard, read_side, side_path
from cityforge.footage.catalogue import alone_with
from cityforge.footage.faults import judge_cameras
from cityforge.footage.lawful import barred as barred_footage
from cityforge.footage.near import without_near_duplicates
from cityforge.footage.plan import ShardPlan, is_still, plan_shards
from cityforge.footage.redact import redactor_digest
from cityforge.footage.seals import read_with_seals
from cityforge.tables import FRAMES, REJECTED, from_rows, write_table

FRAMES_TABLE = "frames.parquet"
REFUSED_TABLE = "refused.parquet"


@dataclass(frozen=True)
class Ingested:
    """What an ingest has brought about."""

    frames: pa.Table  # FRAMES, sorted by frame_id
    refused: pa.Table  # REJECTED: frames that could not be made private
    duplicates: int  # near-duplicates that were left out
    barred: dict[str, str]  # footage that may not be used, and why


def ingest(
    card: Dataset,
    folder: Path,
    footage: pa.Table,
    out: Path,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
    now: datetime | None = None,
) -> Ingested:
    """Bring `out` to what the catalogue says; shards that are there already are kept.

    Withdrawn and expired footage gives no frames. Where the card asks for redaction, frames
    are made private before they are written anywhere.

    Args:
        card: says how films are sampled, and what must not be seen.
        folder: the dataset's folder, which the catalogue's paths start from.
        footage: table FOOTAGE.
        out: folder of shards and of the tables.
        now: the moment retention is held against; None is this one.

    Raises:
        DataError: no footage.
        CheckFailed: a detector that the card names is missing or is another one.
    """
    if footage.num_rows == 0:
        raise DataError(
            "footage",
            found="none",
            where=f"dataset '{card.name}'",
            do=f"cityforge footage add {card.name} PATH",
        )
    moment = now or datetime.now(UTC)
    redactor = redactor_digest(card.privacy, folder)
    barred = barred_footage(footage, moment)
    while True:
        plans = plan_shards(card, folder, footage, set(barred), out, redactor)
        try:
            built = _build(plans, workers, progress)
        except (CityforgeError, OSError):
            late = _barred_meanwhile(folder, barred, footage, moment)
            if not late:
                raise
            barred |= late  # a withdrawal took originals or shards away: go on without them
            continue
        frames, again = _gather(card, footage, built)
        with alone_with(folder):  # who withdraws from here on finds the table as it is then
            late = _barred_meanwhile(folder, barred, footage, moment)
            if not late:
                refused = _refused(built)
                _drop_strays(out, plans)
                write_table(refused, REJECTED, out / REFUSED_TABLE)
                write_table(frames, FRAMES, out / FRAMES_TABLE)
                break
        barred |= late
    return Ingested(frames, refused, again + sum(e.duplicates for e in built.values()), barred)


def _build(
    plans: list[ShardPlan], workers: int, progress: Callable[[int, int], None] | None
) -> dict[str, Built]:
    """What stands beside each shard, by the shard's name; those that are missing are written."""
    built: dict[str, Built] = {}
    for done, path in enumerate(map_in_processes(build_shard, plans, workers), start=1):
        built[path.name] = read_side(path)
        if progress:
            progress(done, len(plans))
    return built


def _barred_meanwhile(
    folder: Path, barred: dict[str, str], footage: pa.Table, moment: datetime
) -> dict[str, str]:
    """Footage that was withdrawn since `barred` was known, and why."""
    ids = set(footage.column("footage_id").to_pylist()) - barred.keys()
    stored = barred_footage(read_with_seals(folder), moment)
    return {footage_id: why for footage_id, why in stored.items() if footage_id in ids}


def _gather(card: Dataset, footage: pa.Table, built: dict[str, Built]) -> tuple[pa.Table, int]:
    """All frames with the time they were captured at and their camera's faults."""
    frames = pa.concat_tables([FRAMES.empty_table(), *(each.frames for each in built.values())])
    rows = footage.to_pylist()
    again = 0
    if card.sampling.near_duplicates is not None:
        films = {str(row["footage_id"]) for row in rows if not is_still(row)}
        kept = without_near_duplicates(frames, card.sampling.near_duplicates, films)
        frames, again = kept, frames.num_rows - kept.num_rows
    frames = _with_moments(frames.sort_by("frame_id"), footage)
    backgrounds = {name: bytes.fromhex(each.background) for name, each in built.items()
                   if each.background}  # fmt: skip
    camera_of = {str(row["footage_id"]): str(row["camera"]) for row in rows}
    mobile = {camera.name for camera in card.cameras if camera.mobile}
    judged = judge_cameras(frames, backgrounds, camera_of, mobile)
    return judged.sort_by("frame_id"), again


def _with_moments(frames: pa.Table, footage: pa.Table) -> pa.Table:
    """FRAMES with captured_at: the start of its film and the frame's time within."""
    starts = dict(
        zip(
            footage.column("footage_id").to_pylist(),
            footage.column("started_at").cast(pa.int64()).to_pylist(),  # µs since 1970
            strict=True,
        )
    )
    begun = pa.array([starts[each] for each in frames.column("footage_id").to_pylist()], pa.int64())
    inside = pc.cast(pc.round(pc.multiply(frames.column("pts_s"), 1e6)), pa.int64())
    moments = pc.cast(pc.add(begun, inside), FRAMES.field("captured_at").type)
    place = FRAMES.get_field_index("captured_at")
    return frames.set_column(place, FRAMES.field("captured_at"), moments)


def _refused(built: dict[str, Built]) -> pa.Table:
    rows: list[dict[str, object]] = [
        {
            "source": shard,
            "where": each["where"],
            "reason": "a frame that can be made private",
            "found": each["found"],
        }
        for shard, about in sorted(built.items())
        for each in about.refused
    ]
    return from_rows(rows, REJECTED)


def _drop_strays(out: Path, plans: list[ShardPlan]) -> None:
    """Remove shards that nothing names, and what a killed run left half written beside them."""
    wanted = {plan.path.name for plan in plans} | {side_path(plan.path).name for plan in plans}
    wanted |= {FRAMES_TABLE, REFUSED_TABLE}
    for path in [*out.glob("*.tar"), *out.glob("*.parquet"), *out.glob(".*.*")]:
        if path.name not in wanted and path.is_file():
            path.unlink()
