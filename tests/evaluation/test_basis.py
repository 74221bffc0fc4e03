"""What an evaluation says of the data it rests on, against a project that is counted by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.compute as pc
import pytest
import small_project
from small_project import BUS, CAR, DATASET, NAME

from cityforge.errors import DataError
from cityforge.evaluation.basis import checks_failed, data_basis
from cityforge.evaluation.proof import DataBasis
from cityforge.footage.catalogue import read_catalogue
from cityforge.labeling.stored import annotations_path
from cityforge.project import Project
from cityforge.tables import ANNOTATIONS, SPLIT, from_rows, read_table, write_table
from cityforge.training.data import open_training_data


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return small_project.make_project(tmp_path / "city")


def basis(project: Project) -> DataBasis:
    card, folder = project.algorithm(NAME), project.dataset_folder(DATASET)
    return data_basis(project, card, open_training_data(project, card), read_catalogue(folder))


def test_everything_is_counted(project: Project) -> None:
    assert basis(project).model_dump() == {
        "frames": {"test": 4, "train": 2, "unseen": 1, "val": 2},
        "boxes": {"test": 3, "train": 2, "unseen": 1, "val": 2},
        "films": 9,
        "cameras": ["北门", "港口"],
        "first": "2026-03-01T08:00:00+00:00",
        "last": "2026-03-02T16:00:00+00:00",
        "annotators": {"李雷": 5, "王芳": 3},
        "lawful_basis": ["by hand"],
        "leak": 0.0,
        "nearest": 0.41,
        "agreement": None,
        "checks_failed": 0,
    }


def test_frames_that_the_split_left_out_do_not_count(project: Project) -> None:
    path = project.build(NAME) / "split" / "split.parquet"
    table = read_table(SPLIT, path)
    write_table(table.filter(pc.not_equal(table["subset"], "unseen")), SPLIT, path)
    found = basis(project)
    assert (found.films, found.cameras) == (8, ["北门"])
    assert dict(found.annotators) == {"李雷": 4, "王芳": 3}


def test_a_split_of_before_states_no_leak(project: Project) -> None:
    path = project.build(NAME) / "split" / "snapshot.json"
    path.write_text('{"digest": "5a"}', encoding="utf-8")
    assert (basis(project).leak, basis(project).nearest) == (None, None)


def test_checks_that_failed_are_counted(project: Project) -> None:
    folder = project.dataset_folder(DATASET)
    (folder / "checks" / "checks.json").write_text(
        '{"frames": {"results": [{"success": false}, {"success": true}]},'
        ' "labels": {"results": [{"success": false}]}}'
    )
    assert checks_failed(folder) == 2
    (folder / "checks" / "checks.json").unlink()
    with pytest.raises(DataError, match=r"found no file.*run the stage 'snapshot' again"):
        checks_failed(folder)


def drawn(cls: str, x: float) -> dict[str, object]:
    """A region of Label Studio, in per cent of the picture."""
    value = {"x": x, "y": 10, "width": 20, "height": 50, "rotation": 0, "rectanglelabels": [cls]}
    return {
        "type": "rectanglelabels", "value": value, "image_rotation": 0, "original_width": 64,
        "original_height": 48,
    }  # fmt: skip


def test_agreement_is_that_of_people_who_labelled_the_same_frames(project: Project) -> None:
    """Both see a car in two frames, and one of them sees a bus more: 2 · 2 of 5 objects."""
    said = [
        ("0", "李雷", [drawn(CAR, 10)]), ("0", "王芳", [drawn(CAR, 11)]),
        ("1", "李雷", [drawn(CAR, 10)]), ("1", "王芳", [drawn(CAR, 10), drawn(BUS, 60)]),
    ]  # fmt: skip
    rows = [
        {
            "annotation_id": str(k), "task_id": k, "frame_id": f"{frame:0>16}-0", "annotator": who,
            "updated_at": datetime(2026, 3, 1, 8, k, tzinfo=UTC), "lead_time_s": 10.0,
            "ground_truth": False, "skipped": False, "origin": "human", "data": "{}",
            "result": json.dumps(result), "source": "label-studio:7",
        }
        for k, (frame, who, result) in enumerate(said)
    ]  # fmt: skip
    path = annotations_path(project.dataset_folder(DATASET))
    write_table(from_rows(rows, ANNOTATIONS), ANNOTATIONS, path)
    assert basis(project).agreement == pytest.approx(0.8)
