"""From tables to evidence, counted by hand on four frames."""

from __future__ import annotations

import pytest

from cityforge.errors import DataError, NameUnknown
from cityforge.evaluation.boxes import truth_boxes
from cityforge.evaluation.proof import Device
from cityforge.tables import FRAMES, LABELS, from_rows


def test_figures_counted_by_hand(case):
    evidence = case.evaluate()
    assert (evidence.frame_count, evidence.box_count) == (4, 4)
    # car: hits at 0.9 and 0.8, false alarms at 0.7 and 0.6, a hit at 0.1; bus: never found
    car = (67 + 34 * 3 / 5) / 101
    assert evidence.per_class[0].ap50 == pytest.approx(car, abs=1e-6)
    assert evidence.metrics["map50"] == pytest.approx(car / 2, abs=1e-6)
    assert evidence.metrics["precision"] == pytest.approx(2 / 4)
    assert evidence.metrics["recall"] == pytest.approx(2 / 4)
    car_row = evidence.per_class[0]
    assert (car_row.boxes, car_row.frames) == (3, 2)
    assert (car_row.precision, car_row.recall) == (0.5, pytest.approx(2 / 3, abs=1e-6))


def test_confusion_names_the_bus_that_was_called_a_car(case):
    matrix = case.evaluate().confusion.matrix
    assert matrix == [[2, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]


def test_a_class_without_a_box_leaves_every_figure_measured(case):
    evidence = case.evaluate()
    twelve = ("map50_95", "map50", "map75", "map_large", "ar1", "ar10", "ar100", "ar_large")
    assert all(evidence.metrics[name] is not None for name in twelve)
    none_of_that_size = ("map_small", "map_medium", "ar_small", "ar_medium")
    assert [evidence.metrics[name] for name in none_of_that_size] == [None] * 4
    # VOC's rule: the car's curve over recall 2/3 at 1 and 1/3 at 3/5; the bus 0
    assert evidence.metrics["map_voc"] == pytest.approx((2 / 3 + 3 / 5 / 3) / 2, abs=1e-6)


def test_a_subset_without_any_box_has_no_figure_and_no_crash(case):
    labels = case.labels.slice(4)  # f1-1, looked at and empty
    evidence = case.evaluate(labels=labels, gates={"map50": 0.1})
    assert (evidence.frame_count, evidence.box_count) == (1, 0)
    assert evidence.metrics["map50"] is None
    assert evidence.intervals["map50"].low is None
    assert not evidence.passed
    assert [(n.kind, n.name) for n in evidence.notes][:3] == [
        ("class_without_box", name) for name in case.classes
    ]
    assert all(s.few for s in evidence.slices)


def test_calibration_is_of_the_boxes_that_are_reported(case):
    calibration = case.evaluate().calibration
    # 0.9 and 0.8 right, 0.7 and 0.6 wrong; 0.1 is not reported
    rows = [(b.score, b.right, b.answers) for b in calibration.bins]
    assert rows == [(0.6, 0.0, 1), (0.7, 0.0, 1), (0.8, 1.0, 1), (0.9, 1.0, 1)]
    assert calibration.ece == pytest.approx((0.6 + 0.7 + 0.2 + 0.1) / 4, abs=1e-6)
    assert case.evaluate(score_threshold=0.95).calibration is None


def test_intervals_are_the_same_each_time_and_absent_without_resamples(case):
    evidence = case.evaluate(resamples=40)
    held = ("map50", "map50_95", "map75", "ar100", "precision", "recall", "f1")
    assert set(evidence.intervals) == set(held)
    for name in held:
        low, high = evidence.intervals[name].low, evidence.intervals[name].high
        assert low <= evidence.metrics[name] <= high
    assert evidence.digest() == case.evaluate(resamples=40).digest()
    none = case.evaluate(resamples=0)
    assert (none.intervals, none.slices[0].low) == ({}, None)
    assert none.slices[0].map50 == evidence.slices[0].map50


def test_proof_is_stated_as_it_came(case):
    device = Device(processor="p", threads=1, runtime="onnxruntime", providers=["CPU"])
    assert case.evaluate(proof={"device": device}).device == device


def test_a_class_without_a_box_is_null_and_noted(case):
    evidence = case.evaluate()
    tram = evidence.per_class[2]
    assert (tram.name, tram.boxes, tram.ap50, tram.ap50_95, tram.f1) == (
        "tram",
        0,
        None,
        None,
        None,
    )
    assert [(n.kind, n.name) for n in evidence.notes] == [("class_without_box", "tram")]
    assert evidence.curves.precision["tram"] == []


def test_gates_hold_the_floor_against_the_figure(case):
    evidence = case.evaluate(gates={"map50": 0.4, "map50_95": 0.9})
    assert [(g.name, g.passed) for g in evidence.gates] == [("map50", True), ("map50_95", False)]
    assert not evidence.passed
    assert case.evaluate(gates={"map50": 0.4}).passed
    assert not case.evaluate(gates={}).passed


def test_a_gate_that_cannot_be_measured_does_not_pass(case):
    gate = case.evaluate(gates={"map_small": 0.0}).gates[0]
    assert (gate.value, gate.passed) == (None, False)


def test_a_gate_of_an_unknown_metric_gets_a_suggestion(case):
    with pytest.raises(NameUnknown, match="did you mean 'map50'"):
        case.evaluate(gates={"mapp50": 0.5})


def test_worst_and_best_frames(case):
    evidence = case.evaluate()
    worst = [(f.frame_id, f.missed, f.false_alarms, f.score) for f in evidence.worst_frames]
    assert worst == [("f1-0", 1, 1, 1.7), ("f0-1", 1, 0, 1.0), ("f1-1", 0, 1, 0.6)]
    assert [f.frame_id for f in evidence.best_frames] == ["f0-0"]
    assert evidence.best_frames[0].captured_at == "2026-03-01T08:00:00+00:00"


def test_frames_that_nobody_looked_at_are_left_out_and_noted(case):
    labels = case.labels.filter([True, True, True, True, False])  # f1-1 has no row now
    evidence = case.evaluate(labels=labels)
    assert evidence.frame_count == 3
    assert evidence.metrics["precision"] == pytest.approx(2 / 3, abs=1e-6)
    assert ("frames_not_looked_at", 1) in [(n.kind, n.count) for n in evidence.notes]


def test_labels_of_other_classes_are_left_out_and_noted(case):
    evidence = case.evaluate(classes=["car", "tram"])
    assert evidence.box_count == 3
    assert ("labels_of_other_classes", "bus", 1) in [
        (n.kind, n.name, n.count) for n in evidence.notes
    ]


def test_points_and_classes_of_frames_are_no_boxes(case):
    rows = case.labels.to_pylist()
    rows += [
        {**rows[0], "label_id": "p", "task": "density", "x2": 20.0, "y2": 20.0},
        {**rows[0], "label_id": "c", "task": "classification", "class": "tram"},
    ]
    labels = from_rows(rows, LABELS)
    assert case.evaluate(labels=labels) == case.evaluate()
    assert len(truth_boxes(labels, case.frames["frame_id"].to_pylist(), case.classes)) == 4


def test_no_detections_at_all(case):
    evidence = case.evaluate(predictions=case.predictions.slice(0, 0))
    assert evidence.metrics["map50"] == 0.0
    assert evidence.metrics["precision"] is None
    assert evidence.best_frames == []


@pytest.mark.parametrize("table", ["labels", "predictions"])
def test_rows_of_other_frames_are_refused(case, table):
    rest = case.frames.slice(1)
    labels = case.labels.slice(2) if table == "predictions" else case.labels
    predictions = case.predictions.slice(2) if table == "labels" else case.predictions
    with pytest.raises(DataError, match=f"found 'f0-0', in {table}, 2 rows"):
        case.evaluate(frames=rest, labels=labels, predictions=predictions)


def test_a_prediction_of_an_unknown_class_is_refused(case):
    with pytest.raises(NameUnknown, match="found 'car'"):
        case.evaluate(classes=["bus", "tram"])


def test_a_subset_that_nobody_labelled_is_refused(case):
    with pytest.raises(DataError, match="at least one labelled frame, found none"):
        case.evaluate(labels=case.labels.slice(0, 0))


def test_one_footage_does_not_fill_all_the_worst_pictures(case):
    row = case.frames.to_pylist()[0]
    ids = [f"f0-{i}" for i in range(8)] + ["f1-0"]
    frames = from_rows([{**row, "frame_id": i, "footage_id": i[:2]} for i in ids], FRAMES)
    box = (20.0, 20.0, 140.0, 140.0)
    labels = from_rows([label(i, "car", box) for i in ids], LABELS)
    evidence = case.evaluate(frames=frames, labels=labels, predictions=case.predictions.slice(0, 0))
    assert [f.frame_id for f in evidence.worst_frames[:3]] == ["f0-0", "f0-1", "f1-0"]
    assert len(evidence.worst_frames) == 6


def label(frame: str, cls: str, xyxy: tuple[float, float, float, float]) -> dict[str, object]:
    corners = dict(zip(("x1", "y1", "x2", "y2"), xyxy, strict=True))
    names = {"label_id": frame, "frame_id": frame, "task": "detection", "class": cls}
    return {**names, **corners, "source": "by hand", "origin": "human"}
