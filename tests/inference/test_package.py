"""What package.json must say for each task, and that older ones open."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cityforge.errors import PackageError
from cityforge.inference.package import ABOUT_FILE, open_package, write_about

Make = Callable[..., Path]


def said(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
    return found


def test_a_package_from_before_other_tasks_opens_and_is_written_the_same(
    make_package: Make, tmp_path: Path
) -> None:
    folder = make_package(tmp_path / "p", "tiny", None)
    before = (folder / ABOUT_FILE).read_bytes()
    # Its keys as they were then.
    assert set(said(folder)) == {
        *("format", "algorithm", "title", "space", "task", "classes", "input_width"),
        *("input_height", "score_threshold", "score_floor", "overlap", "max_boxes", "envelope"),
        *("model_digest", "evidence_digest", "snapshot_digest", "git_commit", "git_dirty"),
        *("lock_digest", "params_digest", "parity"),
    }
    about = open_package(folder).about
    assert (about.overlap, about.max_boxes, about.several_labels) == (0.6, 10, None)
    write_about(folder, about)
    assert (folder / ABOUT_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("task", "besides"), [("classification", {"several_labels"}), ("density", set())]
)
def test_other_tasks_say_nothing_of_boxes(
    make_package: Make, tmp_path: Path, task: str, besides: set[str]
) -> None:
    folder = make_package(tmp_path / "p", "tiny", None, task=task)
    assert open_package(folder).about.task == task
    assert set(said(folder)) & {"overlap", "max_boxes", "several_labels", "class_thresholds"} == (
        besides
    )


@pytest.mark.parametrize(
    ("task", "changed", "found"),
    [
        ("detection", {"overlap": None}, "task detection needs overlap"),
        ("classification", {"several_labels": None}, "task classification needs several_labels"),
        ("classification", {"class_thresholds": {"汽车": 0.5}}, "needs several_labels"),
        (
            "classification",
            {"several_labels": True, "class_thresholds": {"汽车": 0.5, "tram": 0.5}},
            "one for each class",
        ),
        ("detection", {"task": "segmentation"}, "task: Input should be 'detection'"),
        ("density", {"colour": 1}, "colour: Extra inputs"),
    ],
)
def test_a_description_that_does_not_fit_its_task_is_one_line(
    make_package: Make, tmp_path: Path, task: str, changed: dict[str, object], found: str
) -> None:
    folder = make_package(tmp_path / "p", "tiny", None, task=task)
    content = {key: each for key, each in (said(folder) | changed).items() if each is not None}
    (folder / ABOUT_FILE).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(PackageError) as caught:
        open_package(folder)
    assert found in str(caught.value)
    assert str(folder / ABOUT_FILE) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
