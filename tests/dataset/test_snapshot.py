"""A snapshot holds the labelled frames and nothing that contradicts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cityforge.cards.dataset import Dataset
from cityforge.dataset.snapshot import describe, gather, open_snapshot, write_snapshot
from cityforge.errors import DataError
from cityforge.tables import LABELS, from_rows


def nothing_on(frame_id: str, source: str) -> dict[str, object]:
    return {
        "label_id": f"{frame_id}|{source}", "frame_id": frame_id, "task": "detection",
        "source": source, "origin": "human",
    }  # fmt: skip


def test_only_labelled_frames_are_gathered_in_order(card: Dataset, scenes: Any) -> None:
    rows = [row for row in scenes.labels.to_pylist() if row["frame_id"] != "f2-0"][::-1]
    frames, labels = gather(card, scenes.frames, from_rows(rows, LABELS))
    assert frames.column("frame_id").to_pylist() == [f"f{n}-0" for n in (0, 1, 3, 4, 5)]
    ids = labels.column("label_id").to_pylist()
    assert ids == sorted(ids)
    assert len(ids) == len(rows)


def test_a_label_of_a_frame_that_is_not_stored_is_refused(card: Dataset, scenes: Any) -> None:
    with pytest.raises(DataError, match=r"2 labels of frames that are not stored, such as f1-0"):
        gather(card, scenes.frames.take([0, 2, 3, 4, 5]), scenes.labels)


def test_nothing_labelled_is_refused_with_what_to_do(card: Dataset, scenes: Any) -> None:
    with pytest.raises(DataError, match="cityforge label import tiny FILE"):
        gather(card, scenes.frames, LABELS.empty_table())


def test_a_snapshot_says_what_it_holds(card: Dataset, scenes: Any) -> None:
    about = describe(card, scenes.frames, scenes.labels, scenes.store)
    assert (about.dataset, about.frames, about.boxes, about.empty_frames) == ("tiny", 6, 9, 0)
    assert about.boxes_per_class == {"汽车": 6, "bus": 3}
    assert about.ontology == {"汽车": "A car.", "bus": "A bus."}


def test_an_empty_frame_counts_once_and_only_when_nobody_drew_in_it(
    card: Dataset, scenes: Any
) -> None:
    rows = [row for row in scenes.labels.to_pylist() if row["frame_id"] != "f2-0"]
    rows += [nothing_on("f2-0", "a"), nothing_on("f2-0", "b"), nothing_on("f3-0", "b")]
    about = describe(card, scenes.frames, from_rows(rows, LABELS), scenes.store)
    assert (about.frames, about.empty_frames, about.boxes) == (6, 1, 8)


def test_the_digest_follows_the_ontology(card: Dataset, make_card: Any, scenes: Any) -> None:
    classes = [{"name": "汽车", "definition": "A car."}, {"name": "bus", "definition": "A coach."}]
    before = describe(card, scenes.frames, scenes.labels, scenes.store).digest
    again = describe(make_card(title="x"), scenes.frames, scenes.labels, scenes.store).digest
    other = describe(make_card(classes=classes), scenes.frames, scenes.labels, scenes.store).digest
    assert before == again != other


def test_a_snapshot_is_read_back(card: Dataset, scenes: Any, tmp_path: Path) -> None:
    about = describe(card, scenes.frames, scenes.labels, scenes.store)
    write_snapshot(tmp_path / "snapshot", about, scenes.frames, scenes.labels)
    back, frames, labels = open_snapshot(tmp_path / "snapshot")
    assert back == about
    assert frames.equals(scenes.frames)
    assert labels.equals(scenes.labels)
    assert "汽车" in (tmp_path / "snapshot" / "snapshot.json").read_text(encoding="utf-8")


def test_a_snapshot_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro"):
        open_snapshot(tmp_path)
