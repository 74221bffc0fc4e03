"""The export stage on drawn squares: both models, what is written, and what is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scenes

from cityforge.cards.params import ANSWERS_OF_TASK
from cityforge.dataset.labelled import LabelledFrames
from cityforge.errors import DataError
from cityforge.export import stage
from cityforge.export.found import Int8, read_int8, read_sides, read_speeds
from cityforge.export.stage import Trained, export
from cityforge.inference.package import INT8_FILE
from cityforge.tasks.kinds import build_network

# Names in this order: train, then val.
DRAWN = 9
FILMS = {"footage_id": ["f"], "lighting": ["day"], "camera": ["北门"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A network from scratch, and squares for it."""
    import torch

    torch.manual_seed(5)
    found = scenes.squares(tmp_path_factory.mktemp("frames"), DRAWN)
    return Trained(
        scenes.card(),
        build_network("detection", "detection/nano", 1, loss={}).eval(),
        scenes.quick()[0],
        scenes.starter().evaluate,
        found["train_frames"],
        found["val_frames"],
        found["store"],
    )


def run(trained: Trained, out: Path, **changes: Any) -> tuple[Int8, list[str]]:
    """Export with the starter's parameters; keys of INT8 begin with int8_."""
    known = scenes.starter().export
    of_int8 = {k.removeprefix("int8_"): v for k, v in changes.items() if k.startswith("int8_")}
    int8 = known.int8.model_copy(update={"frames": 2, **of_int8})
    others = {k: v for k, v in changes.items() if not k.startswith("int8_")}
    wanted = known.model_copy(update={"parity_frames": 2, "int8": int8, **others})
    ids = [*trained.train.frame_ids, *trained.val.frame_ids]
    frames = pa.table({"frame_id": ids, "footage_id": ["f"] * len(ids)})
    said: list[str] = []
    made = export(trained, wanted, frames=frames, footage=pa.table(FILMS), out=out, say=said.append)
    return made, said


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One short round of each side; and INT8 is offered however quick it is here."""
    monkeypatch.setattr("cityforge.export.speed.ROUNDS", 1)
    monkeypatch.setattr("cityforge.export.speed.ROUND_RUNS", 2)
    monkeypatch.setattr(stage, "LEAST_QUICKER", 0.0)


@pytest.mark.usefixtures("quick")
def test_both_models_are_written_with_what_was_measured(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "export"
    made, said = run(trained, out, int8_most_drop=1.0)
    model = (out / INT8_FILE).read_bytes()
    assert made == read_int8(out)
    assert (made.offered, made.digest) == (True, hashlib.sha256(model).hexdigest())
    found = read_sides(out)
    assert [side.name for side in found.sides] == ["torch", "onnx", "int8"]
    assert found.frames == len(trained.val) == 3
    torch, onnx, small = found.sides
    assert onnx.box_px is not None
    assert onnx.box_px <= 0.01
    assert onnx.answer is not None
    assert onnx.answer <= 1e-4
    assert (onnx.score, onnx.slices, onnx.unmatched) == (torch.score, torch.slices, 0)
    assert set(torch.slices) == {"lighting day", "camera 北门"}
    assert small.answer is not None
    assert small.answer > onnx.answer
    device, speeds = read_speeds(out)
    assert device.threads >= 1
    assert [each.name for each in speeds] == ["torch", "onnx", "int8"]
    raw = json.loads((out / "parity.json").read_text(encoding="utf-8"))
    assert raw["frames"] == 2
    assert max(raw["scores"], raw["boxes"]) < 0.01
    assert {path.name for path in out.iterdir()} == {
        "model.onnx", "model.int8.onnx", "parity.json", "sides.json", "speeds.json", "int8.json",
    }  # fmt: skip
    assert said[-1].startswith("INT8 offered: drop ")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("asked", "why", "sides"),
    [
        ({"int8_offer": False}, "export.int8.offer is false", 2),
        ({"int8_most_drop": -1.0}, "the drop is over -1", 3),  # a drop that no model keeps
    ],
)
def test_an_int8_model_that_is_not_offered_is_not_written(
    trained: Trained, tmp_path: Path, asked: dict[str, Any], why: str, sides: int
) -> None:
    out = tmp_path / "export"
    made, _ = run(trained, out, **asked)
    assert (made.offered, made.digest) == (False, None)
    assert why in made.why
    assert not (out / INT8_FILE).exists()
    assert len(read_sides(out).sides) == len(read_speeds(out)[1]) == sides


@pytest.mark.usefixtures("quick")
def test_an_export_over_the_limit_is_refused_and_the_former_one_stays(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "export"
    run(trained, out, int8_offer=False)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    exported = stage.export_onnx

    def other_network(network: Any, *rest: Any) -> None:
        """The ONNX file of other weights than those that torch runs."""
        import copy

        changed = copy.deepcopy(network)
        for head in changed.heads:
            head.side.bias.data += 0.5
        exported(changed, *rest)

    monkeypatch.setattr(stage, "export_onnx", other_network)
    worst = "|".join(trained.val.frame_ids)
    with pytest.raises(DataError, match=rf"of torch in boxes.*2 frames, most in ({worst})"):
        run(trained, out, int8_offer=False)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


@pytest.mark.usefixtures("quick")
def test_an_empty_train_gives_no_int8_model(trained: Trained, tmp_path: Path) -> None:
    nothing = LabelledFrames([], [])
    made, _ = run(replace(trained, train=nothing), tmp_path / "export")
    assert made.why == "no frame of train to take its ranges from"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("task", "loss", "output"),
    [
        ("classification", {"several_labels": False, "label_smoothing": 0.0}, "scores"),
        ("classification", {"several_labels": True, "label_smoothing": 0.0}, "scores"),
        ("density", {"spread_px": 5.0, "count_weight": 0.2}, "density"),
    ],
)
def test_the_other_tasks_are_held_against_torch_alike(
    trained: Trained,
    tmp_path: Path,
    task: str,
    loss: dict[str, Any],
    output: str,
) -> None:
    import torch

    torch.manual_seed(5)
    of_other = replace(
        trained,
        card=scenes.card(("车", "bus")).model_copy(update={"task": task}),
        network=build_network(task, f"{task}/small", 2, loss=loss).eval(),
        answers=ANSWERS_OF_TASK[task](score_floor=0.0, resamples=0, few=1),
        train=of_task(trained.train, task),
        val=of_task(trained.val, task),
        several_labels=loss.get("several_labels", False),
    )
    out = tmp_path / "export"
    run(of_other, out, max_difference={output: 1e-4}, int8_most_drop=1.0)
    torch_side, onnx, small = read_sides(out).sides
    assert onnx.answer is not None
    assert onnx.answer <= 1e-5
    assert onnx.score == pytest.approx(torch_side.score, abs=1e-5)
    assert (onnx.box_px, onnx.unmatched) == (None, 0)
    assert small.score is not None


def of_task(frames: LabelledFrames, task: str) -> LabelledFrames:
    """Every other frame is of the other class; of density the box's middle is a point."""
    rows = []
    for number, (xyxy, _) in enumerate(frames.boxes):
        middle = np.repeat((xyxy[:, :2] + xyxy[:, 2:]) / 2, 2, 0).reshape(-1, 4)
        rows.append((middle if task == "density" else xyxy * 0, np.array([number % 2])))
    return LabelledFrames(frames.frame_ids, rows, task)
