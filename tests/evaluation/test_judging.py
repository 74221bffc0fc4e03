"""The evaluate stage on a small project, and the same evidence made again from its package."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_project
from small_project import BUS, CAR, NAME

from cityforge.dataset.snapshot import write_json
from cityforge.errors import DataError
from cityforge.evaluation.against import Champion
from cityforge.evaluation.evidence import Evidence, read_evidence
from cityforge.evaluation.failures import Expected, read_failures
from cityforge.evaluation.stage import evaluate, judge_again
from cityforge.inference.package import open_package
from cityforge.project import Project
from cityforge.training.data import open_training_data

GATES = [
    {"metric": "map50", "floor": 0.3},
    {"metric": "map50", "most_drop": 0.01},
    {"metric": "map50", "floor": 0.0, "slice": {"by": "lighting", "name": "day"}},
    {"metric": "unseen", "floor": 0.9},
    {"metric": "latency_p50_ms", "ceiling": 5, "device": "Xeon*"},
    {"metric": "parity_box_px", "ceiling": 0.01},
    {"metric": "leak", "ceiling": 0.0},
]


@pytest.fixture
def project(tmp_path: Path, make_package: Callable[..., Path]) -> Project:
    """Its model finds the car in every picture, with a score of 0.9."""
    found = small_project.make_project(tmp_path / "city")
    model = make_package(tmp_path / "model" / "package", NAME, None, 0.9) / "model.onnx"
    small_project.export(found, model.read_bytes())
    small_project.set_gates(found, GATES)
    return found


def judged(project: Project, champion: Champion | None = None) -> Evidence:
    card, params = small_project.opened(project)
    build, data = project.build(NAME), open_training_data(project, card)
    out = build / "package", build / "evaluate"
    return evaluate(project, card, params, data, *out, lambda _: None, champion)


def again(project: Project, champion: Champion | None = None) -> Evidence:
    folder = project.build(NAME) / "package"
    recorded = read_evidence(folder / "evidence.json")
    return judge_again(
        project, *small_project.opened(project), folder, recorded, champion, lambda _: None
    )


def add_failure(project: Project, **expected: Any) -> None:
    from datetime import UTC, datetime

    from cityforge.evaluation.confirmed import Taken, add_failure

    taken = Taken(small_project.jpeg(77), None, None, "gate.jpg")
    folder = project.algorithm_folder(NAME) / "failures"
    wanted = Expected.model_validate(expected)
    add_failure(folder, taken, wanted, "missed at night", "王芳", datetime.now(UTC))


def test_the_stage_makes_a_package_with_all_that_is_proven(project: Project) -> None:
    evidence = judged(project)
    package = open_package(project.build(NAME) / "package")
    assert package.about.evidence_digest == evidence.digest()
    # A box in each of four frames, in one of them where there is nothing: precision 1 up to
    # recall 1 but for the last of four equal scores.
    assert evidence.metrics["recall"] == 1.0
    assert evidence.metrics["precision"] == 0.75
    held = {(g.name, g.of): (g.passed, g.why) for g in evidence.gates}
    assert held == {
        ("map50", ""): (True, ""),
        ("map50", "drop from the champion"): (True, "no champion yet: nothing to drop from"),
        ("map50", "lighting day"): (True, ""),
        ("unseen", ""): (True, ""),
        ("latency_p50_ms", "on Xeon*"): (True, ""),
        ("parity_box_px", ""): (True, ""),
        ("leak", ""): (True, ""),
    }
    assert evidence.unseen and evidence.unseen.cameras == ["港口"]
    assert evidence.data and evidence.data.boxes["test"] == 3
    assert evidence.latency and evidence.latency.device == "Xeon 8481C, 2 threads"
    assert evidence.seeds and (evidence.seeds.count, list(evidence.seeds.figures)) == (3, ["map50"])
    report = (project.build(NAME) / "evaluate" / "report.html").read_text(encoding="utf-8")
    assert "院内车辆" in report


def test_the_same_inputs_give_the_same_digest(project: Project) -> None:
    first = judged(project).digest()
    assert judged(project).digest() == first
    assert again(project).digest() == first


def test_judging_again_does_not_copy_what_was_recorded(project: Project) -> None:
    """Figures in the record that its model does not reach are not found again."""
    judged(project)
    path = project.build(NAME) / "package" / "evidence.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["metrics"]["map50"] = 0.99
    content["gates"] = []
    forged = Evidence.model_validate(content)
    card, params = small_project.opened(project)
    found = judge_again(project, card, params, path.parent, forged, None)
    assert found.metrics["map50"] != 0.99
    assert len(found.gates) == len(GATES)


def test_agreement_and_times_are_taken_over(project: Project) -> None:
    judged(project)
    folder = project.build(NAME) / "package"
    recorded = read_evidence(folder / "evidence.json")
    assert recorded.data
    basis = recorded.data.model_copy(update={"agreement": 0.7, "films": 1})
    recorded = recorded.model_copy(update={"data": basis, "speeds": []})
    found = judge_again(project, *small_project.opened(project), folder, recorded, None)
    assert found.data and (found.data.agreement, found.data.films) == (0.7, 9)
    assert found.speeds == []


def test_evidence_of_another_snapshot_is_refused(project: Project) -> None:
    judged(project)
    path = project.build(NAME) / "split" / "snapshot.json"
    write_json(path, {"digest": "77" * 32})
    with pytest.raises(DataError) as refused:
        again(project)
    assert str(refused.value) == (
        f"expected the snapshot 5a5a5a5a5a5a that the evidence rests on, found 777777777777, "
        f"in algorithm '{NAME}': check out the version's commit, then dvc checkout"
    )
    with pytest.raises(DataError, match="a network trained on snapshot 777777777777"):
        judged(project)


def test_a_champion_answers_the_same_frames(
    project: Project, tmp_path: Path, make_package: Callable[..., Path]
) -> None:
    """The champion's one box has a score under its floor: it finds nothing at all."""
    blind = small_project.package_of(make_package, tmp_path / "blind" / "package", 0.001)
    champion = Champion(3, blind)
    evidence = judged(project, champion)
    assert evidence.against and evidence.against.version == 3
    change = evidence.against.changes["recall"]
    assert (change.this, change.champion, change.difference) == (1.0, 0.0, 1.0)
    assert again(project, champion).digest() == evidence.digest()
    with pytest.raises(
        DataError, match=r"expected version 3, the champion of the time.*found none"
    ):
        again(project)
    other = replace(champion, package=replace(blind, digest="77" * 32))
    with pytest.raises(DataError, match="found 777777777777"):
        again(project, other)


