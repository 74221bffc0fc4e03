"""Snapshots, splits and journal entries as the stages leave them, made of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from cityforge.dataset.history import record_snapshot, record_split
from cityforge.dataset.lineage import lineage_root, write_lineage, write_split
from cityforge.dataset.snapshot import Snapshot
from cityforge.project import Project
from cityforge.tables import FOOTAGE, FRAMES, LABELS, SPLIT, from_rows

CAMERAS = ("北门", "harbour")


def digest(text: str) -> str:
    """64 hexadecimal signs."""
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()


def film_id(number: int) -> str:
    return digest(f"film {number}")[:16]


def frame_id(film: int, frame: int) -> str:
    return f"{film_id(film)}-{frame * 500}"


def footage_table(films: Sequence[int]) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {
            "footage_id": film_id(each), "path": f"footage/{film_id(each)}.mp4",
            "name": f"路口 {each}.mp4", "camera": CAMERAS[each % 2], "duration_s": 10.0,
            "width": 64, "height": 48, "codec": "h264", "frames": 100, "errors": 0,
            "lawful_basis": "made here",
        }
        for each in films
    ]  # fmt: skip
    return from_rows(rows, FOOTAGE)


def frames_table(films: Sequence[int], frames: int) -> pa.Table:
    """FRAMES, a frame each half second of each film."""
    ids = [frame_id(film, each) for film in films for each in range(frames)]
    count = len(ids)
    return pa.table(
        {
            "frame_id": ids,
            "footage_id": np.repeat([film_id(each) for each in films], frames),
            "pts_s": np.tile(np.arange(frames) * 0.5, len(films)),
            "captured_at": pa.nulls(count, FRAMES.field("captured_at").type),
            "shard": pa.array(["a.tar"]).take(pa.array(np.zeros(count, np.int64))),
            **{name: np.zeros(count) for name in ("offset", "bytes", "width", "height")},
            "phash": pa.array(["0" * 16]).take(pa.array(np.zeros(count, np.int64))),
            **{name: np.zeros(count) for name in ("sharpness", "brightness", "contrast")},
            "lighting": pa.array(["day"]).take(pa.array(np.zeros(count, np.int64))),
            "faults": pa.array([[]], FRAMES.field("faults").type).take(
                pa.array(np.zeros(count, np.int64))
            ),
            "redactions": pa.array([[]], FRAMES.field("redactions").type).take(
                pa.array(np.zeros(count, np.int64))
            ),
            "redacted_by": pa.nulls(count, pa.string()),
        }
    ).cast(FRAMES)


def label_id(frame: str, number: int) -> str:
    return digest(f"{frame} {number}")[:16]


def labels_table(frames: pa.Table, each: int, people: Sequence[str | None]) -> pa.Table:
    """LABELS, so many on each frame, drawn by people in turn; an annotation a frame."""
    ids = frames["frame_id"].to_pylist()
    rows: list[dict[str, Any]] = [
        {
            "label_id": label_id(frame, number), "frame_id": frame, "task": "detection",
            "class": ("汽车", "bus")[number % 2], "x1": 1.0, "y1": 1.0, "x2": 9.0, "y2": 9.0,
            "annotator": people[at % len(people)], "annotation_id": str(1000 + at),
            "source": "label-studio:1", "origin": "human",
        }
        for at, frame in enumerate(ids)
        for number in range(each)
    ]  # fmt: skip
    return from_rows(rows, LABELS).sort_by("label_id")


def keep(
    project: Project, name: str, films: Sequence[int], frames: pa.Table, labels: pa.Table,
    dataset: str = "streets",
) -> str:  # fmt: skip
    """Keep a snapshot as its stage does; its digest."""
    of = digest(name)
    about = Snapshot(dataset, of, frames.num_rows, labels.num_rows, 0, {}, {})
    write_lineage(lineage_root(project), about, frames, labels, footage_table(films))
    record_snapshot(project.dataset_folder(dataset), of, frames["footage_id"].to_pylist())
    return of


def part(
    project: Project, name: str, snapshot: str, frames: pa.Table, algorithm: str = "tiny",
    dataset: str = "streets",
) -> str:  # fmt: skip
    """Keep a split of a snapshot, by film: one in four tests, one in four decides; its digest."""
    of = digest(name)
    rows: list[dict[str, object]] = [
        {"frame_id": frame, "subset": subset_of(film), "group": film}
        for frame, film in zip(
            frames["frame_id"].to_pylist(), frames["footage_id"].to_pylist(), strict=True
        )
    ]
    root = lineage_root(project)
    write_split(root, of, snapshot, algorithm, dataset, from_rows(rows, SPLIT))
    record_split(project.dataset_folder(dataset), of, algorithm, snapshot)
    return of


def subset_of(film: str) -> str:
    return ("test", "val", "train", "train")[int(film, 16) % 4]


def registered(version: int, split: str, algorithm: str = "tiny", **more: object) -> dict[str, Any]:
    """The body of a `register` entry."""
    package = digest(f"{algorithm} {version} package")
    return {
        "version": version, "package_digest": package,
        "evidence_digest": digest(f"{algorithm} {version} evidence"), "snapshot_digest": split,
        "signature_digest": digest(f"{algorithm} {version} signature"), "task": "detection",
        "metrics": {"map50": 0.5}, "gates_passed": True, "gates": [], "run_id": f"run{version}",
        "source": "file:///nowhere", "git_commit": "c", "git_dirty": False, "lock_digest": "l",
        "model_digest": "m", "created_at": "2026-03-02T09:30:00+00:00", **more,
    }  # fmt: skip


def approved(register: Any, champion_before: int | None = None) -> dict[str, Any]:
    """The body of an `approve` entry."""
    same = {
        name: register.body[name]
        for name in ("version", "package_digest", "evidence_digest", "signature_digest")
    }
    return {
        **same, "register": register.digest(), "champion_before": champion_before, "reason": "good",
        "override": False, "one_person": True, "gates": [], "withdrawn_reason": "",
    }  # fmt: skip
