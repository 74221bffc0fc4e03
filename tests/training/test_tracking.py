"""What MLflow is told of a training, and what a training does when MLflow fails."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from drawn_project import Drawn, Killed, StopsAfter, drawn_project
from PIL import Image

from cityforge.errors import ServiceError
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.training.memory_peak import MemoryPeak, tree_megabytes
from cityforge.training.tracking import TAG_PARENT, open_run, tracking_client

EPOCHS = 4


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """A training of four epochs, every other validated, killed in its second and run again."""
    made = drawn_project(
        tmp_path_factory.mktemp("tracked"), epochs=EPOCHS, seed=7, validate_every=2
    )
    with pytest.raises(Killed):
        made.train(StopsAfter(f"epoch 2/{EPOCHS}"))
    killed = runs_of(made)
    assert [run.info.status for run in killed] == ["KILLED"]
    made.train([])
    return made


def runs_of(drawn: Drawn) -> list[Any]:
    client = tracking_client(drawn.project, drawn.settings)
    experiment = client.get_experiment_by_name("squares").experiment_id
    return list(client.search_runs([experiment]))


@pytest.fixture(scope="module")
def run(drawn: Drawn) -> Any:
    runs = runs_of(drawn)
    assert len(runs) == 1  # the resumed training went on in the same one
    return runs[0]


def about(drawn: Drawn) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((drawn.out / "train.json").read_text(encoding="utf-8"))
    return found


def test_every_epoch_has_its_figures(drawn: Drawn, run: Any) -> None:
    client = tracking_client(drawn.project, drawn.settings)
    history = about(drawn)["history"]
    assert len(history) == EPOCHS
    assert run.info.status == "FINISHED"
    named = ("val_map50", "val_map50_95", "val_score", "train_loss", "learning_rate")
    for name in named:
        stored = {m.step: m.value for m in client.get_metric_history(run.info.run_id, name)}
        told = {int(row["epoch"]): row[name] for row in history if name in row}
        assert stored == pytest.approx(told), name
        assert list(told) == ([2, 4] if name.startswith("val_") else [1, 2, 3, 4])
    for name in ("score_loss", "box_loss", "images_per_second", "seconds", "memory_peak_mb"):
        steps = {m.step for m in client.get_metric_history(run.info.run_id, name)}
        assert steps == {1, 2, 3, 4}, name
        assert run.data.metrics[name] > 0
    assert 100 < run.data.metrics["memory_peak_mb"] < 20_000
    assert run.data.metrics["best_val_score"] == about(drawn)["val_score"]


def test_all_parameters_are_stored(drawn: Drawn, run: Any) -> None:
    found = run.data.params
    assert found["train.learning_rate"] == "0.002"
    assert found["train.loss.box_weight"] == str(drawn.params.train.loss.box_weight)
    assert found["train.augment.mosaic"] == "0.25"
    assert (found["network"], found["task"]) == ("detection/nano", "detection")
    assert (found["data.input_width"], found["frames.train"], found["labels.val"]) == (
        "64", "8", "4",
    )  # fmt: skip
    fields = set(type(drawn.params.train).model_fields)
    assert fields == {name.split(".")[1] for name in found if name.startswith("train.")}


def test_the_tags_say_what_it_was_made_from(drawn: Drawn, run: Any) -> None:
    tags = {k.removeprefix("cityforge."): v for k, v in run.data.tags.items()}
    assert tags["snapshot_digest"] == "d" * 64
    assert tags["inputs_digest"] == about(drawn)["inputs_digest"]
    assert tags["seed"] == "7"
    assert (tags["git_commit"], tags["git_dirty"], tags["lock_digest"]) == ("none", "true", "none")
    assert "cores" in tags["device"] or "×" in tags["device"]
    assert tags["device"] == about(drawn)["device"]
    assert "Python 3" in tags["host"]
    assert tags["weights"] == "scratch"


def test_every_validation_has_its_sheet(drawn: Drawn, run: Any) -> None:
    client = tracking_client(drawn.project, drawn.settings)
    stored = [each.path for each in client.list_artifacts(run.info.run_id, "validation")]
    assert stored == [f"validation/epoch_{epoch:03d}.jpg" for epoch in (2, 4)]
    path = client.download_artifacts(run.info.run_id, stored[0])
    assert Image.open(io.BytesIO(Path(path).read_bytes())).format == "JPEG"


def test_train_json_names_the_run_the_device_and_the_memory(drawn: Drawn, run: Any) -> None:
    found = about(drawn)
    assert found["mlflow_run_id"] == run.info.run_id
    assert found["memory_peak_mb"] > 100
    assert found["notes"] == []
    assert found["initial"]["source"] == "scratch"
    assert found["data"]["input_width"] == 64


def test_trials_are_nested_in_their_study(drawn: Drawn) -> None:
    study = open_run(drawn.project, drawn.settings, drawn.card, "study", {"trials": 2})
    trial = open_run(drawn.project, drawn.settings, drawn.card, "trial 1", {}, parent=study.run_id)
    trial.params({"search": {"learning_rate": 0.1}})
    trial.log({"score": 0.5, "latency_ms": float("nan")}, step=1)
    trial.finish("FAILED")
    stored = trial.client.get_run(trial.run_id)
    assert stored.data.tags[TAG_PARENT] == study.run_id
    assert stored.data.params == {"search.learning_rate": "0.1"}
    assert stored.data.metrics == {"score": 0.5}
    assert stored.info.status == "FAILED"
    assert trial.complaints() == []


def test_a_run_that_was_deleted_is_begun_anew(drawn: Drawn) -> None:
    first = open_run(drawn.project, drawn.settings, drawn.card, "one", {})
    first.params({"a": 1})
    same = open_run(drawn.project, drawn.settings, drawn.card, "one", {}, run_id=first.run_id)
    same.params({"a": 2, "b": 3})  # MLflow refuses to change a parameter
    assert (same.run_id, same.complaints()) == (first.run_id, [])
    assert same.client.get_run(same.run_id).data.params == {"a": "1", "b": "3"}
    first.client.delete_run(first.run_id)
    other = open_run(drawn.project, drawn.settings, drawn.card, "one", {}, run_id=first.run_id)
    assert other.run_id != first.run_id


def test_more_parameters_than_one_call_takes(drawn: Drawn) -> None:
    run = open_run(drawn.project, drawn.settings, drawn.card, "many", {})
    run.params({f"p{number}": number for number in range(250)} | {"long": "x" * 9000})
    assert run.complaints() == []
    assert len(run.client.get_run(run.run_id).data.params) == 251


def test_a_tracking_that_fails_meanwhile_ends_no_training(drawn: Drawn, tmp_path: Path) -> None:
    """The database is gone from the first epoch on."""
    other = drawn_project(tmp_path, epochs=1)
    shutil.copytree(drawn.project.work, other.project.work)
    database = other.project.work / "mlflow.db"

    class Breaks(list[str]):
        def append(self, line: str) -> None:
            super().append(line)
            if line.startswith("epoch 1/1"):
                database.write_bytes(b"no database " * 1000)

    other.train(Breaks())
    notes = about(other)["notes"]
    assert len(notes) == 1
    assert notes[0].startswith("tracking lost ")
    assert "\n" not in notes[0]
    assert (other.out / "model.safetensors").is_file()


def test_a_server_that_does_not_answer_is_said_before_the_training(
    drawn: Drawn, tmp_path: Path
) -> None:
    with pytest.raises(ServiceError, match="a tracking server that answers"):
        open_run(
            Project(tmp_path), Settings(tracking_uri="http://127.0.0.1:1"), drawn.card, "x", {}
        )


def test_the_memory_of_all_processes_is_seen() -> None:
    import multiprocessing

    peak = MemoryPeak(every=0)
    before = tree_megabytes()
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        pool.apply(bytearray, (1,))
        peak.look()
        assert tree_megabytes() > before + 5
    assert peak.figures()["memory_peak_mb"] >= before + 5
