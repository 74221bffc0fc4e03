"""Classes of frames against what people said, counted by hand on six frames."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_fscore_support
from small_tasks import (
    CLASSES,
    DAY,
    FOG,
    IDS,
    ONE_LABEL,
    SEVERAL,
    TRUE,
    classified,
    label,
    labelled_several,
    predictions,
)

from cityforge.errors import DataError, NameUnknown
from cityforge.evaluation.classification import precision_at_levels
from cityforge.evaluation.figures import ClassificationFigures
from cityforge.tables import LABELS, from_rows

SEVERAL_GIVEN = {
    "labels": labelled_several(),
    "predictions": predictions(SEVERAL, "score"),
    "class_thresholds": {DAY: 0.5, FOG: 0.3},
    "gates": [],
}


def own(**changes: object) -> ClassificationFigures:
    found = classified(**changes).classification
    assert found is not None
    return found


def test_figures_of_one_label_are_those_of_scikit_learn():
    evidence = classified()
    truth, scores = np.array([CLASSES.index(c) for c in TRUE]), np.array(ONE_LABEL)
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, scores.argmax(1), average="macro"
    )
    ap = [average_precision_score(truth == k, scores[:, k]) for k in range(2)]
    expected = {
        "accuracy": 4 / 6, "precision": precision, "recall": recall, "f1": f1, "map": np.mean(ap),
        "f1_micro": 4 / 6, "hamming_loss": 2 / 6,
    }  # fmt: skip
    assert dict(evidence.metrics) == pytest.approx(expected, abs=1e-6)
    assert (evidence.frame_count, evidence.box_count, evidence.notes) == (6, 0, [])


def test_classes_confusion_and_slices():
    found = own()
    assert [(c.name, c.frames, c.answered) for c in found.per_class] == [(DAY, 3, 3), (FOG, 3, 3)]
    assert found.confusion is not None
    assert found.confusion.matrix == [[2, 1], [1, 2]]
    third = pytest.approx(2 / 3, abs=1e-6)
    assert [(s.by, s.name, s.frames, s.value, s.few) for s in found.slices] == [
        ("camera", "Old Harbour", 3, third, True),
        ("camera", "北门", 3, third, True),
        ("hour", "06-09", 6, third, False),
    ]
    assert all(0 <= s.low <= s.value <= s.high <= 1 for s in found.slices)
    assert (found.main, found.several_labels, found.thresholds) == ("accuracy", False, {})
    assert found.curves.threshold == []


def test_calibration_and_intervals():
    evidence = classified()
    # likeliest scores 0.9, 0.8, 0.95 (wrong), 0.7, 0.6, 0.55 (wrong); a bin holds its upper edge
    assert [(b.score, b.right, b.answers) for b in evidence.calibration.bins] == [
        (0.575, 0.5, 2), (0.7, 1.0, 1), (0.8, 1.0, 1), (0.9, 1.0, 1), (0.95, 0.0, 1),
    ]  # fmt: skip
    apart = (2 * 0.075 + 0.3 + 0.2 + 0.1 + 0.95) / 6
    assert evidence.calibration.ece == pytest.approx(apart, abs=1e-6)
    assert {"accuracy", "f1", "map"} <= set(evidence.intervals)
    assert evidence.intervals["accuracy"].low < 4 / 6 < evidence.intervals["accuracy"].high
    assert own(**SEVERAL_GIVEN).slices[0].value is not None
    assert classified(resamples=0).intervals == {}


def test_worst_are_the_surest_mistakes_and_best_of_each_class():
    found = own()
    assert [(f.frame_id, f.truth, f.answered, f.score) for f in found.worst_frames] == [
        (IDS[2], [DAY], [FOG], pytest.approx(0.95)),
        (IDS[5], [FOG], [DAY], pytest.approx(0.55)),
    ]
    assert [f.frame_id for f in found.best_frames] == [IDS[0], IDS[1], IDS[3], IDS[4]]


def test_several_labels_each_with_a_threshold():
    evidence = classified(**SEVERAL_GIVEN)
    found = own(**SEVERAL_GIVEN)
    # Of day frame 2 is a false alarm; of fog frame 4, and with a threshold of 0.5 frame 5 is missed
    assert evidence.metrics["accuracy"] == pytest.approx(4 / 6, abs=1e-6)
    assert [(c.frames, c.answered, c.recall) for c in found.per_class] == [(3, 4, 1.0), (3, 4, 1.0)]
    assert (found.main, found.confusion) == ("map", None)
    assert found.thresholds == {DAY: 0.5, FOG: 0.3}
    assert [(f.frame_id, f.answered, f.score) for f in found.worst_frames] == [
        (IDS[2], [DAY, FOG], pytest.approx(0.6)),
        (IDS[4], [DAY, FOG], pytest.approx(0.3)),
    ]
    assert len(found.curves.threshold) == len(found.curves.f1_mean) == 101
    at_half = found.curves.f1[FOG][50]
    assert at_half == pytest.approx(2 * 2 / (2 + 3), abs=1e-6)
    higher = own(**{**SEVERAL_GIVEN, "class_thresholds": {DAY: 0.5, FOG: 0.5}})
    assert higher.per_class[1].recall == pytest.approx(2 / 3, abs=1e-6)


def test_a_frame_of_none_or_of_two_classes_counts_only_with_several():
    evidence = classified(labels=labelled_several())
    assert evidence.frame_count == 4
    assert [(n.kind, n.count) for n in evidence.notes] == [("frames_without_one_class", 2)]
    assert classified(**SEVERAL_GIVEN).frame_count == 6


def test_labels_of_other_tasks_and_frames_not_looked_at_are_left_out():
    rows = [label(f, c, "classification") for f, c in zip(IDS[:4], TRUE[:4], strict=True)]
    rows += [label(IDS[0], DAY, "detection", 1.0, 2.0, 30.0, 40.0), label(IDS[4], FOG, "detection")]
    evidence = classified(labels=from_rows(rows, LABELS))
    assert evidence.frame_count == 4
    assert [(n.kind, n.count) for n in evidence.notes] == [("frames_not_looked_at", 2)]


def test_a_class_that_does_not_occur_is_noted_and_not_counted():
    evidence = classified(labels=from_rows([label(IDS[0], DAY, "classification")], LABELS))
    assert ("class_without_label", FOG) in [(n.kind, n.name) for n in evidence.notes]
    assert evidence.metrics["map"] == 1.0
    figures = own(labels=from_rows([label(IDS[0], DAY, "classification")], LABELS))
    assert (figures.per_class[1].recall, figures.curves.precision[FOG]) == (None, [])


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"predictions": predictions(ONE_LABEL, "score").slice(1)}, DataError, "1 frames without"),
        ({"labels": LABELS.empty_table()}, DataError, "at least one labelled frame"),
        ({"classes": [DAY, "雾"]}, NameUnknown, "found 'fog'"),
    ],
)
def test_what_cannot_be_judged_is_refused(changes, error, said):
    with pytest.raises(error, match=said):
        classified(**changes)


def test_equal_scores_are_one_step_of_the_curve():
    truth = np.array([True, False, True, False])
    curve = precision_at_levels(truth, np.array([0.5, 0.5, 0.5, 0.1]))
    assert curve == pytest.approx(np.full(101, 2 / 3))
