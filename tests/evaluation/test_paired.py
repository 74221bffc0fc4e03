"""This version against the champion, and cameras never seen: from tables to figures."""

from __future__ import annotations

import pytest
from small_tasks import (
    CLASSES,
    COUNTS,
    DAY,
    FOG,
    IDS,
    ONE_LABEL,
    SEVERAL,
    TRUE,
    classified,
    counted,
    footage,
    frames,
    label,
    labelled_several,
    predictions,
)

from cityforge.errors import DataError
from cityforge.evaluation.paired import paired_changes
from cityforge.evaluation.scored import Answers
from cityforge.evaluation.unseen import unseen_figures
from cityforge.tables import LABELS, PREDICTIONS, from_rows

CLASS_LABELS = from_rows(
    [label(f, c, "classification") for f, c in zip(IDS, TRUE, strict=True)], LABELS
)
BETTER = [*ONE_LABEL[:2], [0.9, 0.1], *ONE_LABEL[3:]]  # one mistake less


def test_detection_without_its_best_boxes_is_worse_by_the_difference_of_the_evaluations(case):
    rows = case.predictions.to_pylist()
    less = from_rows([row for row in rows if row["score"] < 0.85], PREDICTIONS)
    found = paired_changes(
        "detection", frames=case.frames, labels=case.labels, classes=case.classes,
        this=Answers(case.predictions, 0.5), champion=Answers(less, 0.65), resamples=30,
    )  # fmt: skip
    this = case.evaluate(score_threshold=0.5)
    champion = case.evaluate(score_threshold=0.65, predictions=less)
    assert len(found) == 7
    for name, change in found.items():
        assert change.this == pytest.approx(this.metrics[name], abs=2e-6), name
        assert change.champion == pytest.approx(champion.metrics[name], abs=2e-6), name
        assert change.low <= change.difference <= change.high
    assert found["map50"].difference > 0.1


def test_rows_of_other_classes_and_frames_are_passed_over(case):
    rows = case.predictions.to_pylist()
    rows += [{**rows[0], "frame_id": "other"}, {**rows[0], "class": "ship", "score": 1.0}]
    more = from_rows(rows, PREDICTIONS)
    given = {"frames": case.frames, "labels": case.labels, "classes": ["car"], "resamples": 0}
    with_more = paired_changes(
        "detection", this=Answers(more, 0.5), champion=Answers(case.predictions, 0.5), **given
    )
    assert with_more["map50"].difference == 0
    assert with_more["map50"].low is None


def test_classes_of_frames():
    found = paired_changes(
        "classification", frames=frames(), labels=CLASS_LABELS, classes=CLASSES,
        this=Answers(predictions(BETTER, "score"), 0.5),
        champion=Answers(predictions(ONE_LABEL, "score"), 0.5), resamples=200,
    )  # fmt: skip
    change = found["accuracy"]
    assert (change.this, change.champion) == (
        pytest.approx(5 / 6, abs=1e-6),
        pytest.approx(4 / 6, abs=1e-6),
    )
    assert (change.low, change.difference) == (0.0, pytest.approx(1 / 6, abs=1e-6))
    assert change.high == pytest.approx(0.5, abs=0.01)
    assert found["map"].this >= found["map"].champion


def test_several_labels_each_side_with_its_own_thresholds():
    said = predictions(SEVERAL, "score")
    found = paired_changes(
        "classification", frames=frames(), labels=labelled_several(), classes=CLASSES,
        this=Answers(said, 0.5, {DAY: 0.65, FOG: 0.325}),
        champion=Answers(said, 0.5, {DAY: 0.5, FOG: 0.3}), resamples=20,
    )  # fmt: skip
    assert found["accuracy"].this == 1.0
    assert found["accuracy"].champion == pytest.approx(4 / 6, abs=1e-6)
    assert found["map"].difference == 0


def test_a_champion_that_gives_one_class_is_judged_on_the_same_frames():
    said = predictions(SEVERAL, "score")
    found = paired_changes(
        "classification", frames=frames(), labels=labelled_several(), classes=CLASSES,
        this=Answers(said, 0.5, {DAY: 0.65, FOG: 0.325}), champion=Answers(said, 0.5),
        resamples=20,
    )  # fmt: skip
    # one class each: of six frames the one with both and the one with none are wrong
    assert found["accuracy"].champion == pytest.approx(4 / 6, abs=1e-6)


def test_counts_nearer_to_the_truth_lower_the_error():
    points = [label(IDS[i], DAY, "density", 10.0, 20.0) for i in range(6)]
    near = [[min(row[0], 1.0), 0.0] for row in COUNTS]
    found = paired_changes(
        "density", frames=frames(), labels=from_rows(points, LABELS), classes=CLASSES,
        this=Answers(predictions(near, "value"), 0.0),
        champion=Answers(predictions(COUNTS, "value"), 0.0), resamples=100,
    )  # fmt: skip
    assert found["mae"].this == pytest.approx(1 / 12, abs=1e-6)
    assert found["mae"].high < 0


def test_unseen_cameras_have_the_figures_of_an_evaluation_of_them(case):
    found = unseen_figures(
        "detection", frames=case.frames, labels=case.labels, footage=case.footage,
        classes=case.classes, answers=Answers(case.predictions, 0.5), resamples=30,
    )  # fmt: skip
    whole = case.evaluate(resamples=30)
    assert (found.cameras, found.frames, found.boxes) == (["Old Harbour", "北门"], 4, 4)
    assert found.intervals == whole.intervals
    for name in ("map50", "map50_95", "map75", "ar100", "precision", "recall", "f1"):
        assert found.metrics[name] == pytest.approx(whole.metrics[name], abs=2e-6)


@pytest.mark.parametrize(
    ("task", "evaluated", "labels", "said"),
    [
        ("classification", classified, CLASS_LABELS, predictions(ONE_LABEL, "score")),
        ("density", counted, None, predictions(COUNTS, "value")),
    ],
)
def test_unseen_cameras_of_the_other_tasks(task, evaluated, labels, said):
    if labels is None:
        labels = from_rows([label(f, DAY, "density", 10.0, 20.0) for f in IDS], LABELS)
    whole = evaluated(labels=labels)
    found = unseen_figures(
        task, frames=frames(), labels=labels, footage=footage(), classes=CLASSES,
        answers=Answers(said, 0.05), resamples=0,
    )  # fmt: skip
    assert (found.frames, found.boxes, found.intervals) == (6, 6, {})
    for name, value in found.metrics.items():
        assert value == pytest.approx(whole.metrics[name], abs=2e-6)


def test_nobody_looked_at_an_unseen_camera(case):
    given = {"footage": None, "classes": ["car"], "answers": Answers(case.predictions, 0.5)}
    none = case.labels.slice(0, 0)
    for rows in (case.frames, case.frames.slice(0, 0)):
        found = unseen_figures("detection", frames=rows, labels=none, resamples=9, **given)
        assert found is None


def test_a_comparison_on_frames_that_nobody_labelled_is_refused(case):
    said = Answers(case.predictions, 0.5)
    with pytest.raises(DataError, match="at least one labelled frame"):
        paired_changes(
            "detection", frames=case.frames, labels=case.labels.slice(0, 0),
            classes=case.classes, this=said, champion=said, resamples=0,
        )  # fmt: skip
