"""Answers of each task, from small ONNX models whose answers can be worked out by hand."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cityforge.errors import InputError, PackageError
from cityforge.inference.package import Package, open_package
from cityforge.inference.runtime import Answer, Model

Make = Callable[..., Path]


def grey(level: int, width: int = 64, height: int = 48) -> bytes:
    """A PNG of one grey."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (width, height), (level,) * 3).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def opened(make_package: Make, tmp_path: Path) -> Callable[..., Model]:
    def make(task: str, **changes: object) -> Model:
        folder = make_package(tmp_path / "p", "tiny", None, task=task, **changes)
        return Model(open_package(folder))

    return make


def classes(answer: Answer) -> dict[int, float]:
    scores = [round(each, 3) for each in answer.score.tolist()]
    return dict(zip(answer.cls.tolist(), scores, strict=True))


def test_boxes_are_in_pixels_of_the_picture(opened: Callable[..., Model]) -> None:
    (answer,) = opened("detection").answer([grey(0, 128, 96)])
    assert (answer.width, answer.height) == (128, 96)
    assert answer.xyxy.tolist() == [[16, 12, 80, 60]]
    assert classes(answer) == {0: 0.9}
    assert (answer.counts, answer.density) == (None, None)


@pytest.mark.parametrize(
    ("level", "floor", "found"),
    [
        (204, None, {0: 0.8}),  # the package's threshold is 0.25
        (204, 0.1, {0: 0.8, 1: 0.2}),
        (51, None, {1: 0.8}),
        (153, None, {0: 0.6, 1: 0.4}),
        (204, 0.9, {0: 0.8}),  # the likeliest of one label stands under any floor
    ],
)
def test_one_label_answers_the_likeliest_first(
    opened: Callable[..., Model], level: int, floor: float | None, found: dict[int, float]
) -> None:
    (answer,) = opened("classification").answer([grey(level)], floor)
    assert classes(answer) == found
    assert list(classes(answer)) == list(found)
    assert answer.xyxy.tolist() == [[0, 0, 64, 48]] * len(found)


@pytest.mark.parametrize(
    ("own", "floor", "found"),
    [
        (None, None, {0: 0.6, 1: 0.4}),
        (None, 0.7, {}),
        ({"汽车": 0.65, "bus": 0.35}, None, {1: 0.4}),
        ({"汽车": 0.55, "bus": 0.45}, None, {0: 0.6}),
        ({"汽车": 0.9, "bus": 0.9}, None, {}),
        ({"汽车": 0.9, "bus": 0.9}, 0.3, {0: 0.6, 1: 0.4}),  # who names a floor means it
    ],
)
def test_several_labels_have_thresholds_of_their_own(
    opened: Callable[..., Model],
    own: dict[str, float] | None,
    floor: float | None,
    found: dict[int, float],
) -> None:
    model = opened("classification", several_labels=True, class_thresholds=own)
    (answer,) = model.answer([grey(153)], floor)
    assert classes(answer) == found
    assert answer.xyxy.shape == (len(found), 4)


def test_counts_are_of_the_picture_and_not_of_the_grey_around_it(
    opened: Callable[..., Model],
) -> None:
    # 128×32 is shown at half its size in the upper 16 of 48 rows: 8×2 cells of 8 pixels.
    (answer,) = opened("density").answer([grey(51, 128, 32)])
    assert answer.counts is not None
    assert answer.density is not None
    assert answer.density.shape == (2, 2, 8)
    assert answer.cell_px == 16
    assert answer.counts.tolist() == pytest.approx([16 * 0.2, 0], abs=1e-4)
    assert (answer.cls.tolist(), answer.score.tolist()) == ([0, 1], [1, 1])
    assert answer.xyxy.tolist() == [[0, 0, 128, 32]] * 2


def test_cells_under_the_floor_do_not_count(opened: Callable[..., Model]) -> None:
    model = opened("density")
    (low,) = model.answer([grey(51)], 0.3)
    (high,) = model.answer([grey(102)], 0.3)
    assert low.counts is not None
    assert high.counts is not None
    assert low.counts.tolist() == [0, 0]
    assert high.counts.tolist() == pytest.approx([48 * 0.4, 0], abs=1e-3)


@pytest.mark.parametrize("task", ["detection", "classification", "density"])
def test_pictures_answer_alike_alone_and_together(opened: Callable[..., Model], task: str) -> None:
    model = opened(task)
    pictures = [grey(30), grey(200, 90, 30), grey(120, 30, 90)]
    together = model.answer(pictures)
    alone = [model.answer([each])[0] for each in pictures]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.score, other.score, atol=1e-6)
        assert one.cls.tolist() == other.cls.tolist()
        assert (one.width, one.height) == (other.width, other.height)
    assert model.answer([]) == []
    with pytest.raises(InputError, match="a whole picture"):
        model.answer([grey(30)[:60]])


@pytest.mark.parametrize(
    ("task", "says", "found"),
    [
        ("classification", "detection", "gives scores, boxes, found scores"),
        ("detection", "density", "gives density, found scores, boxes"),
    ],
)
def test_a_model_of_another_task_is_refused_at_opening(
    make_package: Make, tmp_path: Path, task: str, says: str, found: str
) -> None:
    model = open_package(make_package(tmp_path / "a", "tiny", None, task=task)).model
    about = open_package(make_package(tmp_path / "b" / "c", "tiny", None, task=says)).about
    with pytest.raises(PackageError, match=found):
        Model(Package(about, model, ""))
