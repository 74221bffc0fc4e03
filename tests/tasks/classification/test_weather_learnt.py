"""Day, rain and night of the synthetic crossing are told apart on sessions never learnt from."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cityforge.cards.dataset import Dataset
from cityforge.dataset.loader import labelled_frames
from cityforge.footage.catalogue import add_footage, read_catalogue
from cityforge.footage.ingest import ingest
from cityforge.footage.listing import list_files
from cityforge.footage.recordings import Recording
from cityforge.footage.shards import FrameStore
from cityforge.labeling.formats import registry
from cityforge.labeling.intake import read_labels, take_in
from cityforge.synthetic.footage import FootagePlan, generate, plan_clips
from cityforge.tables import SPLIT, from_rows
from cityforge.tasks.classification.metrics import classification_metrics, confusion

CONDITIONS = ["day", "rain", "night"]
SUBSETS = ["train"] * 12 + ["val"] * 3 + ["test"] * 3  # by session, and so by day
PLAN = FootagePlan(
    seed=11, sessions=len(SUBSETS), seconds=2.0, fps=1, width=224, height=126, label_every_s=1.0
)


def record(folder: Path) -> Path:
    """The footage, and a table that says what each clip shows."""
    generate(folder, PLAN, workers=1)
    table = folder.parent / "weather.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "class"])
        rows.writerows([each.file, each.condition] for each in plan_clips(folder, PLAN))
    return table


def split_by_session(footage: pa.Table, frames: pa.Table, folder: Path) -> pa.Table:
    session = {each.file: each.session for each in plan_clips(folder, PLAN)}
    name_of = {row["footage_id"]: row["name"] for row in footage.to_pylist()}
    rows = []
    for frame in frames.to_pylist():
        number = session[name_of[frame["footage_id"]]]
        rows.append(
            {"frame_id": frame["frame_id"], "subset": SUBSETS[number], "group": str(number)}
        )
    return from_rows(rows, SPLIT)


@pytest.mark.slow
def test_weather_of_sessions_never_seen(
    tmp_path: Path,
    make_card: Callable[..., Dataset],
    make_asked: Callable[..., Any],
    train_on: Callable[..., Any],
) -> None:
    table = record(tmp_path / "clips")
    cameras = sorted({each.camera for each in plan_clips(tmp_path / "clips", PLAN)})
    card = make_card(
        classes=[{"name": each, "definition": f"It is {each}."} for each in CONDITIONS],
        cameras=[{"name": each, "site": each} for each in cameras],
    )
    folder = tmp_path / "dataset"
    folder.mkdir()
    found = list_files([tmp_path / "clips"])
    found.files = [each for each in found.files if each[0].suffix == ".mp4"]
    kept = datetime(2099, 1, 1, tzinfo=UTC)
    about = {
        name: Recording(camera=name.partition("/")[0], retain_until=kept) for _, name in found.files
    }
    add_footage(card, folder, found, about, Recording())
    footage = read_catalogue(folder)
    frames = ingest(card, folder, footage, folder / "frames", workers=1).frames
    taken = take_in(card, folder, registry.read(table), footage, frames)
    assert (taken.images, taken.rejected) == (frames.num_rows, [])

    store = FrameStore(folder / "frames", frames)
    split = split_by_session(footage, frames, tmp_path / "clips")
    labels = read_labels(folder)
    of = {
        name: labelled_frames(split, labels, name, CONDITIONS, "classification")
        for name in ("train", "val", "test")
    }
    asked = make_asked(CONDITIONS, size=(160, 96), epochs=18, patience=18, ema_decay=0.95)
    learnt = train_on(asked, tmp_path / "kept", store, of["train"], of["val"])
    scores = learnt.scores(of["test"], store)
    truth = np.array([cls[0] for _, cls in of["test"].boxes])
    figures = classification_metrics(np.eye(3, dtype=bool)[truth], scores, several_labels=False)
    seen = {
        "accuracy": figures.accuracy,
        "confusion": confusion(truth, scores.argmax(1), 3).tolist(),
        "seconds": learnt.history[-1]["seconds"],
        "val_score": [row["val_score"] for row in learnt.history],
    }
    (tmp_path / "seen.json").write_text(json.dumps(seen))
    assert len(truth) >= 50
    assert figures.accuracy >= 0.95, seen
