"""A snapshot holds the labelled frames and nothing that contradicts them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cityforge.cards.dataset import Dataset
from cityforge.dataset.snapshot import (
    Gathered,
    describe,
    gather,
    open_snapshot,
    write_snapshot,
)
from cityforge.errors import CheckFailed, DataError
from cityforge.tables import FOOTAGE, LABELS, from_rows

NOW, DAY = datetime(2026, 3, 2, tzinfo=UTC), timedelta(days=1)
WITHDRAWN: dict[str, object] = {"withdrawn_at": NOW, "withdrawn_reason": "asked for"}
REDACTED = {
    "grade": "personal", "lawful_basis": "made here", "redact": ["face", "plate"],
    "redaction": {"method": "fill", "padding": 0.1, "hold_s": 1.0}, "retention_days": 30,
}  # fmt: skip


def nothing_on(frame_id: str, source: str) -> dict[str, object]:
    return {
        "label_id": f"{frame_id}|{source}", "frame_id": frame_id, "task": "detection",
        "source": source, "origin": "human",
    }  # fmt: skip


def catalogue(**changes: dict[str, object]) -> pa.Table:
    """Table FOOTAGE of the six scenes; `changes` by footage id."""
    facts = {
        "path": "footage/x.jpg", "name": "x.jpg", "camera": "北门", "duration_s": 0.0,
        "width": 160, "height": 120, "codec": "jpeg", "frames": 1, "errors": 0,
        "lawful_basis": "made here",
    }  # fmt: skip
    ids = [f"f{number}" for number in range(6)]
    return from_rows([{"footage_id": e, **facts, **changes.get(e, {})} for e in ids], FOOTAGE)


def gathered(
    card: Dataset, scenes: Any, footage: pa.Table, redactor: str | None = None
) -> Gathered:
    return gather(card, scenes.frames, scenes.labels, footage, NOW, redactor)


def test_only_labelled_frames_are_gathered_in_order(card: Dataset, scenes: Any) -> None:
    rows = [row for row in scenes.labels.to_pylist() if row["frame_id"] != "f2-0"][::-1]
    found = gather(card, scenes.frames, from_rows(rows, LABELS), catalogue(), NOW, None)
    assert found.frames.column("frame_id").to_pylist() == [f"f{n}-0" for n in (0, 1, 3, 4, 5)]
    ids = found.labels.column("label_id").to_pylist()
    assert ids == sorted(ids)
    assert len(ids) == len(rows)
    assert (found.left_out, found.note) == (0, "")


def test_a_label_of_a_frame_that_is_not_stored_is_refused(card: Dataset, scenes: Any) -> None:
    frames = scenes.frames.take([0, 2, 3, 4, 5])
    with pytest.raises(DataError, match=r"2 labels of frames that are not stored, such as f1-0"):
        gather(card, frames, scenes.labels, catalogue(), NOW, None)


def test_nothing_labelled_is_refused_with_what_to_do(card: Dataset, scenes: Any) -> None:
    with pytest.raises(DataError, match=r"found none, in .*cityforge label import tiny FILE"):
        gather(card, scenes.frames, LABELS.empty_table(), catalogue(), NOW, None)


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"f1": WITHDRAWN}, [0, 2, 3, 4, 5]),
        ({"f1": {"retain_until": NOW}}, [0, 2, 3, 4, 5]),
        ({"f1": {"retain_until": NOW + DAY}}, [0, 1, 2, 3, 4, 5]),
        ({"f0": WITHDRAWN, "f3": {"retain_until": NOW - DAY}}, [1, 2, 4, 5]),
    ],
)
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "frames gone"])
def test_withdrawn_and_expired_footage_never_enters(
    card: Dataset, scenes: Any, changes: dict[str, Any], left: list[int], stored: bool
) -> None:
    frames = scenes.frames if stored else scenes.frames.take(left)
    found = gather(card, frames, scenes.labels, catalogue(**changes), NOW, None)
    kept = [f"f{n}-0" for n in left]
    assert found.frames.column("frame_id").to_pylist() == kept
    assert set(found.labels.column("frame_id").to_pylist()) == set(kept)
    out = 6 - len(left)
    said = f"{out} frames of {out} withdrawn or expired files left out" if out else ""
    assert (found.left_out, found.left_out_files, found.note) == (out, out, said)


def test_when_all_may_not_be_used_it_says_so(card: Dataset, scenes: Any) -> None:
    everything = catalogue(**{f"f{n}": WITHDRAWN for n in range(6)})
    said = "found none; 6 frames of 6 withdrawn or expired files left out"
    with pytest.raises(DataError, match=said):
        gathered(card, scenes, everything)


def test_frames_of_footage_that_nobody_knows_are_refused(card: Dataset, scenes: Any) -> None:
    with pytest.raises(DataError, match=r"found 2 of other footage, such as f0-0.*dvc repro"):
        gathered(card, scenes, catalogue().slice(2))


@pytest.mark.parametrize(
    ("marks", "redactor", "refused"),
    [
        (["r2"] * 6, "r2", 0),
        (["r2", "r1", "r2", "r1", "r2", "r2"], "r2", 2),  # an older redactor
        ([None, "r2", "r2", "r2", "r2", "r2"], "r2", 1),
        ([None] * 6, "r2", 6),
        ([None] * 6, None, 6),  # a redactor of no digest passes nothing
        ([""] * 6, "", 6),
    ],
)
def test_where_redaction_is_asked_for_every_labelled_frame_passed_it(
    make_card: Any, scenes: Any, marks: list[str | None], redactor: str | None, refused: int
) -> None:
    card = make_card(privacy=REDACTED)
    place = scenes.frames.schema.get_field_index("redacted_by")
    field = scenes.frames.schema.field(place)
    frames = scenes.frames.set_column(place, field, pa.array(marks, pa.string()))
    if refused:
        with pytest.raises(CheckFailed, match=rf"{refused} of 6 labelled .*cityforge run"):
            gather(card, frames, scenes.labels, catalogue(), NOW, redactor)
    else:
        found = gather(card, frames, scenes.labels, catalogue(), NOW, redactor)
        assert found.frames.num_rows == 6


def test_a_frame_that_is_not_labelled_need_not_be_redacted(make_card: Any, scenes: Any) -> None:
    card = make_card(privacy=REDACTED)
    place = scenes.frames.schema.get_field_index("redacted_by")
    marks = pa.array(["r", None, "r", "r", "r", "r"], pa.string())
    frames = scenes.frames.set_column(place, scenes.frames.schema.field(place), marks)
    rows = [row for row in scenes.labels.to_pylist() if row["frame_id"] != "f1-0"]
    found = gather(card, frames, from_rows(rows, LABELS), catalogue(), NOW, "r")
    assert found.frames.num_rows == 5


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