def test_a_champion_that_came_later_does_not_count_again(
    project: Project, tmp_path: Path, make_package: Callable[..., Path]
) -> None:
    first = judged(project)
    later = small_project.package_of(make_package, tmp_path / "later" / "package", 0.8)
    assert again(project, Champion(4, later)).digest() == first.digest()


def test_failures_become_a_gate_and_stay_those_of_the_time(project: Project) -> None:
    add_failure(project, boxes=[{"class": CAR, "xyxy": [8, 6, 40, 30]}])
    assert [f.found for f in judged(project).failures] == ["as it should be"]
    add_failure(project, boxes=[{"class": BUS, "xyxy": [8, 6, 40, 30]}])
    first = judged(project)
    assert first.metrics["failures_passed"] == 0.5
    gate = first.gates[-1]
    assert (gate.name, gate.floor, gate.value, gate.passed) == ("failures_passed", 1.0, 0.5, False)
    assert not first.passed
    add_failure(project, absent=[{"class": None, "xyxy": None}])
    assert again(project).digest() == first.digest()
    newest = read_failures(project.algorithm_folder(NAME) / "failures")
    assert len(newest) == 3
    assert len(judged(project).failures) == 3


def test_without_unseen_cameras_there_is_no_unseen_figure(
    tmp_path: Path, make_package: Callable[..., Path]
) -> None:
    subsets = tuple("test" if each == "unseen" else each for each in small_project.SUBSETS)
    found = small_project.make_project(tmp_path / "city", subsets=subsets)
    model = make_package(tmp_path / "model" / "package", NAME, None, 0.9) / "model.onnx"
    small_project.export(found, model.read_bytes())
    small_project.set_gates(found, [{"metric": "unseen", "floor": 0.0}])
    evidence = judged(found)
    assert (evidence.unseen, evidence.passed) == (None, False)
    assert evidence.gates[0].why.startswith("no camera was left out")


def test_a_quantised_model_goes_into_the_package_only_where_it_is_offered(project: Project) -> None:
    judged(project)
    folder = project.build(NAME)
    assert open_package(folder / "package").int8 is None
    model = (folder / "export" / "model.onnx").read_bytes()
    (folder / "export" / "model.int8.onnx").write_bytes(model)
    written = folder / "export" / "int8.json"
    content = json.loads(written.read_text(encoding="utf-8"))
    write_json(written, content | {"offered": True})
    judged(project)
    assert open_package(folder / "package").int8 == model


@pytest.mark.parametrize("task", ["classification", "density"])
def test_the_other_tasks_are_judged_alike(
    task: str, tmp_path: Path, make_package: Callable[..., Path]
) -> None:
    found = small_project.make_project(tmp_path / "city", task)
    package = make_package(tmp_path / "model" / "package", NAME, None, 0.9, task=task)
    small_project.export(found, (package / "model.onnx").read_bytes())
    metric = "accuracy" if task == "classification" else "mae"
    gates = [{"metric": metric, "most_drop": 0.5}, {"metric": "unseen", "ceiling": 1e6}]
    small_project.set_gates(found, gates)
    champion = Champion(
        2,
        small_project.package_of(
            make_package, tmp_path / "champion" / "package", 0.9, task=task, score_floor=0.0
        ),
    )
    evidence = judged(found, champion)
    assert evidence.against and evidence.against.changes[metric].difference == 0.0
    assert [g.passed for g in evidence.gates] == [True, True]
    assert again(found, champion).digest() == evidence.digest()
