"""Counts against those of people, by hand on six frames; gates with a ceiling; the record."""

from __future__ import annotations

import json

import pytest
from small_tasks import CLASSES, COUNTS, DAY, FOG, IDS, classified, counted, label, predictions

from cityforge.cards.algorithm import Gate
from cityforge.errors import DataError, NameUnknown
from cityforge.evaluation.evidence import read_evidence
from cityforge.evaluation.gates import Measured, hold_gates
from cityforge.tables import LABELS, from_rows


def test_figures_counted_by_hand():
    evidence = counted()
    apart = [0.5, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]  # both classes
    true = [1, 0, 2, 0, 4, 0, 6, 0, 8, 0, 0, 0]
    assert dict(evidence.metrics) == pytest.approx(
        {
            "mae": sum(apart) / 12, "rmse": (sum(a**2 for a in apart) / 12) ** 0.5,
            "relative_mae": sum(apart) / 21, "bias": 5.5 / 12, "mean_count": 21 / 12,
            "r2": 1 - sum(a**2 for a in apart) / sum((c - 21 / 12) ** 2 for c in true),
        },
        abs=1e-6,
    )  # fmt: skip
    assert evidence.density is not None
    first, second = evidence.density.per_class
    assert (first.name, first.objects, first.frames, first.mae) == (DAY, 21, 5, 0.75)
    assert (second.objects, second.relative_mae) == (0, None)
    assert [(n.kind, n.name) for n in evidence.notes] == [("class_without_label", FOG)]


def test_pairs_slices_and_frames():
    found = counted().density
    assert found is not None
    assert found.pairs[0].truth == [1, 2, 4, 6, 8, 0]
    assert found.pairs[0].found == [row[0] for row in COUNTS]
    assert [(s.name, s.frames, s.mae, s.few) for s in found.slices] == [
        ("Old Harbour", 3, pytest.approx(4 / 6, abs=1e-6), True), ("北门", 3, 0.25, True),
        ("06-09", 6, pytest.approx(5.5 / 12, abs=1e-6), False),
    ]  # fmt: skip
    assert all(0 <= s.low <= s.mae <= s.high for s in found.slices)
    assert found.slices[1].mean_count == pytest.approx(7 / 6, abs=1e-6)
    worst = [(f.frame_id, f.truth, f.found, f.error) for f in found.worst_frames]
    assert worst == [(IDS[3], 6, 10.0, 4.0), (IDS[2], 4, 5.0, 1.0), (IDS[0], 1, 1.5, 0.5)]
    assert [f.frame_id for f in found.best_frames[:2]] == [IDS[4], IDS[1]]


def test_counts_have_intervals_and_no_calibration():
    evidence = counted()
    assert evidence.intervals["mae"].low <= 5.5 / 12 <= evidence.intervals["mae"].high
    assert evidence.calibration is None


def test_boxes_are_counted_where_there_are_no_points():
    rows = [label(IDS[0], DAY, "detection", 1.0, 2.0, 30.0, 40.0), label(IDS[1], None, "density")]
    evidence = counted(labels=from_rows(rows, LABELS))
    assert evidence.frame_count == 2
    assert evidence.density is not None
    assert evidence.density.pairs[0].truth == [1, 0]


def test_a_frame_without_a_count_is_refused():
    with pytest.raises(DataError, match="1 frames without, such as f0-0"):
        counted(predictions=predictions(COUNTS, "value").slice(1))


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        (Gate(metric="mae", ceiling=0.5), True),
        (Gate(metric="mae", ceiling=0.4), False),
        (Gate(metric="mae", floor=0.4), True),
        (Gate(metric="mae", floor=0.5), False),
        (Gate(metric="rmse", ceiling=9.0), False),  # not measured
        (Gate(metric="rmse", floor=0.0), False),
    ],
)
def test_a_gate_holds_its_side(gate, passed):
    measured = Measured(task="density", metrics={"mae": 0.45, "rmse": float("nan")})
    (held,) = hold_gates([gate], measured)
    assert held.passed is passed
    assert (held.floor, held.ceiling) == (gate.floor, gate.ceiling)


def test_a_gate_of_another_task_is_refused():
    with pytest.raises(NameUnknown, match="found 'accuracy'"):
        counted(gates=[Gate(metric="accuracy", floor=0.5)])


@pytest.mark.parametrize("made", [classified, counted])
def test_a_record_is_read_as_it_was_written_and_holds_nothing_of_detection(made, tmp_path):
    evidence = made()
    path = tmp_path / "evidence.json"
    path.write_text(evidence.to_json(), encoding="utf-8")
    assert read_evidence(path) == evidence
    assert read_evidence(path).digest() == evidence.digest()
    keys = set(json.loads(evidence.to_json()))
    assert evidence.task in keys
    assert not keys & {"box_count", "per_class", "curves", "confusion", "slices"}


def test_evidence_of_detection_says_nothing_of_other_tasks(case):
    content = json.loads(case.evaluate().to_json())
    assert not {"classification", "density"} & set(content)
    assert "ceiling" not in content["gates"][0]
    assert content["classes"] != CLASSES
